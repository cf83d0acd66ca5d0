"""Reading exports: every layout gives the same campaigns, and what is left out is listed."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from topic_model.campaigns import Campaign, Keyword, campaign_to_line, campaign_to_record
from topic_model.errors import ExportError
from topic_model.exports import RejectedLog, read_exports
from topic_model.exports.streams import MAX_LINE_LENGTH
from topic_model.sample.generator import generate_sample
from topic_model.settings import TextSettings

GOOGLE_KEYWORDS = """\
Search keyword report
"October 1, 2026 - October 31, 2026"
Keyword status,Keyword,Match type,Customer ID,Campaign,Campaign ID,Ad group,Status,Currency code,Clicks,\
Impr.,CTR,Cost,Conversions
Enabled,[red shoes],Exact match,123-456,"Shoes, all",11,G1,Eligible,USD,"1,204","10,000",12.04%,"1,600.80",9.50
Enabled,[red shoes],Exact match,123-456,"Shoes, all",11,G2,Eligible,USD,6, --,0%,--,0.50
Paused,\"\"\"blue shoes\"\"\",Phrase match,123-456,"Shoes, all",11,G1,Eligible,USD,0,5,0%,0.00,--
Enabled,free shoes,Negative broad,123-456,"Shoes, all",11,G1,,USD,--,--,--,--,--
Enabled,sofas,Broad match,123-456,Sofas,12,G1,Eligible,USD,1,2,50%,3,0
Total: Search keywords,--,--,--,--,--,--,--,USD,"1,211","10,007",12%,"1,603.80",10
Total: Account,,,,,,,,USD,"1,211","10,007",12%,"1,603.80",10
"""
GOOGLE_TERMS = """\
Search terms report
All time
Search term,Match type,Added/Excluded,Campaign,Ad group,Keyword,Impr.,Clicks,Cost
red shoes size 9,Exact match (close variant),None,"Shoes, all",G1,[red shoes],7,1,0.40
shoe repair,Broad match,Excluded,"Shoes, all",G1,[red shoes],3,0,0
grey sofa,Broad match,Added,Sofas,G1,sofas,1,1,1
"Total: Search terms",,,,10,2,1.40
Total: Other search terms,--,--,--,--,--,4,2,1
"""
MICROSOFT_TERMS = (
    '"Report Name: Search Query Performance Report"\r\n"Report Time: 10/1/2026,10/31/2026"\r\n"Rows: 2"\r\n\r\n'
    '"AccountName","CampaignName","CampaignId","SearchQuery","BidMatchType","Impressions","Clicks","Spend","Ctr"\r\n'
    '"Acme","Loans","77","car loan 5k","Broad","10","2","3.5","20.00%"\r\n'
    '"Acme","Loans","77","car loan 5k","Broad","5","1","","20.00%"\r\n'
    '\r\n"©2026 Microsoft Corporation. All rights reserved. "\r\n'
)


def read(path: Path, **options: Any) -> tuple[list[Campaign], list[dict[str, Any]]]:
    """Campaigns and the listed rejections."""
    listing = path.parent / "rejected.jsonl"
    with RejectedLog(listing) as rejected:
        campaigns = list(read_exports(path, rejected=rejected, **options))
    lines = [json.loads(line) for line in listing.read_text().splitlines()]
    assert len(lines) == rejected.rejected_lines
    return campaigns, lines


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "exports"
    made.mkdir()
    return made


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("delimiter", [",", "\t"])
def test_google_reports_of_one_account_join(folder: Path, encoding: str, delimiter: str) -> None:
    """Keyword and search-terms reports give one campaign each, in every encoding; totals are no keywords."""
    import csv
    import io

    for name, content in (("keywords.csv", GOOGLE_KEYWORDS), ("terms.csv", GOOGLE_TERMS)):
        out = io.StringIO()
        csv.writer(out, delimiter=delimiter).writerows(csv.reader(content.splitlines()))
        (folder / name).write_bytes(out.getvalue().encode(encoding))
    campaigns, rejected = read(folder, channel="google_ads")
    assert rejected == []
    assert campaigns == [
        Campaign(
            "11",
            "123-456",
            "google_ads",
            "Shoes, all",
            (
                Keyword("[red shoes]", "exact", 1210.0, 10000.0, 1600.8, 10.0),
                Keyword('"blue shoes"', "phrase", 0.0, 5.0, 0.0, None),
            ),
            (Keyword("red shoes size 9", "exact", 1.0, 7.0, 0.4, None),),
            ("free shoes", "shoe repair"),
        ),
        Campaign(
            "12",
            "123-456",
            "google_ads",
            "Sofas",
            (Keyword("sofas", "broad", 1.0, 2.0, 3.0, 0.0),),
            (Keyword("grey sofa", "broad", 1.0, 1.0, 1.0, None),),
        ),
    ]


@pytest.mark.parametrize("packed", [False, True])
def test_a_microsoft_report_is_read(folder: Path, packed: bool) -> None:
    """The block above and the copyright line below are no rows; an empty figure is absent."""
    content = MICROSOFT_TERMS.encode("utf-8-sig")
    (folder / ("terms.csv.gz" if packed else "terms.csv")).write_bytes(gzip.compress(content) if packed else content)
    campaigns, rejected = read(folder)
    assert rejected == []
    assert campaigns == [
        Campaign("77", "Acme", None, "Loans", (), (Keyword("car loan 5k", "broad", 3.0, 15.0, 3.5, None),))
    ]


def test_layouts_of_the_sample_agree(tmp_path: Path) -> None:
    """The same campaigns, written as both platforms' reports and as records, read the same."""
    found = {}
    for layout in ("csv", "jsonl"):
        report = generate_sample(tmp_path / layout, campaigns=120, format=layout)  # type: ignore[arg-type]
        for channel in report.campaigns_by_channel:
            campaigns, rejected = read(report.exports / channel, channel=channel)
            assert rejected == []
            for campaign in campaigns:
                found[layout, campaign.campaign_id] = campaign
    assert len(found) == 240
    for (layout, campaign_id), campaign in found.items():
        if layout == "jsonl":
            twin = found["csv", campaign_id]
            assert (twin.name, twin.channel) == (campaign.name, campaign.channel)
            assert {k.text.strip('[]"') for k in twin.keywords} == {k.text for k in campaign.keywords}
            assert sum(k.clicks or 0 for k in twin.keywords) == sum(k.clicks or 0 for k in campaign.keywords)
            # The reports say "excluded" of some search terms, which the records cannot.
            typed = {k.text for k in twin.search_terms} | set(twin.negative_keywords)
            assert typed == {k.text for k in campaign.search_terms}


