"""SmokeTest: some known campaigns through the endpoint just deployed, held against the run's lookup rows.

It finds an endpoint that serves another model, a container that reads text differently from the one that trained, and
a model that was deployed without its neighbours: what a health check does not see. The rows are those that
PublishLookups publishes next, read from the run's folder: the lookup table still holds the model before.

While the model is a canary, the same questions are its probes (``canary_probes``): there a wrong answer sends it back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workflow_functions.canary_probes import probe
from workflow_functions.errors import SmokeTestError
from workflow_functions.known_answers import ask, compare, known_campaigns

MAX_CAMPAIGNS = 8


def handler(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """Check ``{"endpoint", "model_version", "lookups": <URI>, "scoring": <URI>}``; answers how many are ``checked``.

    An event with ``config`` is of a canary that bakes: ``canary_probes.probe`` answers it.

    Raises:
        SmokeTestError: an answer differs from the campaign's row, or there is nothing to check with.
        LookupRowsError: the rows are not as BuildNeighbours wrote them.
    """
    del context
    if "config" in event:
        return probe(event)
    endpoint, version, lookups = (str(event[name]) for name in ("endpoint", "model_version", "lookups"))
    checked = 0
    for record, row in known_campaigns(lookups, str(event["scoring"]), version, at_most=MAX_CAMPAIGNS):
        compare(row, ask(endpoint, record), version)
        checked += 1
    if not checked:
        raise SmokeTestError(
            f"none of the first campaigns under {event['scoring']} has a row under {lookups}; the endpoint could not "
            "be checked"
        )
    return {"checked": checked, "model_version": version}
