"""Ctrl-C, a termination and a closed terminal, all as one interrupt, so that nothing is left behind by any of them."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from types import FrameType

EXIT_CODE = 130

_TERMINATIONS = [signal.SIGTERM, *([signal.SIGHUP] if sys.platform != "win32" else [])]


@contextlib.contextmanager
def terminations_as_interrupts() -> Iterator[None]:
    """While this lasts, SIGTERM and a closed terminal raise KeyboardInterrupt, as Ctrl-C does."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in _TERMINATIONS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def interrupts_ignored() -> Iterator[None]:
    """While this lasts, a second Ctrl-C or termination does not cut short the clearing up after the first."""
    numbers = [signal.SIGINT, *_TERMINATIONS]
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