def test_parquet_reads_as_json_lines(folder: Path, tmp_path: Path) -> None:
    """Records as Parquet, keywords as strings or structs, give the campaigns of the JSON Lines."""
    expected = [
        Campaign(f"c{n}", None, "x", f"n{n}", (Keyword("a", "exact", n, None, 1.5, None), Keyword("b")), (), ("no",))
        for n in range(1_000)
    ]
    rows = [campaign_to_record(campaign) for campaign in expected]
    for row in rows:
        row["keywords"] = [{"text": k} if isinstance(k, str) else k for k in row["keywords"]]
        row["search_terms"] = None
    pq.write_table(pa.Table.from_pylist(rows), folder / "campaigns.parquet")
    assert read(folder) == (expected, [])
    pq.write_table(pa.table({"campaign_id": [7], "keywords": [["a", "b"]]}), tmp_path / "plain.parquet")
    assert read(tmp_path / "plain.parquet") == ([Campaign("7", keywords=(Keyword("a"), Keyword("b")))], [])


def test_bad_lines_are_listed_and_the_others_read(folder: Path) -> None:
    """Every malformed line is listed with its number, and costs no other."""
    (folder / "a.jsonl").write_bytes(
        b'\xef\xbb\xbf{"campaign_id": "first"}\n'
        b"not json\n"
        b"\n"
        b'{"campaign_id": "x", "keywords": 5}\n'
        b'["campaign_id"]\n'
        b'{"campaign_id": "\\ud800"}\n'
        b'{"campaign_id": "nul\\u0000"}\n'
        b'{"campaign_id": "bytes \xff"}\n' + b"[" * 5_000 + b"\n"
        b'{"campaign_id": "texts", "keywords": ["a\\u0000b", "\xd0\x9a\xd0\xb8"]}\r\n'
        b'{"campaign_id": "first", "name": "again"}\n'
        b'{"campaign_id": "last"}'
    )
    campaigns, rejected = read(folder)
    assert [campaign.campaign_id for campaign in campaigns] == ["first", "texts", "last"]
    assert [entry["line"] for entry in rejected] == [2, 4, 5, 6, 7, 8, 9, 11]
    assert rejected[1]["campaign_id"] == "x"
    assert rejected[-1]["campaign_id"] == "first"
    assert "a.jsonl line 1" in rejected[-1]["reason"]
    assert {entry["file"] for entry in rejected} == {"a.jsonl"}


