"""The sample: the same bytes every time, layouts as the platforms write them, figures that add up."""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from pathlib import Path
from statistics import median

import pytest

from topic_model.campaigns import campaign_from_record
from topic_model.errors import ExportError
from topic_model.sample import SampleReport, generate_sample
from topic_model.sample.vocabulary import themes


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return digest.hexdigest()


def _google_rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        next(stream), next(stream)
        return list(csv.DictReader(stream))


def _microsoft_rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        while next(stream).strip():
            pass
        return [row for row in csv.DictReader(stream) if row["CampaignId"]]


def _figure(text: str) -> float:
    return 0.0 if text in ("--", "") else float(text.replace(",", "").removesuffix("%"))


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SampleReport:
    return generate_sample(tmp_path_factory.mktemp("sample") / "out", campaigns=400)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    """The shipped size, as canonical records."""
    report = generate_sample(tmp_path_factory.mktemp("records") / "out", format="jsonl")
    return [json.loads(line) for path in sorted(report.exports.glob("*/*.jsonl")) for line in path.open()]


def test_equal_arguments_give_equal_bytes(tmp_path: Path) -> None:
    """Two runs write the same bytes; another seed writes others."""
    digests = [
        _digest(generate_sample(tmp_path / name, campaigns=60, seed=seed).folder)
        for name, seed in (("a", 7), ("b", 7), ("c", 8))
    ]
    assert digests[0] == digests[1] != digests[2]


def test_bytes_are_those_recorded(tmp_path: Path) -> None:
    """The sample is the same on every machine and supported Python: its digest was recorded on 3.11.

    Change the digest when words or drawing change on purpose.
    """
    recorded = "82ce8382595af28c47a631cc642d654b242c9f4c592f1740226b5f5e80abd41c"
    assert _digest(generate_sample(tmp_path / "out", campaigns=60).folder) == recorded


def test_words_are_many_and_varied() -> None:
    """At least 20 verticals of at least 4 themes, each with some 30 distinct words or phrases of its own."""
    by_vertical = Counter(theme.vertical for theme in themes())
    assert len(by_vertical) >= 20
    assert min(by_vertical.values()) >= 4
    assert all(len({*theme.heads, *theme.features}) >= 28 for theme in themes())


def test_some_words_mean_several_things() -> None:
    """Ambiguous words stand in more than one vertical, so that a word alone does not decide."""
    for word in ("apple", "jaguar", "python", "mouse", "java", "bank", "court"):
        verticals = {theme.vertical for theme in themes() for head in theme.heads if word in head.split()}
        assert len(verticals) > 1, word


def test_google_rows_add_up_to_their_totals(sample: SampleReport) -> None:
    """Clicks and cost of the rows are those of the ``Total:`` rows, which carry thousands separators."""
    for name, first in (("search_keyword_report.csv", "Keyword status"), ("search_terms_report.csv", "Search term")):
        rows = _google_rows(sample.exports / "google_ads" / name)
        totals = [row for row in rows if row[first].startswith("Total: ")]
        body = [row for row in rows if not row[first].startswith("Total: ")]
        assert len(totals) == 2
        assert "," in totals[0]["Impr."]
        for column in ("Clicks", "Impr.", "Cost", "Conversions"):
            assert sum(_figure(row[column]) for row in body) == pytest.approx(_figure(totals[0][column])), column


def test_google_reports_show_what_the_interface_shows(sample: SampleReport) -> None:
    """Match types carry their marks, rates without a base are two hyphens, and excluded terms are told."""
    keywords = _google_rows(sample.exports / "google_ads" / "search_keyword_report.csv")
    marks = {row["Match type"]: row["Keyword"][0] + row["Keyword"][-1] for row in keywords}
    assert marks["Exact match"] == "[]"
    assert marks["Phrase match"] == '""'
    assert all(row["Avg. CPC"] == "--" for row in keywords if row["Clicks"] == "0")
    terms = _google_rows(sample.exports / "google_ads" / "search_terms_report.csv")
    assert {row["Added/Excluded"] for row in terms} == {"Added", "Excluded", "None", "--"}


def test_microsoft_reports_count_their_rows(sample: SampleReport) -> None:
    """The ``Rows:`` line above a report is the number of rows below it."""
    for path in (sample.exports / "microsoft_ads").iterdir():
        head = path.read_text("utf-8-sig").splitlines()[:12]
        told = next(int(line.strip('"').removeprefix("Rows: ")) for line in head if line.startswith('"Rows: '))
        assert len(_microsoft_rows(path)) == told, path.name


def test_figures_are_consistent(records: list[dict[str, object]]) -> None:
    """Conversions ≤ clicks ≤ impressions; there is cost exactly where there are clicks; figures are skewed."""
    rows = [row for record in records for row in (*record["keywords"], *record["search_terms"])]  # type: ignore[misc]
    assert all(0 <= row["conversions"] <= row["clicks"] <= row["impressions"] for row in rows)
    assert all((row["cost"] > 0) == (row["clicks"] > 0) for row in rows)
    impressions = [row["impressions"] for row in rows]
    assert sum(impressions) / len(impressions) > 2 * median(impressions)


