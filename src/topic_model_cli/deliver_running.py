"""One delivery: the stages of the pipeline in order, what happens when one fails, and the report."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from botocore.exceptions import ClientError
from rich.console import Console

from topic_model.errors import TopicModelError
from topic_model_cli import interrupts
from topic_model_cli.deliver_actions import Done, Surroundings, carry_out, get_artifact, put_artifact
from topic_model_cli.deliver_environment import borrowed_environment
from topic_model_cli.deliver_errors import ActionFailedError, DeliveryError, DeliveryStoppedError, NotApprovedError
from topic_model_cli.deliver_local import DeliveryStack, ensure_delivery_stack, serve_commit, served_checkout
from topic_model_cli.deliver_progress import DeliveryProgress
from topic_model_cli.deliver_records import ActionRecord, DeliveryRecord, Records, now
from topic_model_cli.deliver_report import write_delivery
from topic_model_cli.deliver_source import Commit, unpack
from topic_model_cli.deliver_teardown import tell_end
from topic_model_cli.errors import explain_error, is_connection_error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from local_aws.config import LocalConfig
    from topic_model_cli.deliver_pipeline import Action, Stage

AWS_FOLDER = "aws"  # of the delivery's root: the local AWS's own folder
_KEPT_CHECKOUTS = 2


@dataclass(frozen=True)
class DeliveryPlan:
    """A delivery whose commit is known."""

    commit: Commit
    root: Path
    port: int | None
    runs: Path
    parameters: Mapping[str, str]
    build_overrides: Mapping[str, str]
    build_image: str | None
    enforce_iam: bool
    approve: Callable[[str], bool]


def deliver_commit(plan: DeliveryPlan) -> None:
    """Deliver a commit and report on it; prints as it goes.

    Raises:
        DeliveryError: it did not get through; its report is written, and its test environment removed.
        typer.Exit: with 130, after Ctrl-C stopped it and removed its test environment.
    """
    console = Console(highlight=False)
    mode = plan.commit.execution_mode()
    records = Records(plan.root / "executions")
    plan.root.mkdir(parents=True, exist_ok=True)
    with (
        interrupts.terminations_as_interrupts(),
        records.turn(mode, lambda told: console.print(told, soft_wrap=True)),
    ):
        cut_off = records.cut_off()
        record = records.new(plan.commit.id, plan.commit.subject)
        delivery = _Delivery(plan, records, record, console)
        try:
            delivery.prepare(cut_off)
            delivery.run()
        except KeyboardInterrupt:
            with interrupts.interrupts_ignored():
                delivery.end("Stopped", "interrupted from the keyboard")
            raise typer.Exit(interrupts.EXIT_CODE) from None
        except TopicModelError as error:
            delivery.end("Failed", str(error))
        except Exception as error:
            if not is_connection_error(error):
                told = explain_error(error, (plan.root / AWS_FOLDER).absolute())
                delivery.end("Failed", told or f"{type(error).__name__}: {error}")
                if told is None:  # a defect keeps its traceback
                    raise
                raise DeliveryError(f"delivery {record.id} of {record.commit[:8]} failed: {told}") from error
            delivery.end(
                "Failed", f"the local AWS does not answer any more: {error}; see {plan.root}/{AWS_FOLDER}/server.log"
            )
        else:
            delivery.end("Succeeded", "")
    if record.status != "Succeeded":
        raise DeliveryError(f"delivery {record.id} of {record.commit[:8]} {record.status.lower()}: {record.reason}")


class _Delivery:
    """A delivery under way."""

    def __init__(self, plan: DeliveryPlan, records: Records, record: DeliveryRecord, console: Console) -> None:
        self.plan, self.records, self.record, self.console = plan, records, record, console
        self.folder = plan.runs / f"delivery-{record.id[:8]}"
        self.checkout = (plan.root / "commits" / record.id[:8]).absolute()
        self.progress = DeliveryProgress(console)
        self.config: LocalConfig | None = None
        self.around: Surroundings | None = None

    def prepare(self, cut_off: list[DeliveryRecord]) -> None:
        """The commit's checkout, the local AWS that it runs, and the pipeline's stack in it."""
        self._say(f"delivery {self.record.id}: {self.plan.commit.id[:8]} {self.plan.commit.subject}")
        self.folder.mkdir(parents=True)
        self._drop_old_checkouts()
        unpack(self.plan.commit.archive(), self.checkout)
        own = Path(__file__).resolve().parents[2]
        if not borrowed_environment(self.checkout, own):
            self._note("the commit locks other versions than are installed here: its build installs its own first")
        self.config = serve_commit(
            (self.plan.root / AWS_FOLDER).absolute(),
            self.plan.port,
            self.checkout,
            self.record.commit,
            enforce_iam=self.plan.enforce_iam,
        )
        for record in cut_off:
            self._clean_up_behind(record)
        stack = self._stack()
        self.around = Surroundings(
            config=self.config,
            stack=stack,
            record=self.record,
            commit=self.plan.commit,
            checkout=self.checkout,
            folder=self.folder,
            build_overrides=self.plan.build_overrides,
            build_image=self.plan.build_image,
            approve=self.progress.paused(self.plan.approve),
        )
        self._say(f"the local AWS answers at {self.config.endpoint_url} (state in {self.plan.root})")

    def _stack(self) -> DeliveryStack:
        assert self.config is not None  # noqa: S101 - prepare has set it
        with self.progress.action("Pipeline", "stack topic-model-delivery") as shown:
            stack = ensure_delivery_stack(
                self.config, self.checkout, self.plan.commit, self.plan.parameters, shown.note
            )
            actions = len(stack.pipeline.actions)
            shown.end("ok", f"{len(stack.pipeline.stages)} stages, {actions} actions, {stack.pipeline.execution_mode}")
        return stack

    def run(self) -> None:
        """All stages.

        Raises:
            ActionFailedError: an action failed.
        """
        assert self.around is not None  # noqa: S101 - prepare has set it
        for stage in self.around.stack.pipeline.stages:
            self.record.stages[stage.name] = "InProgress"
            try:
                self._run_stage(stage, self.around)
            except (
                KeyboardInterrupt
            ):  # as Stop execution: a stage that is stopped has not failed, and nothing is undone
                self.record.stages[stage.name] = "Stopped"
                raise
            except Exception:
                self.record.stages[stage.name] = "Failed"
                if stage.rolls_back:
                    self._roll_back(stage)
                raise
            self.record.stages[stage.name] = "Succeeded"
            self.records.write(self.record)

    def _run_stage(self, stage: Stage, around: Surroundings) -> None:
        for group in stage.groups():
            with ThreadPoolExecutor(max_workers=len(group)) as pool:
                running = {pool.submit(self._run_action, action, around): action for action in group}
                try:
                    self._collect(running, around)
                except KeyboardInterrupt:
                    self.progress.stopping.set()
                    raise
            self.records.write(self.record)

    def _collect(self, running: dict[Future[Done], Action], around: Surroundings) -> None:
        """What a group of actions came to; its first failure, once all have ended."""
        failure: BaseException | None = None
        waiting = set(running)
        while waiting:
            ended, waiting = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
            for future in ended:
                action = running[future]
                if (error := future.exception()) is not None:
                    failure = failure or error
                    continue
                finished = future.result()
                for name, content in finished.artifacts.items():
                    put_artifact(around, name, content)
                if action.namespace:
                    self.record.variables[action.namespace] = dict(finished.variables)
        if failure is not None:
            raise failure

    def _run_action(self, action: Action, around: Surroundings) -> Done:
        entry = ActionRecord(action.stage, action.name, action.provider)
        self.record.actions.append(entry)
        began = time.monotonic()
        with self.progress.action(action.stage, action.name) as shown:
            try:
                finished = carry_out(action, around, shown.note)
            except BaseException as error:
                entry.status = "Stopped" if isinstance(error, DeliveryStoppedError) else "Failed"
                entry.summary = str(error)
                shown.end("failed", str(error).splitlines()[0] if str(error) else type(error).__name__)
                if isinstance(error, NotApprovedError):
                    raise NotApprovedError(f"{action.label}: {error}") from error
                if isinstance(error, ActionFailedError | ClientError):
                    raise ActionFailedError(f"{action.label}: {error}") from error
                raise
            else:
                entry.status, entry.summary = "Succeeded", finished.summary
                shown.end("ok", finished.summary.splitlines()[0])
                return finished
            finally:
                entry.seconds = round(time.monotonic() - began, 1)

    def _roll_back(self, stage: Stage) -> None:
        """What ``OnFailure: ROLLBACK`` does: the stage again, with what the last delivery brought that passed it."""
        assert self.around is not None  # noqa: S101 - prepare has set it
        last = self.records.last_that_passed(stage.name)
        if last is None:
            self._note(f"{stage.name} is not rolled back: no delivery has passed it before")
            return
        self._say(f"{stage.name} is rolled back to {last.commit[:8]} of delivery {last.id[:8]}")
        names = {name for action in stage.actions for name in action.inputs}
        before = replace(self.around, record=replace(last, actions=[], variables=dict(last.variables)))
        try:
            for name in names:
                get_artifact(before, name)
            self._run_stage(stage, before)
        except (TopicModelError, Exception) as error:  # noqa: BLE001 - the failure that led here is what is told
            self._note(f"the rollback failed too: {error}")
        else:
            self._note(f"{stage.name} is back at {last.commit[:8]}")

    def _clean_up_behind(self, record: DeliveryRecord) -> None:
        """A delivery that was killed told nobody that it ended."""
        assert self.config is not None  # noqa: S101 - prepare has set it
        with self.progress.action("Cleanup", f"delivery {record.id[:8]}, which was killed") as shown:
            try:
                told = tell_end(self.config, "topic-model", record.id, "STOPPED", shown.note)
            except (TopicModelError, ClientError) as error:
                # It stays as it is, so that the next delivery tries again; this one has an environment of its own.
                shown.end("failed", str(error).splitlines()[0])
                file = self.records.folder / f"{record.id}.json"
                self._note(
                    f"the environment of delivery {record.id} is not removed: {error}; the next delivery tries again. "
                    f"To have it left alone, delete {file}; to begin anew, deliver with another --root"
                )
                return
            record.status, record.ended, record.reason = "Stopped", now(), "killed; cleaned up by the next delivery"
            record.teardown = told
            self.records.write(record)
            shown.end("ok", told)

    def end(self, status: str, reason: str) -> None:
        """Write the end down; of a delivery that did not succeed, remove the test environment first."""
        self.progress.stopping.clear()
        if status != "Succeeded" and self.around is not None:
            with self.progress.action("Teardown", "test environment") as shown, self._failure_is_told():
                state = {"Failed": "FAILED", "Stopped": "STOPPED"}[status]
                name = self.around.stack.pipeline.name
                self.record.teardown = tell_end(self.around.config, name, self.record.id, state, shown.note)
                shown.end("ok", self.record.teardown)
        self.record.status = "Succeeded" if status == "Succeeded" else "Stopped" if status == "Stopped" else "Failed"
        self.record.reason, self.record.ended = reason, now()
        self.records.write(self.record)
        report = write_delivery(self.record, self.folder)
        self._say(f"report   {report}")

    @contextlib.contextmanager
    def _failure_is_told(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001 - why the delivery failed is told with it
            self._note(f"its test environment is not removed: {error}")
            self.record.teardown = f"not removed: {error}"

    def _drop_old_checkouts(self) -> None:
        folder = self.plan.root / "commits"
        old = sorted(folder.glob("*"), key=lambda path: path.stat().st_mtime, reverse=True) if folder.is_dir() else []
        served = served_checkout((self.plan.root / AWS_FOLDER).absolute())
        for path in old[_KEPT_CHECKOUTS - 1 :]:
            if path.name != served:
                shutil.rmtree(path, ignore_errors=True)

    def _note(self, text: str) -> None:
        self.record.notes.append(text)
        self._say(text)

    def _say(self, text: str) -> None:
        self.progress.say(text)
