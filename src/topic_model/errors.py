"""Named errors for the mistakes a user can make and mend.

Each message names the value, what was expected and the remedy. The command line prints the message alone and exits
non-zero; a container writes it to ``/opt/ml/output/failure``. Anything else is a defect and keeps its traceback.
"""

from __future__ import annotations


class TopicModelError(Exception):
    """Base of all errors that a user can mend; its message is meant to be read by them."""


class SettingsError(TopicModelError):
    """A setting or hyperparameter is unknown, mistyped or out of range."""


class ExportError(TopicModelError):
    """An export cannot be read: missing, empty, of an unknown layout, or with too many rejected lines."""


class CampaignError(TopicModelError):
    """One campaign record is malformed; the readers turn it into a listed rejection."""


class CorpusError(TopicModelError):
    """A corpus cannot be built or read: no terms, too few campaigns, duplicate ids, or a changed file."""


class NoKnownTermsError(TopicModelError):
    """A campaign has no term in the model's vocabulary, so it has no fingerprint; ``terms`` are those it has."""

    terms: tuple[str, ...] = ()


class TrainingError(TopicModelError):
    """An algorithm ended in parameters that are no topic model."""


class CheckpointError(TopicModelError):
    """A checkpoint is damaged or belongs to another corpus or other settings."""


class DamagedCheckpointError(CheckpointError):
    """A checkpoint cannot be read; training without it loses time and nothing else."""


class ArtifactError(TopicModelError):
    """A model artifact is truncated, tampered with, of an unknown version, or incomplete."""


class ArtifactMismatchError(ArtifactError):
    """Two artifacts that must come from one training run do not."""
