"""The lookup model: read back it answers as in memory, and a known campaign's answer is its row."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from tests.topic_model.conftest import Chain
from topic_model.artifact import read_artifact, unpack, write_manifest
from topic_model.campaigns import Campaign, Keyword
from topic_model.confidence import MAX_MIN_NEAREST, MIN_NEAREST, describe_confidence
from topic_model.errors import ArtifactError, ArtifactMismatchError, NoKnownTermsError
from topic_model.lookup_model import INDEX, LookupModel, has_index, read_lookup_model
from topic_model.text import Tokenizer


@pytest.fixture(scope="module")
def folder(chain: Chain, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """lookups/, lookup-model/ and the artifact unpacked."""
    out = tmp_path_factory.mktemp("lookup-model")
    chain.lookups.write(out / "lookups", out / "packed")
    unpack(out / "packed" / "model.tar.gz", out / "artifact")
    return out


@pytest.fixture(scope="module")
def lookup(folder: Path) -> LookupModel:
    """The lookup model as the endpoint reads it."""
    return read_lookup_model(read_artifact(folder / "artifact"))


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer()


FRESH = Campaign("fresh", keywords=(Keyword("espresso grinder"), Keyword("latte zzzz")), negative_keywords=("kettle",))


def test_read_back_it_answers_as_in_memory(chain: Chain, lookup: LookupModel, tokenizer: Tokenizer) -> None:
    """The same answers, known and fresh, before writing and after reading."""
    for campaign in (FRESH, *chain.campaigns[:8]):
        assert lookup.answer(campaign, tokenizer) == chain.lookups.lookup.answer(campaign, tokenizer)


def test_a_known_campaigns_answer_is_its_row(chain: Chain, folder: Path, lookup: LookupModel, tokenizer: Any) -> None:
    """Asked with its own record, a campaign gets the cluster, neighbours and keywords of its row."""
    lines = (folder / "lookups" / "rows-00000.jsonl").read_bytes().splitlines()
    rows = {row["campaign_id"]: row for row in map(orjson.loads, lines)}
    for campaign in chain.campaigns[:40]:
        answer, row = lookup.answer(campaign, tokenizer), rows[campaign.campaign_id]
        assert answer["cluster_label"] == row["cluster_label"]
        for found, expected in zip(answer["similar"], row["similar"], strict=True):
            assert found["similarity"] == pytest.approx(expected["similarity"], abs=5e-6)
        known = {similar["campaign_id"] for similar in row["similar"]}
        assert len({similar["campaign_id"] for similar in answer["similar"]} & known) >= 9
        keywords = [recommendation["keyword"] for recommendation in row["recommendations"]]
        assert len({each["keyword"] for each in answer["recommendations"]} & set(keywords)) >= len(keywords) - 1


def test_a_fresh_campaign_finds_its_theme(lookup: LookupModel, tokenizer: Tokenizer) -> None:
    """Coffee words find coffee campaigns; unknown words are named; the negative is not recommended."""
    answer = lookup.answer(FRESH, tokenizer)
    assert {similar["campaign_id"].split("-")[0] for similar in answer["similar"]} == {"coffee"}
    assert (answer["known_terms"], answer["unknown_terms"]) == (3, ["zzzz"])
    assert answer["recommendations"]
    assert not any("kettle" in recommendation["keyword"] for recommendation in answer["recommendations"])
    assert sum(answer["fingerprint"]) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(("k", "recommendations"), [(1, 0), (3, 2), (1_000, 1_000)])
def test_answers_are_as_long_as_asked(
    k: int, recommendations: int, chain: Chain, lookup: LookupModel, tokenizer: Tokenizer
) -> None:
    """k and num_recommendations bound the lists; more than there are gives what there is."""
    answer = lookup.answer(FRESH, tokenizer, k=k, num_recommendations=recommendations)
    assert min(k, 10) <= len(answer["similar"]) <= k
    assert len(answer["recommendations"]) <= recommendations
    assert bool(answer["recommendations"]) == bool(recommendations)


def test_a_campaign_is_not_its_own_neighbour(chain: Chain, lookup: LookupModel, tokenizer: Tokenizer) -> None:
    """With its id it is left out; without, its twin in the index is the nearest."""
    known = chain.campaigns[0]
    assert known.campaign_id not in [s["campaign_id"] for s in lookup.answer(known, tokenizer)["similar"]]
    stranger = Campaign("other-id", keywords=known.keywords)
    assert lookup.answer(stranger, tokenizer)["similar"][0]["campaign_id"] == known.campaign_id


def test_shared_topics_add_up_to_their_part(lookup: LookupModel, tokenizer: Tokenizer) -> None:
    """Shares of the common topics are at most 1 together, the largest first, none under a tenth."""
    for similar in lookup.answer(FRESH, tokenizer)["similar"]:
        shares = [topic["share"] for topic in similar["shared_topics"]]
        assert shares and shares == sorted(shares, reverse=True)
        assert sum(shares) <= 1.001 and min(shares) >= 0.1


@pytest.mark.parametrize("texts", [(), ("",), ("zzzz qqqq",), ("2025",), ("靴",)])
def test_without_known_terms_there_is_no_answer(
    texts: tuple[str, ...], lookup: LookupModel, tokenizer: Tokenizer
) -> None:
    """No fingerprint, no neighbours of the prior."""
    with pytest.raises(NoKnownTermsError):
        lookup.answer(Campaign("x", keywords=tuple(map(Keyword, texts))), tokenizer)


@pytest.mark.parametrize(
    ("text", "share", "low"),
    [
        ("espresso grinder latte", 1, False),
        ("espresso grinder latte zzzz", 0.75, False),
        ("espresso grinder zzzz qqqq xxyy", 0.4, True),
    ],
    ids=["of the kind", "one word foreign", "most foreign"],
)
def test_low_confidence_is_told(text: str, share: float, low: bool, lookup: LookupModel, tokenizer: Tokenizer) -> None:
    """Both figures are the answer's own, and low is where under half of the terms are known."""
    answer = lookup.answer(Campaign("x", keywords=(Keyword(text),)), tokenizer)
    confidence = answer["confidence"]
    assert confidence == {"known_terms_share": share, "nearest": answer["similar"][0]["similarity"]}
    assert answer["low_confidence"] is low


