"""The process in which a Lambda function stays warm: imports the handler once, then answers event after event.

Started by :mod:`local_aws.lambdas` alone. It reads an event a line from its channel and writes an answer a line; what
the function prints goes to its standard output.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import socket
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_FRAMES_OF_RUNTIME = 1


class HandlerError(Exception):
    """The handler cannot be had; the error type is Lambda's own name for it."""

    def __init__(self, error_type: str, message: str) -> None:
        super().__init__(message)
        self.error_type = error_type


@dataclass
class LambdaContext:
    """What a handler gets as its second argument."""

    function_name: str
    function_version: str
    invoked_function_arn: str
    memory_limit_in_mb: str
    aws_request_id: str
    log_group_name: str
    log_stream_name: str
    deadline: float
    identity: None = None
    client_context: None = None

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the function is ended."""
        return max(0, int((self.deadline - time.time()) * 1000))


def load_handler(handler: str) -> Callable[[Any, LambdaContext], Any]:
    """The function that ``module.function`` names.

    Raises:
        HandlerError: as Lambda reports it.
    """
    module_name, dot, function_name = handler.rpartition(".")
    if not dot:
        raise HandlerError("Runtime.MalformedHandlerName", f"Bad handler {handler!r}: not enough values to unpack")
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as error:
        raise HandlerError("Runtime.ImportModuleError", f"Unable to import module '{module_name}': {error}") from error
    except SyntaxError as error:
        raise HandlerError("Runtime.UserCodeSyntaxError", f"Syntax error in module '{module_name}': {error}") from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise HandlerError("Runtime.HandlerNotFound", f"Handler '{function_name}' missing on module '{module_name}'")
    return function  # type: ignore[no-any-return]


def answer(handler: Callable[[Any, LambdaContext], Any], request: dict[str, Any]) -> dict[str, Any]:
    """The handler's result for one event as JSON text, or its error."""
    context = LambdaContext(**request["context"])
    try:
        result = handler(request["event"], context)
    except Exception as error:  # noqa: BLE001 - a function may raise anything; the caller is told
        traceback.print_exc()
        return {"error": error_payload(error)}
    try:
        return {"payload": json.dumps(result)}
    except (TypeError, ValueError) as error:
        text = f"Unable to marshal response: {error}"
        sys.stderr.write(f"[ERROR] Runtime.MarshalError: {text}\n")
        return {"error": {"errorType": "Runtime.MarshalError", "errorMessage": text, "stackTrace": []}}


def error_payload(error: BaseException) -> dict[str, Any]:
    """An exception as Lambda's error object."""
    frames = traceback.extract_tb(error.__traceback__)[_FRAMES_OF_RUNTIME:]
    return {
        "errorMessage": str(error),
        "errorType": error.error_type if isinstance(error, HandlerError) else type(error).__name__,
        "stackTrace": [] if isinstance(error, HandlerError) else traceback.format_list(frames),
    }


def serve(channel: socket.socket, handler_name: str) -> None:
    """Answers events until the other end closes."""
    with channel, channel.makefile("rwb") as lines:

        def send(message: dict[str, Any]) -> None:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()  # what was printed is in the log before the answer is heard
            lines.write(json.dumps(message).encode() + b"\n")
            lines.flush()

        try:
            handler = load_handler(handler_name)
        except Exception as error:  # noqa: BLE001 - a module may raise anything at import
            traceback.print_exc()
            send({"error": error_payload(error)})
            return
        send({"ready": True})
        for line in lines:
            send(answer(handler, json.loads(line)))


def main() -> None:
    """``python -m local_aws.lambda_runtime --channel FD``; the handler is in ``_HANDLER``, the code in the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--channel", type=int, required=True)
    channel = socket.socket(fileno=parser.parse_args().channel)
    channel.set_inheritable(False)
    sys.path.insert(0, os.environ["LAMBDA_TASK_ROOT"])
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the server has gone
        serve(channel, os.environ["_HANDLER"])


if __name__ == "__main__":
    main()
