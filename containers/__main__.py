"""``python -m containers train | serve | process <step> [--name value …]``: the image's entry point."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from containers.contract import run_reporting_failure
from topic_model.errors import SettingsError

ROLES = ("train", "serve", "process")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one role; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    return run_reporting_failure(lambda: _run(given))


def _run(arguments: list[str]) -> int:
    role = arguments[0] if arguments else None
    # Each role imports what it needs and no more: the endpoint must start fast.
    if role == "train":
        from containers.train import train

        return train(arguments[1:])
    if role == "process":
        from containers.process import process

        return process(arguments[1:])
    if role == "serve":
        # A worker a core, each with one thread: and a pool of threads does not live through the workers' fork.
        os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
        from containers.serve import serve

        return serve(arguments[1:])
    raise SettingsError(f"the container was started with {role!r}; expected one of {', '.join(ROLES)}")


if __name__ == "__main__":
    sys.exit(main())
