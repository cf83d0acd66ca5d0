"""Shards: a corpus on disk gives what the same corpus in memory gives, and is refused when damaged."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow.parquet as pq
import pytest

from topic_model import corpus_writer
from topic_model.algorithms import algorithm
from topic_model.algorithms.fit import PassReport, fit_corpus
from topic_model.arrays import sha256_of, write_json
from topic_model.bags import Bags, BagSource
from topic_model.corpus import Corpus, StoredCorpus, read_corpus
from topic_model.errors import CorpusError
from topic_model.evaluate import evaluate
from topic_model.settings import EvaluationSettings
from topic_model.shards import Manifest

PARTS = ("training_bags", "held_out_bags", "all_bags")


@pytest.fixture
def folder(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The corpus in shards of 7 campaigns, so that chunks begin and end within shards."""
    monkeypatch.setattr(corpus_writer, "SHARD_CAMPAIGNS", 7)
    corpus.write(tmp_path / "corpus")
    assert len(list((tmp_path / "corpus").glob("shard-*.npz"))) == 12
    return tmp_path / "corpus"


def _equal(one: Bags, other: Bags) -> bool:
    return all(
        np.array_equal(left, right) and left.dtype == right.dtype
        for left, right in ((getattr(one, name), getattr(other, name)) for name in ("indptr", "indices", "counts"))
    )


def _consume(corpus: StoredCorpus) -> None:
    for _ in corpus.all_bags.chunks(10):
        pass


def test_loading_gives_what_was_written(corpus: Corpus, folder: Path) -> None:
    """Arrays, vocabulary, ids, split, settings and hash; the manifest's figures are those of the arrays."""
    found = Corpus.load(folder)
    for name in ("indptr", "indices", "counts", "held_out"):
        assert np.array_equal(getattr(found, name), getattr(corpus, name))
    assert (found.vocabulary, found.campaign_ids) == (corpus.vocabulary, corpus.campaign_ids)
    assert (found.text_settings, found.settings) == (corpus.text_settings, corpus.settings)
    assert found.content_hash == corpus.content_hash
    stored = read_corpus(folder)
    assert len(stored) == len(corpus)
    assert (stored.n_tokens, stored.n_held_out) == (corpus.counts.sum(), corpus.held_out.sum())
    listed = pq.read_table(folder / "campaigns.parquet").to_pydict()
    assert listed["held_out"] == corpus.held_out.tolist()