def test_shape_of_the_shipped_sample(records: list[dict[str, object]]) -> None:
    """2,000 campaigns of 20 clients on 2 channels, a median of some 40 keywords and search terms, a long tail."""
    assert len({record["campaign_id"] for record in records}) == 2_000
    assert Counter(record["channel"] for record in records).keys() == {"google_ads", "microsoft_ads"}
    assert all(
        sum(record["channel"] == channel for record in records) > 500 for channel in ("google_ads", "microsoft_ads")
    )
    sizes = [len(record["keywords"]) + len(record["search_terms"]) for record in records]  # type: ignore[arg-type]
    assert 30 <= median(sizes) <= 50
    assert max(sizes) > 5 * median(sizes)
    words = {word for record in records for row in record["keywords"] for word in row["text"].split()}  # type: ignore[attr-defined]
    assert len(words) > 3_000
    assert any("é" in word for word in words)
    assert any("ü" in word for word in words)


def test_canonical_records_are_read(records: list[dict[str, object]]) -> None:
    """Every line is a campaign record, with negatives in some and no field that the record does not have."""
    campaigns = [campaign_from_record(record, ignore_unknown=False) for record in records]
    assert any(campaign.negative_keywords for campaign in campaigns)


def test_both_formats_hold_the_same_campaigns(sample: SampleReport, tmp_path: Path) -> None:
    """Keywords of the reports are those of the canonical records, campaign by campaign."""
    lines = generate_sample(tmp_path / "lines", campaigns=400, format="jsonl")
    expected = Counter(
        (record["campaign_id"], keyword["text"])
        for channel in ("google_ads", "microsoft_ads")
        for record in map(json.loads, (lines.exports / channel / "campaigns.jsonl").open())
        for keyword in record["keywords"]
    )
    google = _google_rows(sample.exports / "google_ads" / "search_keyword_report.csv")
    microsoft = _microsoft_rows(sample.exports / "microsoft_ads" / "keyword_performance_report.csv")
    found = Counter((row["Campaign ID"], row["Keyword"].strip('[]"')) for row in google if row["Campaign ID"] != "--")
    found.update((row["CampaignId"], row["Keyword"]) for row in microsoft)
    assert found == expected


def test_ground_truth_stands_apart(sample: SampleReport) -> None:
    """Every campaign has its truth outside the exports, and every vertical and theme is there."""
    truth = [json.loads(line) for line in sample.ground_truth.open()]
    assert len(truth) == 400
    assert {(line["vertical"], line["theme"]) for line in truth} == {(theme.vertical, theme.name) for theme in themes()}
    assert not sample.ground_truth.is_relative_to(sample.exports)
    assert not any("theme" in path.read_text("utf-8-sig").splitlines()[9] for path in sample.exports.glob("*/*.csv"))


def test_an_earlier_sample_is_replaced(tmp_path: Path) -> None:
    """A second call needs no force where a sample stands, and leaves nothing of the first or of its own making."""
    generate_sample(tmp_path / "out", campaigns=30)
    report = generate_sample(tmp_path / "out", campaigns=20, format="jsonl")
    assert not list(report.exports.rglob("*.csv"))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_other_folders_are_kept(tmp_path: Path) -> None:
    """A folder that holds something else is refused and left as it was, unless force is set."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    with pytest.raises(ExportError, match="not a sample"):
        generate_sample(tmp_path / "out", campaigns=5)
    assert (tmp_path / "out" / "thesis.txt").read_text() == "years of work"
    generate_sample(tmp_path / "out", campaigns=5, force=True)
    assert not (tmp_path / "out" / "thesis.txt").exists()


def test_working_folder_is_kept_even_by_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Force does not delete the folder that one stands in, nor one above it."""
    (tmp_path / "here").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(ExportError, match="name another folder"):
        generate_sample(tmp_path, campaigns=5, force=True)
    assert (tmp_path / "notes.txt").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"campaigns": 0}, "campaigns is 0"),
        ({"campaigns": 2_000_000}, "campaigns is 2000000"),
        ({"seed": -1}, "seed is -1"),
        ({"terms_per_campaign": 1}, "terms_per_campaign is 1"),
        ({"format": "xml"}, "format is 'xml'"),
    ],
)
def test_bad_arguments_are_named(tmp_path: Path, arguments: dict[str, object], told: str) -> None:
    """The error names the argument and its value, and nothing is written."""
    with pytest.raises(ExportError, match=told):
        generate_sample(tmp_path / "out", **arguments)  # type: ignore[arg-type]
    assert not any(tmp_path.iterdir())
