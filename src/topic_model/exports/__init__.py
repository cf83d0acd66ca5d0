"""Reading exports: canonical JSON Lines, Parquet, and the reports of Google Ads and Microsoft Advertising.

``layouts`` alone needs the standard library only; the readers are imported when first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from topic_model.exports.layouts import Layout, sniff
    from topic_model.exports.reader import read_exports
    from topic_model.exports.rejected import RejectedLog

__all__ = ["Layout", "RejectedLog", "read_exports", "sniff"]

_HOMES = {"Layout": "layouts", "RejectedLog": "rejected", "read_exports": "reader", "sniff": "layouts"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
