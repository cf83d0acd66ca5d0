"""Checks of what a definition's tasks ask of AWS: offline, against botocore's models and Step Functions' own lists."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import botocore.session
from botocore.exceptions import UnknownServiceError

from pipelines.states import Definition, all_states, expressions, intrinsics_in, paths_in
from pipelines.substitutions import SUBSTITUTIONS, VPC_SUBSTITUTIONS

_RESOURCE = re.compile(
    r"arn:aws:states:::(?P<sdk>aws-sdk:)?(?P<service>[\w-]+):(?P<action>\w+)(?:\.(?P<pattern>[\w:]+))?"
)
_SERVICE_MODELS = {"states": "stepfunctions", "sfn": "stepfunctions", "events": "events"}

OPTIMISED: Mapping[tuple[str, str], frozenset[str]] = {
    (service, action): frozenset(fields.split())
    for service, action, fields in (
        ("lambda", "invoke", "ClientContext FunctionName InvocationType Payload Qualifier"),
        ("states", "startExecution", "Input Name StateMachineArn"),
        ("sns", "publish", "Message MessageAttributes MessageStructure PhoneNumber Subject TargetArn TopicArn"),
        (
            "sagemaker",
            "createTrainingJob",
            # The guide's first ten, then spot training and its checkpoints (2021), then what the CDK writes as well.
            "AlgorithmSpecification HyperParameters InputDataConfig OutputDataConfig ResourceConfig RoleArn "
            "StoppingCondition Tags TrainingJobName VpcConfig CheckpointConfig EnableManagedSpotTraining "
            "EnableNetworkIsolation Environment",
        ),
        (
            "sagemaker",
            "createProcessingJob",
            "AppSpecification Environment ExperimentConfig NetworkConfig ProcessingInputs ProcessingJobName "
            "ProcessingOutputConfig ProcessingResources RoleArn StoppingCondition Tags",
        ),
        (
            "sagemaker",
            "createTransformJob",
            "BatchStrategy DataProcessing Environment ExperimentConfig MaxConcurrentTransforms MaxPayloadInMB "
            "ModelClientConfig ModelName Tags TransformInput TransformJobName TransformOutput TransformResources",
        ),
        (
            "sagemaker",
            "createHyperParameterTuningJob",
            "HyperParameterTuningJobConfig HyperParameterTuningJobName Tags TrainingJobDefinition WarmStartConfig",
        ),
        (
            "sagemaker",
            "createModel",
            "Containers EnableNetworkIsolation ExecutionRoleArn ModelName PrimaryContainer Tags VpcConfig",
        ),
    )
}
"""The optimised integrations that this project may use, with the fields that Step Functions takes for each: fewer than
the service's own. From the developer guide; where the guide lists no fields any more, see docs/decisions."""

SYNC = frozenset(
    f"create{job}Job" for job in ("Training", "Processing", "Transform", "HyperParameterTuning", "Labeling")
)
"""SageMaker's actions that a state can wait for."""

_NESTED = "sync:2"
"""Waits for an execution, whose output the state then has as JSON; ``.sync`` would give it as text."""

NAME_FIELDS = {
    "TrainingJobName": 63,
    "ProcessingJobName": 63,
    "TransformJobName": 63,
    "HyperParameterTuningJobName": 32,
    "ModelName": 63,
    "EndpointConfigName": 63,
}
"""Names that are made by an execution, and the length that SageMaker allows."""

LONGEST_PREFIX = "x" * 18
"""As long as ValidateRequest's prefix can be, for the longest execution name of 80 characters."""

MAX_INLINE_BYTES = 8_192
"""Of a task's parameters: data go by URI, so more than that is data on the wrong way."""

MAX_DEFINITION_BYTES = 1 << 20
MAX_STATE_NAME = 80

_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "long": (int,),
    "boolean": (bool,),
    "float": (int, float),
    "double": (int, float),
}


@dataclass(frozen=True)
class Call:
    """What a task's resource calls."""

    service: str
    action: str
    optimised: bool
    pattern: str | None


def parse_resource(resource: str) -> Call | None:
    """The call of a service integration; None if the resource is no such ARN."""
    match = _RESOURCE.fullmatch(resource)
    return Call(match["service"], match["action"], match["sdk"] is None, match["pattern"]) if match else None


