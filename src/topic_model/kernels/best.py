"""The best of many, while they come: a short list that is kept in order."""

from __future__ import annotations

from topic_model.kernels.jit import kernel


@kernel()
def keep(units, places, found, unit, place):  # type: ignore[no-untyped-def]
    """Put a place among the ``found`` first of ``units`` and ``places``, if it is one of the best; returns how many.

    The most units come first, and among equals the lowest place. The arrays are as long as places are wanted.
    """
    wanted = len(units)
    last = found - 1
    if found == wanted and (unit < units[last] or (unit == units[last] and place > places[last])):
        return found
    found = min(found + 1, wanted)
    position = found - 1
    while position > 0 and (
        units[position - 1] < unit or (units[position - 1] == unit and places[position - 1] > place)
    ):
        units[position], places[position] = units[position - 1], places[position - 1]
        position -= 1
    units[position], places[position] = unit, place
    return found
