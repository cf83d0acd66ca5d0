"""The one settings file of the training workflow: read once, typed, and refused when anything in it is not understood.

A typo that silently trains the default is the costliest kind of mistake here: it is found an hour and an endpoint
later. So unknown keys, duplicate keys, wrong types and values out of range are all errors that name the file, the
line, the key, the value and what was expected.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from pipelines.algorithm_settings import (
    AlgorithmSection,
    RangeSettings,
    Seconds,
    TuningSettings,
    hint,
    range_mistakes,
    settings_of_the_algorithm,
)
from pipelines.deployment_settings import DeploymentSettings
from topic_model.errors import SettingsError
from topic_model.settings import (
    CorpusSettings,
    EvaluationSettings,
    NeighbourSettings,
    PrepareSettings,
    StrictSettings,
    TextSettings,
)

DEFAULT_SETTINGS_PATH = Path(__file__).with_name("settings.yaml")

# SageMaker's own names; botocore's lists of them are checked on the rendered definition, where the job is known.
InstanceType = Annotated[str, Field(pattern=r"^ml\.[a-z0-9-]+\.[a-z0-9-]+$")]


def _defaults_of(section: type[StrictSettings]) -> Any:
    return Field(default_factory=lambda: section.from_mapping({}))


class JobSettings(StrictSettings):
    """The machines of one Processing job and how long it may take."""

    instance_type: InstanceType = "ml.m5.xlarge"
    instance_count: Literal[1] = 1
    volume_size_gb: int = Field(30, ge=1, le=16_384)
    max_runtime_seconds: Seconds = 3_600


class TrainJobSettings(JobSettings):
    """The machine of the training job; spot needs checkpoints, which the container writes after every pass."""

    max_runtime_seconds: Seconds = 7_200
    spot: bool = True
    max_wait_seconds: Seconds = 14_400

    @model_validator(mode="after")
    def _waits_at_least_as_long_as_it_runs(self) -> Self:
        if self.spot and self.max_wait_seconds < self.max_runtime_seconds:
            raise ValueError(
                f"max_wait_seconds is {self.max_wait_seconds}, less than max_runtime_seconds "
                f"{self.max_runtime_seconds}; SageMaker counts the run within the wait"
            )
        return self


class ScoreJobSettings(StrictSettings):
    """The machines of the batch transform that scores every known campaign."""

    instance_type: InstanceType = "ml.m5.xlarge"
    instance_count: int = Field(1, ge=1, le=100)
    max_concurrent_transforms: int = Field(2, ge=1, le=16)
    max_payload_mb: int = Field(6, ge=1, le=100)
    max_runtime_seconds: Seconds = 14_400

    @model_validator(mode="after")
    def _stays_within_the_payload_limit(self) -> Self:
        if self.max_concurrent_transforms * self.max_payload_mb > 100:
            raise ValueError(
                f"max_concurrent_transforms {self.max_concurrent_transforms} times max_payload_mb "
                f"{self.max_payload_mb} is over the 100 MB that batch transform allows"
            )
        return self


class JobsSettings(StrictSettings):
    """A section a job."""

    prepare: JobSettings = _defaults_of(JobSettings)
    build_corpus: JobSettings = _defaults_of(JobSettings)
    train: TrainJobSettings = _defaults_of(TrainJobSettings)
    evaluate: JobSettings = _defaults_of(JobSettings)
    score: ScoreJobSettings = _defaults_of(ScoreJobSettings)
    build_neighbours: JobSettings = _defaults_of(JobSettings)


class WorkflowSettings(StrictSettings):
    """Settings of the workflow as a whole."""

    max_channels_at_once: int = Field(4, ge=1, le=40)
    job_retries: int = Field(2, ge=0, le=5)
    timeout_seconds: Seconds = 259_200


class NetworkSettings(StrictSettings):
    """Settings of the network that jobs and endpoint are in."""

    vpc: bool = False


class PipelineSettings(StrictSettings):
    """Everything that ``pipelines/settings.yaml`` may say."""

    text: TextSettings = _defaults_of(TextSettings)
    prepare: PrepareSettings = _defaults_of(PrepareSettings)
    corpus: CorpusSettings = _defaults_of(CorpusSettings)
    algorithm: AlgorithmSection = _defaults_of(AlgorithmSection)
    neighbours: NeighbourSettings = _defaults_of(NeighbourSettings)
    gates: EvaluationSettings = _defaults_of(EvaluationSettings)
    jobs: JobsSettings = _defaults_of(JobsSettings)
    tuning: TuningSettings = _defaults_of(TuningSettings)
    deployment: DeploymentSettings = _defaults_of(DeploymentSettings)
    network: NetworkSettings = _defaults_of(NetworkSettings)
    workflow: WorkflowSettings = _defaults_of(WorkflowSettings)

    @model_validator(mode="before")
    @classmethod
    def _tune_by_the_algorithms_ranges(cls, values: Any) -> Any:
        """Fill in the ranges of the named algorithm where the file has none; what is malformed is told later."""
        if not isinstance(values, dict) or not isinstance(tuning := values.get("tuning", {}), dict):
            return values
        if "ranges" in tuning or (kind := settings_of_the_algorithm(values)) is None:
            return values
        ranges = {name: dict(ends) for name, ends in kind.tuning_ranges.items()}
        return {**values, "tuning": {**tuning, "ranges": ranges}}

    @model_validator(mode="after")
    def _ranges_are_of_the_algorithms_hyperparameters(self) -> Self:
        if mistakes := range_mistakes(self.algorithm, self.tuning.ranges):
            raise ValidationError.from_exception_data(type(self).__name__, mistakes)
        return self


def load_settings(path: Path = DEFAULT_SETTINGS_PATH) -> PipelineSettings:
    """The settings of a YAML file; sections and keys that it leaves out have the defaults.

    Raises:
        SettingsError: the file is missing or unreadable, is not YAML, says a key twice, has a key that nobody reads,
            or a value of the wrong type or out of range. The message names file, line, key, value and expectation.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise SettingsError(f"no settings file {path}; start from a copy of {DEFAULT_SETTINGS_PATH.name}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read the settings file {path}: {error}; expected YAML in UTF-8") from error
    return parse_settings(text, name=str(path))


