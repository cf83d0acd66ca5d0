"""What a run's folder says, read into one value: the report and the final table are made from it alone.

Files read under ``runs/<name>/``, each optional but the first two (a run that failed early has no more):

- ``execution.json``: DescribeExecution's answer with the whole history under ``events`` (datetimes in ISO 8601);
- ``definition.json``: the state machine's definition;
- ``settings.json``: the settings used; else the file is left out;
- ``failure.json``: ``{state, error, cause, log_lines, log_place}``; else the failure is read from the history;
- ``evaluation/evaluation.json``, ``retrieval.json`` (quality measured against ground truth);
- ``lookups/{topics,clusters,map}.json``, ``lookups/rows-*.jsonl``, ``lookups/unscored.jsonl``;
- ``prepared/<channel>/{quality.json,rejected.jsonl}``.
"""

from __future__ import annotations

import datetime
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from topic_model.errors import TopicModelError
from topic_model_cli.failure import plain_cause
from topic_model_cli.final_table import render_table
from topic_model_cli.history import StateHistory, StateRun

__all__ = ["RunSummary", "render_table", "summary_from_folder"]

MAX_REJECTED_SHOWN = 20
MAX_UNSCORED_SHOWN = 20
_QUIET = {"Choice", "Pass", "Wait", "Succeed"}


class RunFolderError(TopicModelError):
    """A folder is not that of a run, or one of its files is damaged."""


@dataclass(frozen=True)
class StateTiming:
    """One state of the run, in the order of entry; ``offset`` and ``seconds`` are seconds since the run's start."""

    name: str
    kind: str
    outcome: str
    offset: float
    seconds: float
    channel: str | None = None
    job: str | None = None
    attempts: int = 0
    visits: int = 1
    error: str | None = None

    @property
    def label(self) -> str:
        """The name, with the channel where a Map runs the state once a channel."""
        return f"{self.name} · {self.channel}" if self.channel else self.name

    @property
    def steers(self) -> bool:
        """Whether the state does no work of its own."""
        return self.kind in _QUIET


@dataclass(frozen=True)
class Failure:
    """Why the run failed, and where to read more."""

    state: str | None
    error: str
    cause: str
    log_lines: tuple[str, ...] = ()
    log_place: str | None = None


@dataclass(frozen=True)
class Topic:
    """A topic: its mean share over campaigns and its most probable terms with their probabilities."""

    topic: int
    share: float
    terms: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Cluster:
    """A cluster of campaigns."""

    cluster: int
    label: str
    campaigns: int


@dataclass(frozen=True)
class TopicShare:
    """A topic's share in a campaign, or in what two campaigns have in common."""

    topic: int
    share: float
    terms: tuple[str, ...]


@dataclass(frozen=True)
class Similar:
    """A similar campaign; ``similarity`` in [0, 1]."""

    campaign_id: str
    name: str | None
    channel: str | None
    similarity: float
    shared_topics: tuple[TopicShare, ...]
    shared_terms: tuple[str, ...]
    related_terms: tuple[str, ...] = ()
    """The campaign's terms that occur with the other's."""


@dataclass(frozen=True)
class Recommendation:
    """A recommended keyword with its evidence: how many similar campaigns use it, and what it brought them."""

    keyword: str
    score: float
    campaigns: int
    similarity: float
    clicks: float | None
    conversions: float | None
    cost: float | None


@dataclass(frozen=True)
class CampaignLookup:
    """A campaign with its topics, similar campaigns and recommended keywords."""

    campaign_id: str
    client_id: str | None
    channel: str | None
    name: str | None
    cluster: int
    cluster_label: str
    topics: tuple[TopicShare, ...]
    similar: tuple[Similar, ...]
    recommendations: tuple[Recommendation, ...]

    @property
    def title(self) -> str:
        """The name, or the id where the export has no name."""
        return self.name or self.campaign_id


