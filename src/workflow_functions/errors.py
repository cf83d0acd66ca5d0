"""Errors of the workflow's functions: Step Functions sees the class's name, and a state may tell them apart."""

from __future__ import annotations

from topic_model.errors import TopicModelError


class RequestError(TopicModelError):
    """The execution's input asks for something that is not there or is not understood; trying again cannot help."""


class EvaluationError(TopicModelError):
    """The evaluation report is missing, unreadable or incomplete."""


class LookupRowsError(TopicModelError):
    """The lookup rows are missing, changed since they were written, or cannot be stored."""


class PublishConflictError(TopicModelError):
    """Another execution published in the meantime; publishing again is safe and may be right."""


class SmokeTestError(TopicModelError):
    """The endpoint does not answer as the model just deployed should."""


class RetirementError(TopicModelError):
    """Old models are not removed, because the endpoint does not serve what it should."""
