"""Lookups: a row a campaign by the contract, nothing lost, and refused where parts do not belong together."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from itertools import chain as joined
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from tests.topic_model.conftest import Chain, run_chain, themed_campaigns
from topic_model import lookups as lookups_module
from topic_model import search_documents
from topic_model.artifact import unpack
from topic_model.campaigns import Campaign, Keyword
from topic_model.errors import ArtifactMismatchError, CorpusError
from topic_model.lookups import build_lookups
from topic_model.published import directory_name, search_name
from topic_model.settings import CorpusSettings, NeighbourSettings


@pytest.fixture(scope="module")
def written(chain: Chain, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of lookups/ and lookup-model/."""
    out = tmp_path_factory.mktemp("written")
    chain.lookups.write(out / "lookups", out / "lookup-model")
    return out


@pytest.fixture(scope="module")
def rows(written: Path) -> dict[str, dict[str, Any]]:
    lines = (written / "lookups" / "rows-00000.jsonl").read_bytes().splitlines()
    return {row["campaign_id"]: row for row in map(orjson.loads, lines)}


def _document(written: Path, name: str) -> Any:
    return orjson.loads((written / "lookups" / name).read_bytes())


def test_every_campaign_has_a_row_or_a_reason(chain: Chain, written: Path, rows: dict[str, Any]) -> None:
    """The campaign of digits alone is listed as unscored with its reason; all others have a row."""
    unscored = [orjson.loads(line) for line in (written / "lookups" / "unscored.jsonl").read_bytes().splitlines()]
    assert [entry["campaign_id"] for entry in unscored] == ["no-terms"]
    assert "no known terms" in unscored[0]["reason"]
    assert sorted([*rows, "no-terms"]) == sorted(campaign.campaign_id for campaign in chain.campaigns)


def test_a_row_has_the_contracts_fields(rows: dict[str, Any]) -> None:
    """Names and nesting of ARCHITECTURE.md, in every row."""
    for row in rows.values():
        assert list(row) == [
            "campaign_id",
            "client_id",
            "channel",
            "name",
            "model_version",
            "cluster",
            "cluster_label",
            "topics",
            "keywords",
            "num_keywords",
            "similar",
            "recommendations",
            "within_client",
        ]
        for topic in row["topics"]:
            assert set(topic) == {"topic", "share", "terms"}
        for similar in row["similar"]:
            assert set(similar) == {
                "campaign_id",
                "client_id",
                "name",
                "channel",
                "similarity",
                "shared_topics",
                "shared_terms",
                "related_terms",
                "contributions",
            }
            for topic in similar["shared_topics"]:
                assert set(topic) == {"topic", "share", "terms"}
        for recommendation in row["recommendations"]:
            assert set(recommendation) == {
                "keyword",
                "score",
                "campaigns",
                "similarity",
                "clicks",
                "conversions",
                "cost",
            }


def test_a_row_is_about_its_campaign(chain: Chain, rows: dict[str, Any]) -> None:
    """Client, channel and name are the export's."""
    for campaign in chain.campaigns[:-1]:
        row = rows[campaign.campaign_id]
        assert (row["client_id"], row["channel"], row["name"]) == (campaign.client_id, campaign.channel, campaign.name)


def test_similar_campaigns_are_of_the_same_theme(rows: dict[str, Any]) -> None:
    """On clear themes the ten neighbours share the campaign's theme, nearest first, never itself."""
    same = total = 0
    for campaign_id, row in rows.items():
        found = [similar["campaign_id"] for similar in row["similar"]]
        assert campaign_id not in found and len(set(found)) == len(found) == 10
        similarities = [similar["similarity"] for similar in row["similar"]]
        assert similarities == sorted(similarities, reverse=True)
        assert all(0 <= similarity <= 1 for similarity in similarities)
        same += sum(other.split("-")[0] == campaign_id.split("-")[0] for other in found)
        total += len(found)
    assert same / total > 0.95


