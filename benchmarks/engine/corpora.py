"""The corpora that trainers are compared on, prepared once and kept in the work folder."""

from __future__ import annotations

import csv
import gzip
import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from topic_model.arrays import IntArray, csr, written_whole
from topic_model.errors import ExportError
from topic_model.settings import CorpusSettings, PrepareSettings, TextSettings

GENERATED_TOPICS = {10_000: 60, 50_000: 100}
BBC = "bbc"
BBC_TOPICS = 20
SAMPLE_SEED = 1
HELD_OUT_SHARE = 0.1


@dataclass(frozen=True)
class EngineCorpus:
    """Bags of words of shape (n, n_terms) as compressed sparse rows, with what each is about and which are held out.

    The vocabulary is that of the training bags: no trainer is asked for a term that it cannot have seen.
    """

    name: str
    num_topics: int
    terms: tuple[str, ...]
    indptr: IntArray
    indices: IntArray
    counts: IntArray
    held_out: Any  # boolean array of shape (n,)
    verticals: Any  # strings of shape (n,)

    @cached_property
    def content_hash(self) -> str:
        """The first 12 hex digits of SHA-256 over bags, split and terms."""
        digest = hashlib.sha256(orjson.dumps([self.terms, self.num_topics]))
        for array in (self.indptr, self.indices, self.counts, self.held_out):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:12]

    def matrix(self, rows: Any) -> Any:
        """Counts of some rows (ids or mask) as CSR of float64, without rows that are empty."""
        matrix = csr(self.counts.astype(np.float64), self.indices, self.indptr, len(self.terms))[rows]
        return matrix[np.diff(matrix.indptr) > 0]

    @property
    def training(self) -> Any:
        """The training rows' counts."""
        return self.matrix(~self.held_out)

    def write(self, path: Path) -> None:
        """Write one ``.npz``, whole or not at all."""
        with written_whole(path) as temporary, temporary.open("wb") as stream:
            np.savez(
                stream,
                name=np.array(self.name),
                num_topics=np.array(self.num_topics),
                terms=np.array(self.terms, dtype=np.str_),
                indptr=self.indptr,
                indices=self.indices,
                counts=self.counts,
                held_out=self.held_out,
                verticals=self.verticals,
            )


def read_engine_corpus(path: Path) -> EngineCorpus:
    """A corpus that :meth:`EngineCorpus.write` wrote."""
    with np.load(path, allow_pickle=False) as archive:
        return EngineCorpus(
            str(archive["name"]),
            int(archive["num_topics"]),
            tuple(archive["terms"].tolist()),
            *(archive[name] for name in ("indptr", "indices", "counts", "held_out", "verticals")),
        )


def engine_corpus(name: str, work: Path, bbc: Path | None) -> tuple[EngineCorpus, Path]:
    """The corpus of a name, ``generated-N`` or ``bbc``, and its file; made where it is not there yet."""
    # Other text or corpus settings make other terms, so they name the file, too.
    settings = orjson.dumps([TextSettings().model_dump(), CorpusSettings().model_dump()], option=orjson.OPT_SORT_KEYS)
    path = work / "corpora" / f"{name}-{hashlib.sha256(settings).hexdigest()[:8]}.npz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        corpus = bbc_corpus(bbc) if name == BBC else generated_corpus(int(name.removeprefix("generated-")), work)
        corpus.write(path)
    return read_engine_corpus(path), path


def generated_corpus(size: int, work: Path) -> EngineCorpus:
    """Generated campaigns through the project's own Prepare and BuildCorpus with default settings."""
    from topic_model.corpus import Corpus, build_corpus
    from topic_model.evaluate_retrieval import read_verticals
    from topic_model.prepare import prepare_channel
    from topic_model.sample import generate_sample

    folder = work / "samples" / str(size)
    sample = generate_sample(folder / "sample", campaigns=size, seed=SAMPLE_SEED, format="jsonl")
    for channel in sorted(path for path in sample.exports.iterdir() if path.is_dir()):
        prepare_channel(
            channel,
            folder / "prepared" / channel.name,
            folder / "scoring" / channel.name,
            channel=channel.name,
            settings=PrepareSettings(),
            text=TextSettings(),
        )
    build_corpus(folder / "prepared", folder / "corpus", CorpusSettings(held_out_share=HELD_OUT_SHARE))
    built = Corpus.load(folder / "corpus")
    verticals = read_verticals(sample.ground_truth)
    return trimmed(
        f"generated-{size}",
        GENERATED_TOPICS.get(size, max(10, round(0.6 * size**0.5))),
        built.vocabulary.terms,
        csr(built.counts.astype(np.int64), built.indices, built.indptr, len(built.vocabulary)),
        np.asarray(built.held_out),
        np.array([verticals[campaign_id] for campaign_id in built.campaign_ids]),
    )


def bbc_corpus(path: Path | None) -> EngineCorpus:
    """BBC News as OCTIS preprocessed it, one article a campaign; a seeded tenth is held out."""
    if path is None:
        raise ExportError("the corpus 'bbc' needs --bbc FILE, the text, split and label of OCTIS as a .tsv.gz")
    texts, labels = read_bbc(path)
    ids: dict[str, int] = {}
    rows, columns = [], []
    for row, text in enumerate(texts):
        for token in text:
            rows.append(row)
            columns.append(ids.setdefault(token, len(ids)))
    from scipy import sparse

    matrix = sparse.coo_matrix((np.ones(len(rows), dtype=np.int64), (rows, columns)), (len(texts), len(ids))).tocsr()
    held_out = np.zeros(len(texts), dtype=bool)
    held_out[np.random.RandomState(SAMPLE_SEED).permutation(len(texts))[: round(HELD_OUT_SHARE * len(texts))]] = True
    return trimmed(BBC, BBC_TOPICS, tuple(ids), matrix, held_out, np.array(labels))


def read_bbc(path: Path) -> tuple[list[list[str]], list[str]]:
    """Each article's tokens, split on white space as OCTIS does, and its label."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
        lines = list(csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [line[0].split() for line in lines], [line[2] for line in lines]


def trimmed(
    name: str, num_topics: int, terms: tuple[str, ...], counts: Any, held_out: Any, verticals: Any
) -> EngineCorpus:
    """A corpus of the terms that training rows have, without rows that then are empty."""
    kept = np.flatnonzero(np.bincount(counts[~held_out].indices, minlength=len(terms)) > 0)
    counts = counts[:, kept]
    filled = np.diff(counts.indptr) > 0
    counts = counts[filled]
    counts.sort_indices()
    return EngineCorpus(
        name,
        num_topics,
        tuple(terms[term] for term in kept),
        counts.indptr.astype(np.int64),
        counts.indices.astype(np.int32),
        counts.data.astype(np.int64),
        held_out[filled],
        verticals[filled],
    )
