"""The corpus folder: bags of words in shards, read one shard at a time, so that a corpus may be larger than memory.

A shard ``shard-NNNNN.npz`` holds at most ``SHARD_CAMPAIGNS`` campaigns as compressed sparse rows: ``indptr`` int64,
``indices`` and ``counts`` int32, and ``held_out`` bool. ``manifest.json`` is written last and holds the hash of every
other file and of itself. How a corpus is cut into shards changes nothing that is computed from it.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from topic_model.arrays import IntArray, hash_of, sha256_of
from topic_model.bags import CHUNK_SIZE, Bags, Int32Array, checked_bags, joined, pointers, sampled_rows
from topic_model.errors import CorpusError, SettingsError
from topic_model.settings import CorpusSettings, TextSettings
from topic_model.vocabulary import Vocabulary

FORMAT_VERSION = 2
MANIFEST = "manifest.json"
FILES = ("campaigns.parquet", "vocabulary.json")
# Of 50 terms each they are 6.8 MB, read and checked in some 15 ms of processor. Much smaller ones cost time and
# thousands of files, larger ones memory and no less time (docs/decisions/0009-corpus-shards.md).
SHARD_CAMPAIGNS = 16_384
# Campaigns differ a thousandfold in size; this bounds a shard of large ones to 34 MB.
SHARD_ENTRIES = 4_194_304
REMEDY = "build the corpus again"
DTYPES = {"indptr": np.int64, "indices": np.int32, "counts": np.int32, "held_out": np.bool_}

Part = Literal["training", "held out", "all"]
BoolArray = npt.NDArray[np.bool_]


class PartSize(BaseModel):
    """How much of a shard can be trained on, or measured: campaigns with a known term, and their words."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    n_campaigns: int = Field(ge=0)
    n_words: int = Field(ge=0)


class ShardEntry(BaseModel):
    """What the manifest says of one shard."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str = Field(pattern=r"^shard-\d{5,}\.npz$")
    sha256: str
    n_bytes: int = Field(ge=0)
    n_campaigns: int = Field(ge=1)
    n_entries: int = Field(ge=0)
    n_held_out: int = Field(ge=0)
    training: PartSize
    held_out: PartSize

    def size(self, part: Part) -> PartSize:
        """The size of one part."""
        if part == "all":
            return PartSize(
                n_campaigns=self.training.n_campaigns + self.held_out.n_campaigns,
                n_words=self.training.n_words + self.held_out.n_words,
            )
        return self.training if part == "training" else self.held_out


class Manifest(BaseModel):
    """``manifest.json``; ``manifest_hash`` is over all the rest."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format_version: int
    corpus_hash: str
    vocabulary_hash: str
    n_campaigns: int = Field(ge=0)
    n_terms: int = Field(ge=0)
    n_tokens: int = Field(ge=0)
    settings: dict[str, Any]
    text_settings: dict[str, Any]
    files: dict[str, str]
    shards: tuple[ShardEntry, ...] = Field(strict=False)
    manifest_hash: str = ""

    @property
    def own_hash(self) -> str:
        """What ``manifest_hash`` must be."""
        return hash_of(orjson.dumps(self.model_dump(exclude={"manifest_hash"}), option=orjson.OPT_SORT_KEYS))


@dataclass(frozen=True, slots=True)
class ShardBags:
    """One shard in memory: compressed sparse rows, a row a campaign, and which campaigns are held out."""

    indptr: IntArray
    indices: Int32Array
    counts: Int32Array
    held_out: BoolArray

    def rows(self, part: Part) -> BoolArray:
        """The mask of the campaigns of a part: those with a known term."""
        mask = np.diff(self.indptr) > 0
        if part != "all":
            mask &= self.held_out if part == "held out" else ~self.held_out
        return mask

    def bags(self, mask: BoolArray) -> Bags:
        """The bags of some campaigns, as training takes them."""
        lengths = np.diff(self.indptr)
        entries = np.repeat(mask, lengths)
        return Bags(pointers(lengths[mask]), self.indices[entries], self.counts[entries].astype(np.float32))

    def size(self, part: Part) -> PartSize:
        """Campaigns and words of a part."""
        mask = self.rows(part)
        words = int(self.counts[np.repeat(mask, np.diff(self.indptr))].sum(dtype=np.int64))
        return PartSize(n_campaigns=int(mask.sum()), n_words=words)

    def check(self, n_terms: int, first: int) -> None:
        """Refuse arrays that make no sense; ``first`` is the number of the first campaign, for messages.

        Raises:
            CorpusError: arrays of other types, rows that do not fit, ids out of range or order, or counts below 1.
        """
        for name, dtype in DTYPES.items():
            array = getattr(self, name)
            if array.dtype != dtype or array.ndim != 1:
                raise CorpusError(
                    f"{name} is {array.dtype} of shape {array.shape}, expected {np.dtype(dtype)} in one dimension: "
                    f"{REMEDY}"
                )
        if len(self.indptr) != len(self.held_out) + 1:
            raise CorpusError(
                f"indptr has {len(self.indptr)} values for {len(self.held_out)} campaigns, expected one more: {REMEDY}"
            )
        checked_bags(self.indptr, self.indices, self.counts, n_terms, first=first)


