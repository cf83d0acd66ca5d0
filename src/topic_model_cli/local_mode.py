"""``topic-model local-mode``: the workflow's jobs by the SageMaker SDK's local mode, held against process mode."""

from __future__ import annotations

import importlib.metadata
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO, TypeVar

import typer
from rich.console import Console

from topic_model.errors import TopicModelError
from topic_model_cli import interrupts
from topic_model_cli.errors import RunFailedError
from topic_model_cli.local_mode_log import said_to
from topic_model_cli.run import InputOption, SettingsOption

if TYPE_CHECKING:
    from local_aws.config import LocalConfig
    from pipelines.local_mode import LocalMode
    from pipelines.settings import PipelineSettings
    from topic_model_cli.exports_upload import Exports
    from topic_model_cli.local_mode_docker import Workplace
    from topic_model_cli.local_mode_results import Results

Result = TypeVar("Result")

DEFAULT_LOG = Path("build/local-mode.log")
RUN = "process-mode"
PREFIX = "local-mode"
_SHOWN_CAMPAIGNS, _SHOWN_TOPICS, _ASKED_KEYWORDS = 3, 3, 5
_LABEL_WIDTH, _PART_WIDTH = 34, 18


def local_mode(
    input_path: InputOption,
    settings: SettingsOption = None,
    image: Annotated[str, typer.Option(help="Docker image of the jobs.")] = "topic-model:local",
    port: Annotated[
        int, typer.Option(min=1, max=65_535, help="Port of this machine that the containers serve on.")
    ] = 8080,
    log: Annotated[Path, typer.Option(help="File that receives what containers and SDK say.")] = DEFAULT_LOG,
) -> None:
    """Process, train, transform and deploy with SageMaker's local mode, and compare with process mode bit for bit.

    It runs the image under Docker Compose with a local AWS of its own for S3, then the same exports in process mode.
    Both must make the same bytes. Nothing of it stays but the log.
    """
    from pipelines.settings import DEFAULT_SETTINGS_PATH, load_settings
    from topic_model_cli.exports_upload import find_exports
    from topic_model_cli.local_mode_docker import check_docker, workplace

    exports = find_exports(input_path)
    pipeline_settings = load_settings(settings or DEFAULT_SETTINGS_PATH)
    compose = check_docker(image, port)
    console = Console(highlight=False, markup=False)
    log.parent.mkdir(parents=True, exist_ok=True)
    with interrupts.terminations_as_interrupts():
        try:
            with log.open("w", encoding="utf-8") as file, workplace(image) as place:
                plan = _Plan(exports, pipeline_settings, image, port, place, log, file, console)
                _compare(plan, compose)
        except KeyboardInterrupt:
            console.print("\ninterrupted; no container is left")
            raise typer.Exit(interrupts.EXIT_CODE) from None


@dataclass(frozen=True)
class _Plan:
    """A comparison whose inputs have all been checked."""

    exports: Exports
    settings: PipelineSettings
    image: str
    port: int
    place: Workplace
    log: Path
    log_file: TextIO
    console: Console

    def step(self, label: str, work: Callable[[], Result]) -> Result:
        """Does one step, what it prints going to the log, and says how long it took.

        Raises:
            LocalModeError: its container failed; with the container's last lines.
        """
        from topic_model_cli.local_mode_docker import LocalModeError

        started = time.monotonic()
        self.log_file.write(f"\n== {label}\n")
        try:
            with said_to(self.log_file):
                result = work()
        except Exception as error:
            failure = self.place.failure()
            if isinstance(error, TopicModelError) or (failure is None and not isinstance(error, RuntimeError)):
                raise
            raise LocalModeError(f"{label} failed:\n  {failure or error}\n  all of it is in {self.log}") from error
        self.place.remove_containers()
        self.console.print(f"ok       {label:<{_LABEL_WIDTH}} {time.monotonic() - started:6.1f} s", soft_wrap=True)
        return result