def parse_settings(text: str, *, name: str = "settings") -> PipelineSettings:
    """As :func:`load_settings`, from text; ``name`` stands for the file in messages."""
    lines: dict[tuple[str, ...], int] = {}
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is not None:
            _note_lines(node, (), lines, name)
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"{name}{_yaml_place(error)}") from error
    except (ValueError, RecursionError) as error:  # an impossible date, a number of too many digits, endless nesting
        raise SettingsError(f"{name}: a value cannot be read: {error}") from error
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise SettingsError(f"{name} holds {_short(values)}; expected sections such as 'corpus:' and 'algorithm:'")
    try:
        # Strict, because YAML has types of its own: 'passes: yes' must not become one pass.
        return PipelineSettings.model_validate(values, strict=True)
    except ValidationError as error:
        kind = settings_of_the_algorithm(values)
        mistakes = [_explain(mistake, lines, name, kind) for mistake in error.errors()]
        raise SettingsError("\n".join(dict.fromkeys(mistakes))) from error


def _note_lines(node: yaml.Node, key: tuple[str, ...], lines: dict[tuple[str, ...], int], name: str) -> None:
    """Record the line of every key; a key said twice is an error, where YAML would keep the last one silently."""
    if not isinstance(node, yaml.MappingNode):
        return
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        inner = (*key, str(key_node.value))
        if inner in lines:
            raise SettingsError(
                f"{name}, line {line}: '{'.'.join(inner)}' is said twice (first in line {lines[inner]}); keep one"
            )
        lines[inner] = line
        _note_lines(value_node, inner, lines, name)


def _yaml_place(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return f"{place} is not YAML: {problem}"


def _explain(
    mistake: Any, lines: dict[tuple[str, ...], int], name: str, hyperparameters: type[BaseModel] | None
) -> str:
    key = tuple(str(part) for part in mistake["loc"])
    # A union's members ('int', "literal['auto']") are part of pydantic's location but not of the file.
    while key and key not in lines:
        key = key[:-1]
    place = f"{name}, line {lines[key]}" if key in lines else name
    dotted = ".".join(key) or "(whole)"
    if mistake["type"] == "extra_forbidden":
        return f"{place}: unknown key '{dotted}'{hint(key[-1], _model_at(key[:-1], hyperparameters))}"
    message = str(mistake["msg"]).removeprefix("Value error, ")
    if mistake["type"] == "missing":
        return f"{place}: '{dotted}' lacks '{mistake['loc'][-1]}'"
    if isinstance(mistake["input"], dict | BaseModel):
        return f"{place}: '{dotted}': {message}"
    return f"{place}: '{dotted}' is {_short(mistake['input'])}; expected: {message}"


def _model_at(key: tuple[str, ...], hyperparameters: type[BaseModel] | None) -> type[BaseModel]:
    """The settings class of a section, for the names that it knows."""
    if key == ("algorithm", "hyperparameters") and hyperparameters:
        return hyperparameters
    model: type[BaseModel] = PipelineSettings
    for part in key:
        field = model.model_fields.get(part)
        annotation = field.annotation if field else None
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            model = annotation
        elif model is TuningSettings or part == "ranges":
            model = RangeSettings
    return model


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
