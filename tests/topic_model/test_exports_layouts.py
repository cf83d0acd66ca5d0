"""Layouts: an export is recognised from its head and its name, and what is none is refused with reasons."""

from __future__ import annotations

import gzip
import subprocess
import sys

import pytest

from topic_model.errors import ExportError
from topic_model.exports.columns import is_negative, is_total, match_type_of, parse_figure
from topic_model.exports.layouts import HEAD_BYTES, sniff

# As the platforms write them: Google Ads' download, its "Excel CSV", and the layout in Microsoft's reporting guide.
GOOGLE_SEARCH_TERMS = (
    "Search terms report\n"
    '"September 1, 2026 - September 27, 2026"\n'
    "Search term,Match type,Added/Excluded,Campaign,Ad group,Keyword,Currency code,Impr.,Clicks,CTR,Avg. CPC,Cost,"
    "Conversions,Cost / conv.\n"
)
GOOGLE_KEYWORDS = (
    "Search keyword report\nAll time\n"
    "Keyword status,Keyword,Match type,Campaign,Ad group,Status,Status reasons,Currency code,Max. CPC,Clicks,Impr.,"
    "Cost\n"
)
MICROSOFT = (
    '"Report Name: My Keyword Performance Report"\r\n"Report Time: 2/7/2020"\r\n'
    '"Time Zone: (GMT-08:00) Pacific Time (US & Canada); Tijuana"\r\n"Report Aggregation: Summary"\r\n'
    '"Report Filter: "\r\n"Potential Incomplete Data: true"\r\n"Rows: 5"\r\n\r\n'
    '"AccountId","CampaignId","Keyword","KeywordId","DeviceType","Clicks","Spend"\r\n'
)


@pytest.mark.parametrize(
    ("head", "name", "platform", "report", "header_line"),
    [
        (GOOGLE_SEARCH_TERMS, "a.csv", "google_ads", "search_terms", 3),
        (GOOGLE_KEYWORDS, "a.csv", "google_ads", "keywords", 3),
        (MICROSOFT, "a.csv", "microsoft_advertising", "keywords", 9),
        ("Campaign name\tSearch term\tClicks\n", "a.tsv", "google_ads", "search_terms", 1),
        ("Negative keyword;Campaign;Level\n", "a.txt", "google_ads", "negative_keywords", 1),
        ('"CampaignName","SearchQuery","Spend"', "a.csv", "microsoft_advertising", "search_terms", 1),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_report_is_recognised(
    head: str, name: str, platform: str, report: str, header_line: int, encoding: str, packed: bool
) -> None:
    """The platforms' real headers are found below their titles, in every encoding they come in."""
    content = head.encode(encoding)
    layout = sniff(gzip.compress(content) if packed else content, name + ".gz" * packed)
    assert (layout.kind, layout.platform, layout.report) == ("table", platform, report)
    assert (layout.header_line, layout.gzipped) == (header_line, packed)


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b'{"campaign_id": "1"}\n', "a.jsonl"),
        (b'\xef\xbb\xbf{"campaign_id": "1"}\n', "a.ndjson"),
        (gzip.compress(b'{"campaign_id": "1"}\n', mtime=0), "a.json.gz"),
        (b"not json\n" + b'{"campaign_id": 1}\n', "a.jsonl"),
        (b'{"campaign_id": "1", "keywords": ["' + b"x" * HEAD_BYTES, "a.jsonl"),
        (b'{"campaign_id": "1"}\n', "part-0001"),
    ],
)
def test_json_lines_are_recognised(head: bytes, name: str) -> None:
    """By name or content, packed or not, whole or cut."""
    assert sniff(head, name).kind == "jsonl"


def test_a_head_cut_anywhere_is_enough() -> None:
    """A packed file's first bytes tell its layout, although the packing is cut."""
    rows = "".join(f"red shoes {n},Exact match,None,C{n},G,k,USD,{n},0,0%,0,0,0,0\n" for n in range(20_000))
    head = gzip.compress((GOOGLE_SEARCH_TERMS + rows).encode())[:5_000]
    assert sniff(head, "a.csv.gz").header_line == 3


