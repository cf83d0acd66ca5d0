"""The sample: realistic exports, the same bytes every time, whose ground truth is known."""

from topic_model.sample.generator import DEFAULT_SEED, SampleReport, generate_sample

__all__ = ["DEFAULT_SEED", "SampleReport", "generate_sample"]
