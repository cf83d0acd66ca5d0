"""Values as patch operations give them: as text."""

from __future__ import annotations

import math
from typing import Any

from moto.apigateway.exceptions import BadRequestException


def boolean(value: Any) -> bool:
    """``true`` or ``"true"``; None is False."""
    text = str(value).lower()
    if text not in ("true", "false", "none"):
        raise BadRequestException(f"Invalid boolean value: {value}")
    return text == "true"


def number(value: Any, kind: type) -> Any:
    """A number of a kind, which a patch operation gives as text."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = math.nan
    if not math.isfinite(found):
        raise BadRequestException(f"Invalid number: {value}")
    return kind(found)
