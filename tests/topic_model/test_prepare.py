"""The prepare step: the prepared channel's contract, whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from topic_model.campaigns import Campaign, Keyword, campaign_from_record, campaign_to_line
from topic_model.errors import ExportError
from topic_model.prepare import PrepareReport, prepare_channel
from topic_model.settings import PrepareSettings, TextSettings
from topic_model.text import Tokenizer

CAMPAIGNS = [
    Campaign(
        "shoes",
        "acme",
        None,
        "Shoes",
        (Keyword("[Red Shoes]", "exact", 5, 50, 1.5, 1.0), Keyword("red shoes", "broad", 1), Keyword("-free")),
        (Keyword("dsc-t20 case"), Keyword("-5 degree bag", None, None, 3)),
        ("Second Hand",),
    ),
    Campaign("digits", keywords=(Keyword("2025"), Keyword("24/7"))),
    Campaign("empty"),
    Campaign("scripts", keywords=(Keyword("кроссовки"), Keyword("智能手机"), Keyword("🎉"))),
]


def prepare(tmp_path: Path, lines: bytes, text: TextSettings | None = None, **settings: Any) -> PrepareReport:
    """Run the step on JSON Lines; outputs in ``out`` and ``scoring``."""
    exports = tmp_path / "exports"
    exports.mkdir(exist_ok=True)
    (exports / "campaigns.jsonl").write_bytes(lines)
    return prepare_channel(
        exports,
        tmp_path / "out",
        tmp_path / "scoring",
        channel="google_ads",
        settings=PrepareSettings(**settings),
        text=text or TextSettings(),
    )


def test_the_prepared_channel_is_as_agreed(tmp_path: Path) -> None:
    """Names, types and values of the Parquet file, the quality file and the list of rejections."""
    report = prepare(tmp_path, b"".join(map(campaign_to_line, CAMPAIGNS)))
    table = pq.read_table(tmp_path / "out" / "campaigns.parquet")
    doubles = pa.list_(pa.float64())
    assert {field.name: field.type for field in table.schema} == {
        **dict.fromkeys(("campaign_id", "client_id", "channel", "name"), pa.string()),
        **dict.fromkeys(("terms", "keywords", "negatives"), pa.list_(pa.string())),
        "term_counts": pa.list_(pa.int32()),
        **dict.fromkeys(("keyword_clicks", "keyword_impressions", "keyword_cost", "keyword_conversions"), doubles),
    }
    rows = table.to_pylist()
    assert rows[0] == {
        "campaign_id": "shoes",
        "client_id": "acme",
        "channel": "google_ads",
        "name": "Shoes",
        "terms": ["red", "shoe", "dsc-t20", "case", "degree", "bag"],
        "term_counts": [1, 1, 1, 1, 1, 1],
        "keywords": ["red shoes", "dsc-t20 case", "5 degree bag"],
        "keyword_clicks": [6.0, None, None],
        "keyword_impressions": [50.0, None, 3.0],
        "keyword_cost": [1.5, None, None],
        "keyword_conversions": [1.0, None, None],
        "negatives": ["free", "second hand"],
    }
    assert [row["terms"] for row in rows[1:]] == [[], [], ["кроссовки", "智能手机"]]
    quality = json.loads((tmp_path / "out" / "quality.json").read_text())
    assert quality["text_settings"] == TextSettings().model_dump()
    expected = {"channel": "google_ads", "files": 1, "lines": 4, "rejected_lines": 0, "campaigns": 4}
    expected |= {"campaigns_without_terms": 2, "keywords": 7, "tokens": 8, "distinct_terms": 8}
    assert {name: quality[name] for name in expected} == expected
    assert quality["seconds"] == report.seconds > 0
    assert (tmp_path / "out" / "rejected.jsonl").read_bytes() == b""


def test_what_is_scored_has_the_prepared_terms(tmp_path: Path) -> None:
    """A campaign sent to the model as its scoring record gives the terms it was trained with."""
    text = TextSettings(max_texts=3, max_text_length=20)
    prepare(tmp_path, b"".join(map(campaign_to_line, CAMPAIGNS)), text)
    rows = pq.read_table(tmp_path / "out" / "campaigns.parquet").to_pylist()
    lines = (tmp_path / "scoring" / "campaigns.jsonl").read_bytes().splitlines()
    tokenizer = Tokenizer(text)
    for row, line in zip(rows, lines, strict=True):
        campaign = campaign_from_record(json.loads(line), ignore_unknown=False)
        assert (campaign.campaign_id, campaign.channel) == (row["campaign_id"], "google_ads")
        expected = dict(zip(row["terms"], row["term_counts"], strict=True))
        assert list(tokenizer.campaign_terms(campaign).items()) == list(expected.items())


def test_too_many_rejections_fail_and_leave_only_their_list(tmp_path: Path) -> None:
    """The error names the first rejections; no output is half-written; the list stays."""
    lines = campaign_to_line(CAMPAIGNS[0]) * 2 + b"not json\n"
    with pytest.raises(ExportError, match=r"2 of 3 lines.*0\.5.*campaigns\.jsonl line 2.*line 1 already"):
        prepare(tmp_path, lines, max_rejected_share=0.5)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["rejected.jsonl"]
    assert len((tmp_path / "out" / "rejected.jsonl").read_text().splitlines()) == 2
    assert list((tmp_path / "scoring").iterdir()) == []


def test_few_rejections_are_listed_and_pass(tmp_path: Path) -> None:
    """Below the share, the rest is prepared."""
    report = prepare(tmp_path, b"".join(map(campaign_to_line, CAMPAIGNS)) + b"{\n", max_rejected_share=0.2)
    assert (report.campaigns, report.rejected_lines) == (4, 1)
    (entry,) = map(json.loads, (tmp_path / "out" / "rejected.jsonl").read_text().splitlines())
    assert set(entry) == {"file", "line", "reason", "campaign_id"}
    assert (entry["file"], entry["line"]) == ("campaigns.jsonl", 5)


def test_no_campaign_is_an_error(tmp_path: Path) -> None:
    """A file of blank lines is no channel, even where every rejection is allowed."""
    with pytest.raises(ExportError, match="no campaign"):
        prepare(tmp_path, b"\n\n", max_rejected_share=1)
    with pytest.raises(ExportError, match=r"no campaign.*no JSON"):
        prepare(tmp_path, b"{\n", max_rejected_share=1)


def test_caps_are_counted_in_the_quality_file(tmp_path: Path) -> None:
    """100,000 keywords and a 10 MB keyword: capped, counted, not crashed."""
    many = Campaign("many", keywords=tuple(Keyword(f"key{n}") for n in range(100_000)))
    huge = Campaign("huge", keywords=(Keyword("red sofa " + "x" * 10_000_000),))
    report = prepare(tmp_path, campaign_to_line(many) + campaign_to_line(huge), TextSettings(max_texts=1_000))
    assert (report.texts_over_cap, report.campaigns_over_cap, report.texts_cut) == (99_000, 1, 1)
    rows = pq.read_table(tmp_path / "out" / "campaigns.parquet").to_pylist()
    assert [len(row["keywords"]) for row in rows] == [1_000, 1]
    assert rows[1]["terms"] == ["red", "sofa"]


def test_the_same_exports_give_the_same_bytes(tmp_path: Path) -> None:
    """Nothing but the seconds depends on the run."""
    for run in ("one", "two"):
        (tmp_path / run).mkdir()
        prepare(tmp_path / run, b"".join(map(campaign_to_line, CAMPAIGNS)))
    for name in ("out/campaigns.parquet", "out/rejected.jsonl", "scoring/campaigns.jsonl"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_row_groups_keep_campaigns_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written in many row groups, the file reads as written in one."""
    lines = b"".join(map(campaign_to_line, CAMPAIGNS))
    prepare(tmp_path, lines)
    whole = pq.read_table(tmp_path / "out" / "campaigns.parquet")
    monkeypatch.setattr("topic_model.prepare._PHRASES_PER_ROW_GROUP", 1)
    prepare(tmp_path, lines)
    assert pq.ParquetFile(tmp_path / "out" / "campaigns.parquet").num_row_groups == 4
    assert pq.read_table(tmp_path / "out" / "campaigns.parquet").equals(whole)


