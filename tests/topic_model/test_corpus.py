"""The corpus: the right bags, in an order of their own, split by seed, and refused when damaged."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.topic_model.conftest import PREPARED_SCHEMA, themed_campaigns, write_prepared
from topic_model import corpus_builder, corpus_writer, prepared
from topic_model.corpus import Corpus, Vocabulary, build_corpus
from topic_model.errors import CorpusError
from topic_model.settings import CorpusSettings, TextSettings

BAGS = [
    {"shoe": 3, "running": 1},
    {"coffee": 2, "mug": 1, "shoe": 1},
    {"mug": 5},
    {"running": 2, "coffee": 1, "shoe": 4},
]


def _rows(bags: list[dict[str, int]]) -> list[dict[str, Any]]:
    return [{"campaign_id": f"c{number:03d}", "terms": bag} for number, bag in enumerate(bags)]


def _settings(**values: Any) -> CorpusSettings:
    return CorpusSettings(**({"min_df": 1, "held_out_share": 0} | values))


def _build(prepared: Path, settings: CorpusSettings) -> Corpus:
    folder = prepared.with_name(f"{prepared.name}-corpus")
    build_corpus(prepared, folder, settings)
    return Corpus.load(folder)


def _bags_of(corpus: Corpus) -> dict[str, dict[str, int]]:
    terms = corpus.vocabulary.terms
    bows = corpus.bows(np.arange(len(corpus)))
    return {
        campaign_id: {terms[term]: count for term, count in bow}
        for campaign_id, bow in zip(corpus.campaign_ids, bows, strict=True)
    }


def test_bags_are_those_of_the_prepared_campaigns(tmp_path: Path) -> None:
    """The rows hold what a plain count in Python holds, over two channels and the terms that min_df keeps."""
    draw = random.Random(1)  # noqa: S311 - test data
    words = [f"w{number}" for number in range(40)]
    bags = [dict(Counter(draw.choices(words, k=draw.randint(0, 12)))) for _ in range(60)]
    rows = _rows(bags)
    write_prepared(tmp_path, rows[:25], channel="b")
    write_prepared(tmp_path, rows[25:], channel="a")
    corpus = _build(tmp_path, _settings(min_df=12, max_df=0.3))
    in_campaigns = Counter(term for bag in bags for term in bag)
    kept = {term for term, number in in_campaigns.items() if 12 <= number <= 0.3 * 60}
    assert kept and kept < set(words)
    assert set(corpus.vocabulary.terms) == kept
    expected = {row["campaign_id"]: {term: n for term, n in row["terms"].items() if term in kept} for row in rows}
    assert _bags_of(corpus) == expected
    listed = pq.read_table(tmp_path.with_name(f"{tmp_path.name}-corpus") / "campaigns.parquet")
    assert listed["channel"].to_pylist() == ["b"] * 25 + ["a"] * 35
    assert listed["campaign_id"].to_pylist() == [row["campaign_id"] for row in rows]


def test_ids_ascend_within_each_row(corpus: Corpus) -> None:
    """Inference reads a row as it stands, so its order must not depend on the text's."""
    for start, stop in zip(corpus.indptr[:-1], corpus.indptr[1:], strict=True):
        assert (np.diff(corpus.indices[start:stop]) > 0).all()


def test_order_of_campaigns_terms_and_files_does_not_matter(tmp_path: Path) -> None:
    """Campaigns in another order, with their terms in another order, in other channels: the same corpus and split."""
    bags = [dict.fromkeys(c.keywords[0].text.split() + c.keywords[1].text.split(), 2) for c in themed_campaigns(40)]
    rows = _rows(bags)
    write_prepared(tmp_path / "one", rows)
    shuffled = [{**row, "terms": dict(reversed(row["terms"].items()))} for row in rows]
    random.Random(3).shuffle(shuffled)  # noqa: S311 - test data
    write_prepared(tmp_path / "two", shuffled[:10], channel="z")
    write_prepared(tmp_path / "two", shuffled[10:], channel="a")
    one, two = (_build(tmp_path / name, _settings(held_out_share=0.3)) for name in ("one", "two"))
    assert one.vocabulary.terms == two.vocabulary.terms
    assert one.campaign_ids == two.campaign_ids
    assert one.content_hash == two.content_hash


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 0.5])
def test_the_split_holds_out_the_exact_share(share: float, tmp_path: Path) -> None:
    """Of 40 campaigns the share is held out to the campaign; another seed holds out others."""
    prepared = write_prepared(tmp_path, _rows([{"shoe": 1, "mug": 1}] * 40))
    corpus = _build(prepared, _settings(held_out_share=share, max_df=1))
    other = _build(prepared, _settings(held_out_share=share, max_df=1, seed=1))
    assert corpus.held_out.sum() == other.held_out.sum() == 40 * share
    assert len(corpus.training_rows) + len(corpus.held_out_rows) == 40
    assert share == 0 or (corpus.held_out != other.held_out).any()


