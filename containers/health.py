"""``python -m containers.health``: Docker's health check. 0 where ``/ping`` answers 200, or nothing is to be served."""

from __future__ import annotations

import http.client
import os
import sys
from pathlib import Path

_SECONDS = 2.0  # SageMaker's own limit for a ping


def main() -> int:
    """The exit code that Docker reads: 0 healthy, 1 not."""
    if not _serves():
        return 0
    connection = http.client.HTTPConnection("127.0.0.1", int(os.environ.get("SAGEMAKER_BIND_TO_PORT") or 8080))
    connection.timeout = _SECONDS
    try:
        connection.request("GET", "/ping")
        return 0 if connection.getresponse().status == 200 else 1
    except (OSError, http.client.HTTPException):
        return 1
    finally:
        connection.close()


def _serves() -> bool:
    """Whether the container's first process has the role ``serve``."""
    try:
        return b"serve" in Path("/proc/1/cmdline").read_bytes().split(b"\0")
    except OSError:
        return True


if __name__ == "__main__":
    sys.exit(main())
