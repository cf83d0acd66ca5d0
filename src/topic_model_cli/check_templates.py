"""``make check-templates``: every template of the repository, held against cfn-lint and checkov.

checkov knows what a careful reviewer asks of each resource: encryption, logs, dead-letter queues, no open policies.
What it finds is mended, or excused at the resource (``Metadata.checkov.skip``) with a reason. An excuse that excuses
nothing is a finding, too: it would hide what goes wrong there later. checkov has a hundred dependencies of its own, so
it has an environment of its own (``requirements/checks.txt``).

checkov sees templates as they are deployed: the application's with the API's document in it, the others in their long
form. cfn-lint sees the files as they are written, so that its lines are theirs.
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from topic_model.errors import TopicModelError
from topic_model_cli.packaged_template import TEMPLATE, packaged_template, read_template, rendered

SHORTEST_REASON = 20
"""Characters of an excuse; what is shorter names no reason."""
_BARE = "bare-"
_USAGE = "usage: python -m topic_model_cli.check_templates <cfn-lint> <checkov> <template>..."


class CheckError(TopicModelError):
    """A checker did not do its work; nothing is known of the templates."""


def main(arguments: list[str]) -> int:
    """Check the templates of the command line; says what was found, and answers the exit code."""
    if len(arguments) < 3:
        sys.stderr.write(f"{_USAGE}\n")
        return 2
    linter, checkov, *names = arguments
    try:
        templates = {Path(name).stem: _as_deployed(Path(name)) for name in names}
        found = [*lint_findings(linter, names), *checkov_findings(checkov, templates)]
    except TopicModelError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    for finding in found:
        sys.stdout.write(f"{finding}\n")
    excused = sum(len(_excuses(resource)) for one in templates.values() for resource in one["Resources"].values())
    what = f"{len(found)} findings" if found else "no finding"
    sys.stdout.write(f"cfn-lint and checkov: {', '.join(names)}: {what}; {excused} excused, each with its reason\n")
    return 1 if found else 0


def lint_findings(linter: str, names: list[str]) -> list[str]:
    """What cfn-lint says, warnings included: types, properties and references by CloudFormation's own schemas.

    Raises:
        CheckError: cfn-lint could not be run.
    """
    done = _run([linter, "--format", "parseable", *names])
    if done.returncode and not done.stdout.strip():
        raise CheckError(f"{linter} failed: {done.stderr.strip()[-500:]}")
    return [line for line in done.stdout.splitlines() if line.strip()]


def checkov_findings(checkov: str, templates: Mapping[str, dict[str, Any]]) -> list[str]:
    """What checkov finds, and which excuses are idle or give no reason.

    Raises:
        CheckError: checkov could not be run, or could not read a template.
    """
    # Beside each template the same without its excuses, which says what each of them hides.
    bare = {_BARE + name: _without_excuses(template) for name, template in templates.items()}
    with tempfile.TemporaryDirectory(prefix="topic-model-templates-") as folder:
        for name, template in {**templates, **bare}.items():
            (Path(folder) / f"{name}.json").write_bytes(rendered(template))
        command = [checkov, "--directory", folder, "--framework", "cloudformation", "--output", "json"]
        # Its rules come with it; nothing is asked of the network.
        done = _run([*command, "--skip-download", "--compact", "--soft-fail"])
    failed = _failed(done, {*templates, *bare})
    found = [
        f"{name}: {resource}: {check} fails: {words}; mend it, or say at the resource why it may"
        for name in templates
        for (resource, check), words in failed[name].items()
    ]
    for name, template in templates.items():
        for logical_id, resource in template["Resources"].items():
            for excuse in _excuses(resource):
                check, reason = excuse.get("id"), str(excuse.get("comment", ""))
                if len(reason) < SHORTEST_REASON:
                    found.append(f"{name}: {logical_id}: {check} is excused with {reason!r}; say why it may fail")
                if (f"{resource['Type']}.{logical_id}", check) not in failed[_BARE + name]:
                    found.append(f"{name}: {logical_id}: {check} is excused and does not fail; take the excuse away")
    return found


def _as_deployed(path: Path) -> dict[str, Any]:
    template = read_template(path)
    if path.name != TEMPLATE.name:
        return template
    from lookup_api.app import bare_app
    from lookup_api.gateway import gateway_document

    return packaged_template(template, gateway_document(bare_app().openapi()), b"", root=Path(), folder=Path("dist"))


def _excuses(resource: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = resource.get("Metadata", {}).get("checkov", {}).get("skip", [])
    return list(found)


def _without_excuses(template: dict[str, Any]) -> dict[str, Any]:
    bare = copy.deepcopy(template)
    for resource in bare["Resources"].values():
        resource.get("Metadata", {}).pop("checkov", None)
    return bare


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LOG_LEVEL": "ERROR"}
    try:
        return subprocess.run(  # noqa: S603 - one of the two checkers
            command, env=environment, capture_output=True, text=True, check=False
        )
    except OSError as error:
        said = f"{command[0]} cannot be run ({error.strerror}); `make check-templates` installs it"
        raise CheckError(said) from error


def _failed(done: subprocess.CompletedProcess[str], expected: Iterable[str]) -> dict[str, dict[tuple[str, str], str]]:
    """By template: resource and check, to the check's words."""
    try:
        report = json.loads(done.stdout)
        results = report["results"]
        passed = {Path(one["file_path"]).stem for one in results["passed_checks"]}
    except (ValueError, KeyError, TypeError) as error:
        said = (done.stderr or done.stdout).strip()[-500:]
        raise CheckError(f"checkov gave no report ({error!r}); it said: {said}") from error
    if results["parsing_errors"] or passed != set(expected):
        unread = sorted({*results["parsing_errors"], *(set(expected) - passed)})
        raise CheckError(f"checkov could not read {unread}")
    failed: dict[str, dict[tuple[str, str], str]] = {name: {} for name in expected}
    for one in results["failed_checks"]:
        failed[Path(one["file_path"]).stem][one["resource"], one["check_id"]] = str(one["check_name"])
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
