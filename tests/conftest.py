"""What holds for all tests."""

from __future__ import annotations

import signal

# A shell that runs the tests in the background has them, and all that they start, ignore SIGINT: Ctrl-C must be heard.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
