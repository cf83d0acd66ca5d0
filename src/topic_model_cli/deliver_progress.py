"""What a delivery shows as it goes: a line an action that ended, and below them what is at work."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from rich.console import Console
from rich.text import Text

from topic_model_cli.deliver_errors import DeliveryStoppedError
from topic_model_cli.progress import HEARTBEAT_SECONDS, printable

_WIDTH = 32
_COLOURS = {"ok": "green", "failed": "red", "...": "dim"}


@dataclass
class Shown:
    """An action that is shown."""

    label: str
    progress: DeliveryProgress
    began: float = field(default_factory=time.monotonic)
    said: float = field(default_factory=time.monotonic)
    ended: bool = False

    def note(self, text: str) -> None:
        """What it is about; said now and then where there is no terminal to show it in."""
        self.progress.working(self, text)

    def end(self, mark: str, text: str) -> None:
        """How it ended."""
        self.ended = True
        self.progress.line(mark, self, text)


class DeliveryProgress:
    """Shows actions; several may be at work at once."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._lock = threading.RLock()
        self._status = console.status("") if console.is_terminal else None
        self.stopping = threading.Event()
        """Set, it ends what is at work: every action that waits says now and then what it waits for."""

    @contextlib.contextmanager
    def action(self, stage: str, name: str) -> Iterator[Shown]:
        """While this lasts, the action is at work."""
        shown = Shown(f"{stage}  {name}", self)
        with self._lock:
            if self._status is not None:
                self._status.update(printable(shown.label))
                self._status.start()
        try:
            yield shown
        except BaseException as error:
            if not shown.ended:
                shown.end("failed", (str(error) or type(error).__name__).splitlines()[0])
            raise
        finally:
            if self._status is not None:
                self._status.stop()

    def working(self, shown: Shown, text: str) -> None:
        """An action says what it is about.

        Raises:
            DeliveryStoppedError: it is to end.
        """
        if self.stopping.is_set():
            raise DeliveryStoppedError("stopped")
        with self._lock:
            if self._status is not None:
                self._status.update(printable(f"{shown.label}  {text}"))
            elif time.monotonic() - shown.said >= HEARTBEAT_SECONDS:
                shown.said = time.monotonic()
                self.line("...", shown, text)

    def line(self, mark: str, shown: Shown, text: str) -> None:
        """A line about an action."""
        told = Text(f"{mark:<7}", style=_COLOURS.get(mark, ""))
        told.append(
            f"  {printable(shown.label):<{_WIDTH}} {time.monotonic() - shown.began:7.1f} s  {printable(text)}".rstrip(),
            style="default",
        )
        with self._lock:
            self.console.print(told, soft_wrap=True, highlight=False)

    def say(self, text: str) -> None:
        """A line about the delivery."""
        with self._lock:
            self.console.print(Text(printable(text)), soft_wrap=True, highlight=False)

    def paused(self, ask: Callable[[str], bool]) -> Callable[[str], bool]:
        """A question that is not drawn over."""

        def asked(question: str) -> bool:
            if self._status is not None:
                self._status.stop()
            return ask(question)

        return asked
