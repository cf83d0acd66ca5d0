"""``python -m topic_model.kernels``: compile every kernel, so that no later process has to; what installing runs."""

from __future__ import annotations

import importlib
import pkgutil
import sys
import time

import topic_model.kernels


def main() -> int:
    """Import every module of the package, which compiles what is not compiled yet."""
    began = time.monotonic()
    for module in pkgutil.iter_modules(topic_model.kernels.__path__):
        if module.name != "__main__":
            importlib.import_module(f"topic_model.kernels.{module.name}")
    print(f"kernels ready after {time.monotonic() - began:.1f} s")  # noqa: T201 - a command's output
    return 0


if __name__ == "__main__":
    sys.exit(main())