@pytest.mark.parametrize("shard_campaigns", [1, 7, 16_384])
@pytest.mark.parametrize("part", PARTS)
def test_shards_do_not_show(
    part: str, shard_campaigns: int, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the shards' size: the chunks, samples, sizes and the hash of the corpus in memory."""
    monkeypatch.setattr(corpus_writer, "SHARD_CAMPAIGNS", shard_campaigns)
    stored: BagSource = getattr(corpus.write(tmp_path), part)
    memory: BagSource = getattr(corpus, part)
    assert (stored.n_campaigns, stored.n_terms) == (memory.n_campaigns, memory.n_terms)
    assert (stored.n_words, stored.content_hash) == (memory.n_words, memory.content_hash)
    for size in (1, 5, 7, 8, 1_000):
        chunks = list(stored.chunks(size))
        assert [len(chunk) for chunk in chunks[:-1]] == [size] * (len(chunks) - 1)
        assert all(_equal(one, other) for one, other in zip(chunks, memory.chunks(size), strict=True))
    for number in (1, 5, 10_000):
        assert _equal(stored.sample(number, 3), memory.sample(number, 3))


@pytest.mark.parametrize("name", ["lda", "lda-gensim"])
def test_training_and_evaluation_from_disk_are_those_from_memory(name: str, corpus: Corpus, folder: Path) -> None:
    """The same topics to the bit, the same bounds, and the same evaluation."""
    settings = algorithm(name).settings_class.from_strings({"num_topics": "5", "passes": "2"})
    models, bounds = [], []
    for source in (corpus, read_corpus(folder)):
        reports: list[PassReport] = []
        model = fit_corpus(source, name, settings, on_pass=reports.append)
        assert model is not None
        models.append(model)
        bounds.append([(report.train_bound, report.held_out_bound) for report in reports])
    assert np.array_equal(models[0].lambda_, models[1].lambda_)
    assert bounds[0] == bounds[1]
    documents = [
        evaluate(models[0], source, EvaluationSettings(), "version") for source in (corpus, read_corpus(folder))
    ]
    assert documents[0] == documents[1]


def test_a_part_without_campaigns_has_no_chunk(corpus_of: Callable[..., Corpus], tmp_path: Path) -> None:
    """Nothing held out: no chunk, and an empty sample."""
    held_out = corpus_of({"shoe": 1}, {"mug": 2}).write(tmp_path / "written").held_out_bags
    assert held_out.n_campaigns == held_out.n_words == 0
    assert list(held_out.chunks(5)) == []
    assert len(held_out.sample(5, 1)) == 0


def test_a_shard_ends_at_its_entries_too(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of large campaigns hold fewer of them; one larger than the bound is alone in its shard."""
    lengths = np.diff(corpus.indptr)
    bound = int(lengths.max()) + 5
    monkeypatch.setattr(corpus_writer, "SHARD_ENTRIES", bound)
    stored = corpus.write(tmp_path)
    assert max(entry.n_entries for entry in stored.shards.entries) <= bound
    assert _equal(stored.all_bags.sample(1_000, 0), corpus.all_bags.bags)
    monkeypatch.setattr(corpus_writer, "SHARD_ENTRIES", 1)
    assert [entry.n_campaigns for entry in corpus.write(tmp_path).shards.entries if entry.n_entries] == [1] * (
        int((lengths > 0).sum())
    )


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "missing"])
@pytest.mark.parametrize("name", ["shard-00003.npz", "vocabulary.json", "campaigns.parquet", "manifest.json"])
def test_a_damaged_corpus_is_refused(name: str, damage: str, folder: Path) -> None:
    """Each file cut, changed by one bit, emptied or taken away is an error that names it and the remedy."""
    path = folder / name
    content = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flip":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        path.unlink()
    with pytest.raises(CorpusError, match=rf"{name}.*build the corpus again"):
        _consume(read_corpus(folder))


@pytest.mark.parametrize("damage", ["cut", "missing"])
def test_a_missing_or_cut_shard_is_told_before_any_is_read(damage: str, folder: Path) -> None:
    """Opening the corpus is enough to hear of it."""
    path = folder / "shard-00011.npz"
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CorpusError, match=path.name):
        read_corpus(folder)


def test_a_shard_that_vanishes_later_is_named(folder: Path) -> None:
    """Gone or cut between two passes: an error too, though its hash is taken once only."""
    stored = read_corpus(folder)
    _consume(stored)
    path = folder / "shard-00002.npz"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CorpusError, match=r"shard-00002\.npz.*build the corpus again"):
        _consume(stored)
    path.unlink()
    with pytest.raises(CorpusError, match=r"shard-00002\.npz.*build the corpus again"):
        _consume(stored)


def _rewrite_manifest(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a manifest and give it the hash that fits."""
    document = orjson.loads((folder / "manifest.json").read_bytes())
    change(document)
    del document["manifest_hash"]
    write_json(folder / "manifest.json", {**document, "manifest_hash": Manifest.model_validate(document).own_hash})


def _entry(document: dict[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = document["shards"][0]
    return entry


@pytest.mark.parametrize(
    ("array", "values", "message"),
    [
        ("indices", lambda old: np.r_[np.int32(0), old[1:4], np.int32(10_000), old[5:]], "term id 10000"),
        ("indices", lambda old: np.r_[np.int32(-1), old[1:]], "term id -1"),
        ("indices", lambda old: old[::-1], "ascending"),
        ("indices", lambda old: old.astype(np.int64), "int64.*expected int32"),
        ("counts", lambda old: np.r_[old[:2], np.int32(0), old[3:]], "count 0"),
        ("counts", lambda old: -old, "count -"),
        ("counts", lambda old: np.full(len(old), np.nan, np.float32), "float32.*expected int32"),
        ("counts", lambda old: old[:-1], "shapes"),
        ("indptr", lambda old: np.r_[old[1], old[0], old[2:]], "indptr"),
        ("indptr", lambda old: np.r_[old[:-1], 10**12], "indptr"),
        ("indptr", lambda old: old[:-1], "indptr has"),
        ("indptr", lambda old: old.reshape(1, -1), "indptr is"),
        ("held_out", lambda old: old.astype(np.int8), "held_out is int8"),
        ("held_out", lambda old: ~old, "does not hold"),
        ("counts", lambda old: old + 1, "does not hold"),
    ],
)
def test_arrays_that_make_no_sense_are_refused(
    array: str, values: Callable[[Any], Any], message: str, folder: Path
) -> None:
    """Even where every hash is right: whoever wrote the shard, training sees ids, counts and rows it can trust."""
    path = folder / "shard-00000.npz"
    with np.load(path) as old:
        arrays = {name: old[name] for name in old.files}
    arrays[array] = values(arrays[array])
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    path.write_bytes(buffer.getvalue())

    def renew(document: dict[str, Any]) -> None:
        _entry(document).update(sha256=sha256_of(path), n_bytes=path.stat().st_size)

    _rewrite_manifest(folder, renew)
    with pytest.raises(CorpusError, match=rf"shard-00000\.npz.*{message}"):
        _consume(read_corpus(folder))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda document: document.update(n_campaigns=3), "manifest says 3"),
        (lambda document: document.update(n_terms=1), "and 1"),
        (lambda document: document["shards"].pop(), "campaigns"),
        (lambda document: _entry(document).update(n_campaigns=6), "campaigns"),
        (lambda document: document.update(settings={"min_df": 0}), "min_df"),
        (lambda document: document.update(settings={"mindf": 1}), "mindf"),
        (lambda document: document.update(files={}), "differs from its hash"),
        (lambda document: document.update(corpus_hash="0" * 64), "corpus_hash"),
    ],
)
def test_a_manifest_of_another_corpus_is_refused(
    change: Callable[[dict[str, Any]], None], message: str, folder: Path
) -> None:
    """A manifest whose own hash is right must still fit the shards and the settings' rules."""
    _rewrite_manifest(folder, change)
    with pytest.raises(CorpusError, match=message):
        Corpus.load(folder)


def test_an_edited_manifest_is_refused(folder: Path) -> None:
    """One figure changed by hand: the manifest's own hash tells."""
    document = orjson.loads((folder / "manifest.json").read_bytes())
    write_json(folder / "manifest.json", {**document, "n_tokens": document["n_tokens"] + 1})
    with pytest.raises(CorpusError, match="own hash"):
        read_corpus(folder)


@pytest.mark.parametrize(
    "document",
    [[], {}, None, 1, {"format_version": 99}, {"format_version": "2"}, {"format_version": 2}],
)
def test_a_strange_manifest_is_refused(document: Any, folder: Path) -> None:
    """JSON of another shape or version is a CorpusError too."""
    write_json(folder / "manifest.json", document)
    with pytest.raises(CorpusError, match="build the corpus again"):
        read_corpus(folder)


def test_a_shard_outside_the_folder_is_refused(folder: Path) -> None:
    """A name in the manifest cannot point elsewhere."""
    document = orjson.loads((folder / "manifest.json").read_bytes())
    document["shards"][0]["name"] = "../shard-00000.npz"
    write_json(folder / "manifest.json", document)
    with pytest.raises(CorpusError, match=r"shards\.0\.name"):
        read_corpus(folder)


def test_a_corpus_of_the_format_before_names_the_remedy(folder: Path) -> None:
    """Version 1 held the whole corpus in three arrays."""
    write_json(folder / "manifest.json", {"format_version": 1, "corpus_hash": "x", "files": {}})
    with pytest.raises(CorpusError, match="format version 1, expected 2; build the corpus again"):
        read_corpus(folder)


def test_writing_over_a_corpus_leaves_nothing_of_it(corpus: Corpus, folder: Path) -> None:
    """The 12 shards before are gone, and what is there is the new corpus."""
    small = replace(
        corpus,
        indptr=corpus.indptr[:4],
        campaign_ids=corpus.campaign_ids[:3],
        held_out=corpus.held_out[:3],
        indices=corpus.indices[: corpus.indptr[3]],
        counts=corpus.counts[: corpus.indptr[3]],
    )
    small.write(folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        "campaigns.parquet",
        "manifest.json",
        "shard-00000.npz",
        "vocabulary.json",
    ]
    assert Corpus.load(folder).content_hash == small.content_hash


def test_a_failed_write_leaves_no_corpus(corpus: Corpus, folder: Path) -> None:
    """Counts of zero in the second shard: nothing is left that could be taken for a corpus, new or old."""
    counts = corpus.counts.copy()
    counts[corpus.indptr[10]] = 0
    with pytest.raises(CorpusError, match="campaign 10 has the count 0"):
        replace(corpus, counts=counts).write(folder)
    assert not list(folder.glob("shard-*")) and not (folder / "manifest.json").exists()
