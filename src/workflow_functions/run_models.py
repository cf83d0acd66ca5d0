"""Which run a SageMaker model is of, and where that run put its files."""

from __future__ import annotations

import re

_ARTIFACT = re.compile(r"(s3://[^/]+/(?:.+/)?[^/]+)/lookup-model/model\.tar\.gz")


def run_folder(artifact: str) -> str | None:
    """The folder of the run whose lookup model an artifact is, ``s3://<bucket>/runs/<run>``; None for any other."""
    match = _ARTIFACT.fullmatch(artifact)
    return match[1] if match else None