@pytest.mark.parametrize(
    "change",
    [
        lambda bags: bags[2].update(mug=6),
        lambda bags: bags[2].update(shoe=1),
        lambda bags: bags.append({"mug": 1}),
        lambda bags: bags.reverse(),
        lambda bags: bags[0].update(novelty=1),
    ],
    ids=["count", "term", "campaign", "order", "vocabulary"],
)
def test_any_change_of_the_bags_changes_the_hash(change: Callable[[Any], None], tmp_path: Path) -> None:
    """One count, term or campaign more is another corpus."""
    before = _build(write_prepared(tmp_path / "before", _rows(BAGS)), _settings())
    bags = [dict(bag) for bag in BAGS]
    change(bags)
    after = _build(write_prepared(tmp_path / "after", _rows(bags)), _settings())
    assert before.content_hash != after.content_hash


def test_split_and_text_settings_are_part_of_the_hash(tmp_path: Path) -> None:
    """The same bags with others held out, or from other text settings, train or serve another model."""
    rows = _rows(BAGS * 10)
    prepared = write_prepared(tmp_path / "a", rows)
    other_text = write_prepared(tmp_path / "b", rows, text=TextSettings(max_texts=7))
    hashes = {
        _build(prepared, _settings(held_out_share=0.2, max_df=1)).content_hash,
        _build(prepared, _settings(held_out_share=0.2, max_df=1, seed=1)).content_hash,
        _build(other_text, _settings(held_out_share=0.2, max_df=1)).content_hash,
    }
    assert len(hashes) == 3


def test_max_df_drops_what_everyone_says(tmp_path: Path) -> None:
    """A term in more than the share of campaigns goes, one at the share stays."""
    bags = [{"all": 1, "half": 1} if number % 2 else {"all": 1, "rare": 1} for number in range(20)]
    corpus = _build(write_prepared(tmp_path, _rows(bags)), _settings(max_df=0.5))
    assert corpus.vocabulary.terms == ("half", "rare")


def test_max_terms_keeps_the_most_frequent(corpus_of: Callable[..., Corpus]) -> None:
    """Of twelve terms the ten in most campaigns stay, ties by the alphabet."""
    bags = [{f"t{number:02d}": 1 for number in range(12) if number != row} for row in (0, 11)]
    corpus = corpus_of(*bags, max_terms=10)
    assert corpus.vocabulary.terms == tuple(f"t{number:02d}" for number in range(1, 11))


def test_campaigns_without_terms_stay_but_are_not_trained_on(corpus_of: Callable[..., Corpus]) -> None:
    """Such a campaign is counted and is neither trained on nor held out to measure with."""
    corpus = corpus_of({"shoe": 1}, {}, {"mug": 1})
    assert len(corpus) == 3
    assert corpus.training_rows.tolist() == [0, 2]


def test_other_scripts_are_terms_like_others(corpus_of: Callable[..., Corpus]) -> None:
    """Kana, Cyrillic and Devanagari terms survive writing and reading."""
    corpus = corpus_of({"靴": 1, "обувь": 2}, {"जूते": 1, "靴": 1})
    assert set(corpus.vocabulary.terms) == {"靴", "обувь", "जूते"}


def test_an_id_in_two_channels_is_refused_by_name(tmp_path: Path) -> None:
    """The message has the id and both channels."""
    write_prepared(tmp_path, _rows(BAGS), channel="one")
    write_prepared(tmp_path, [{"campaign_id": "c002", "terms": {"mug": 1}}], channel="two")
    with pytest.raises(CorpusError, match=r"'c002' \(in (one and two|two and one)\)"):
        build_corpus(tmp_path, tmp_path / "corpus", _settings())


def test_channels_of_different_text_settings_are_refused(tmp_path: Path) -> None:
    """Their terms would not be comparable."""
    write_prepared(tmp_path, _rows(BAGS[:2]), channel="one")
    write_prepared(
        tmp_path, [{"campaign_id": "x", "terms": {"mug": 1}}], channel="two", text=TextSettings(keep_numbers=True)
    )
    with pytest.raises(CorpusError, match=r"'one', 'two'.*different text settings"):
        build_corpus(tmp_path, tmp_path / "corpus", _settings())


def test_no_terms_left_names_min_df(tmp_path: Path) -> None:
    """Where no term is in enough campaigns, the message says which setting to lower."""
    with pytest.raises(CorpusError, match="none of 4 terms is in at least min_df=9"):
        _build(write_prepared(tmp_path, _rows(BAGS)), _settings(min_df=9))