def test_bad_rows_are_listed_and_the_others_read(folder: Path) -> None:
    """Rows of a report likewise: cells missing, figures unreadable, quotes open, bytes of another encoding."""
    header = b"Campaign,Campaign ID,Keyword,Clicks\n"
    rows = [
        b"A,1,good,1",
        b"A,1,few",
        b"A,1,many,1,2",
        b"A,1,spare,1,,",
        b'A,1,comma,"1,5"',
        b"A,1,,4",
        b",,nowhere,4",
        b'A,1,"open,4',
        b"A,1,after,5",
        b"A,1,latin \xe9,6",
        b"A,1.23E+11,rounded,6",
        b'A,1,"two\nlines",7',
        b"A,1,total: war,8",
        b"Total wine,2,total wine,9",
        b"A,1,\x00nul,9",
    ]
    (folder / "k.csv").write_bytes(header + b"\n".join(rows) + b"\n")
    campaigns, rejected = read(folder)
    assert [keyword.text for keyword in campaigns[0].keywords] == [
        "good", "spare", "after", "two\nlines", "total: war", "\x00nul",
    ]  # fmt: skip
    assert [keyword.text for keyword in campaigns[1].keywords] == ["total wine"]
    assert [entry["line"] for entry in rejected] == [3, 4, 6, 7, 8, 9, 11, 12]
    assert "2 cells" in rejected[0]["reason"] or "3 cells" in rejected[0]["reason"]
    assert "Clicks" in rejected[2]["reason"]
    assert "quote" in rejected[5]["reason"]


def test_a_campaign_without_id_goes_by_its_name(folder: Path) -> None:
    """Its id is its name, with channel and client before it where they are known, so that two accounts stay apart."""
    (folder / "k.csv").write_text("Account,Campaign,Keyword\nAcme,Brand,a\nBolt,Brand,b\n,Brand,c\n")
    assert [campaign.campaign_id for campaign in read(folder)[0]] == ["Acme/Brand", "Bolt/Brand", "Brand"]
    campaigns, _ = read(folder, channel="google_ads")
    assert campaigns[0].campaign_id == "google_ads/Acme/Brand"


def test_negative_layouts_are_kept_apart(folder: Path) -> None:
    """Negative keyword reports and bulk rows give negatives, never keywords."""
    (folder / "1.csv").write_text("Negative keyword,Campaign,Level,Match type\n[cheap],A,Campaign,Exact match\n")
    (folder / "2.csv").write_text(
        "Type,Campaign,Keyword,Match Type\nCampaign Negative Keyword,A,used,Phrase\nKeyword,A,sofa,Broad\n"
        "Ad Group Negative Keyword,A,toy,Exact\n"
    )
    (campaign,), rejected = read(folder)
    assert rejected == []
    assert campaign.negative_keywords == ("[cheap]", "used", "toy")
    assert [keyword.text for keyword in campaign.keywords] == ["sofa"]


def test_a_huge_keyword_is_cut_and_a_huge_line_rejected(folder: Path) -> None:
    """A 10 MB keyword costs its campaign nothing; a line over the bound is passed over in bounded memory."""
    (folder / "k.csv").write_text("Campaign,Keyword\nA," + "x" * 10_000_000 + '\nA,"' + "y" * 10_000_000 + '"\nA,b\n')
    (campaign,), rejected = read(folder, text=TextSettings(max_text_length=100))
    assert [len(keyword.text) for keyword in campaign.keywords] == [101, 101, 1]
    assert rejected == []
    (folder / "k.csv").unlink()
    with (folder / "a.jsonl").open("wb") as stream:
        stream.write(b'{"campaign_id": "long", "name": "' + b"x" * MAX_LINE_LENGTH + b'"}\n{"campaign_id": "next"}\n')
    campaigns, rejected = read(folder)
    assert [campaign.campaign_id for campaign in campaigns] == ["next"]
    assert rejected[0]["line"] == 1


def test_texts_over_the_cap_are_counted_not_kept(folder: Path, tmp_path: Path) -> None:
    """100,000 keywords in one campaign of a report: the first max_texts stay, the others are counted."""
    (folder / "k.csv").write_text("Campaign,Keyword\n" + "".join(f"A,key {n}\n" for n in range(100_000)))
    with RejectedLog(None) as rejected:
        (campaign,) = read_exports(folder, rejected=rejected, text=TextSettings(max_texts=1_000))
    assert [keyword.text for keyword in campaign.keywords[:2]] == ["key 0", "key 1"]
    assert (len(campaign.keywords), rejected.texts_over_cap, rejected.campaigns_over_cap) == (1_000, 99_000, 1)


