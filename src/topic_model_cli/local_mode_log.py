"""What the SageMaker SDK says goes to a file: it prints, logs and lets threads fall, all on the terminal."""

from __future__ import annotations

import contextlib
import logging
import threading
import traceback
from collections.abc import Iterator
from typing import TextIO

_LOGGERS = ("sagemaker", "botocore", "boto3", "urllib3")


@contextlib.contextmanager
def said_to(file: TextIO) -> Iterator[None]:
    """What the SDK prints, logs and lets fall out of its threads goes to a file for as long as this lasts."""

    def thread_failed(arguments: threading.ExceptHookArgs) -> None:
        traceback.print_exception(arguments.exc_type, arguments.exc_value, arguments.exc_traceback, file=file)

    handler = logging.StreamHandler(file)
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [(logger.propagate, logger.handlers) for logger in loggers]
    for logger in loggers:
        logger.propagate, logger.handlers = False, [handler]
    hook, threading.excepthook = threading.excepthook, thread_failed
    try:
        with contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
            yield
    finally:
        threading.excepthook = hook
        for logger, (propagate, handlers) in zip(loggers, before, strict=True):
            logger.propagate, logger.handlers = propagate, handlers
        file.flush()
