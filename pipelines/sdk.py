"""The Data Science SDK and the SageMaker SDK, as this project uses them: what they drop is put back here.

Only this module and the builders beside it import the SDKs. Building a definition needs no client, so nothing here
may call AWS, read the user's AWS configuration or send telemetry (docs/decisions/0001-data-science-sdk.md).
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def _quiet_import() -> Iterator[None]:
    """Keep the SDKs' imports from reading AWS profiles, printing to stdout and changing the root logger.

    Importing sagemaker opens a session (an AWS_PROFILE that is not there is then a traceback), announces its next
    major version and lists the settings files that it did not find; importing stepfunctions sets the root logger to
    ERROR for everyone in the process.
    """
    root_level = logging.getLogger().level
    # This one stays: its classes warn when they are used, too.
    os.environ.setdefault("SAGEMAKER_SUPPRESS_V2_WARNING", "1")
    logging.getLogger("sagemaker.config").setLevel(logging.WARNING)
    plain = {
        "AWS_PROFILE": None,
        "AWS_DEFAULT_PROFILE": None,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    before = {name: os.environ.get(name) for name in plain}
    _set_environment(plain)
    try:
        # Of pkg_resources, and of a comparison in the SDK's own code; neither is the reader's to mend.
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        _set_environment(before)
        logging.getLogger().setLevel(root_level)


def _set_environment(values: dict[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


with _quiet_import():
    from sagemaker import estimator as sagemaker_estimator
    from sagemaker.estimator import Estimator
    from sagemaker.inputs import TrainingInput
    from sagemaker.local import LocalSession
    from sagemaker.model import Model
    from sagemaker.network import NetworkConfig
    from sagemaker.predictor import Predictor
    from sagemaker.processing import ProcessingInput, ProcessingOutput, Processor
    from sagemaker.session import Session, SessionSettings
    from sagemaker.transformer import Transformer
    from sagemaker.tuner import CategoricalParameter, ContinuousParameter, HyperparameterTuner, IntegerParameter
    from stepfunctions import steps
    from stepfunctions.steps import integration_resources
    from stepfunctions.steps import sagemaker as sagemaker_steps
    from stepfunctions.steps.choice_rule import ChoiceRule
    from stepfunctions.steps.states import Graph

# The SDK asks boto3's default session for a region, to guess the partition of service ARNs: the definition would
# then depend on the reader's AWS configuration.
integration_resources.get_aws_partition = lambda: "aws"
# An Estimator opens a client, for TensorBoard in Studio, through boto3's default session.
sagemaker_estimator.TensorBoardApp = lambda region: None  # noqa: ARG005 (called by keyword)

__all__ = [
    "CategoricalParameter",
    "ChoiceRule",
    "ContinuousParameter",
    "Estimator",
    "Fail",
    "HyperparameterTuner",
    "IntegerParameter",
    "LocalSession",
    "Map",
    "Model",
    "ModelTask",
    "NetworkConfig",
    "OfflineSession",
    "Pass",
    "Predictor",
    "ProcessingInput",
    "ProcessingOutput",
    "ProcessingTask",
    "Processor",
    "Retry",
    "Task",
    "TrainingInput",
    "TrainingTask",
    "TransformTask",
    "Transformer",
    "TuningTask",
    "dynamic",
    "graph",
    "is_expression",
    "steps",
]

_EXPRESSIONS = ("$.", "$$.", "States.")


class OfflineSession(Session):  # type: ignore[misc]
    """What SageMaker's objects ask a session while they are put together; a call to AWS has nothing to go through."""

    def __init__(self) -> None:  # the real one opens clients and reads configuration files
        self.boto_session = None
        self.sagemaker_client = None
        self.local_mode = False
        self.config = None
        self.settings = SessionSettings()
        self.default_bucket_prefix = None
        # It decides nothing here: the debugger and the profiler, which ask for it, are off.
        self._region_name = "us-east-1"
        # Without defaults of the user's. (With any, even those that turn telemetry off, each look-up validates them
        # all again, which takes seconds; telemetry is sent by Estimator.fit alone, which nothing here calls.)
        self.sagemaker_config: dict[str, Any] = {}


