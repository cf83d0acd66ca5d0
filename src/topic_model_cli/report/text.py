"""Small pieces of HTML: escaped text, numbers and times as people read them."""

from __future__ import annotations

import datetime
from html import escape
from typing import Any


def esc(value: Any) -> str:
    """Text that is safe in HTML, in elements and in quoted attributes; control characters become spaces."""
    return escape("".join(letter if letter.isprintable() else " " for letter in str(value)), quote=True)


def number(value: float | None, decimals: int = 0) -> str:
    """A number with thousands separators; a dash where there is none."""
    return "–" if value is None else f"{value:,.{decimals}f}"


def duration(seconds: float | None) -> str:
    """Seconds below two minutes, else minutes and seconds, or hours and minutes."""
    if seconds is None:
        return "–"
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 7200:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"


def moment(value: datetime.datetime | None) -> str:
    """A date and time to the second, with its offset from UTC."""
    return "–" if value is None else value.strftime("%Y-%m-%d %H:%M:%S %z").strip()


def plural(count: float, one: str, many: str | None = None) -> str:
    """``1 campaign``, ``2 campaigns``."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


def cluster_colour(cluster: int) -> str:
    """A colour that reads on light and on dark paper: hues by the golden angle, so that near numbers differ most."""
    lightness = (46, 60, 53)[cluster % 3]
    return f"hsl({cluster * 137.508 % 360:.0f} {(68, 62, 50)[cluster // 3 % 3]}% {lightness}%)"
