"""``topic-model similar``: asks the running endpoint, as an application would through ``sagemaker-runtime``."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from local_aws.config import DEFAULT_ROOT, root_option
from topic_model_cli.errors import QuestionError
from topic_model_cli.local import RootOption

if TYPE_CHECKING:
    from rich.console import Console

    from local_aws.config import LocalConfig

MAX_KEYWORDS = 10_000
FRESH_CAMPAIGN = "asked-on-the-command-line"
"""The id of a campaign that is only keywords; it is nobody's neighbour."""


def similar(
    campaign: Annotated[str | None, typer.Option(help="Id of a campaign of the last run.")] = None,
    keywords: Annotated[str | None, typer.Option(help='Keywords of a fresh campaign: "a, b, c".')] = None,
    k: Annotated[int, typer.Option(min=1, max=1_000, help="How many similar campaigns.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print the endpoint's answer as JSON.")] = False,
    root: RootOption = DEFAULT_ROOT,
) -> None:
    """Ask the endpoint for campaigns like a known one, or like a list of keywords, and for keywords to add."""
    from rich.console import Console

    from local_aws import lifecycle

    if (campaign is None) == (keywords is None):
        raise QuestionError("give either --campaign ID or --keywords 'a, b, c'")
    phrases = _phrases(keywords) if keywords is not None else []
    config = lifecycle.connect(root)
    if campaign is not None:
        record = find_campaign(config, campaign)
    else:
        record = {"campaign_id": FRESH_CAMPAIGN, "keywords": phrases}
    answer = ask(config, {**record, "k": k})
    if as_json:
        typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))
        return
    _show(answer, record, Console(highlight=False))


def ask(config: LocalConfig, question: Mapping[str, Any]) -> dict[str, Any]:
    """The endpoint's answer to a campaign record with ``k``.

    Raises:
        QuestionError: there is no endpoint, it refused the question, or the campaign has no known term.
    """
    from botocore.exceptions import ClientError

    from topic_model_cli.stack import ENDPOINT_NAME

    body = json.dumps(question, ensure_ascii=False).encode()
    try:
        response = config.client("sagemaker-runtime").invoke_endpoint(
            EndpointName=ENDPOINT_NAME, ContentType="application/json", Accept="application/json", Body=body
        )
    except ClientError as error:
        raise QuestionError(_why_refused(error.response, root_option(config.root))) from error
    answer = json.loads(response["Body"].read())
    if not isinstance(answer, dict):
        raise QuestionError(f"endpoint {ENDPOINT_NAME} answered {type(answer).__name__}; expected a JSON object")
    return answer


def find_campaign(config: LocalConfig, campaign_id: str) -> dict[str, Any]:
    """The record of a campaign of the last run that prepared any, as batch transform scored it.

    Raises:
        QuestionError: no run did, or it has no such campaign; the message has the ids that come nearest.
    """
    from topic_model_cli.stack import bucket_name

    run = _last_run(config)
    ids = []
    for line in _scored_lines(config, bucket_name(config), f"runs/{run}/scoring/"):
        record = json.loads(line)
        if record["campaign_id"] == campaign_id:
            return dict(record)
        ids.append(record["campaign_id"])
    near = difflib.get_close_matches(campaign_id, ids, n=5, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}?" if near else f"it has {len(ids):,} campaigns, such as {ids[:3]}"
    raise QuestionError(f"run {run} has no campaign {campaign_id!r}; {hint}")


def _phrases(keywords: str) -> list[str]:
    phrases = [phrase.strip() for phrase in keywords.replace("\n", ",").split(",")]
    phrases = [phrase for phrase in phrases if phrase]
    if not phrases:
        raise QuestionError(f"--keywords is {keywords!r}; expected keywords with commas between them")
    if len(phrases) > MAX_KEYWORDS:
        raise QuestionError(f"--keywords has {len(phrases):,} keywords; at most {MAX_KEYWORDS:,}")
    return phrases


