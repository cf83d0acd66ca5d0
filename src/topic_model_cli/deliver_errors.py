"""What can end a delivery."""

from __future__ import annotations

from topic_model.errors import TopicModelError


class DeliveryError(TopicModelError):
    """A delivery cannot begin, or did not get through; the message says where and why."""


class ActionFailedError(TopicModelError):
    """An action of the pipeline failed."""


class NotApprovedError(ActionFailedError):
    """Nobody approved."""


class DeliveryStoppedError(ActionFailedError):
    """The delivery was interrupted, and its actions end."""
