"""Which alarms of production an acceptance run blames a deployment for."""

from __future__ import annotations

import datetime as dt

from acceptance.environment import fires

DEPLOYED = dt.datetime(2026, 11, 1, 12, tzinfo=dt.UTC)
MINUTE = dt.timedelta(minutes=1)


def test_an_alarm_that_was_there_before_is_not_the_deployments() -> None:
    """The commit that mends it would be rolled back; one that began behind the deployment counts, and in a test all."""
    before = {"StateValue": "ALARM", "StateTransitionedTimestamp": DEPLOYED - MINUTE, "StateUpdatedTimestamp": DEPLOYED}
    behind = {"StateValue": "ALARM", "StateUpdatedTimestamp": DEPLOYED + MINUTE}
    assert [fires(alarm, DEPLOYED) for alarm in (before, behind, {"StateValue": "OK"})] == [False, True, False]
    assert fires(before, None)