def check_parameters(definition: Definition) -> list[str]:
    """Each task calls an integration that exists, with parameters that both Step Functions and the service take."""
    findings: list[str] = []
    for name, state in all_states(definition):
        if state.get("Type") != "Task":
            continue
        call = parse_resource(str(state.get("Resource")))
        if call is None:
            findings.append(f"{name}: {state.get('Resource')!r} is no service integration")
            continue
        findings += _check_integration(name, call, state.get("Parameters", {}))
        operation = _operation(call)
        if operation is None:
            findings.append(f"{name}: {call.service} has no action {call.action}")
            continue
        parameters = state.get("Parameters", {})
        if call.optimised and call.service == "states":
            parameters = _as_the_service_has_it(parameters)
        findings += _faults(parameters, operation.input_shape, name)
        findings += _check_results(name, call, state.get("ResultSelector"))
    return findings


def _check_integration(name: str, call: Call, parameters: Mapping[str, Any]) -> Iterator[str]:
    if not call.optimised:
        if call.pattern not in (None, "waitForTaskToken"):
            yield f"{name}: aws-sdk integrations have no .{call.pattern}"
        return
    fields = OPTIMISED.get((call.service, call.action))
    if fields is None:
        yield f"{name}: {call.service}:{call.action} is no optimised integration that this project knows"
        return
    waits = (call.pattern == "sync" and call.action in SYNC) or (call.pattern == _NESTED and call.service == "states")
    if call.pattern is not None and not waits:
        yield f"{name}: {call.service}:{call.action} has no .{call.pattern}"
    for key in parameters:
        if key.removesuffix(".$") not in fields:
            yield f"{name}: Step Functions does not take {key.removesuffix('.$')} for {call.service}:{call.action}"


@functools.cache
def _model(service: str) -> Any:
    try:
        return botocore.session.Session().get_service_model(_SERVICE_MODELS.get(service, service))
    except UnknownServiceError:
        return None


def _operation(call: Call, action: str | None = None) -> Any:
    model = _model(call.service)
    wanted = (action or call.action).lower()
    name = next((name for name in model.operation_names if name.lower() == wanted), None) if model else None
    return model.operation_model(name) if name else None


def _faults(value: Any, shape: Any, where: str) -> Iterator[str]:
    """What is wrong with a literal; what an expression gives at run time is the service's to check."""
    kind = shape.type_name
    if kind == "structure":
        yield from _structure_faults(value, shape, where)
    elif kind == "list":
        if not isinstance(value, list):
            yield f"{where}: expected a list, got {value!r}"
            return
        yield from _size_fault(len(value), shape, where)
        for position, inner in enumerate(value):
            yield from _faults(inner, shape.member, f"{where}[{position}]")
    elif kind == "map":
        if not isinstance(value, dict):
            yield f"{where}: expected an object, got {value!r}"
            return
        for key, inner in value.items():
            if not key.endswith(".$"):
                yield from _faults(inner, shape.value, f"{where}.{key}")
    elif kind in _TYPES:
        yield from _scalar_faults(value, shape, where)