def test_shared_terms_are_terms_of_both(chain: Chain, rows: dict[str, Any]) -> None:
    """What two campaigns are said to share, both have."""
    terms = {
        campaign.campaign_id: {word for keyword in campaign.keywords for word in keyword.text.split()}
        for campaign in chain.campaigns
    }
    for campaign_id, row in list(rows.items())[:20]:
        for similar in row["similar"]:
            shared = {"strings" if term == "string" else term for term in similar["shared_terms"]}
            assert shared <= terms[campaign_id] & terms[similar["campaign_id"]]


def test_recommendations_are_lacking_and_not_excluded(chain: Chain, rows: dict[str, Any]) -> None:
    """No row recommends the campaign's own keywords or what its negatives exclude, and all are some neighbour's."""
    by_id = {campaign.campaign_id: campaign for campaign in chain.campaigns}
    recommended = 0
    for campaign_id, row in rows.items():
        own = {frozenset(keyword.text.split()) for keyword in by_id[campaign_id].keywords}
        neighbours = {
            frozenset(keyword.text.split())
            for similar in row["similar"]
            for keyword in by_id[similar["campaign_id"]].keywords
        }
        for recommendation in row["recommendations"]:
            words = frozenset(recommendation["keyword"].split())
            assert words not in own and words in neighbours
            assert not any(set(negative.split()) <= words for negative in by_id[campaign_id].negative_keywords)
            recommended += 1
    assert recommended > 500


