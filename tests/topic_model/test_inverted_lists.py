"""Inverted lists: nearly what brute force finds, with a recall that is measured, written down and checked."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import scipy.sparse as sp

from tests.topic_model.conftest import Chain
from topic_model import neighbours
from topic_model.artifact import read_artifact, write_manifest
from topic_model.client_scope import ClientScope
from topic_model.errors import ArtifactError, ArtifactMismatchError
from topic_model.inverted_lists import MAX_NUMBER, MIN_RECALL, InvertedLists, Scope, build_inverted_lists, recall
from topic_model.latent import LatentSpace, fit_latent_space
from topic_model.lookup_model import INDEX, read_lookup_model, write_lookup_model
from topic_model.neighbours import CampaignIndex, with_lists
from topic_model.settings import NeighbourSettings
from topic_model.weighting import TermWeights

N, LARGE_CLIENT = 4_000, slice(500, 3_500)


def _campaigns(n: int, *, alike: bool, num_topics: int = 15, n_terms: int = 1_500) -> tuple[CampaignIndex, LatentSpace]:
    """Campaigns of one topic each, or all of them of all topics, which no lists can tell apart."""
    random = np.random.RandomState(3)
    if alike:
        theta = random.dirichlet(np.full(num_topics, 20.0), n)
    else:
        theta = np.full((n, num_topics), 0.1 / num_topics)
        theta[np.arange(n), random.randint(num_topics, size=n)] += 0.9
    beta = random.dirichlet(np.full(n_terms, 0.02), num_topics)
    rows = [random.multinomial(30, weights / weights.sum()) for weights in theta @ beta]
    counts = sp.csr_matrix(np.array(rows, dtype=np.float64))
    weights = TermWeights.of(counts).rows(counts).astype(np.float32)
    space = fit_latent_space(weights, 30, 0)
    index = CampaignIndex(
        theta.astype(np.float32), weights, space.project(weights), NeighbourSettings(min_similarity=0.1)
    )
    return index, space


@pytest.fixture(scope="module")
def listed() -> CampaignIndex:
    """An index with lists, over all rows and over one client's."""
    index, space = _campaigns(N, alike=False)
    return replace(index, lists=build_inverted_lists(index, space, [LARGE_CLIENT]))


@pytest.mark.parametrize("within", [None, LARGE_CLIENT], ids=["everyone", "one client"])
@pytest.mark.parametrize("number", [10, MAX_NUMBER])
def test_lists_find_what_brute_force_finds(within: slice | None, number: int, listed: CampaignIndex) -> None:
    """Of other campaigns than the recall was measured with, nearly all neighbours, and only of these rows."""
    exact = replace(listed, lists=None)
    rows = within or slice(0, N)
    queries = range(rows.start, rows.stop, 17)
    found = [listed.nearest(listed.vectors(row), number, own_row=row, within=within) for row in queries]
    every = [exact.nearest(exact.vectors(row), number, own_row=row, within=within) for row in queries]
    assert recall(found, every, number) > 0.98
    for row, near in zip(queries, found, strict=True):
        assert row not in near.rows[0]
        assert len(near.rows[0]) == 0 or rows.start <= near.rows[0].min() <= near.rows[0].max() < rows.stop


def test_lists_are_looked_into_and_not_everyone(listed: CampaignIndex) -> None:
    """A query is compared with a part of the campaigns, or nothing was won."""
    assert listed.lists is not None
    scope = listed.lists.scopes[0]
    assert scope.probes <= len(listed.lists.centres) / 4
    one_list = replace(listed, lists=replace(listed.lists, scopes=(Scope(0, N, 1, 1.0, 1.0),)))
    members = np.flatnonzero(listed.lists.list_of_campaign == listed.lists.list_of_campaign[7])
    nearest = int(np.argmax(listed.lists.centres @ listed.places(slice(7, 8))[0]))
    found = one_list.nearest(listed.vectors(7), MAX_NUMBER)
    if nearest == listed.lists.list_of_campaign[7]:
        assert set(found.rows[0].tolist()) <= set(members.tolist())