@pytest.mark.parametrize(
    ("share", "nearest", "low"), [(0.5, 0.5, False), (0.4999, 1.0, True), (1.0, 0.499999, True), (1.0, 0.0, True)]
)
def test_either_figure_below_its_bar_is_low_confidence(share: float, nearest: float, low: bool) -> None:
    """Known terms alone are not enough: those of a campaign that is like no other are known, too."""
    assert describe_confidence(share, nearest)["low_confidence"] is low


def test_the_bar_is_the_models_own(chain: Chain, lookup: LookupModel, tokenizer: Tokenizer) -> None:
    """It is measured when the index is built, read back, and what answers are judged by."""
    assert MIN_NEAREST <= lookup.min_nearest == chain.lookups.lookup.min_nearest <= MAX_MIN_NEAREST
    answer = lookup.answer(FRESH, tokenizer)
    higher = replace(lookup, min_nearest=answer["confidence"]["nearest"] + 1e-6)
    assert (answer["low_confidence"], higher.answer(FRESH, tokenizer)["low_confidence"]) == (False, True)


def test_confidence_within_a_client_tells_of_no_other(lookup: LookupModel, tokenizer: Tokenizer) -> None:
    """The nearest is the client's own; a client without campaigns has none, which is low."""
    every = lookup.answer(FRESH, tokenizer)["confidence"]["nearest"]
    own = lookup.answer(FRESH, tokenizer, only_client="client-1")
    assert own["confidence"]["nearest"] == own["similar"][0]["similarity"] <= every
    stranger = lookup.answer(FRESH, tokenizer, only_client="nobody")
    assert (stranger["confidence"]["nearest"], stranger["low_confidence"]) == (0, True)


def test_within_a_client_all_its_campaigns_are_searched(lookup: LookupModel, tokenizer: Tokenizer) -> None:
    """A hundred neighbours of one client are as many as it has among everyone's, not those of a published list."""
    everyone = lookup.answer(FRESH, tokenizer, k=1_000)["similar"]
    expected = [one["campaign_id"] for one in everyone if one["client_id"] == "client-1"]
    own = lookup.answer(FRESH, tokenizer, k=100, only_client="client-1")["similar"]
    assert [one["campaign_id"] for one in own] == expected and len(expected) > 1


def test_a_trained_model_is_no_lookup_model(chain: Chain) -> None:
    """The message says which artifact to deploy."""
    assert not has_index(chain.artifact)
    with pytest.raises(ArtifactError, match="no neighbour index"):
        read_lookup_model(chain.artifact)


def test_an_index_of_another_model_is_refused(folder: Path, tmp_path: Path) -> None:
    """Fingerprints of other topics beside the model: refused, even with every hash right."""
    copy = Path(shutil.copytree(folder / "artifact", tmp_path / "artifact"))
    theta = np.load(copy / INDEX / "theta.npy")
    np.save(copy / INDEX / "theta.npy", theta[:, :-1])
    manifest = orjson.loads((copy / "manifest.json").read_bytes())
    write_manifest(copy, {k: v for k, v in manifest.items() if k not in ("files", "model_version")})
    with pytest.raises(ArtifactMismatchError, match="one training run"):
        read_lookup_model(read_artifact(copy))


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        ("weights_indices.npy", 0, 10**6),
        ("weights_indptr.npy", 1, -1),
        ("keywords.npy", -1, 10**6),
        ("keyword_terms.npy", 0, -2),
        ("keyword_terms_indptr.npy", -1, 10**6),
    ],
)
def test_rows_that_lead_astray_are_refused(name: str, place: int, value: int, folder: Path, tmp_path: Path) -> None:
    """Compiled loops check no bounds, so they never see such arrays, even with every hash right."""
    copy = Path(shutil.copytree(folder / "artifact", tmp_path / "artifact"))
    array = np.load(copy / INDEX / name)
    array[place] = value
    np.save(copy / INDEX / name, array)
    manifest = orjson.loads((copy / "manifest.json").read_bytes())
    write_manifest(copy, {k: v for k, v in manifest.items() if k not in ("files", "model_version")})
    with pytest.raises(ArtifactError, match="build the neighbours again"):
        read_lookup_model(read_artifact(copy))


def test_the_lookup_model_keeps_the_models_facts(chain: Chain, folder: Path) -> None:
    """Settings, corpus and metrics of the training, and the version of the model it came from."""
    manifest = read_artifact(folder / "artifact").manifest
    assert manifest["trained_model_version"] == chain.artifact.model_version
    for name in ("algorithm", "settings", "corpus_hash", "metrics"):
        assert manifest[name] == chain.artifact.manifest[name]