@dataclass(frozen=True)
class CampaignMap:
    """Two-dimensional positions of campaigns, in [0, 1]; all of one length."""

    campaign_ids: tuple[str, ...] = ()
    x: tuple[float, ...] = ()
    y: tuple[float, ...] = ()
    clusters: tuple[int, ...] = ()


@dataclass(frozen=True)
class Evaluation:
    """The model's figures, the gates' bounds, and the verdict."""

    accepted: bool
    failed_gates: tuple[str, ...]
    skipped_gates: tuple[str, ...]
    metrics: Mapping[str, float | None]
    gates: Mapping[str, float | None]


@dataclass(frozen=True)
class ChannelQuality:
    """What was read of one channel; ``rejected`` holds the first lines left out and ``reasons`` counts them all."""

    channel: str
    counts: Mapping[str, float]
    reasons: Mapping[str, int] = field(default_factory=dict)
    rejected: tuple[Mapping[str, Any], ...] = ()

    def left_out(self) -> str:
        """Lines, campaigns and texts that the model did not get, in words; empty where it got everything."""
        count = self.counts.get
        told = []
        if rejected := count("rejected_lines", 0):
            told.append(f"{rejected:,.0f} of {count('lines', 0):,.0f} lines rejected")
        if without := count("campaigns_without_terms", 0):
            told.append(f"{without:,.0f} of {count('campaigns', 0):,.0f} campaigns without terms")
        if over := count("texts_over_cap", 0):
            told.append(f"{over:,.0f} texts beyond max_texts, of {count('campaigns_over_cap', 0):,.0f} campaigns")
        if cut := count("texts_cut", 0):
            told.append(f"{cut:,.0f} texts cut at max_text_length")
        return "; ".join(told)


