"""What a kill cuts off in the middle of one resource is undone by the journal: what was not finished is not played.

A request that a provider sends says in a header for which operation it is: the creation, change or deletion of one
resource. The journal keeps it. A stack that is loaded with a resource in progress names that operation as unfinished;
its requests are dropped before the journal is played, and the resource is as if it had not begun. So nothing is
orphaned whose id the stack had not yet heard.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from local_aws.saved_state import read_state

HEADER = "X-Local-Aws-Operation"
FOLDER = "cloudformation"


class _Thread(threading.local):
    operation: str = ""


_thread = _Thread()
_marking: set[int] = set()
_lock = threading.Lock()


def new_operation() -> str:
    """A name for one operation on one resource."""
    return secrets.token_hex(8)


@contextlib.contextmanager
def operating(operation: str) -> Iterator[None]:
    """Requests of this thread, by clients of :func:`marked`, are for ``operation``."""
    before, _thread.operation = _thread.operation, operation
    try:
        yield
    finally:
        _thread.operation = before


def marked(client: Any) -> Any:
    """A boto3 client whose requests say what operation they are for; clients of others' threads say nothing."""
    with _lock:
        if id(client) not in _marking:
            _marking.add(id(client))  # clients live as long as the server
            client.meta.events.register("before-call.*.*", _mark)
    return client


def _mark(params: dict[str, Any], **_more: Any) -> None:
    if _thread.operation:
        params["headers"][HEADER] = _thread.operation


def unfinished(root: Path) -> frozenset[str]:
    """The operations on resources that a former server did not finish."""
    found = set()
    for path in (root / FOLDER).glob("*/stack.json"):
        state = read_state(path) or {}
        if str(state.get("status", "")).endswith("_IN_PROGRESS"):
            for resource in [*state.get("resources", []), *state.get("leftover", [])]:
                if resource["status"].endswith("_IN_PROGRESS"):
                    found.add(resource["operation"])
    return frozenset(found - {""})