@pytest.mark.parametrize(
    ("head", "name", "said"),
    [
        (b"", "a.csv", "empty"),
        (b"Campaign,Clicks\nA,1\n", "a.csv", r"a\.csv.*found the columns \['Campaign', 'Clicks'\].*'Keyword'"),
        (b"Keyword,Clicks\na,1\n", "a.csv", r"found the columns \['Keyword', 'Clicks'\].*'Campaign'"),
        (b'{"id": 1, "keywords": []}\n', "a.jsonl", r"a\.jsonl.*\['id', 'keywords'\].*campaign_id"),
        (b'[{"campaign_id": 1}]', "a.json", "JSON array"),
        ('{"campaign_id": 1}\n'.encode("utf-16"), "a.jsonl", "UTF-8"),
        (b"PK\x03\x04....", "a.xlsx", "spreadsheet"),
        (b"nothing", "a.parquet", "Parquet"),
        (b"campaign_id", "a.csv.gz", "gzip"),
        (b"\x1f\x8b\x08\x00 junk that is no deflate stream", "a.csv.gz", "gzip"),
        (gzip.compress(b"x" * 100, mtime=0)[:8], "a.csv.gz", "gzip"),
        (bytes(range(256)) * 20, "a.bin", "no keyword or search-terms report"),
    ],
)
def test_what_is_no_export_is_refused_with_reasons(head: bytes, name: str, said: str) -> None:
    """The error names the file, and the columns found and expected."""
    with pytest.raises(ExportError, match=said) as caught:
        sniff(head, name)
    assert name in str(caught.value)


def test_a_packed_bomb_is_not_unpacked() -> None:
    """A gigabyte of zeros in a small head costs no gigabyte."""
    head = gzip.compress(b"\0" * 50_000_000, mtime=0)
    with pytest.raises(ExportError):
        sniff(head, "a.csv.gz")


def test_sniffing_needs_the_standard_library_only() -> None:
    """A Lambda function validates a request without the library's dependencies."""
    script = (
        "import sys, topic_model.exports.layouts; "
        "heavy = {'pyarrow', 'spacy', 'orjson', 'numpy', 'pydantic'} & set(sys.modules); "
        "sys.exit(repr(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("1,234", 1234.0),
        ("1,234,567.89", 1234567.89),
        ("0", 0.0),
        (" 7 ", 7.0),
        ("12.50", 12.5),
        ("5.20%", 0.052),
        ("$1,234.50", 1234.5),
        ("US$3.10", 3.1),
        ("€ 12.00", 12.0),
        ("12.00 EUR", 12.0),
        ("--", None),
        (" --", None),
        ("", None),
        ("< 10%", None),
        (">90%", None),
    ],
)
def test_figures_are_read(cell: str, value: float | None) -> None:
    """Thousands separators, currencies, percentages; absence is None, not 0."""
    assert parse_figure(cell) == (value if value is None else pytest.approx(value))


@pytest.mark.parametrize("cell", ["12,5", "1.234,56", "1,23,4", "-3", "n/a", "1e400", "12 apples", "٣"])
def test_what_is_no_figure_is_refused(cell: str) -> None:
    """Above all decimal commas: 1,234 would be read a thousandfold."""
    with pytest.raises(ValueError, match="figure"):
        parse_figure(cell)


def test_cells_are_understood() -> None:
    """Negative marks, totals and match types, as the reports word them; a mere mention is none."""
    assert all(map(is_negative, ["Excluded", "Added/Excluded", "Negative exact", "Campaign negative phrase match"]))
    assert not any(map(is_negative, ["None", "Added", "Negative keyword conflict", "Eligible", "negative ion dryer"]))
    assert all(map(is_total, ["Total: Account", "Totals", "Grand total", "Total - 10 keywords"]))
    assert not any(map(is_total, ["total wine", "totally spies", ""]))
    assert match_type_of("Phrase match (close variant)") == "phrase"
    assert match_type_of("Performance Max") is None