def _compare(plan: _Plan, compose: str) -> None:
    """Both modes, one after the other, on a local AWS of their own.

    Raises:
        LocalModeError: a job failed, or the results differ.
    """
    from local_aws import lifecycle

    root = plan.place.folder / "aws"
    try:
        config = lifecycle.up(root, _free_port())
        plan.step("process mode, the whole workflow", lambda: _run_in_process_mode(plan, root))
        sdk = importlib.metadata.version("sagemaker")
        plan.console.print(f"\nSageMaker's local mode: SDK {sdk}, {compose}, {plan.image}", soft_wrap=True)
        _warn_of_other_sources(plan)
        _say(plan, *_both(plan, config))
    finally:
        with interrupts.interrupts_ignored():
            lifecycle.down(root)


def _run_in_process_mode(plan: _Plan, root: Path) -> None:
    from topic_model_cli.local_mode_docker import LocalModeError
    from topic_model_cli.running import RunPlan, run_workflow

    folder = plan.place.folder / RUN
    run = RunPlan(RUN, plan.exports, plan.settings, verticals={}, folder=folder, root=root, port=None, deploy=True)
    try:
        run_workflow(run)
    except RunFailedError as error:
        # Its log and report are in a folder that goes.
        told = [line for line in str(error).splitlines() if str(plan.place.folder) not in line]
        raise LocalModeError("process mode fails already; topic-model run shows more:\n" + "\n".join(told)) from error


def _both(plan: _Plan, config: LocalConfig) -> tuple[Results, Results]:
    """What process mode has made, and what local mode makes of the same exports."""
    from topic_model_cli.local_mode_results import read_results
    from topic_model_cli.stack import ENDPOINT_NAME, bucket_name

    bucket = bucket_name(config)
    question = _question(plan)
    answered = config.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=ENDPOINT_NAME, ContentType="application/json", Accept="application/json", Body=question
    )
    expected = read_results(config, bucket, f"runs/{RUN}", answered["Body"].read())
    answer = _run_in_local_mode(plan, config, f"s3://{bucket}", question)
    return expected, read_results(config, bucket, PREFIX, answer)


def _question(plan: _Plan) -> bytes:
    """A fresh campaign with keywords of a known one."""
    with (plan.place.folder / RUN / "lookups" / "rows-00000.jsonl").open(encoding="utf-8") as rows:
        keywords = json.loads(rows.readline())["keywords"][:_ASKED_KEYWORDS]
    return json.dumps({"campaign_id": "fresh", "keywords": keywords}).encode()


def _run_in_local_mode(plan: _Plan, config: LocalConfig, bucket: str, question: bytes) -> bytes:
    """All of the workflow's jobs; what the endpoint answers in the end."""
    from pipelines import local_mode as jobs

    local = plan.step("open a session", lambda: _open(plan, config))
    settings, base = plan.settings, f"{bucket}/{PREFIX}"
    for channel in plan.exports.channels:
        exports = f"{bucket}/exports/{RUN}/{channel}/"
        places = {"prepared": f"{base}/prepared/{channel}", "scoring": f"{base}/scoring/{channel}"}
        request = jobs.prepare(settings, channel, exports=exports, **places)
        plan.step(f"prepare [{channel}]", lambda request=request: local.process(request))  # type: ignore[misc]
    prepared, corpus = f"{base}/prepared/", f"{base}/corpus"
    request = jobs.build_corpus(settings, prepared=prepared, corpus=corpus)
    plan.step("build-corpus", lambda: local.process(request))
    model = plan.step("train", lambda: local.train(f"{corpus}/", f"{base}/training"))
    request = jobs.evaluate(settings, model=model, corpus=f"{corpus}/", evaluation=f"{base}/evaluation")
    plan.step("evaluate", lambda: local.process(request))
    for channel in plan.exports.channels:
        scoring, fingerprints = f"{base}/scoring/{channel}/", f"{base}/fingerprints/{channel}"
        plan.step(f"transform [{channel}]", lambda one=scoring, two=fingerprints: local.score(model, one, two))  # type: ignore[misc]
    request = jobs.build_neighbours(
        settings,
        model=model,
        prepared=prepared,
        fingerprints=f"{base}/fingerprints/",
        lookups=f"{base}/lookups",
        lookup_model=f"{base}/lookup-model",
    )
    plan.step("build-neighbours", lambda: local.process(request))
    return plan.step("deploy and ask", lambda: _ask(local, f"{base}/lookup-model/model.tar.gz", question))