def test_an_output_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """A file where the folder should be: the message names the place, and no traceback is needed."""
    (tmp_path / "scoring").write_text("in the way")
    with pytest.raises(ExportError, match="scoring"):
        prepare(tmp_path, campaign_to_line(CAMPAIGNS[0]))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_full_disk_is_an_error_and_leaves_no_half_output(tmp_path: Path) -> None:
    """Where the scoring file cannot be filled, no output appears."""
    (tmp_path / "scoring").mkdir()
    (tmp_path / "scoring" / ".campaigns.jsonl.partial").symlink_to("/dev/full")
    with pytest.raises(ExportError, match="No space left"):
        prepare(
            tmp_path, b"".join(campaign_to_line(Campaign(f"c{n}", keywords=(Keyword("a" * 99),))) for n in range(500))
        )
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["rejected.jsonl"]
    assert list((tmp_path / "scoring").iterdir()) == []


@pytest.mark.parametrize(
    ("campaigns", "said"),
    [
        ([Campaign("a"), Campaign("b")], "any of the 2 campaigns of exports: not one keyword or search term"),
        (
            [Campaign("a", keywords=(Keyword("2025"), Keyword("24/7")))],
            "the campaign of exports: the 2 .*'2025'.*keep_n",
        ),
    ],
)
def test_a_channel_without_a_term_is_an_error(campaigns: list[Campaign], said: str, tmp_path: Path) -> None:
    """The message says whether there were texts at all, what they were, and what to do; nothing is left behind."""
    with pytest.raises(ExportError, match=said):
        prepare(tmp_path, b"".join(map(campaign_to_line, campaigns)))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["rejected.jsonl"]
    assert not list((tmp_path / "scoring").iterdir())


def test_a_misspelt_field_of_every_record_is_named(tmp_path: Path) -> None:
    """``keyword`` for ``keywords`` fails the step with the name that was meant."""
    with pytest.raises(ExportError, match="'keyword'; did you mean 'keywords'"):
        prepare(tmp_path, b'{"campaign_id": "a", "keyword": ["red shoes"]}\n' * 2)