@pytest.mark.parametrize("bags", [[], [{}], [{}, {}], [{"shoe": 1}], [{"shoe": 1}, {}]])
def test_too_little_to_train_on_is_refused(bags: list[dict[str, int]], tmp_path: Path) -> None:
    """No campaign, none with terms, or one: an error, not a model of nothing."""
    with pytest.raises(CorpusError):
        _build(write_prepared(tmp_path, _rows(bags)), _settings())


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    """No prepared channel at all."""
    with pytest.raises(CorpusError, match=r"no campaigns\.parquet"):
        build_corpus(tmp_path, tmp_path / "corpus", _settings())


def test_damaged_prepared_files_are_named(tmp_path: Path) -> None:
    """A cut Parquet file and a missing quality report are errors that name the channel."""
    folder = write_prepared(tmp_path, _rows(BAGS)) / "google_ads"
    whole = (folder / "campaigns.parquet").read_bytes()
    (folder / "campaigns.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CorpusError, match=r"google_ads/campaigns\.parquet"):
        build_corpus(tmp_path, tmp_path / "corpus", _settings())
    (folder / "campaigns.parquet").write_bytes(whole)
    (folder / "quality.json").unlink()
    with pytest.raises(CorpusError, match=r"google_ads/quality\.json"):
        build_corpus(tmp_path, tmp_path / "corpus", _settings())


def test_a_vocabulary_names_each_term_once() -> None:
    """A repeated term would have two ids."""
    with pytest.raises(CorpusError, match="1 terms twice"):
        Vocabulary.of(["a", "b", "a"])


def test_campaigns_without_any_term_are_told_as_such(tmp_path: Path) -> None:
    """No setting can help where there is no term, so none is named."""
    with pytest.raises(CorpusError, match="none of 2 campaigns has a term") as refused:
        _build(write_prepared(tmp_path, _rows([{}, {}])), _settings())
    assert "min_df" not in str(refused.value)


def test_streaming_in_small_pieces_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of 3 campaigns, sorted runs of 5, shards of 7 and merges at every term: the same corpus."""
    draw = random.Random(5)  # noqa: S311 - test data
    words = [f"w{number}" for number in range(30)]
    rows = _rows([dict(Counter(draw.choices(words, k=draw.randint(0, 9)))) for _ in range(60)])
    draw.shuffle(rows)
    write_prepared(tmp_path / "prepared", rows[:17], channel="b")
    write_prepared(tmp_path / "prepared", rows[17:], channel="a")
    settings = _settings(min_df=3, held_out_share=0.2, max_terms=20)
    whole = build_corpus(tmp_path / "prepared", tmp_path / "whole", settings)
    for module, name, value in (
        (prepared, "BATCH_CAMPAIGNS", 3),
        (corpus_builder, "_RUN_CAMPAIGNS", 5),
        (corpus_builder, "MERGE_TEXTS", 1),
        (corpus_writer, "SHARD_CAMPAIGNS", 7),
    ):
        monkeypatch.setattr(module, name, value)
    pieces = build_corpus(tmp_path / "prepared", tmp_path / "pieces", settings)
    assert (len(whole.shards.entries), len(pieces.shards.entries)) == (1, 9)
    assert pieces.content_hash == whole.content_hash
    listed = [pq.read_table(corpus.folder / "campaigns.parquet") for corpus in (whole, pieces)]
    assert listed[0].equals(listed[1])
    assert {path.name for path in pieces.folder.iterdir()} == {
        "manifest.json",
        "vocabulary.json",
        "campaigns.parquet",
        *(f"shard-{number:05d}.npz" for number in range(9)),
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"term_counts": [1, 0]}, "term_count is 0"),
        ({"term_counts": [1, -3]}, "term_count is -3"),
        ({"term_counts": [1, None]}, "null"),
        ({"term_counts": [1]}, "other numbers of terms"),
        ({"terms": ["shoe", None]}, "a term is null"),
        ({"terms": ["mug", "mug"]}, r"campaign 'c002' has 'mug' twice"),
        ({"campaign_id": None}, "no campaign_id"),
    ],
)
def test_prepared_campaigns_that_make_no_sense_are_refused(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """The message names the channel's file and what to do, and no corpus is left."""
    path = write_prepared(tmp_path / "prepared", _rows([*BAGS[:2], {"mug": 5, "shoe": 1}, BAGS[3]])) / "google_ads"
    records = pq.read_table(path / "campaigns.parquet").to_pylist()
    records[2].update(change)
    pq.write_table(pa.Table.from_pylist(records, schema=PREPARED_SCHEMA), path / "campaigns.parquet")
    with pytest.raises(CorpusError, match=rf"google_ads/campaigns\.parquet: .*{message}.*prepare the channel again"):
        build_corpus(tmp_path / "prepared", tmp_path / "corpus", _settings())
    assert not (tmp_path / "corpus").exists() or not list((tmp_path / "corpus").iterdir())