def _open(plan: _Plan, config: LocalConfig) -> LocalMode:
    from pipelines.local_mode import LocalMode, open_session
    from topic_model_cli.stack import PREFIX as STACK

    folder = plan.place.folder / "containers"
    folder.mkdir()
    session = open_session(
        config.endpoint_url, region=config.region, folder=folder, port=plan.port, label=plan.place.label
    )
    return LocalMode(session, plan.image, f"arn:aws:iam::{config.account}:role/{STACK}-jobs", plan.settings)


def _ask(local: LocalMode, model: str, question: bytes) -> bytes:
    from pipelines.local_mode import ask

    with local.endpoint(model) as predictor:
        return ask(predictor, question)


def _say(plan: _Plan, expected: Results, found: Results) -> None:
    """Part by part whether the bytes are the same, and some fingerprints to look at.

    Raises:
        LocalModeError: a part differs.
    """
    from topic_model_cli.local_mode_docker import LocalModeError
    from topic_model_cli.local_mode_results import differences, hash_of_part

    differ = differences(expected, found)
    plan.console.print()
    for part, names in found.parts.items():
        files = len(expected.parts[part].keys() | names.keys())
        if part in differ:
            said = f"{len(differ[part])} of {files} file(s), such as {differ[part][0]}"
            plan.console.print(f"differ   {part:<{_PART_WIDTH}} {said}", soft_wrap=True)
        else:
            digest = hash_of_part(found, part)[:12]
            plan.console.print(f"same     {part:<{_PART_WIDTH}} {files} file(s), sha256 {digest}", soft_wrap=True)
    plan.console.print(f"\nfingerprints, the first of {len(found.fingerprints):,}; their strongest topics")
    for campaign, theta in list(found.fingerprints.items())[:_SHOWN_CAMPAIGNS]:
        for mode, weights in (("process", expected.fingerprints.get(campaign, [])), ("local", theta)):
            strongest = sorted(range(len(weights)), key=lambda topic: -weights[topic])[:_SHOWN_TOPICS]
            shown = "  ".join(f"{topic}: {weights[topic]!r}" for topic in strongest)
            plan.console.print(f"  {campaign:<16} {mode:<8} {shown}", soft_wrap=True)
    if differ:
        raise LocalModeError(
            f"local mode made other bytes than process mode: {', '.join(differ)}. Is {plan.image} of these sources? "
            "'make images' builds it anew"
        )
    plan.console.print("\nSageMaker's local mode makes the same fingerprints as process mode, bit for bit")


def _warn_of_other_sources(plan: _Plan) -> None:
    """Say so where the image was built of other sources than this checkout's."""
    from containers.build import ROOT, SOURCES_LABEL, sources_hash
    from local_aws.docker_containers import docker

    if not (ROOT / "containers" / "Dockerfile").is_file():
        return  # installed from a wheel, which has no sources to compare with
    template = f'{{{{index .Config.Labels "{SOURCES_LABEL}"}}}}'
    if docker("image", "inspect", "--format", template, plan.image).stdout.strip() != sources_hash(ROOT):
        plan.console.print(
            f"note: {plan.image} was built of other sources than this checkout's; 'make images' builds it anew",
            soft_wrap=True,
        )


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
