"""Writing a corpus folder, one shard in memory at a time; the manifest comes last, so a folder with one is whole."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from topic_model.arrays import sha256_of, write_bytes, write_json, written_whole
from topic_model.settings import CorpusSettings, TextSettings
from topic_model.shards import (
    FILES,
    FORMAT_VERSION,
    MANIFEST,
    SHARD_CAMPAIGNS,
    SHARD_ENTRIES,
    ContentHash,
    Manifest,
    ShardBags,
    ShardEntry,
)
from topic_model.vocabulary import Vocabulary

Texts: TypeAlias = "Sequence[str | None] | pa.Array"
CAMPAIGNS_SCHEMA = pa.schema(
    [
        pa.field("campaign_id", pa.string(), nullable=False),
        pa.field("channel", pa.string()),
        pa.field("name", pa.string()),
        pa.field("held_out", pa.bool_(), nullable=False),
    ]
)


def shard_stops(lengths: npt.NDArray[np.integer]) -> list[int]:
    """Where shards end, of campaigns with so many entries: full at ``SHARD_CAMPAIGNS`` or ``SHARD_ENTRIES``."""
    ends = np.cumsum(lengths, dtype=np.int64)
    stops: list[int] = []
    start = 0
    while start < len(lengths):
        before = int(ends[start - 1]) if start else 0
        fitting = int(np.searchsorted(ends, before + SHARD_ENTRIES, side="right"))
        start = max(start + 1, min(start + SHARD_CAMPAIGNS, fitting, len(lengths)))
        stops.append(start)
    return stops


@contextmanager
def corpus_writer(
    out: Path, vocabulary: Vocabulary, text_settings: TextSettings, settings: CorpusSettings
) -> Iterator[CorpusWriter]:
    """Write a corpus folder: one :meth:`CorpusWriter.add` a shard, in the corpus's order; a failed block leaves none.

    What stood in the folder is no corpus any more from the beginning of the block, whatever becomes of the new one.
    """
    out.mkdir(parents=True, exist_ok=True)
    (out / MANIFEST).unlink(missing_ok=True)
    _remove_shards(out)
    try:
        with (
            written_whole(out / "campaigns.parquet") as path,
            pq.ParquetWriter(path, CAMPAIGNS_SCHEMA, compression="zstd") as campaigns,
        ):
            writer = CorpusWriter(out, vocabulary, text_settings, settings, campaigns)
            yield writer
        writer.write_manifest()
    except BaseException:
        _remove_shards(out)
        raise


def _remove_shards(folder: Path) -> None:
    for path in folder.glob("shard-*.npz"):
        path.unlink()


class CorpusWriter:
    """Takes the shards of a corpus, one after the other; see :func:`corpus_writer`."""

    def __init__(
        self,
        out: Path,
        vocabulary: Vocabulary,
        text_settings: TextSettings,
        settings: CorpusSettings,
        campaigns: pq.ParquetWriter,
    ) -> None:
        self._out = out
        self._vocabulary = vocabulary
        self._text_settings = text_settings
        self._settings = settings
        self._campaigns = campaigns
        self._hash = ContentHash(vocabulary, text_settings)
        self._entries: list[ShardEntry] = []

    def add(
        self, shard: ShardBags, campaign_ids: Texts, channels: Texts | None = None, names: Texts | None = None
    ) -> None:
        """The next shard; :func:`shard_stops` says how many campaigns one takes.

        Raises:
            CorpusError: the bags make no sense.
        """
        name = f"shard-{len(self._entries):05d}.npz"
        shard.check(len(self._vocabulary), sum(entry.n_campaigns for entry in self._entries))
        buffer = _packed(indptr=shard.indptr, indices=shard.indices, counts=shard.counts, held_out=shard.held_out)
        write_bytes(self._out / name, buffer.getvalue())
        absent = pa.nulls(len(shard.held_out), pa.string())
        columns = [
            absent if texts is None else pa.array(texts, pa.string()) for texts in (campaign_ids, channels, names)
        ]
        self._campaigns.write_table(pa.table([*columns, pa.array(shard.held_out)], schema=CAMPAIGNS_SCHEMA))
        self._hash.add(np.diff(shard.indptr), shard.indices, shard.counts, shard.held_out)
        self._entries.append(
            ShardEntry(
                name=name,
                sha256=hashlib.sha256(buffer.getbuffer()).hexdigest(),
                n_bytes=buffer.tell(),
                n_campaigns=len(shard.held_out),
                n_entries=len(shard.indices),
                n_held_out=int(shard.held_out.sum()),
                training=shard.size("training"),
                held_out=shard.size("held out"),
            )
        )

    @property
    def n_training(self) -> int:
        """Campaigns to train on so far."""
        return sum(entry.training.n_campaigns for entry in self._entries)

    def write_manifest(self) -> None:
        """Write the vocabulary and, last, the manifest."""
        write_json(self._out / "vocabulary.json", list(self._vocabulary.terms))
        manifest = Manifest(
            format_version=FORMAT_VERSION,
            corpus_hash=self._hash.hexdigest(),
            vocabulary_hash=self._vocabulary.content_hash,
            n_campaigns=sum(entry.n_campaigns for entry in self._entries),
            n_terms=len(self._vocabulary),
            n_tokens=sum(entry.size("all").n_words for entry in self._entries),
            settings=self._settings.model_dump(),
            text_settings=self._text_settings.model_dump(),
            files={name: sha256_of(self._out / name) for name in FILES},
            shards=tuple(self._entries),
        )
        write_json(self._out / MANIFEST, {**manifest.model_dump(), "manifest_hash": manifest.own_hash})


def _packed(**arrays: npt.NDArray[Any]) -> io.BytesIO:
    """An ``.npz``, uncompressed; unlike NumPy's own, the same bytes by every version of Python and at any time."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, np.ascontiguousarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), content.getvalue())
    return buffer