class ContentHash:
    """SHA-256 over vocabulary, bags, split and text settings, fed in any pieces: how a corpus is cut does not count."""

    def __init__(self, vocabulary: Vocabulary, text_settings: TextSettings) -> None:
        self._head = (
            vocabulary.content_hash.encode(),
            orjson.dumps(text_settings.model_dump(), option=orjson.OPT_SORT_KEYS),
        )
        self._columns = [hashlib.sha256() for _ in range(4)]

    def add(self, lengths: IntArray, indices: npt.NDArray[Any], counts: npt.NDArray[Any], held_out: BoolArray) -> None:
        """The next campaigns: terms of each, the terms' ids and counts, and which are held out."""
        arrays = (lengths.astype("<i8"), indices.astype("<i4"), counts.astype("<i4"), held_out.astype("?"))
        for column, array in zip(self._columns, arrays, strict=True):
            column.update(np.ascontiguousarray(array).data)

    def hexdigest(self) -> str:
        """The hash of all that was added."""
        return hash_of(*self._head, *(column.digest() for column in self._columns))


@dataclass(frozen=True, slots=True)
class Shards:
    """The shards of a folder; each is checked against its hash, and its arrays for sense, when first read."""

    folder: Path
    entries: tuple[ShardEntry, ...]
    n_terms: int
    _checked: set[str] = field(default_factory=set)

    def read(self, number: int) -> ShardBags:
        """One shard.

        Raises:
            CorpusError: it is missing, cut, changed since it was written, or makes no sense.
        """
        entry = self.entries[number]
        try:
            content = (self.folder / entry.name).read_bytes()
        except OSError as error:
            raise CorpusError(f"{entry.name} of the corpus cannot be read ({error.strerror}); {REMEDY}") from error
        new = entry.name not in self._checked
        if new and hashlib.sha256(content).hexdigest() != entry.sha256:
            raise CorpusError(f"{entry.name} differs from its hash in the corpus's manifest; {REMEDY}")
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                shard = ShardBags(*(arrays[name] for name in ("indptr", "indices", "counts", "held_out")))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise CorpusError(f"{entry.name} of the corpus is damaged ({error}); {REMEDY}") from error
        if new:
            self._check(shard, number)
            self._checked.add(entry.name)
        return shard

    def _check(self, shard: ShardBags, number: int) -> None:
        entry = self.entries[number]
        try:
            shard.check(self.n_terms, sum(before.n_campaigns for before in self.entries[:number]))
        except CorpusError as error:
            raise CorpusError(f"{entry.name} of the corpus: {error}") from error
        found = (
            len(shard.held_out),
            len(shard.indices),
            int(shard.held_out.sum()),
            shard.size("training"),
            shard.size("held out"),
        )
        expected = (entry.n_campaigns, entry.n_entries, entry.n_held_out, entry.training, entry.held_out)
        if found != expected:
            raise CorpusError(f"{entry.name} does not hold the campaigns that the manifest says; {REMEDY}")

    def __iter__(self) -> Iterator[ShardBags]:
        return (self.read(number) for number in range(len(self.entries)))

    def check_sizes(self) -> None:
        """Refuse a missing or cut shard at once, and not after an hour of training: no content is read."""
        for entry in self.entries:
            path = self.folder / entry.name
            if not path.is_file():
                raise CorpusError(f"{entry.name} is missing from the corpus; {REMEDY}")
            if (found := path.stat().st_size) != entry.n_bytes:
                raise CorpusError(f"{entry.name} has {found} bytes, expected {entry.n_bytes}; {REMEDY}")


@dataclass(frozen=True, slots=True)
class ShardedBags:
    """A :class:`~topic_model.bags.BagSource` over a corpus folder: the campaigns of one part, in the corpus's order."""

    shards: Shards
    part: Part
    n_campaigns: int
    n_terms: int
    n_words: float
    content_hash: str

    def chunks(self, size: int = CHUNK_SIZE) -> Iterator[Bags]:
        """Bags of ``size`` campaigns each, the last of the rest; the shards' sizes do not show."""
        waiting: list[Bags] = []
        number = 0
        for shard in self.shards:
            bags = shard.bags(shard.rows(self.part))
            start = 0
            while number + len(bags) - start >= size:
                stop = start + size - number
                yield joined([*waiting, bags.slice(start, stop)])
                waiting, number, start = [], 0, stop
            if start < len(bags):
                waiting.append(bags.slice(start, len(bags)))
                number += len(bags) - start
        if waiting:
            yield joined(waiting)

    def sample(self, number: int, seed: int) -> Bags:
        """``number`` campaigns drawn by seed, or all of fewer, in the corpus's order; reads the shards they are in."""
        rows = sampled_rows(self.n_campaigns, number, seed)
        parts = []
        first = 0
        for position, entry in enumerate(self.shards.entries):
            last = first + entry.size(self.part).n_campaigns
            own = rows[np.searchsorted(rows, first) : np.searchsorted(rows, last)] - first
            if len(own):
                shard = self.shards.read(position)
                mask = np.zeros(len(shard.held_out), dtype=bool)
                mask[np.flatnonzero(shard.rows(self.part))[own]] = True
                parts.append(shard.bags(mask))
            first = last
        return joined(parts)


