"""``template.yaml`` as it is deployed: one JSON document with the API's own document in it.

Two things of CloudFormation ask for more than the file as it stands. Versions of a function and deployments of an API
are snapshots: another code or document needs another resource, so their logical ids get a hash of what they snapshot.
And ``AWS::Include`` is resolved here and not by CloudFormation, so that a change set shows what changes and what was
checked is what is deployed. Local paths become relative to the packaged file, as ``aws cloudformation package`` takes
them.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson
import yaml

from local_aws.short_forms import add_short_forms
from topic_model.errors import TopicModelError

TEMPLATE = Path("template.yaml")
PACKAGED_FOLDER = "dist"
INCLUDE = {"Fn::Transform": {"Name": "AWS::Include", "Parameters": {"Location": "dist/lookup-api.json"}}}
FUNCTION, VERSION = "LookupApiFunction", "LookupApiVersion"
API, DEPLOYMENT = "LookupApi", "LookupApiDeployment"

_LOCAL_PATHS = {"AWS::Lambda::Function": "Code", "AWS::StepFunctions::StateMachine": "DefinitionS3Location"}
_HASH_DIGITS = 10


class TemplateError(TopicModelError):
    """The template cannot be packaged."""


class _Loader(yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader):  # type: ignore[misc]  # seven times as fast
    """YAML with CloudFormation's short functions, as their long forms."""


add_short_forms(_Loader)


def read_template(path: Path = TEMPLATE) -> dict[str, Any]:
    """A template with its functions in their long forms, and its YAML aliases resolved.

    Raises:
        TemplateError: there is none.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise TemplateError(f"{path} cannot be read ({error.strerror}); package in the repository's folder") from error
    # The loader is a safe one: its constructors make mappings, lists and text.
    template: dict[str, Any] = yaml.load(text, Loader=_Loader)  # noqa: S506
    return template


def packaged_template(
    template: Mapping[str, Any], document: Mapping[str, Any], code: bytes, *, root: Path, folder: Path
) -> dict[str, Any]:
    """A template to deploy from ``folder``.

    Args:
        template: as ``read_template`` answers it; its local paths are relative to ``root``.
        document: what API Gateway imports.
        code: the lookup function's zip.
        root: the folder of the template.
        folder: the folder of what is packaged.

    Raises:
        TemplateError: the template has no place for the document, or a version or deployment less than it should.
    """
    made: dict[str, Any] = orjson.loads(orjson.dumps(template))  # a copy, without YAML's shared parts
    resources = made["Resources"]
    missing = {FUNCTION, VERSION, API, DEPLOYMENT} - resources.keys()
    if missing:
        raise TemplateError(f"the template has no resource {sorted(missing)}; the lookup API cannot be put into it")
    if resources[API]["Properties"].get("Body") != INCLUDE:
        raise TemplateError(f"the Body of {API} is not {orjson.dumps(INCLUDE).decode()}; the document has no place")
    # An import may name the API after its title, and the alarms are on the name.
    info = {**document["info"], "title": resources[API]["Properties"]["Name"]}
    resources[API]["Properties"]["Body"] = {**document, "info": info}
    # What a version snapshots: code and configuration, the part of which that is parameters' values is not known here.
    version = _digest(code, orjson.dumps(resources[FUNCTION]["Properties"]), orjson.dumps(made.get("Mappings")))
    deployment = _digest(orjson.dumps(document, option=orjson.OPT_SORT_KEYS))
    for resource in resources.values():
        name = _LOCAL_PATHS.get(resource["Type"])
        if name is not None and isinstance(resource["Properties"].get(name), str):
            resource["Properties"][name] = _relative(Path(resource["Properties"][name]), root, folder)
    return _renamed(made, {VERSION: VERSION + version, DEPLOYMENT: DEPLOYMENT + deployment})


def _relative(path: Path, root: Path, folder: Path) -> str:
    """A path of the template as seen from the folder of what is packaged, which the template calls ``dist``."""
    if path.parts[0] == PACKAGED_FOLDER:
        return str(path.relative_to(PACKAGED_FOLDER))
    return os.path.relpath(root / path, folder)


def rendered(template: Mapping[str, Any]) -> bytes:
    """A packaged template as it is written."""
    return orjson.dumps(template, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:_HASH_DIGITS]


def _renamed(template: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """A template in which resources are called, and referred to, otherwise."""
    in_text = re.compile(r"\$\{(" + "|".join(map(re.escape, names)) + r")(?=[.}])")

    def new(name: Any) -> Any:
        return names.get(name, name) if isinstance(name, str) else name

    referring: dict[str, Callable[[Any], Any]] = {
        "Ref": new,
        "Fn::GetAtt": lambda at: [new(at[0]), *at[1:]],
        "DependsOn": lambda on: [new(one) for one in on] if isinstance(on, list) else new(on),
        "Fn::Sub": lambda text: (
            in_text.sub(lambda found: "${" + names[found[1]], text) if isinstance(text, str) else text
        ),
    }

    def walk(value: Any) -> Any:
        if isinstance(value, list):
            return [walk(one) for one in value]
        if not isinstance(value, dict):
            return value
        return {name: referring.get(name, lambda one: one)(walk(one)) for name, one in value.items()}

    made: dict[str, Any] = walk(template)
    made["Resources"] = {new(name): resource for name, resource in made["Resources"].items()}
    return made
