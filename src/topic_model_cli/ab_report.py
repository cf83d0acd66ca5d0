"""An A/B test's outcomes, for people and for programs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich.table import Table

from topic_model.ab_statistics import Finding
from topic_model_cli.ab_outcomes import KINDS, Outcomes

if TYPE_CHECKING:
    from rich.console import Console

    from topic_model_cli.ab_endpoint import AbTest


def show(endpoint: str, test: AbTest, outcomes: Outcomes, console: Console) -> None:
    """Print it for people."""
    changing = "" if test.status == "InService" else f", {test.status}"
    console.print(f"endpoint {endpoint}{changing}, since {test.started:%Y-%m-%d %H:%M} UTC ({test.config})")
    console.print(_variants(test, outcomes))
    console.print(_verdicts(outcomes))
    for kind, text in _findings(test, outcomes):
        console.print(f"{kind}: {text}", soft_wrap=True)
    if outcomes.missing_table is not None:
        console.print(
            f"there is no table of feedback {outcomes.missing_table!r}, so no verdict is known; on the local AWS "
            "`topic-model api` makes it, and --feedback-table names another",
            soft_wrap=True,
        )
    if outcomes.outside:
        console.print(f"{outcomes.outside:,} verdicts name no variant of the test and are left out (known campaigns)")


def _variants(test: AbTest, outcomes: Outcomes) -> Table:
    table = Table("variant", "weight", "requests", "5XX errors", "p99 latency")
    total = sum(traffic.requests for traffic in outcomes.traffic.values())
    for variant in (test.a, test.b):
        traffic = outcomes.traffic[variant.name]
        latency = "" if traffic.latency_ms is None else f"{traffic.latency_ms:,.0f} ms"
        share = f" ({traffic.requests / total:.1%})" if total else ""
        table.add_row(
            variant.name, f"{variant.weight:.0%}", f"{traffic.requests:,}{share}", f"{traffic.errors:,}", latency
        )
    return table


def _verdicts(outcomes: Outcomes) -> Table:
    table = Table("accepted of an answer's", "A", "B", "B - A", "interval")
    for kind, compared in outcomes.comparisons.items():
        shares = [
            f"{arm.mean:.1%} of {arm.answers:,} answers ({arm.accepted:,}/{arm.ratings:,})" if arm.answers else "none"
            for arm in (compared.a, compared.b)
        ]
        known = not math.isnan(compared.low)
        table.add_row(
            KINDS[kind],
            *shares,
            f"{compared.difference:+.1%}" if compared.a.answers and compared.b.answers else "",
            f"{compared.low:+.1%} to {compared.high:+.1%}" if known else "",
        )
    return table


def _findings(test: AbTest, outcomes: Outcomes) -> Iterator[tuple[str, str]]:
    for kind, compared in outcomes.comparisons.items():
        text = str(compared.finding)
        if compared.finding is Finding.undecided:
            rated = compared.a.answers + compared.b.answers
            text += (
                f": {rated:,} rated answers; a difference of {points(test.plan.detect)} takes about "
                f"{compared.planned:,}"
            )
        elif compared.finding is Finding.same:
            text += f" of {points(test.plan.detect)} or more"
        yield KINDS[kind], text


def points(share: float) -> str:
    """A difference of shares, in percentage points."""
    return f"{share * 100:g} points"


def as_document(test: AbTest, outcomes: Outcomes) -> dict[str, Any]:
    """It all, for programs; what is not known is null."""

    def number(value: float) -> float | None:
        return None if math.isnan(value) else value

    return {
        "config": test.config,
        "started": test.started.isoformat(),
        "detect": test.plan.detect,
        "variants": {
            side: {
                "name": variant.name,
                "model_version": variant.version,
                "model": variant.model,
                "weight": variant.weight,
                **vars(outcomes.traffic[variant.name]),
            }
            for side, variant in (("A", test.a), ("B", test.b))
        },
        "outcomes": {
            kind: {
                "finding": str(compared.finding),
                "difference": number(compared.difference),
                "low": number(compared.low),
                "high": number(compared.high),
                "planned_answers": compared.planned,
                **{
                    side: {
                        "answers": arm.answers,
                        "ratings": arm.ratings,
                        "accepted": arm.accepted,
                        "mean": number(arm.mean),
                    }
                    for side, arm in (("A", compared.a), ("B", compared.b))
                },
            }
            for kind, compared in outcomes.comparisons.items()
        },
        "outside": outcomes.outside,
        "missing_table": outcomes.missing_table,
    }