def _last_run(config: LocalConfig) -> str:
    """The name of the newest execution that succeeded."""
    from botocore.exceptions import ClientError

    from topic_model_cli.stack import state_machine_arn

    states = config.client("stepfunctions")
    try:
        pages = states.get_paginator("list_executions").paginate(
            stateMachineArn=state_machine_arn(config), statusFilter="SUCCEEDED"
        )
        done = [execution for page in pages for execution in page["executions"] if execution["status"] == "SUCCEEDED"]
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") != "StateMachineDoesNotExist":
            raise
        done = []
    if not done:
        raise QuestionError(
            "no run has succeeded yet, so no campaign is known; "
            f"start with `topic-model run{root_option(config.root)} --input PATH`"
        )
    return str(max(done, key=lambda execution: execution["startDate"])["name"])


def _scored_lines(config: LocalConfig, bucket: str, prefix: str) -> Iterator[bytes]:
    s3 = config.client("s3")
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for item in page.get("Contents", []):
            if item["Key"].endswith(".jsonl"):
                body = s3.get_object(Bucket=bucket, Key=item["Key"])["Body"]
                yield from (line for line in body.iter_lines(chunk_size=1 << 20) if line.strip())


def _why_refused(response: Mapping[str, Any], root: str = "") -> str:
    answer = response.get("Error", {})
    code, message = answer.get("Code"), str(answer.get("Message", ""))
    if code != "ModelError":
        if "not found" in message.lower() or "could not find" in message.lower() or code == "ResourceNotFound":
            return f"no endpoint serves yet; start with `topic-model run{root} --input PATH` (without --no-deploy)"
        return f"the endpoint refused the question: {code}: {message}"
    said = str(response.get("OriginalMessage") or message)
    try:
        told = json.loads(said)["error"]
    except (ValueError, KeyError, TypeError):
        return f"the endpoint failed on the question: {said}"
    if told.get("code") == "no_known_terms":
        return f"the model knows none of these terms, so it has no neighbours for them: {told.get('message')}"
    return f"the endpoint refused the question: {told.get('message')}"


def _show(answer: Mapping[str, Any], record: Mapping[str, Any], console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    from topic_model_cli.final_table import weak_mark
    from topic_model_cli.progress import printable

    def cell(text: object) -> Text:
        return Text(printable(str(text)))

    title = record.get("name") or (record["campaign_id"] if record["campaign_id"] != FRESH_CAMPAIGN else None)
    heading = f"{title}: " if title else ""
    console.print(cell(f"{heading}{answer.get('cluster_label') or 'no cluster'} (model {answer['model_version']})"))
    for topic in answer.get("topics", [])[:3]:
        console.print(cell(f"  {topic['share']:5.0%}  {', '.join(map(str, topic['terms'][:6]))}"))
    if unknown := answer.get("unknown_terms"):
        console.print(cell(f"  the model does not know: {', '.join(map(str, unknown[:20]))}"))
    neighbours = Table("similarity", "campaign", "name", "channel", "terms in common", title="similar campaigns")
    for row in answer.get("similar") or []:
        shared = ", ".join(map(str, row.get("shared_terms", [])[:5]))
        cells = (row["campaign_id"], row.get("name") or "", row.get("channel") or "", shared)
        neighbours.add_row(f"{row['similarity']:.3f}{weak_mark(row['similarity'])}", *map(cell, cells))
    console.print(neighbours if neighbours.row_count else "no campaign is similar enough")
    keywords = Table("keyword", "used by", "clicks", "conversions", "cost", title="recommended keywords")
    for row in answer.get("recommendations") or []:
        figures = (_figure(row.get(name)) for name in ("clicks", "conversions", "cost"))
        keywords.add_row(cell(row["keyword"]), f"{row['campaigns']} similar", *figures)
    if keywords.row_count:
        console.print(keywords)


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"
