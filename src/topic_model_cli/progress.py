"""Live progress of a run: a line a state with its time, and on a terminal the states at work now with a clock."""

from __future__ import annotations

import contextlib
import datetime
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from topic_model_cli.history import StateHistory, StateRun

NAME_WIDTH = 34
HEARTBEAT_SECONDS = 30.0
_MARKS = {
    "succeeded": ("ok", "green"),
    "handled": ("handled", "cyan"),
    "failed": ("failed", "red"),
    "stopped": ("stopped", "yellow"),
    "running": ("", ""),
}


class Progress:
    """Shows a history as it grows; on anything but a terminal plain lines without a control character."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._live: Live | None = None
        self._last_line = time.monotonic()

    @contextlib.contextmanager
    def shown(self) -> Iterator[Progress]:
        """While this lasts, a terminal shows the states at work below the lines of those that ended."""
        if not self.console.is_terminal:
            yield self
            return
        with Live(console=self.console, refresh_per_second=8, transient=True) as live:
            self._live = live
            try:
                yield self
            finally:
                self._live = None

    def update(self, history: StateHistory, notes: Mapping[str, str]) -> None:
        """Show what changed; ``notes`` hold the latest word of a job, by the label of its state."""
        now = datetime.datetime.now(datetime.UTC)
        for run in history.newly_settled():
            self._say(settled_line(run, now, notes.get(run.label, "")), style=_MARKS[run.outcome][1])
        running = history.running()
        if self._live is not None:
            self._live.update(Group(*(_running_row(run, now, notes.get(run.label, "")) for run in running)))
        elif running and time.monotonic() - self._last_line >= HEARTBEAT_SECONDS:
            for run in running:
                self._say(running_line(run, now, notes.get(run.label, "")))

    def _say(self, line: str, style: str = "") -> None:
        self._last_line = time.monotonic()
        mark, separator, rest = line.partition("  ")
        text = Text(printable(mark), style=style)
        text.append(separator + printable(rest), style="default")
        self.console.print(text, soft_wrap=True, highlight=False)


def settled_line(run: StateRun, now: datetime.datetime, note: str) -> str:
    """The line of a state that ended: outcome, name, seconds, what its job said last, the attempts it took."""
    said = [note] if note else []
    if run.attempts > 1 and run.visits == 1:
        said.append(f"{run.attempts} attempts")
    if run.outcome in {"handled", "failed"} and run.error:
        said.append(run.error if run.outcome == "failed" else f"the definition has a path for {run.error}")
    return _line(_MARKS[run.outcome][0], run, now, said)


def running_line(run: StateRun, now: datetime.datetime, note: str) -> str:
    """The line of a state that is still at work."""
    return _line("...", run, now, [note] if note else [])


def printable(text: str) -> str:
    """The text without control characters: what a job logs must not steer a terminal."""
    return "".join(character if character.isprintable() else " " for character in text)


def _line(mark: str, run: StateRun, now: datetime.datetime, said: list[str]) -> str:
    return f"{mark:<7}  {run.label:<{NAME_WIDTH}} {run.seconds(now):7.1f} s  {', '.join(said)}".rstrip()


def _running_row(run: StateRun, now: datetime.datetime, note: str) -> Table:
    row = Table.grid(padding=(0, 1))
    row.add_column(width=8)
    row.add_column(width=NAME_WIDTH)
    row.add_column(width=9, justify="right")
    row.add_column(no_wrap=True, overflow="ellipsis")
    row.add_row(Spinner("dots"), Text(printable(run.label)), f"{run.seconds(now):.1f} s", Text(printable(note), "dim"))
    return row