def test_ids_are_unique_across_layouts(folder: Path) -> None:
    """A report's campaign that a record has named already is listed, naming where."""
    (folder / "z.jsonl").write_bytes(campaign_to_line(Campaign("1", name="record")))
    (folder / "a.csv").write_text("Campaign,Campaign ID,Keyword\nA,1,x\nA,1,y\nB,2,z\n")
    campaigns, rejected = read(folder)
    assert [(campaign.campaign_id, campaign.name) for campaign in campaigns] == [("1", "record"), ("2", "B")]
    assert (rejected[0]["file"], rejected[0]["campaign_id"]) == ("a.csv", "1")
    assert "z.jsonl line 1" in rejected[0]["reason"]


def test_hidden_files_and_markers_are_no_exports(folder: Path) -> None:
    """Folders are read through; .DS_Store and _SUCCESS are passed over."""
    (folder / ".DS_Store").write_bytes(b"\0\1")
    (folder / "_SUCCESS").touch()
    (folder / "day=1").mkdir()
    (folder / "day=1" / "a.jsonl").write_bytes(campaign_to_line(Campaign("1")))
    assert [campaign.campaign_id for campaign in read(folder)[0]] == ["1"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl.gz", gzip.compress(b'{"campaign_id": "1"}\n' * 100_000)[:-200], "truncated"),
        ("a.csv.gz", gzip.compress(b"Campaign,Keyword\n" + bytes(range(32, 127)) * 9_000)[:-50], "truncated"),
        ("a.parquet", b"PAR1 and no more", "Parquet"),
        ("a.csv", b"Date,Spend\n1,2\n", "found the columns"),
        ("a.csv", b"", "empty"),
    ],
)
def test_a_damaged_export_is_an_error_that_names_it(folder: Path, name: str, content: bytes, said: str) -> None:
    """Half a file is not read as a whole one."""
    (folder / name).write_bytes(content)
    with pytest.raises(ExportError, match=said) as caught:
        read(folder)
    assert name in str(caught.value)


def test_parquet_without_the_id_is_refused(folder: Path) -> None:
    """The error names the columns found and expected."""
    pq.write_table(pa.table({"id": [1]}), folder / "a.parquet")
    with pytest.raises(ExportError, match=r"a\.parquet.*\['id'\].*campaign_id"):
        read(folder)


def test_nothing_to_read_is_an_error(folder: Path, tmp_path: Path) -> None:
    """A missing path and an empty folder say so."""
    with pytest.raises(ExportError, match="not there"):
        read(tmp_path / "missing")
    with pytest.raises(ExportError, match="no exports"):
        read(folder)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the kernel tells no peak of one program")
def test_rows_of_reports_stay_compact(tmp_path: Path) -> None:
    """Two million rows of 20,000 campaigns, shuffled over the file, take under 1 GB."""
    path = tmp_path / "k.csv"
    with path.open("w") as stream:
        stream.write("Campaign ID,Campaign,Keyword,Clicks,Cost\n")
        for row in range(2_000_000):
            stream.write(f"{row % 20_000},Campaign {row % 20_000},some keyword {row},{row % 9},1.50\n")
    script = (
        "import sys; from pathlib import Path; from topic_model.exports import read_exports, RejectedLog\n"
        "n = sum(len(c.keywords) for c in read_exports(Path(sys.argv[1]), rejected=RejectedLog(None)))\n"
        # Of this program alone: getrusage would count what the process of the tests had when it started this one.
        "peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "print(n, int(peak.split()[1]) // 1024)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    rows, megabytes = map(int, done.stdout.split())
    assert rows == 2_000_000
    assert megabytes < 1_000


def test_a_rejected_parquet_row_is_named_by_its_number(folder: Path) -> None:
    """An integer id is an id: the rejection carries it."""
    pq.write_table(pa.table({"campaign_id": [7], "keywords": ["red shoes"]}), folder / "a.parquet")
    campaigns, rejected = read(folder)
    assert campaigns == []
    assert [entry["campaign_id"] for entry in rejected] == ["7"]


def test_a_misspelt_parquet_column_is_refused(folder: Path) -> None:
    """Only known columns are read, so the file is refused and not read without its keywords."""
    pq.write_table(pa.table({"campaign_id": ["7"], "keyword": [["red shoes"]]}), folder / "a.parquet")
    with pytest.raises(ExportError, match=r"a\.parquet.*'keyword'; did you mean 'keywords'"):
        read(folder)
