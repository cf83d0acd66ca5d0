"""The maps that are published: one of all campaigns and one a client, of what each may see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from tests.topic_model.conftest import Chain
from topic_model import map_documents, search_documents
from topic_model.known_campaigns import KnownCampaign
from topic_model.published import is_document_name, map_name

COLUMNS = ("campaign_id", "name", "x", "y", "cluster")


def made(clients: list[str | None], seed: int = 1) -> dict[str, dict[str, Any]]:
    """The documents of campaigns of these clients, which stand in a row."""
    campaigns = [KnownCampaign(f"c{number}", client, None, f"é {number}") for number, client in enumerate(clients)]
    places = np.column_stack([np.linspace(0, 1, len(clients)), np.full(len(clients), 0.25)])
    return dict(map_documents.map_documents(campaigns, places, np.arange(len(clients)) % 3, seed))


def test_a_run_writes_the_map_of_all_and_of_each_client(chain: Chain, tmp_path: Path) -> None:
    """Every campaign stands on the map of all and on its client's, at the same place, in its row's cluster."""
    chain.lookups.write(tmp_path, tmp_path / "model")
    listed = orjson.loads((tmp_path / "manifest.json").read_bytes())["documents"]
    documents = {entry["name"]: orjson.loads((tmp_path / entry["file"]).read_bytes()) for entry in listed}
    rows = {row["campaign_id"]: row for row in map(orjson.loads, (tmp_path / "rows-00000.jsonl").open("rb"))}
    whole = documents[map_name(None, 0)]
    places = {one[0]: one[1:] for one in zip(*(whole[name] for name in COLUMNS), strict=True)}
    assert places.keys() == rows.keys() and whole["total"] == len(rows)
    assert {0, map_documents.SCALE} <= set(whole["x"]) and min(whole["y"]) >= 0
    for client in {row["client_id"] for row in rows.values()} - {None}:
        own = documents[map_name(client, 0)]
        assert own["client_id"] == client
        assert set(own["campaign_id"]) == {name for name, row in rows.items() if row["client_id"] == client}
        for one in zip(*(own[name] for name in COLUMNS), strict=True):
            assert places[one[0]] == one[1:]
            assert (one[1], one[4]) == (rows[one[0]]["name"], rows[one[0]]["cluster"])


def test_campaigns_of_no_client_are_on_the_map_of_all_alone() -> None:
    """Nobody but who sees all clients sees them."""
    documents = made(["a", "a", None])
    assert documents.keys() == {map_name(None, 0), map_name("a", 0)}
    assert documents[map_name("a", 0)]["campaign_id"] == ["c0", "c1"]


def test_a_long_map_comes_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """No part is larger than an item of the table takes; together they hold each campaign once, in order."""
    most = search_documents._HEAD_BYTES + 500
    monkeypatch.setattr(search_documents, "MAX_PART_BYTES", most)
    documents = made(["a"] * 300)
    assert all(map(is_document_name, documents))
    assert max(len(orjson.dumps(part)) for part in documents.values()) <= most
    for client in (None, "a"):
        number = documents[map_name(client, 0)]["parts"]
        parts = [documents[map_name(client, part)] for part in range(number)]
        assert number > 1
        assert [one for part in parts for one in part["campaign_id"]] == [f"c{place}" for place in range(300)]


def test_of_too_many_campaigns_a_sample_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as a browser draws well, the same ones for the same seed, and the map says of how many."""
    monkeypatch.setattr(map_documents, "MAX_POINTS", 40)
    first, again, other = made(["a"] * 90), made(["a"] * 90), made(["a"] * 90, seed=2)
    name = map_name("a", 0)
    assert first[name] == again[name]
    assert first[name]["campaign_id"] != other[name]["campaign_id"]
    assert (len(set(first[name]["campaign_id"])), first[name]["total"]) == (40, 90)
