"""``topic-model ab``: two models on one endpoint, what analysts make of their answers, and which one stays."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from local_aws.config import DEFAULT_ROOT
from topic_model_cli.local import RootOption

if TYPE_CHECKING:
    from topic_model_cli.ab_endpoint import Names

app = typer.Typer(help="A/B tests: two models side by side on the endpoint, compared by analysts' feedback.")

AwsOption = Annotated[
    bool, typer.Option("--aws", help="Use the AWS account of the environment's credentials, not the local AWS.")
]
EndpointOption = Annotated[
    str | None, typer.Option(help="Name of the endpoint.", show_default="the local stack's endpoint")
]
LookupTableOption = Annotated[
    str | None, typer.Option(help="Name of the lookup table.", show_default="<endpoint>-lookups")
]
FeedbackTableOption = Annotated[
    str | None, typer.Option(help="Name of the table of feedback.", show_default="<endpoint>-feedback")
]


class Side(StrEnum):
    """A side of a test."""

    A = "A"
    B = "B"


@app.command()
def start(
    model: Annotated[str | None, typer.Option(help="B: the name of a SageMaker model, of a lookup model.")] = None,
    run: Annotated[str | None, typer.Option(help="B: the name of a run, whose lookup model it is.")] = None,
    weight: Annotated[float, typer.Option(min=0.01, max=0.99, help="B's share of the requests.")] = 0.5,
    detect: Annotated[
        float, typer.Option(min=0.01, max=0.99, help="Difference of the accepted shares that the test is to find.")
    ] = 0.1,
    root: RootOption = DEFAULT_ROOT,
    aws: AwsOption = False,
    endpoint: EndpointOption = None,
    lookup_table: LookupTableOption = None,
    feedback_table: FeedbackTableOption = None,
) -> None:
    """Put a second model (B) beside the one that serves (A), each with its share of the requests."""
    from topic_model.ab_statistics import Plan
    from topic_model_cli import ab_endpoint
    from topic_model_cli.ab_models import AbTestError, published_version
    from topic_model_cli.ab_report import points

    if (model is None) == (run is None):
        raise AbTestError("give B as either --model NAME or --run NAME")
    with _stack(root, aws, endpoint, lookup_table, feedback_table) as names:
        test = ab_endpoint.start(names, Plan(detect, weight), model=model, run=run, say=typer.echo)
        published = published_version(names.lookup_table)
    typer.echo(f"A  {test.a.name}  {test.a.weight:.0%} of the requests  (model {test.a.model})")
    typer.echo(f"B  {test.b.name}  {test.b.weight:.0%} of the requests  (model {test.b.model})")
    typer.echo(f"known campaigns are answered from the published lookups, of model {published or 'none'}")
    typer.echo(
        f"a difference of {points(detect)} needs about {test.plan.answers():,} rated answers at most; "
        "`topic-model ab status` may be asked at any time"
    )


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
    root: RootOption = DEFAULT_ROOT,
    aws: AwsOption = False,
    endpoint: EndpointOption = None,
    lookup_table: LookupTableOption = None,
    feedback_table: FeedbackTableOption = None,
) -> None:
    """Say what requests and analysts' verdicts the two variants have had, and whether one is better."""
    from rich.console import Console

    from topic_model_cli import ab_endpoint
    from topic_model_cli.ab_outcomes import read_outcomes
    from topic_model_cli.ab_report import as_document, show

    with _stack(root, aws, endpoint, lookup_table, feedback_table) as names:
        test = ab_endpoint.find_test(names.endpoint)
        if test is None:
            typer.echo("null" if as_json else f"no A/B test is under way on endpoint {names.endpoint}")
            return
        outcomes = read_outcomes(names, test)
    if as_json:
        typer.echo(json.dumps(as_document(test, outcomes), indent=1))
    else:
        show(names.endpoint, test, outcomes, Console(highlight=False))


@app.command()
def stop(
    keep: Annotated[Side, typer.Option(help="The side that serves from now on.", case_sensitive=False)],
    publish: Annotated[
        bool, typer.Option("--publish/--no-publish", help="Publish the kept model's lookups, where others are.")
    ] = True,
    retained: Annotated[
        int, typer.Option(min=1, max=20, help="Models that stay, as `retained_models` of the settings.")
    ] = 3,
    root: RootOption = DEFAULT_ROOT,
    aws: AwsOption = False,
    endpoint: EndpointOption = None,
    lookup_table: LookupTableOption = None,
    feedback_table: FeedbackTableOption = None,
) -> None:
    """End the test: all requests go to the side that is kept, the other one is retired."""
    from topic_model_cli import ab_endpoint
    from topic_model_cli.ab_models import lookups_to_publish, published_version
    from workflow_functions import publish_lookups, retire_models

    with _stack(root, aws, endpoint, lookup_table, feedback_table) as names:
        kept = ab_endpoint.needed_test(names.endpoint).variant(keep.value)
        published = published_version(names.lookup_table)
        # Looked for before anything changes: a run's files may be gone.
        lookups = lookups_to_publish(kept.model) if publish and published != kept.version else None
        test = ab_endpoint.decide(names, keep.value)
        typer.echo(f"endpoint {names.endpoint}: all traffic on {kept.name} …")
        if lookups is not None:
            publish_lookups.handler({"lookups": lookups, "table": names.lookup_table}, None)
            typer.echo(f"lookups of model {kept.version} are published; they were of {published or 'none'}")
        elif published != kept.version:
            typer.echo(f"lookups are of model {published or 'none'} still, not of {kept.version}")
        else:
            typer.echo(f"lookups are of model {published}")
        # Behind the lookups: until here the same again does what an interruption left undone.
        config = ab_endpoint.end(names, test, keep.value)
        typer.echo(f"endpoint {names.endpoint} serves model {kept.version} alone ({config})")
        event = {"endpoint": names.endpoint, "config": config, "before": "", "retained": retained}
        retired = retire_models.handler(event, None)["retired"]
    typer.echo(f"retired: {', '.join(retired) or 'nothing'}")


@contextmanager
def _stack(
    root: Any, on_aws: bool, endpoint: str | None, lookup_table: str | None, feedback_table: str | None
) -> Iterator[Names]:
    """The names of the stack, with boto3 told where it is: only ``AWS_ENDPOINT_URL`` and its credentials differ."""
    import botocore.session
    from botocore.exceptions import BotoCoreError

    from local_aws import lifecycle
    from topic_model_cli.ab_endpoint import Names
    from topic_model_cli.ab_models import AbTestError
    from topic_model_cli.stack import ENDPOINT_NAME

    if on_aws and endpoint is None:
        raise AbTestError("--aws needs --endpoint NAME: which endpoint of the account is meant")
    name = endpoint or ENDPOINT_NAME
    if on_aws:
        if not botocore.session.get_session().get_config_variable("region"):
            raise AbTestError("--aws needs a region: set AWS_DEFAULT_REGION, or AWS_PROFILE to a profile that has one")
    else:
        os.environ.update(lifecycle.connect(root).environment())
    try:
        yield Names(name, lookup_table or f"{name}-lookups", feedback_table or f"{name}-feedback")
    except BotoCoreError as error:
        if on_aws:
            raise AbTestError(f"AWS could not be asked: {error}; check credentials and region") from error
        raise
