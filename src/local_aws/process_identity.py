"""Which process is which: dying with the parent, and knowing a process again after its number may have been reused."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """On Linux the kernel kills the calling process once its parent ends, however that happens; elsewhere nothing.

    The kernel means the parent's *thread* that made the process, so children are made from a thread that lives as
    long as the server (:class:`local_aws.runner.Spawner`).
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the call above
        os._exit(1)


def process_identity(pid: int) -> str | None:
    """What tells a process from a later one with the same number: its start time (and the boot); None if it is gone."""
    if sys.platform == "linux":
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return None
        fields = stat.rpartition(")")[2].split()  # the name before it may hold blanks and brackets
        return None if fields[0] == "Z" else f"{boot}/{fields[19]}"
    shown = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)  # noqa: S603, S607 - fixed command; the argument is a number
    return shown.stdout.strip() or None


def kill_left_over(pid: int, identity: str | None) -> bool:
    """Kills a job's process group left by an earlier server, if the process is still the one recorded.

    Where the first process has gone but others of its session run on, those are killed: a session's number is not given
    to a new process while the session lives. Returns whether anything was killed.
    """
    if pid <= 1 or identity is None:
        return False
    current = process_identity(pid)
    if current == identity or (current is None and _session_members(pid) and _same_boot(identity)):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
            return True
    return False


def _same_boot(identity: str) -> bool:
    own = process_identity(os.getpid())
    return own is not None and own.partition("/")[0] == identity.partition("/")[0]


def _session_members(session: int) -> list[int]:
    members = []
    for entry in Path("/proc").glob("[0-9]*") if sys.platform == "linux" else ():
        with contextlib.suppress(OSError):
            if os.getsid(int(entry.name)) == session and process_identity(int(entry.name)):
                members.append(int(entry.name))
    return members