def _structure_faults(value: Any, shape: Any, where: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{where}: expected an object, got {value!r}"
        return
    given = {key.removesuffix(".$") for key in value}
    yield from (f"{where}: lacks {name}" for name in shape.required_members if name not in given)
    for key, inner in value.items():
        name = key.removesuffix(".$")
        if name not in shape.members:
            yield f"{where}: unknown parameter {name}"
        elif name == key:
            yield from _faults(inner, shape.members[name], f"{where}.{name}")


def _scalar_faults(value: Any, shape: Any, where: str) -> Iterator[str]:
    kinds = _TYPES[shape.type_name]
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        yield f"{where}: expected {shape.type_name}, got {value!r}"
        return
    if isinstance(value, str):
        if "${" in value:  # a name that the stack puts in
            return
        if shape.enum and value not in shape.enum:
            yield f"{where}: {value!r} is none of the values that the service knows"
        pattern = shape.metadata.get("pattern")
        if pattern and not _matches(pattern, value):
            yield f"{where}: {value!r} does not match {pattern}"
        yield from _size_fault(len(value), shape, where)
    elif not isinstance(value, bool):
        yield from _size_fault(value, shape, where)


def _size_fault(size: Any, shape: Any, where: str) -> Iterator[str]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if (low is not None and size < low) or (high is not None and size > high):
        yield f"{where}: {size} is outside {low} to {high}"


def _matches(pattern: str, value: str) -> bool:
    # Java's classes for letters, digits and spaces, which Python writes otherwise.
    for java, python in (("\\p{L}", "\\w"), ("\\p{M}", ""), ("\\p{Z}", "\\s"), ("\\p{N}", "\\d"), ("\\p{P}", "")):
        pattern = pattern.replace(java, python)
    try:
        return re.fullmatch(pattern, value) is not None
    except re.error:
        return True


def _as_the_service_has_it(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Step Functions' own parameters by the service's names: ``stateMachineArn``, and an input that is text."""
    return {
        f"{key[0].lower()}{key[1:]}": "{}" if key == "Input" and isinstance(value, Mapping) else value
        for key, value in parameters.items()
    }


def _check_results(name: str, call: Call, selector: Any) -> Iterator[str]:
    """A ResultSelector reads what the call answers: for .sync, what describing the finished job says."""
    if call.pattern == _NESTED:
        yield from _check_nested_results(name, selector)
        return
    action = call.action.replace("create", "describe", 1) if call.pattern == "sync" else call.action
    operation = _operation(call, action)
    shape = operation.output_shape if operation else None
    if shape is None or not isinstance(selector, Mapping):
        return
    for key, value in selector.items():
        if isinstance(value, Mapping):
            yield from _check_results(name, call, value)
        elif key.endswith(".$"):
            for path in paths_in(value):
                if fault := _unknown_member(path, shape):
                    yield f"{name}: ResultSelector reads {path}, but {action} answers no {fault}"


def _check_nested_results(name: str, selector: Any) -> Iterator[str]:
    members = _model("states").operation_model("DescribeExecution").output_shape.members
    known = {f"{member[0].upper()}{member[1:]}" for member in members}
    for expression in expressions(selector):
        for path in paths_in(expression):
            first = path.lstrip("$.").split(".")[0]
            if first not in known:
                yield f"{name}: ResultSelector reads {path}, but an execution's description has no {first}"


def _unknown_member(path: str, shape: Any) -> str | None:
    for step in [step for step in path.lstrip("$").split(".") if step]:
        if shape.type_name != "structure":
            return None
        if step not in shape.members:
            return step
        shape = shape.members[step]
    return None


def check_names(definition: Definition) -> list[str]:
    """Names that an execution makes are within SageMaker's limits for the longest execution name, and new each time."""
    findings = []
    for name, state in all_states(definition):
        if len(name.rpartition("/")[2]) > MAX_STATE_NAME:
            findings.append(f"{name}: a state's name has at most {MAX_STATE_NAME} characters")
        call = parse_resource(str(state.get("Resource")))
        if call is None or not call.action.startswith("create"):
            continue
        for key, value in state.get("Parameters", {}).items():
            limit = NAME_FIELDS.get(key.removesuffix(".$"))
            if limit is None or key.removesuffix(".$").removesuffix("Name").lower() not in call.action.lower():
                continue
            findings += _check_name(name, str(value), limit, dynamic=key.endswith(".$"))
    return findings


def _check_name(state: str, expression: str, limit: int, *, dynamic: bool) -> Iterator[str]:
    template = re.match(r"States\.Format\('([^']*)'", expression)
    if not dynamic or template is None or "UUID" not in intrinsics_in(expression):
        yield f"{state}: the name {expression!r} would be the same at the next attempt; end it with a part of a UUID"
        return
    longest = template[1].replace("{}", LONGEST_PREFIX, 1).replace("{}", "0" * 8)
    if len(longest) > limit:
        yield f"{state}: a name like {longest!r} has {len(longest)} characters; at most {limit}"
    if not re.fullmatch(r"[A-Za-z0-9](-*[A-Za-z0-9])*", longest):
        yield f"{state}: a name like {longest!r} has characters that SageMaker refuses"


def check_substitutions(definition: Definition, text: str, substitutions: tuple[str, ...] = SUBSTITUTIONS) -> list[str]:
    """The definition uses the stack's names and no others."""
    used = set(re.findall(r"\$\{([^}]*)\}", text))
    known = {*substitutions, *VPC_SUBSTITUTIONS}
    findings = [f"${{{name}}} is no name that a stack gives" for name in sorted(used - known)]
    findings += [f"${{{name}}} is given by the stack and not used" for name in sorted(set(substitutions) - used)]
    account = re.compile(r"arn:aws:[\w-]+:[\w-]*:\d{12}:")
    literal = [name for name, state in all_states(definition) if account.search(str(state))]
    return findings + [f"{name}: has an ARN of one account" for name in literal]
