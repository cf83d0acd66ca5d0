"""The image's entry points: SageMaker's contract in, calls of topic_model out."""
