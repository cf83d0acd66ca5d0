"""``topic-model costs``: what an environment costs an hour and a month, by the settings that it is deployed with.

The formula is :func:`monthly`, a line an item. Machines, their number and the bake come from the pipeline's settings,
prices from ``delivery/prices.json``; what a campaign takes of time and room was measured (:data:`JOB_SECONDS`,
:data:`ROW_KILOBYTES`), and what a job or a request takes on AWS beside that is assumed and named so. Not in it: the
delivery itself (CodePipeline, CodeBuild, images in ECR, half an hour of a test environment each), traffic out of AWS.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from topic_model_cli.errors import QuestionError

if TYPE_CHECKING:
    from pipelines.settings import PipelineSettings

PRICES = Path("delivery/prices.json")
HOURS_A_MONTH = 730

JOB_SECONDS = {
    "prepare": 6.0,
    "build_corpus": 2.0,
    "train": 4.0,
    "evaluate": 1.0,
    "score": 7.0,
    "build_neighbours": 38.0,
}
"""Seconds of each job for 10,000 campaigns of some 100 terms on 2 cores (``make bench-growth``); they grow linearly."""
JOB_START_SECONDS = 180
"""Assumed: what is paid of a machine's start, the image's download and the data's way, a job."""
ROW_KILOBYTES = 15.5
"""A campaign's row in the lookup table, as BuildNeighbours writes it for the sample (30.4 MB for 2,000 campaigns)."""
EXPORT_KILOBYTES = 12.0
"""A campaign's export with what the jobs keep of it."""
TRANSITIONS = 60
"""States that one execution enters, the deployment's polls included."""
ANSWER_READ_UNITS = 3
"""Half of 15.5 KB in units of 4 KB, and the pointer's: eventually consistent reads."""
LAMBDA_GB_SECONDS = 0.03
"""Assumed: a request of some 30 ms in a function of 1 GB."""
LOG_KILOBYTES = 1.0
"""Assumed: the access log's and the functions' lines of one request."""
CAPTURE_KILOBYTES = 12.0
"""Assumed: question and answer of a fresh campaign, as data capture keeps them for 90 days."""
ALARM_METRICS, METRICS, DASHBOARDS, KEYS, SECRETS, VPC_ENDPOINTS = 40, 6, 1, 1, 1, 4
"""What stands whether it is used or not. An alarm on an expression is paid by each metric in it: some 30 in
the template's alarms, and up to ten in the four that Deploy makes for the model that serves."""


@dataclass(frozen=True)
class Load:
    """How much is asked of an environment."""

    campaigns: int
    trainings: float
    """A month."""
    known: int
    """Requests a month about known campaigns."""
    fresh: int
    """Requests a month about fresh ones."""
    cache_gb: str = "0.5"
    vpc: bool = False


SIZES = {
    "a team": Load(2_000, 4, 20_000, 5_000, cache_gb="0"),
    "an agency": Load(100_000, 4, 1_000_000, 200_000),
    "a platform": Load(1_000_000, 30, 20_000_000, 4_000_000, cache_gb="6.1", vpc=True),
}


class PriceError(QuestionError):
    """A price is not in the file of prices."""