@dataclass(frozen=True, slots=True)
class StoredCorpus:
    """A corpus folder: the vocabulary in memory, the bags on disk."""

    folder: Path
    vocabulary: Vocabulary
    text_settings: TextSettings
    settings: CorpusSettings
    content_hash: str
    n_tokens: int
    shards: Shards

    def __len__(self) -> int:
        return sum(entry.n_campaigns for entry in self.shards.entries)

    @property
    def n_held_out(self) -> int:
        """Campaigns held out, with or without a known term."""
        return sum(entry.n_held_out for entry in self.shards.entries)

    @property
    def training_bags(self) -> ShardedBags:
        """Campaigns to train on: not held out and with a known term."""
        return self._bags("training")

    @property
    def held_out_bags(self) -> ShardedBags:
        """Held-out campaigns with a known term."""
        return self._bags("held out")

    @property
    def all_bags(self) -> ShardedBags:
        """All campaigns with a known term."""
        return self._bags("all")

    def _bags(self, part: Part) -> ShardedBags:
        sizes = [entry.size(part) for entry in self.shards.entries]
        return ShardedBags(
            self.shards,
            part,
            sum(size.n_campaigns for size in sizes),
            len(self.vocabulary),
            float(sum(size.n_words for size in sizes)),
            self.content_hash,
        )


def read_corpus(folder: Path) -> StoredCorpus:
    """Open a corpus folder: manifest and vocabulary are read and checked now, each shard when it is first read.

    Raises:
        CorpusError: the manifest or the vocabulary is missing, damaged or changed, the folder is of another format
            version, or a shard is missing or cut.
    """
    manifest = _read_manifest(folder)
    for name in FILES:
        _unchanged(folder / name, manifest.files.get(name))
    try:
        vocabulary = Vocabulary.of(orjson.loads((folder / "vocabulary.json").read_bytes()))
        text_settings = TextSettings.from_mapping(manifest.text_settings)
        settings = CorpusSettings.from_mapping(manifest.settings)
    except (OSError, ValueError, TypeError, SettingsError) as error:
        raise CorpusError(f"the corpus folder is incomplete or damaged ({error}); {REMEDY}") from error
    shards = Shards(folder, manifest.shards, len(vocabulary))
    shards.check_sizes()
    corpus = StoredCorpus(folder, vocabulary, text_settings, settings, manifest.corpus_hash, manifest.n_tokens, shards)
    if (len(corpus), len(vocabulary)) != (manifest.n_campaigns, manifest.n_terms):
        raise CorpusError(
            f"the corpus has {len(corpus)} campaigns and {len(vocabulary)} terms, its manifest says "
            f"{manifest.n_campaigns} and {manifest.n_terms}; {REMEDY}"
        )
    return corpus


def _read_manifest(folder: Path) -> Manifest:
    try:
        document = orjson.loads((folder / MANIFEST).read_bytes())
        version = document["format_version"]
    except FileNotFoundError as error:
        raise CorpusError(f"the folder {folder.name} has no {MANIFEST}: it is no whole corpus; {REMEDY}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorpusError(f"the corpus's {MANIFEST} cannot be read ({error}); {REMEDY}") from error
    if version != FORMAT_VERSION:
        raise CorpusError(f"the corpus has format version {version}, expected {FORMAT_VERSION}; {REMEDY}")
    try:
        manifest = Manifest.model_validate(document)
    except ValidationError as error:
        mistake = error.errors()[0]
        place = ".".join(str(part) for part in mistake["loc"])
        raise CorpusError(f"the corpus's {MANIFEST} is wrong at {place}: {mistake['msg']}; {REMEDY}") from error
    if manifest.manifest_hash != manifest.own_hash:
        raise CorpusError(f"the corpus's {MANIFEST} differs from its own hash: it was changed; {REMEDY}")
    return manifest


def _unchanged(path: Path, expected: str | None) -> None:
    try:
        found = sha256_of(path)
    except OSError as error:
        raise CorpusError(f"{path.name} of the corpus cannot be read ({error.strerror}); {REMEDY}") from error
    if found != expected:
        raise CorpusError(f"{path.name} differs from its hash in the corpus's manifest; {REMEDY}")