def test_the_manifest_holds_the_rows(written: Path, rows: dict[str, Any]) -> None:
    """Counts and hashes fit the files, and the version is that of the lookup model packed beside."""
    manifest = _document(written, "manifest.json")
    artifact = unpack(written / "lookup-model" / "model.tar.gz", written / "unpacked")
    assert manifest["rows"] == len(rows) == sum(file["rows"] for file in manifest["files"])
    for file in manifest["files"]:
        content = (written / "lookups" / file["name"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == file["sha256"]
    assert {row["model_version"] for row in rows.values()} == {manifest["model_version"]} == {artifact.model_version}


def test_rows_are_split_over_files(chain: Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More rows than a file holds go into the next, none lost, none twice."""
    monkeypatch.setattr(lookups_module, "ROWS_A_FILE", 33)
    chain.lookups.write(tmp_path / "lookups", tmp_path / "model")
    names = [f"rows-{number:05d}.jsonl" for number in range(3)]
    assert [file["name"] for file in _document(tmp_path, "manifest.json")["files"]] == names
    lines = [line for name in names for line in (tmp_path / "lookups" / name).read_bytes().splitlines()]
    assert len({orjson.loads(line)["campaign_id"] for line in lines}) == len(lines) == 80


def test_rows_are_the_same_by_any_number_of_processes(
    chain: Chain, written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts made side by side come together in the campaigns' order."""
    monkeypatch.setattr("topic_model.lookups.ROWS_A_PART", 7)
    monkeypatch.setattr("topic_model.lookups.number_of_processes", lambda: 3)
    chain.lookups.write(tmp_path / "lookups", tmp_path / "model")
    for name in ("rows-00000.jsonl", "manifest.json"):
        assert (tmp_path / "lookups" / name).read_bytes() == (written / "lookups" / name).read_bytes()
    assert not list((tmp_path / "lookups").glob(".rows-*"))


def test_documents_agree_with_the_rows(chain: Chain, written: Path, rows: dict[str, Any]) -> None:
    """Cluster sizes and labels, the map's campaigns and clusters, and topics whose shares sum to 1."""
    clusters, topics, positions = (_document(written, f"{name}.json") for name in ("clusters", "topics", "map"))
    assert sum(cluster["campaigns"] for cluster in clusters) == len(rows)
    for cluster in clusters:
        members = [row for row in rows.values() if row["cluster"] == cluster["cluster"]]
        assert len(members) == cluster["campaigns"]
        assert {row["cluster_label"] for row in members} == {cluster["label"]}
    assert sorted(positions["campaign_id"]) == sorted(rows)
    for campaign_id, x, y, cluster in zip(*(positions[k] for k in ("campaign_id", "x", "y", "cluster")), strict=True):
        assert 0 <= x <= 1 and 0 <= y <= 1 and rows[campaign_id]["cluster"] == cluster
    assert sum(topic["share"] for topic in topics) == pytest.approx(1, abs=1e-4)
    assert [topic["topic"] for topic in topics] == list(range(chain.model.num_topics))
    for topic in topics:
        assert set(topic["terms"][0]) == {"term", "probability"}


def test_two_builds_are_the_same_bytes(chain: Chain, written: Path, tmp_path: Path) -> None:
    """Lookups and lookup model do not depend on the run."""
    again = build_lookups(chain.artifact, chain.prepared, chain.fingerprints, chain.neighbour_settings)
    again.write(tmp_path / "lookups", tmp_path / "lookup-model")
    for path in sorted((tmp_path / "lookups").iterdir()):
        assert path.read_bytes() == (written / "lookups" / path.name).read_bytes(), path.name
    archives = [folder / "lookup-model" / "model.tar.gz" for folder in (tmp_path, written)]
    assert archives[0].read_bytes() == archives[1].read_bytes()


def test_another_weight_is_another_version(chain: Chain, tmp_path: Path) -> None:
    """A model that answers otherwise is not the same model, though its arrays are."""
    settings = chain.neighbour_settings.model_copy(update={"topic_weight": 0.9, "latent_weight": 0.0})
    other = build_lookups(chain.artifact, chain.prepared, chain.fingerprints, settings)
    versions = {
        built.write(tmp_path / str(number) / "l", tmp_path / str(number) / "m")
        for number, built in enumerate((chain.lookups, other))
    }
    assert len(versions) == 2


@pytest.fixture
def fingerprints(chain: Chain, tmp_path: Path) -> Path:
    """A copy of the fingerprints, to be damaged."""
    return Path(shutil.copytree(chain.fingerprints, tmp_path / "fingerprints"))


def _edit(fingerprints: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = fingerprints / "google_ads.jsonl.out"
    first, *rest = path.read_bytes().splitlines(keepends=True)
    answer = orjson.loads(first)
    change(answer)
    path.write_bytes(orjson.dumps(answer) + b"\n" + b"".join(rest))


@pytest.mark.parametrize(
    "change",
    [lambda answer: answer.update(model_version="0" * 12), lambda answer: answer["fingerprint"].append(0.0)],
    ids=["version", "topics"],
)
def test_fingerprints_of_another_model_are_refused(
    change: Callable[[dict[str, Any]], None], chain: Chain, fingerprints: Path
) -> None:
    """Another version or number of topics is named with its file and line."""
    _edit(fingerprints, change)
    with pytest.raises(ArtifactMismatchError, match=r"google_ads\.jsonl\.out line 1"):
        build_lookups(chain.artifact, chain.prepared, fingerprints, chain.neighbour_settings)


@pytest.mark.parametrize(
    "change",
    [
        lambda answer: answer.pop("campaign_id"),
        lambda answer: answer.pop("model_version"),
        lambda answer: answer.pop("fingerprint"),
        lambda answer: answer.update(fingerprint=["a"]),
        lambda answer: answer.update(error="text"),
    ],
    ids=["no id", "no version", "no fingerprint", "no numbers", "no error object"],
)
def test_a_line_that_is_no_answer_is_named(
    change: Callable[[dict[str, Any]], None], chain: Chain, fingerprints: Path
) -> None:
    """A malformed answer is an error with its file and line, not a traceback."""
    _edit(fingerprints, change)
    with pytest.raises(CorpusError, match=r"google_ads\.jsonl\.out line 1"):
        build_lookups(chain.artifact, chain.prepared, fingerprints, chain.neighbour_settings)


def test_a_cut_answer_is_named(chain: Chain, fingerprints: Path) -> None:
    """A file cut in the middle of a line says where."""
    path = fingerprints / "google_ads.jsonl.out"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(CorpusError, match=r"google_ads\.jsonl\.out line \d+"):
        build_lookups(chain.artifact, chain.prepared, fingerprints, chain.neighbour_settings)


def test_a_lost_answer_is_an_error(chain: Chain, fingerprints: Path) -> None:
    """A prepared campaign with neither fingerprint nor reason is named: a batch never loses a line silently."""
    path = fingerprints / "google_ads.jsonl.out"
    first, *rest = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(rest))
    lost = orjson.loads(first)["campaign_id"]
    with pytest.raises(ArtifactMismatchError, match=f"1 prepared campaigns have neither .*'{lost}'"):
        build_lookups(chain.artifact, chain.prepared, fingerprints, chain.neighbour_settings)


def test_an_answer_for_an_unknown_campaign_is_an_error(chain: Chain, fingerprints: Path) -> None:
    """Fingerprints of other exports do not fit."""
    _edit(fingerprints, lambda answer: answer.update(campaign_id="stranger"))
    with pytest.raises(ArtifactMismatchError):
        build_lookups(chain.artifact, chain.prepared, fingerprints, chain.neighbour_settings)


def test_no_fingerprint_at_all_is_an_error(chain: Chain, tmp_path: Path) -> None:
    """An empty folder of fingerprints says so."""
    (tmp_path / "none").mkdir()
    with pytest.raises(CorpusError, match="no campaign has a fingerprint"):
        build_lookups(chain.artifact, chain.prepared, tmp_path / "none", chain.neighbour_settings)


def test_an_unprepared_folder_is_an_error(chain: Chain, tmp_path: Path) -> None:
    """No prepared channel says what is expected."""
    with pytest.raises(CorpusError, match=r"campaigns\.parquet"):
        build_lookups(chain.artifact, tmp_path, chain.fingerprints, chain.neighbour_settings)


TINY = {
    "two": [Campaign("a", keywords=(Keyword("coffee mug"),)), Campaign("b", keywords=(Keyword("coffee bean"),))],
    "identical": [Campaign(f"c{n}", keywords=(Keyword("coffee mug"), Keyword("latte"))) for n in range(5)],
    "one term": [Campaign(f"c{n}", keywords=(Keyword("coffee"),)) for n in range(3)],
    "other scripts": [Campaign(f"c{n}", keywords=(Keyword("кофе арабика"), Keyword("コーヒー"))) for n in range(4)],
    "empty keywords": [*themed_campaigns(6), Campaign("empty", channel="google_ads", keywords=(Keyword(""),))],
}


@pytest.mark.parametrize("name", TINY)
def test_tiny_and_odd_corpora_have_lookups(name: str, tmp_path: Path) -> None:
    """Two campaigns, all identical, one term, other scripts, none at all: rows for all that have terms."""
    campaigns = [campaign if campaign.channel else _with_channel(campaign) for campaign in TINY[name]]
    tiny = run_chain(
        tmp_path,
        campaigns,
        num_topics="auto",
        corpus_settings=CorpusSettings(min_df=1, held_out_share=0),
    )
    tiny.lookups.write(tmp_path / "out", tmp_path / "model")
    manifest = orjson.loads((tmp_path / "out" / "manifest.json").read_bytes())
    assert manifest["rows"] + manifest["unscored"] == len(campaigns)
    lines = (tmp_path / "out" / "rows-00000.jsonl").read_bytes().splitlines()
    for row in map(orjson.loads, lines):
        assert len(row["similar"]) <= len(lines) - 1
        assert all(np.isfinite(similar["similarity"]) for similar in row["similar"])


def _with_channel(campaign: Campaign) -> Campaign:
    return Campaign(campaign.campaign_id, None, "google_ads", None, campaign.keywords)


def test_more_clusters_than_campaigns_is_refused(chain: Chain) -> None:
    """The message names both."""
    with pytest.raises(CorpusError, match="num_clusters is 500, but 80 campaigns"):
        build_lookups(chain.artifact, chain.prepared, chain.fingerprints, NeighbourSettings(num_clusters=500))


def _lists_of(row: dict[str, Any]) -> list[list[dict[str, Any]]]:
    within = row["within_client"]
    return [row["similar"], *([within["similar"]] if isinstance(within, dict) else [])]


def test_contributions_add_up_to_the_similarity(rows: dict[str, dict[str, Any]]) -> None:
    """Terms, related terms, topics and the rest of each are the whole of it, to the last decimal; none is negative."""
    for row in rows.values():
        for similar in joined.from_iterable(_lists_of(row)):
            parts = similar["contributions"]
            assert len(parts["terms"]) == len(similar["shared_terms"])
            assert len(parts["topics"]) == len(similar["shared_topics"])
            assert len(parts["related_terms"]) == len(similar["related_terms"])
            kinds = ("terms", "related_terms", "topics")
            every = [part for kind in kinds for part in (*parts[kind], parts[f"other_{kind}"])]
            assert min(every) >= 0
            assert round(sum(every), 6) == similar["similarity"]


def test_a_clients_lists_hold_its_own_campaigns_alone(chain: Chain, rows: dict[str, dict[str, Any]]) -> None:
    """Within a client: neighbours are the client's, the same as by comparing all of its campaigns, and what is
    recommended some campaign of the client uses."""
    words: dict[str | None, set[frozenset[str]]] = {}
    for campaign in chain.campaigns:
        mine = words.setdefault(campaign.client_id, set())
        mine.update(frozenset(keyword.text.split()) for keyword in campaign.keywords)
    lookup = chain.lookups.lookup
    place = {campaign.campaign_id: number for number, campaign in enumerate(lookup.campaigns)}
    everyone = lookup.index.all_nearest(len(place))
    for campaign_id, row in rows.items():
        within = row if row["within_client"] == "same" else row["within_client"]
        assert {similar["client_id"] for similar in within["similar"]} <= {row["client_id"]}
        nearest = [lookup.campaigns[other] for other in everyone.rows[place[campaign_id]]]
        expected = [other.campaign_id for other in nearest if other.client_id == row["client_id"]][:10]
        assert [similar["campaign_id"] for similar in within["similar"]] == expected
        for recommendation in within["recommendations"]:
            assert frozenset(recommendation["keyword"].split()) in words[row["client_id"]]


def test_every_campaign_can_be_searched_for(chain: Chain, written: Path, rows: dict[str, Any]) -> None:
    """The search documents hold each campaign once, in its client's document, with the words of its keywords."""
    words = {
        campaign.campaign_id: {word for keyword in campaign.keywords for word in keyword.text.split()}
        for campaign in chain.campaigns
    }
    documents = {
        entry["name"]: _document(written, entry["file"]) for entry in _document(written, "manifest.json")["documents"]
    }
    found = []
    for client in documents[directory_name(0)]["clients"]:
        parts = [documents[search_name(client["client_id"], part)] for part in range(client["parts"])]
        assert client["campaigns"] == sum(len(part["campaign_id"]) for part in parts)
        for part in parts:
            for campaign_id, name, text in zip(part["campaign_id"], part["name"], part["words"], strict=True):
                row = rows[campaign_id]
                assert (row["client_id"], row["name"]) == (client["client_id"], name)
                assert set(text.split()) == words[campaign_id]
                found.append(campaign_id)
    assert sorted(found) == sorted(rows)


def test_long_search_documents_come_in_parts(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    """No part is larger than an item of the table takes, and the parts hold all campaigns."""
    most = search_documents._HEAD_BYTES + 1_000
    monkeypatch.setattr(search_documents, "MAX_PART_BYTES", most)
    lookup = chain.lookups.lookup
    documents = dict(search_documents.search_documents(lookup.campaigns, lookup.keywords))
    assert max(len(orjson.dumps(part)) for part in documents.values()) <= most
    directory = [documents.pop(directory_name(0))]
    directory += [documents.pop(directory_name(part)) for part in range(1, directory[0]["parts"])]
    clients = [client for part in directory for client in part["clients"]]
    assert {client["client_id"] for client in clients} == {campaign.client_id for campaign in lookup.campaigns}
    assert max(client["parts"] for client in clients) > 1
    assert len(documents) == sum(client["parts"] for client in clients)
    ids = [campaign_id for part in documents.values() for campaign_id in part["campaign_id"]]
    assert sorted(ids) == sorted(campaign.campaign_id for campaign in lookup.campaigns)