def costs(
    settings: Annotated[Path, typer.Option(help="The pipeline's settings.")] = Path("pipelines/settings.yaml"),
    campaigns: Annotated[int | None, typer.Option(help="Campaigns, in place of the three sizes.", min=1)] = None,
    trainings: Annotated[float, typer.Option(help="Trainings a month.", min=0)] = 4,
    known: Annotated[int, typer.Option(help="Requests a month about known campaigns.", min=0)] = 100_000,
    fresh: Annotated[int, typer.Option(help="Requests a month about fresh campaigns.", min=0)] = 20_000,
    cache_gb: Annotated[str, typer.Option(help="LookupApiCacheSize of the stack.")] = "0.5",
    vpc: Annotated[bool, typer.Option("--vpc", help="The stack makes a VPC's endpoints.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Estimate what an environment costs on AWS, an hour at rest and a month, item by item."""
    from pipelines.settings import load_settings

    found = load_settings(settings)
    prices = json.loads(PRICES.read_bytes())
    one = Load(campaigns or 0, trainings, known, fresh, cache_gb, vpc)
    sizes = {f"{campaigns:,} campaigns": one} if campaigns else SIZES
    answers = {name: monthly(load, found, prices) for name, load in sizes.items()}
    resting = {name: at_rest(load, found, prices) / HOURS_A_MONTH for name, load in sizes.items()}
    if as_json:
        told = {name: {"month": items, "hour_at_rest": resting[name]} for name, items in answers.items()}
        typer.echo(json.dumps(told, indent=2))
        return
    typer.echo(table(sizes, answers, resting, prices))


def table(
    sizes: dict[str, Load], answers: dict[str, dict[str, float]], resting: dict[str, float], prices: dict[str, Any]
) -> str:
    """The estimate as a Markdown table, a column a size; the README and the guide show it as it stands."""
    rows = [["", *sizes], ["---", *("---:" for _ in sizes)]]
    rows.append(["campaigns", *(f"{load.campaigns:,}" for load in sizes.values())])
    rows.append(["trainings a month", *(f"{load.trainings:g}" for load in sizes.values())])
    rows.append(["requests a month, known / fresh", *(f"{load.known:,} / {load.fresh:,}" for load in sizes.values())])
    for item in next(iter(answers.values())):
        rows.append([item, *(f"{answers[name][item]:,.2f}" for name in sizes)])
    rows.append(["**a month**", *(f"**{sum(answers[name].values()):,.0f}**" for name in sizes)])
    rows.append(["**an hour at rest**", *(f"**{resting[name]:.2f}**" for name in sizes)])
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines += ["", f"{prices['currency']}, {prices['region']}, prices of {prices['as_of']}; {prices['source']}."]
    return "\n".join(lines)


def monthly(load: Load, settings: PipelineSettings, prices: dict[str, Any]) -> dict[str, float]:
    """Currency units a month, by item."""
    row_units = -(-ROW_KILOBYTES // 1)
    requests = load.known + load.fresh
    rows_gb = load.campaigns * ROW_KILOBYTES / 1e6
    exports_gb = max(load.trainings, 1) * load.campaigns * EXPORT_KILOBYTES / 1e6
    captured_gb = 3 * load.fresh * CAPTURE_KILOBYTES / 1e6  # of three months
    answers = load.known * ANSWER_READ_UNITS * prices["table_read_unit"]
    return {
        "endpoint": _endpoint(settings, prices, HOURS_A_MONTH),
        "its second fleet while a canary bakes": load.trainings * _endpoint(settings, prices, _bake_hours(settings)),
        "training": load.trainings * _training(load.campaigns, settings, prices),
        "workflow": load.trainings * TRANSITIONS * prices["state_transition"],
        "lookup table, written": load.trainings * load.campaigns * row_units * prices["table_write_unit"],
        "lookup table, read and kept": answers + 2 * rows_gb * prices["table_gb_month"],
        "API and its function": requests
        * (prices["api_request"] + prices["lambda_request"] + LAMBDA_GB_SECONDS * prices["lambda_gb_second"]),
        "API's cache": _price(prices, "api_cache_hour", load.cache_gb) * HOURS_A_MONTH,
        "buckets": (exports_gb + captured_gb) * prices["bucket_gb_month"],
        "logs": requests * LOG_KILOBYTES / 1e6 * prices["log_gb"],
        "alarms, metrics, dashboard, key, secret": _standing(prices),
        "VPC's endpoints": load.vpc * VPC_ENDPOINTS * prices["vpc_endpoint_hour"] * HOURS_A_MONTH,
    }


def at_rest(load: Load, settings: PipelineSettings, prices: dict[str, Any]) -> float:
    """What of a month's costs nobody has to do anything for."""
    items = monthly(Load(load.campaigns, 0, 0, 0, load.cache_gb, load.vpc), settings, prices)
    return sum(items.values())


def _endpoint(settings: PipelineSettings, prices: dict[str, Any], hours: float) -> float:
    machine = settings.deployment.instance_type
    return settings.deployment.instance_count * _price(prices, "instance_hour", machine) * hours


def _bake_hours(settings: PipelineSettings) -> float:
    deployment = settings.deployment
    return (deployment.steps * deployment.bake_seconds + deployment.termination_wait_seconds) / 3_600


def _training(campaigns: int, settings: PipelineSettings, prices: dict[str, Any]) -> float:
    total = 0.0
    for name, seconds in JOB_SECONDS.items():
        job = getattr(settings.jobs, name)
        hours = (JOB_START_SECONDS + seconds * campaigns / 10_000) / 3_600
        share = prices["spot_share"] if getattr(job, "spot", False) else 1.0
        total += job.instance_count * hours * share * _price(prices, "instance_hour", job.instance_type)
        volume = getattr(job, "volume_size_gb", 0)
        total += hours * volume * prices["job_volume_gb_month"] / HOURS_A_MONTH
    return total


def _standing(prices: dict[str, Any]) -> float:
    return float(
        ALARM_METRICS * prices["alarm_month"]
        + METRICS * prices["metric_month"]
        + DASHBOARDS * prices["dashboard_month"]
        + KEYS * prices["key_month"]
        + SECRETS * prices["secret_month"]
    )


def _price(prices: dict[str, Any], kind: str, name: str) -> float:
    try:
        return float(prices[kind][name])
    except KeyError:
        known = ", ".join(prices[kind])
        raise PriceError(f"{PRICES} has no {kind} of {name}; it has {known}: add it there") from None