def test_known_campaigns_neighbours_are_those_of_fresh_ones(
    listed: CampaignIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Published or asked for, a campaign has the same neighbours, among everyone and within its client."""
    monkeypatch.setattr(neighbours, "EXACT_LIMIT", 100)
    own = ClientScope({"c": LARGE_CLIENT}, listed).all_nearest("c", 10)
    every = listed.all_nearest(10)
    for row in range(LARGE_CLIENT.start, LARGE_CLIENT.stop, 90):
        asked = listed.nearest(listed.vectors(row), 10, own_row=row)
        assert every.rows[row].tolist() == asked.rows[0].tolist()
        within = listed.nearest(listed.vectors(row), 10, own_row=row, within=LARGE_CLIENT)
        place = row - LARGE_CLIENT.start
        assert own.rows[place].tolist() == within.rows[0].tolist()
        assert own.similarities[place].tolist() == within.similarities[0].tolist()


def test_more_neighbours_than_lists_are_good_for_come_from_everyone(listed: CampaignIndex) -> None:
    """Above a hundred the answer is exact."""
    number = MAX_NUMBER + 1
    query = listed.vectors(5)
    found, exact = listed.nearest(query, number), replace(listed, lists=None).nearest(query, number)
    assert found.rows[0].tolist() == exact.rows[0].tolist()


def test_another_part_than_those_measured_is_searched_whole(listed: CampaignIndex) -> None:
    """A small client's campaigns are all compared, whatever lists they are in."""
    rows = slice(100, 160)
    query = listed.vectors(3_000)
    found = listed.nearest(query, 10, within=rows)
    exact = replace(listed, lists=None).nearest(query, 10, within=rows)
    assert found.rows[0].tolist() == exact.rows[0].tolist() and len(found.rows[0])


def test_the_recall_is_that_of_whole_and_of_cut_campaigns(listed: CampaignIndex) -> None:
    """Each scope's figures reach the bar, and with too few lists they would not: the measure can fail."""
    assert listed.lists is not None and listed.lists.members(LARGE_CLIENT) is not None
    for scope in listed.lists.scopes:
        assert min(scope.recall_at_10, scope.recall_at_100) >= MIN_RECALL
    one_list = replace(listed.lists, scopes=(Scope(0, N, 1, 1.0, 1.0),))
    few, exact = replace(listed, lists=one_list), replace(listed, lists=None)
    found = [few.nearest(few.vectors(row), 100, own_row=row) for row in range(0, N, 40)]
    every = [exact.nearest(exact.vectors(row), 100, own_row=row) for row in range(0, N, 40)]
    assert recall(found, every, 100) < MIN_RECALL


def test_where_lists_do_not_help_everyone_is_compared() -> None:
    """Campaigns that are all about everything have neighbours in every list."""
    index, space = _campaigns(1_200, alike=True)
    assert build_inverted_lists(index, space, []) is None


def test_a_small_index_has_no_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to the limit everyone is compared; above, large clients get lists of their own."""
    index, space = _campaigns(N, alike=False)
    assert with_lists(index, space, [slice(0, N)]).lists is None
    monkeypatch.setattr(neighbours, "EXACT_LIMIT", 500)
    lists = with_lists(index, space, [slice(0, 300), slice(300, N)]).lists
    assert lists is not None and [(scope.start, scope.stop) for scope in lists.scopes] == [(0, N), (300, N)]


def test_equal_vectors_give_equal_lists(listed: CampaignIndex) -> None:
    """Nothing hangs on chance or on threads, so that equal models have equal versions."""
    index, space = _campaigns(N, alike=False)
    again = build_inverted_lists(index, space, [LARGE_CLIENT])
    assert again is not None and listed.lists is not None
    assert again.facts() == listed.lists.facts()
    assert np.array_equal(again.list_of_campaign, listed.lists.list_of_campaign)


@pytest.fixture
def artifact(chain: Chain, tmp_path: Path) -> Path:
    """A lookup model whose index has lists, five of them."""
    lookup = chain.lookups.lookup
    index = lookup.index
    centres = index.places(slice(0, 5))
    lists = np.argmax(index.places(slice(0, len(index))) @ centres.T, axis=1).astype(np.int32)
    scope = Scope(0, len(index), 2, 0.995, 0.992)
    listed = replace(index, lists=InvertedLists(centres, lists, (scope,)))
    write_lookup_model(replace(lookup, index=listed), tmp_path / "artifact", chain.artifact.manifest)
    return tmp_path / "artifact"


def _seal(folder: Path, change: Callable[[dict[str, Any]], None] | None = None) -> None:
    """Write the manifest anew, every hash right, with something changed in it."""
    manifest = orjson.loads((folder / "manifest.json").read_bytes())
    if change:
        change(manifest)
    write_manifest(folder, {name: value for name, value in manifest.items() if name not in ("files", "model_version")})


def test_lists_are_read_back(artifact: Path) -> None:
    """With their recall and parameters, which the manifest tells."""
    opened = read_artifact(artifact)
    facts = opened.manifest["neighbour_index"]
    assert (facts["exact"], facts["lists"]) == (False, 5)
    assert facts["scopes"][0] == {"start": 0, "stop": 80, "probes": 2, "recall_at_10": 0.995, "recall_at_100": 0.992}
    lists = read_lookup_model(opened).index.lists
    assert lists is not None and lists.scopes == (Scope(**facts["scopes"][0]),)


def test_a_recall_below_the_bar_is_refused(artifact: Path) -> None:
    """The message has the figure, the bar and the remedy."""

    def lower(manifest: dict[str, Any]) -> None:
        manifest["neighbour_index"]["scopes"][0]["recall_at_10"] = 0.97

    _seal(artifact, lower)
    with pytest.raises(ArtifactError, match=r"0\.9700 of the 10 nearest .* expected 0\.99 or more; build"):
        read_lookup_model(read_artifact(artifact))


@pytest.mark.parametrize("name", ["theta.npy", "latent.npy", "weights_values.npy"])
def test_lists_of_other_vectors_are_refused(name: str, artifact: Path) -> None:
    """Vectors of the right shape, but not those that the recall was measured with, even with every hash right."""
    path = artifact / INDEX / name
    np.save(path, np.ascontiguousarray(np.load(path)[::-1]))
    _seal(artifact)
    with pytest.raises(ArtifactMismatchError, match=r"made for vectors of hash .* build the neighbours again"):
        read_lookup_model(read_artifact(artifact))


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("list_of_campaign.npy", np.zeros(79, dtype=np.int32)),
        ("list_of_campaign.npy", np.full(80, 5, dtype=np.int32)),
        ("list_centres.npy", np.zeros((5, 3), dtype=np.float32)),
    ],
    ids=["too few campaigns", "no such list", "other dimensions"],
)
def test_lists_that_do_not_fit_are_refused(name: str, array: Any, artifact: Path) -> None:
    """Before they are searched and name campaigns that are not there."""
    np.save(artifact / INDEX / name, array)
    _seal(artifact)
    with pytest.raises(ArtifactError, match=r"inverted lists.* build the neighbours again"):
        read_lookup_model(read_artifact(artifact))


@pytest.mark.parametrize(
    "change",
    [
        lambda facts: facts.pop("scopes"),
        lambda facts: facts["scopes"][0].pop("probes"),
        lambda facts: facts["scopes"][0].update(probes=6),
        lambda facts: facts["scopes"][0].update(stop=81),
        lambda facts: facts["scopes"][0].update(recall_at_100=float("nan")),
    ],
)
def test_facts_of_no_sense_are_refused(change: Callable[[Any], Any], artifact: Path) -> None:
    """A manifest that was written by hand is told so, not met with a traceback."""
    _seal(artifact, lambda manifest: change(manifest["neighbour_index"]))
    with pytest.raises(ArtifactError, match="build the neighbours again"):
        read_lookup_model(read_artifact(artifact))


def test_an_index_of_an_earlier_format_is_refused(artifact: Path) -> None:
    """With the remedy, not with a file that is missing."""
    _seal(artifact, lambda manifest: manifest.pop("index_format"))
    with pytest.raises(ArtifactError, match="format None, expected 2; build the neighbours again"):
        read_lookup_model(read_artifact(artifact))


def test_an_exact_index_says_so(chain: Chain, tmp_path: Path) -> None:
    """Without lists there is no recall to state: everyone is compared."""
    write_lookup_model(chain.lookups.lookup, tmp_path / "artifact", chain.artifact.manifest)
    opened = read_artifact(Path(shutil.copytree(tmp_path / "artifact", tmp_path / "copy")))
    assert opened.manifest["neighbour_index"] == {"exact": True}
    assert read_lookup_model(opened).index.lists is None
