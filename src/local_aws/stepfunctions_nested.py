"""Executions started by executions: ``states:startExecution.sync:2`` (and ``.sync``), as Step Functions runs them.

Defects of moto 5.2.5: it looks at the child every half second, waits for a task token that nobody sends, and leaves
the child running when the parent is stopped or its state times out. On AWS the child is stopped with it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_sfn import (
    StateTaskServiceSfn,
)

from local_aws.stepfunctions_interpreter import StateInterruptedError, client_for

POLL_SECONDS = 0.05


def install() -> None:
    """Put the integration right; call it once."""
    for name in ("_build_sync_resolver", "_build_sync2_resolver"):
        setattr(StateTaskServiceSfn, name, _naming_the_child(getattr(StateTaskServiceSfn, name)))
    StateTaskServiceSfn._eval_sync = _eval_sync


def _naming_the_child(stock: Callable[..., Any]) -> Callable[..., Any]:
    def build(self: StateTaskServiceSfn, env: Any, **parts: Any) -> tuple[str, str, Callable[[], Any]]:
        child = str(env.stack[-1]["ExecutionArn"])
        return child, parts["state_credentials"].role_arn, stock(self, env=env, **parts)

    return build


def _eval_sync(self: StateTaskServiceSfn, env: Any, sync_resolver: tuple[str, str, Callable[[], Any]], **_: Any) -> Any:
    del self
    child, role_arn, look = sync_resolver
    while env.is_running():
        if (described := look()) is not None:
            return described
        time.sleep(POLL_SECONDS)
    with contextlib.suppress(ClientError):  # it may have ended meanwhile
        client_for("stepfunctions", role_arn).stop_execution(
            executionArn=child, error="States.ParentStopped", cause="the execution that started it was stopped"
        )
    raise StateInterruptedError