def dynamic(value: Any) -> Any:
    """Parameters with ``"Key": "$.path"`` written as Step Functions wants it: ``"Key.$": "$.path"``.

    So a JSONPath or an intrinsic function can be given wherever SageMaker's objects take a plain string. A list has
    no such key: an expression in one is refused, because Step Functions would pass it on as text.
    """
    if isinstance(value, dict):
        return {
            f"{key}.$" if is_expression(inner) and not key.endswith(".$") else key: dynamic(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        for inner in value:
            if is_expression(inner):
                raise TypeError(f"{inner!r} in a list stays text; build the list with States.Array")
        return [dynamic(inner) for inner in value]
    return value


def is_expression(value: Any) -> bool:
    """Whether a value is a JSONPath or an intrinsic function."""
    return isinstance(value, str) and (value == "$" or value.startswith(_EXPRESSIONS))


class Retry(steps.Retry):  # type: ignore[misc]
    """A retrier that may also say ``max_delay_seconds`` and ``jitter_strategy``, which the SDK does not know."""

    def is_field_allowed(self, field_name: str) -> bool:
        """Whether a keyword is one of the SDK's fields or of ours."""
        return field_name in {"max_delay_seconds", "jitter_strategy"} or bool(super().is_field_allowed(field_name))


class _Complete:
    """Adds ResultSelector and expressions inside Parameters to the SDK's task states."""

    def is_field_allowed(self, field_name: str) -> bool:
        """Whether a keyword is one of the SDK's fields or of ours."""
        return field_name == "result_selector" or bool(super().is_field_allowed(field_name))  # type: ignore[misc]

    def to_dict(self) -> dict[str, Any]:
        """The state as the Amazon States Language writes it."""
        state: dict[str, Any] = super().to_dict()  # type: ignore[misc]
        for field in ("Parameters", "ResultSelector"):
            if field in state:
                state[field] = dynamic(state[field])
        return state


class Task(_Complete, steps.Task):  # type: ignore[misc]
    """Any service integration or Lambda function."""


class ProcessingTask(_Complete, sagemaker_steps.ProcessingStep):  # type: ignore[misc]
    """A Processing job that the state waits for."""


class TrainingTask(_Complete, sagemaker_steps.TrainingStep):  # type: ignore[misc]
    """A training job that the state waits for."""


class TuningTask(_Complete, sagemaker_steps.TuningStep):  # type: ignore[misc]
    """A tuning job that the state waits for."""


class TransformTask(_Complete, sagemaker_steps.TransformStep):  # type: ignore[misc]
    """A batch transform job that the state waits for."""


class ModelTask(_Complete, sagemaker_steps.ModelStep):  # type: ignore[misc]
    """Creates a SageMaker model; nothing to wait for."""


class Pass(_Complete, steps.Pass):  # type: ignore[misc]
    """Puts values into the execution's data."""


class Fail(steps.Fail):  # type: ignore[misc]
    """Ends the execution with an error and a cause that may be read from its data, which the SDK cannot say."""

    def is_field_allowed(self, field_name: str) -> bool:
        """Whether a keyword is one of the SDK's fields or of ours."""
        return field_name in {"error_path", "cause_path"} or bool(super().is_field_allowed(field_name))


class Map(steps.Map):  # type: ignore[misc]
    """A Map in today's words: ItemProcessor and ItemSelector for the deprecated Iterator and Parameters."""

    def __init__(self, state_id: str, *, item_selector: dict[str, Any], **fields: Any) -> None:
        super().__init__(state_id, **fields)
        self.item_selector = item_selector

    def to_dict(self) -> dict[str, Any]:
        """The state as the Amazon States Language writes it."""
        state: dict[str, Any] = super().to_dict()
        inner = state.pop("Iterator")
        state["ItemSelector"] = dynamic(self.item_selector)
        state["ItemProcessor"] = {"ProcessorConfig": {"Mode": "INLINE"}, **inner}
        return state


_FIELD_ORDER = (
    *("Comment", "Type", "Resource", "InputPath", "ItemsPath", "MaxConcurrency", "ItemSelector", "ItemProcessor"),
    *("Parameters", "Result", "ResultSelector", "ResultPath", "Seconds", "Choices", "Default", "Error", "ErrorPath"),
    *("Cause", "CausePath", "TimeoutSeconds", "Retry", "Catch", "Next", "End"),
)


def graph(start: Any, **fields: Any) -> dict[str, Any]:
    """The definition of everything that can be reached from a state, its fields in an order that reads well."""
    definition: dict[str, Any] = Graph(start, **fields).to_dict()
    return _ordered(definition)


def _ordered(definition: dict[str, Any]) -> dict[str, Any]:
    states = {}
    for name, state in definition["States"].items():
        if "ItemProcessor" in state:
            state["ItemProcessor"] = _ordered(state["ItemProcessor"])
        states[name] = {field: state[field] for field in sorted(state, key=_FIELD_ORDER.index)}
    return {**definition, "States": states}
