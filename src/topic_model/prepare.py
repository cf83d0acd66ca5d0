"""The prepare step: exports of one channel in, clean campaigns with their terms out.

Campaigns stream through: memory holds one batch, the rows of reports where the exports are reports (see
``exports.grouping``), the ids seen and the distinct terms.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from topic_model.campaigns import Campaign
from topic_model.errors import ExportError
from topic_model.exports.reader import read_exports
from topic_model.exports.rejected import RejectedLog
from topic_model.settings import PrepareSettings, TextSettings
from topic_model.text import CampaignPhrases, Tokenizer, campaign_phrases

__all__ = ["CAMPAIGNS_SCHEMA", "PrepareReport", "prepare_channel"]

#: Phrases, not campaigns, bound a row group: campaigns differ a thousandfold in size.
_PHRASES_PER_ROW_GROUP = 200_000
_FIGURES = ("clicks", "impressions", "cost", "conversions")

CAMPAIGNS_SCHEMA = pa.schema(
    [
        pa.field("campaign_id", pa.string(), nullable=False),
        pa.field("client_id", pa.string()),
        pa.field("channel", pa.string()),
        pa.field("name", pa.string()),
        pa.field("terms", pa.list_(pa.string())),
        pa.field("term_counts", pa.list_(pa.int32())),
        pa.field("keywords", pa.list_(pa.string())),
        *(pa.field(f"keyword_{name}", pa.list_(pa.float64())) for name in _FIGURES),
        pa.field("negatives", pa.list_(pa.string())),
    ]
)


@dataclass(frozen=True, slots=True)
class PrepareReport:
    """What the step read and wrote; ``quality.json`` holds the same.

    ``lines`` are records or table rows offered, ``rejected_lines`` those left out, ``skipped_lines`` totals and footers
    of reports; ``keywords`` distinct phrases summed over campaigns, ``tokens`` term counts summed over campaigns,
    ``texts_cut`` texts cut at ``max_text_length``, ``texts_over_cap`` texts of a campaign left out beyond ``max_texts``
    and ``campaigns_over_cap`` such campaigns' number.
    """

    channel: str
    files: int
    lines: int
    rejected_lines: int
    skipped_lines: int
    campaigns: int
    campaigns_without_terms: int
    campaigns_over_cap: int
    keywords: int
    negatives: int
    tokens: int
    distinct_terms: int
    texts_cut: int
    texts_over_cap: int
    text_settings: dict[str, Any]
    seconds: float


def prepare_channel(
    exports: Path,
    out: Path,
    scoring_out: Path,
    *,
    channel: str,
    settings: PrepareSettings,
    text: TextSettings,
) -> PrepareReport:
    """Write campaigns.parquet, quality.json and rejected.jsonl to ``out``, campaigns.jsonl to ``scoring_out``.

    The files appear whole or not at all, but for ``rejected.jsonl``, which stays after a failure: it says what to mend.
    Campaigns without terms are kept (and counted); later steps list them as unscored.

    Raises:
        ExportError: no campaign, none with a term, more rejected lines than ``settings.max_rejected_share``, an export
            that cannot be read, or a disk that cannot be written.
    """
    started = time.perf_counter()
    tokenizer = Tokenizer(text)
    counts = _Counts()
    with ExitStack() as stack:
        stack.enter_context(_write_errors(out, scoring_out))
        rejected = stack.enter_context(RejectedLog(out / "rejected.jsonl"))
        files = stack.enter_context(_Replacing())
        scoring_out.mkdir(parents=True, exist_ok=True)
        writer = _ParquetWriter(
            stack.enter_context(pq.ParquetWriter(files.path(out / "campaigns.parquet"), CAMPAIGNS_SCHEMA))
        )
        scoring = stack.enter_context(files.path(scoring_out / "campaigns.jsonl").open("wb"))
        for campaign in read_exports(exports, rejected=rejected, text=text, channel=channel):
            phrases = campaign_phrases(campaign, text)
            terms = tokenizer.count_terms(phrases.keywords)
            counts.add(campaign, phrases, terms)
            writer.add(campaign, phrases, terms)
            scoring.write(_scoring_line(campaign, phrases))
        _check_rejected(rejected, counts.campaigns, exports, settings)
        _check_terms(counts, exports)
        writer.flush()
        report = PrepareReport(
            channel=channel,
            files=rejected.files,
            lines=rejected.lines,
            rejected_lines=rejected.rejected_lines,
            skipped_lines=rejected.skipped_lines,
            campaigns=counts.campaigns,
            campaigns_without_terms=counts.campaigns_without_terms,
            campaigns_over_cap=counts.campaigns_over_cap + rejected.campaigns_over_cap,
            keywords=counts.keywords,
            negatives=counts.negatives,
            tokens=counts.tokens,
            distinct_terms=len(counts.terms),
            texts_cut=counts.texts_cut,
            texts_over_cap=counts.texts_over_cap + rejected.texts_over_cap,
            text_settings=text.model_dump(),
            seconds=round(time.perf_counter() - started, 3),
        )
        files.path(out / "quality.json").write_text(json.dumps(asdict(report), indent=2) + "\n", encoding="utf-8")
        files.done = True
    return report


@dataclass(slots=True)
class _Counts:
    campaigns: int = 0
    campaigns_without_terms: int = 0
    campaigns_over_cap: int = 0
    keywords: int = 0
    negatives: int = 0
    tokens: int = 0
    texts_cut: int = 0
    texts_over_cap: int = 0
    texts: int = 0
    first_text: str = ""
    terms: set[str] = field(default_factory=set)

    def add(self, campaign: Campaign, phrases: CampaignPhrases, terms: dict[str, int]) -> None:
        self.campaigns += 1
        for texts in (campaign.keywords, campaign.search_terms):
            self.texts += len(texts)
            if texts and not self.first_text:
                self.first_text = texts[0].text
        self.campaigns_without_terms += not terms
        self.campaigns_over_cap += phrases.texts_over_cap > 0
        self.keywords += len(phrases.keywords)
        self.negatives += len(phrases.negatives)
        self.tokens += sum(terms.values())
        self.texts_cut += phrases.texts_cut
        self.texts_over_cap += phrases.texts_over_cap
        self.terms.update(terms)


class _ParquetWriter:
    """Gathers campaigns as flat columns and writes them a row group at a time."""

    def __init__(self, writer: pq.ParquetWriter) -> None:
        self._writer = writer
        self._start()

    def _start(self) -> None:
        self._flat: dict[str, list[Any]] = {field.name: [] for field in CAMPAIGNS_SCHEMA}
        self._term_offsets, self._keyword_offsets, self._negative_offsets = [0], [0], [0]

    def add(self, campaign: Campaign, phrases: CampaignPhrases, terms: dict[str, int]) -> None:
        flat = self._flat
        for name in ("campaign_id", "client_id", "channel", "name"):
            flat[name].append(getattr(campaign, name))
        flat["terms"] += terms
        flat["term_counts"] += terms.values()
        flat["keywords"] += phrases.keywords
        keywords = phrases.keywords.values()
        flat["keyword_clicks"] += [keyword.clicks for keyword in keywords]
        flat["keyword_impressions"] += [keyword.impressions for keyword in keywords]
        flat["keyword_cost"] += [keyword.cost for keyword in keywords]
        flat["keyword_conversions"] += [keyword.conversions for keyword in keywords]
        flat["negatives"] += phrases.negatives
        self._term_offsets.append(len(flat["terms"]))
        self._keyword_offsets.append(len(flat["keywords"]))
        self._negative_offsets.append(len(flat["negatives"]))
        if len(flat["keywords"]) + len(flat["negatives"]) + len(flat["campaign_id"]) >= _PHRASES_PER_ROW_GROUP:
            self.flush()

    def flush(self) -> None:
        """Write what is gathered as one row group."""
        if not self._flat["campaign_id"]:
            return
        offsets = {"terms": self._term_offsets, "term_counts": self._term_offsets, "negatives": self._negative_offsets}
        columns = []
        for column in CAMPAIGNS_SCHEMA:
            if not pa.types.is_list(column.type):
                columns.append(pa.array(self._flat[column.name], column.type))
                continue
            values = pa.array(self._flat[column.name], column.type.value_type)
            starts = pa.array(offsets.get(column.name, self._keyword_offsets), pa.int32())
            columns.append(pa.ListArray.from_arrays(starts, values))
        self._writer.write_table(pa.Table.from_arrays(columns, schema=CAMPAIGNS_SCHEMA))
        self._start()


def _scoring_line(campaign: Campaign, phrases: CampaignPhrases) -> bytes:
    """The canonical record that batch transform scores: the distinct texts, without figures, negatives apart.

    Its terms are the prepared ones: a distinct text stands for its repetitions, and those beyond the caps are gone.
    """
    texts = [keyword.text for keyword in phrases.keywords.values()]
    record = {
        "campaign_id": campaign.campaign_id,
        "client_id": campaign.client_id,
        "channel": campaign.channel,
        "name": campaign.name,
        "keywords": texts[: phrases.own],
        "search_terms": texts[phrases.own :],
        "negative_keywords": list(phrases.negatives),
    }
    return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)


def _check_rejected(rejected: RejectedLog, campaigns: int, exports: Path, settings: PrepareSettings) -> None:
    examples = "; ".join(rejected.examples)
    if rejected.rejected_share > settings.max_rejected_share:
        raise ExportError(
            f"{rejected.rejected_lines:,} of {rejected.lines:,} lines in {exports.name} were rejected, "
            f"more than the share {settings.max_rejected_share:g} that max_rejected_share allows: {examples}; "
            "the log lists more"
        )
    if not campaigns:
        raise ExportError(f"{exports.name} holds no campaign{': ' + examples if examples else ''}; export it again")


def _check_terms(counts: _Counts, exports: Path) -> None:
    if counts.terms:
        return
    campaigns = "the campaign" if counts.campaigns == 1 else f"any of the {counts.campaigns:,} campaigns"
    if not counts.texts:
        raise ExportError(
            f"no term in {campaigns} of {exports.name}: not one keyword or search term; export the campaigns again "
            "with their keywords"
        )
    shown = counts.first_text if len(counts.first_text) <= 40 else counts.first_text[:37] + "..."
    raise ExportError(
        f"no term in {campaigns} of {exports.name}: the {counts.texts:,} keywords and search terms, such as {shown!r}, "
        "hold only numbers, marks, stop words, words of a length that the text settings leave out, or are negative; "
        "check that the export's texts are the keywords themselves, or set keep_numbers if numbers are meant"
    )


class _Replacing:
    """Files written beside their place and moved there together when all is well; else removed."""

    def __init__(self) -> None:
        self.done = False
        self._files: list[tuple[Path, Path]] = []

    def __enter__(self) -> _Replacing:
        return self

    def path(self, target: Path) -> Path:
        """Where to write for now."""
        partial = target.with_name(f".{target.name}.partial")
        self._files.append((partial, target))
        return partial

    def __exit__(self, *_: object) -> None:
        for partial, target in self._files:
            if self.done:
                os.replace(partial, target)  # noqa: PTH105 Path.replace is the same, this one says atomic
            else:
                partial.unlink(missing_ok=True)


@contextmanager
def _write_errors(out: Path, scoring_out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ExportError(
            f"cannot write to {out} or {scoring_out}: {error.strerror or error}; free or mount it"
        ) from error
