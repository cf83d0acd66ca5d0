"""The record of what was asked and decided since the server's start: ``iam-decisions.jsonl`` in the state folder.

Each different decision is written once. It says which statement of which policy allowed what, so that what a role would
lack without one can be told by evaluating the same requests again (:func:`without`), and nothing need be run again.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from local_aws.iam_policies import Caller, Decision, Request, Statement, StatementId, evaluate

logger = logging.getLogger(__name__)

FILE = "iam-decisions.jsonl"
_MOST = 100_000  # different decisions of one server; what is more is not written


@dataclass(frozen=True)
class Recorded:
    """One decision."""

    caller: Caller
    request: Request
    decision: Decision

    def to_line(self) -> str:
        """One line of JSON."""
        return json.dumps({"caller": asdict(self.caller), "request": asdict(self.request), **_said(self.decision)})

    @classmethod
    def from_line(cls, line: str) -> Recorded:
        """The inverse of :meth:`to_line`."""
        fields: dict[str, Any] = json.loads(line)
        asked = fields["request"]
        context = {name: tuple(values) for name, values in asked["context"].items()}
        by = tuple(StatementId(*one) for one in fields["by"])
        return cls(
            Caller(**fields["caller"]),
            Request(asked["action"], asked["resource"], context),
            Decision(fields["allowed"], by, fields["why"]),
        )


def _said(decision: Decision) -> dict[str, Any]:
    return {"allowed": decision.allowed, "by": [list(one) for one in decision.by], "why": decision.why}


class Recorder:
    """Writes decisions."""

    def __init__(self, root: Path) -> None:
        self._lock = threading.Lock()
        self._seen: set[Any] = set()
        self._file = (root / FILE).open("w", encoding="utf-8")

    def record(self, caller: Caller, request: Request, decision: Decision) -> None:
        """Writes a decision that is new; a full disk costs the record, not the request."""
        who = caller.role_arn or caller.arn
        key = (who, request.action, request.resource, tuple(sorted(request.context.items())), decision.allowed)
        with self._lock:
            if key in self._seen or len(self._seen) >= _MOST:
                return
            self._seen.add(key)
            try:
                self._file.write(Recorded(caller, request, decision).to_line() + "\n")
                self._file.flush()
            except (OSError, ValueError) as error:
                logger.warning("a decision is not recorded: %s", error)

    def close(self) -> None:
        """Ends the record."""
        with self._lock:
            self._file.close()


def read_decisions(root: Path) -> Iterator[Recorded]:
    """The decisions that a state folder has recorded."""
    with (root / FILE).open(encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):
                yield Recorded.from_line(line)


def without(
    statement: StatementId,
    recorded: Iterable[Recorded],
    identity: Iterable[Statement],
    resource: Iterable[Statement] = (),
    *,
    resource_decides: bool = False,
) -> list[Recorded]:
    """The requests among ``recorded`` that were allowed and would be refused without a statement."""
    own = [one for one in identity if one.id != statement]
    others = [one for one in resource if one.id != statement]
    return [
        one
        for one in recorded
        if one.decision.allowed
        and statement in one.decision.by
        and not evaluate(one.request, one.caller, own, others, resource_decides=resource_decides).allowed
    ]