@dataclass(frozen=True)
class RunSummary:
    """One run of the workflow. ``lookups`` holds the campaigns of the map, by id."""

    name: str
    status: str
    started: datetime.datetime | None
    ended: datetime.datetime | None
    states: tuple[StateTiming, ...]
    definition: Mapping[str, Any]
    settings: Mapping[str, Any] = field(default_factory=dict)
    failure: Failure | None = None
    evaluation: Evaluation | None = None
    retrieval: Mapping[str, Any] | None = None
    topics: tuple[Topic, ...] = ()
    clusters: tuple[Cluster, ...] = ()
    map: CampaignMap = CampaignMap()
    lookups: Mapping[str, CampaignLookup] = field(default_factory=dict)
    num_lookups: int = 0
    channels: tuple[ChannelQuality, ...] = ()
    unscored: tuple[Mapping[str, Any], ...] = ()
    num_unscored: int = 0
    model_version: str | None = None
    endpoint: str | None = None

    @property
    def succeeded(self) -> bool:
        """Whether the execution ended well."""
        return self.status == "SUCCEEDED"

    @property
    def seconds(self) -> float | None:
        """From start to end; None while it runs."""
        return (self.ended - self.started).total_seconds() if self.started and self.ended else None

    def examples(self, number: int) -> list[CampaignLookup]:
        """A campaign of each of the largest clusters: the middle one by id of those with something to show.

        Chosen by position and not by how well it went, so that the examples are honest.
        """
        by_cluster: dict[int, list[CampaignLookup]] = {}
        for lookup in self.lookups.values():
            by_cluster.setdefault(lookup.cluster, []).append(lookup)
        chosen = []
        for _, members in sorted(by_cluster.items(), key=lambda entry: (-len(entry[1]), entry[0]))[:number]:
            telling = [member for member in members if member.similar and member.recommendations] or members
            telling.sort(key=lambda member: member.campaign_id)
            chosen.append(telling[len(telling) // 2])
        return chosen


def summary_from_folder(folder: Path) -> RunSummary:
    """Read a run's folder; see the module's list of files.

    Raises:
        RunFolderError: the folder, its execution or its definition is missing, or a file is not what it should be.
    """
    execution = _read(folder / "execution.json")
    definition = _read(folder / "definition.json")
    if execution is None or definition is None:
        missing = "execution.json" if execution is None else "definition.json"
        raise RunFolderError(f"{folder} has no {missing}; name the folder of a run, such as runs/<name>")
    try:
        return _summary(folder, execution, definition)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunFolderError(f"{folder} holds a file of another layout ({error!r}); make the run again") from error


def _summary(folder: Path, execution: dict[str, Any], definition: dict[str, Any]) -> RunSummary:
    events = [{**event, "timestamp": _moment(event["timestamp"])} for event in execution.get("events", [])]
    history = StateHistory(definition)
    history.feed(events)
    started, ended = _moment(execution.get("startDate")), _moment(execution.get("stopDate"))
    if started is None and events:
        started = events[0]["timestamp"]
    status = str(execution["status"])
    campaign_map = _campaign_map(_read(folder / "lookups" / "map.json"))
    lookups, num_lookups, version = _lookups(folder / "lookups", set(campaign_map.campaign_ids))
    evaluation = _read(folder / "evaluation" / "evaluation.json")
    unscored = list(_lines(folder / "lookups" / "unscored.jsonl"))
    return RunSummary(
        name=str(execution.get("name") or folder.name),
        status=status,
        started=started,
        ended=ended,
        states=tuple(_timing(run, started, ended) for run in history.runs),
        definition=definition,
        settings=_read(folder / "settings.json") or {},
        failure=_failure(folder, execution, history) if status not in ("SUCCEEDED", "RUNNING") else None,
        evaluation=_evaluation(evaluation) if evaluation else None,
        retrieval=_read(folder / "retrieval.json"),
        topics=tuple(_topic(entry) for entry in _read_list(folder / "lookups" / "topics.json")),
        clusters=tuple(
            Cluster(int(entry["cluster"]), str(entry["label"]), int(entry["campaigns"]))
            for entry in _read_list(folder / "lookups" / "clusters.json")
        ),
        map=campaign_map,
        lookups=lookups,
        num_lookups=num_lookups,
        channels=tuple(_channels(folder / "prepared")),
        unscored=tuple(unscored[:MAX_UNSCORED_SHOWN]),
        num_unscored=len(unscored),
        model_version=version or (evaluation or {}).get("model_version"),
        endpoint=_endpoint(events),
    )


def _read(path: Path) -> dict[str, Any] | None:
    found = _parsed(path)
    if found is not None and not isinstance(found, dict):
        raise RunFolderError(f"{path} holds no JSON object; make the run again")
    return found


def _read_list(path: Path) -> list[dict[str, Any]]:
    found = _parsed(path) or []
    if not isinstance(found, list):
        raise RunFolderError(f"{path} holds no JSON array; make the run again")
    return found


def _parsed(path: Path) -> Any:
    if not path.is_file():
        return None
    try:
        return orjson.loads(path.read_bytes())
    except ValueError as error:
        raise RunFolderError(f"{path} is not JSON ({error}); make the run again") from error


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if path.is_file():
        with path.open("rb") as stream:
            yield from (orjson.loads(line) for line in stream if line.strip())


def _moment(value: Any) -> Any:
    if isinstance(value, str):
        moment = datetime.datetime.fromisoformat(value)
        return moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
    return value


def _timing(run: StateRun, started: datetime.datetime | None, ended: datetime.datetime | None) -> StateTiming:
    return StateTiming(
        name=run.name,
        kind=run.type,
        outcome=run.outcome,
        offset=max(0.0, (run.entered - started).total_seconds()) if started else 0.0,
        seconds=run.seconds(ended or run.entered),
        channel=run.channel,
        job=run.job.name if run.job else None,
        attempts=run.attempts,
        visits=run.visits,
        error=run.error,
    )


def _failure(folder: Path, execution: Mapping[str, Any], history: StateHistory) -> Failure:
    told = _read(folder / "failure.json")
    if told:
        return Failure(
            told.get("state"),
            str(told["error"]),
            str(told.get("cause") or ""),
            tuple(map(str, told.get("log_lines") or ())),
            told.get("log_place"),
        )
    run = history.failed()
    return Failure(
        run.label if run else None,
        (run.error if run else None) or str(execution.get("error") or execution["status"]),
        plain_cause((run.cause if run else None) or str(execution.get("cause") or "")),
    )


def _evaluation(entry: Mapping[str, Any]) -> Evaluation:
    return Evaluation(
        bool(entry["accepted"]),
        tuple(entry["failed_gates"]),
        tuple(entry.get("skipped_gates", ())),
        entry["metrics"],
        entry["gates"],
    )


def _topic(entry: Mapping[str, Any]) -> Topic:
    terms = tuple((str(term["term"]), float(term["probability"])) for term in entry["terms"])
    return Topic(int(entry["topic"]), float(entry["share"]), terms)


def _campaign_map(entry: Mapping[str, Any] | None) -> CampaignMap:
    if entry is None:
        return CampaignMap()
    found = CampaignMap(*(tuple(entry[name]) for name in ("campaign_id", "x", "y", "cluster")))
    if len({len(found.campaign_ids), len(found.x), len(found.y), len(found.clusters)}) != 1:
        raise ValueError("map.json has columns of unequal length")
    return found


def _lookups(folder: Path, wanted: set[str]) -> tuple[dict[str, CampaignLookup], int, str | None]:
    """The wanted rows by id, how many rows there are, and their model's version; reads a line at a time."""
    found: dict[str, CampaignLookup] = {}
    number, version = 0, None
    for path in sorted(folder.glob("rows-*.jsonl")):
        for row in _lines(path):
            number += 1
            version = row.get("model_version", version)
            if row["campaign_id"] in wanted:
                found[row["campaign_id"]] = _lookup(row)
    return found, number, version


def _lookup(row: Mapping[str, Any]) -> CampaignLookup:
    return CampaignLookup(
        campaign_id=row["campaign_id"],
        client_id=row.get("client_id"),
        channel=row.get("channel"),
        name=row.get("name"),
        cluster=int(row["cluster"]),
        cluster_label=str(row["cluster_label"]),
        topics=_topic_shares(row["topics"]),
        similar=tuple(
            Similar(
                entry["campaign_id"],
                entry.get("name"),
                entry.get("channel"),
                float(entry["similarity"]),
                _topic_shares(entry.get("shared_topics", ())),
                tuple(entry.get("shared_terms", ())),
                tuple(entry.get("related_terms", ())),
            )
            for entry in row["similar"]
        ),
        recommendations=tuple(
            Recommendation(
                entry["keyword"],
                float(entry["score"]),
                int(entry["campaigns"]),
                float(entry["similarity"]),
                *(entry.get(name) for name in ("clicks", "conversions", "cost")),
            )
            for entry in row["recommendations"]
        ),
    )


def _topic_shares(entries: Any) -> tuple[TopicShare, ...]:
    return tuple(TopicShare(int(entry["topic"]), float(entry["share"]), tuple(entry["terms"])) for entry in entries)


def _channels(prepared: Path) -> Iterator[ChannelQuality]:
    for path in sorted(prepared.glob("*/quality.json")):
        quality = _read(path) or {}
        counts = {name: value for name, value in quality.items() if isinstance(value, int | float)}
        reasons: Counter[str] = Counter()
        shown: list[Mapping[str, Any]] = []
        for line in _lines(path.with_name("rejected.jsonl")):
            reasons[str(line.get("reason"))] += 1
            if len(shown) < MAX_REJECTED_SHOWN:
                shown.append(line)
        yield ChannelQuality(path.parent.name, counts, dict(reasons.most_common(10)), tuple(shown))


def _endpoint(events: list[dict[str, Any]]) -> str | None:
    """The name that the smoke test was given: the endpoint is deployed by an execution of its own."""
    for event in reversed(events):
        details = event.get("taskScheduledEventDetails") or {}
        parameters = json.loads(details.get("parameters") or "{}")
        payload = parameters.get("Payload") if isinstance(parameters, dict) else None
        if isinstance(payload, dict) and payload.get("endpoint"):
            return str(payload["endpoint"])
    return None
