"""The workflow's Lambda functions: what is too small for a SageMaker job. They import boto3 and little else."""
