"""What answers say of the campaigns of the index, in arrays: a process that serves makes no object a campaign."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np
import numpy.typing as npt

from topic_model.arrays import IntArray, write_array, write_json
from topic_model.artifact import Artifact
from topic_model.errors import ArtifactError
from topic_model.texts import Texts

_CODED = ("client_id", "channel")
_TEXTS = ("campaign_id", "name")


@dataclass(frozen=True, slots=True)
class KnownCampaign:
    """What an answer says of a neighbour."""

    campaign_id: str
    client_id: str | None
    channel: str | None
    name: str | None


@dataclass(frozen=True, slots=True)
class _Coded:
    """Texts of which there are few: a number a campaign, -1 for none, and the texts."""

    codes: npt.NDArray[np.int32]
    texts: tuple[str, ...]

    @classmethod
    def of(cls, values: Iterable[str | None]) -> _Coded:
        known: dict[str, int] = {}
        codes = [-1 if value is None else known.setdefault(value, len(known)) for value in values]
        return cls(np.array(codes, dtype=np.int32), tuple(known))

    def __getitem__(self, row: int) -> str | None:
        code = int(self.codes[row])
        return None if code < 0 else self.texts[code]


@dataclass(frozen=True, eq=False)
class KnownCampaigns(Sequence[KnownCampaign]):
    """The campaigns of the index, a row each, those of a client together.

    ``by_id`` of shape (n_campaigns,) has the rows in the order of their ids; ``unnamed`` says who has no name.
    """

    ids: Texts
    names: Texts
    unnamed: npt.NDArray[np.bool_]
    clients: _Coded
    channels: _Coded
    by_id: npt.NDArray[np.int32]

    @classmethod
    def of(cls, campaigns: Sequence[KnownCampaign]) -> KnownCampaigns:
        """The table of some campaigns, in their order."""
        ids = [campaign.campaign_id for campaign in campaigns]
        return cls(
            Texts.of(ids),
            Texts.of(campaign.name or "" for campaign in campaigns),
            np.array([campaign.name is None for campaign in campaigns], dtype=bool),
            _Coded.of(campaign.client_id for campaign in campaigns),
            _Coded.of(campaign.channel for campaign in campaigns),
            np.array(sorted(range(len(ids)), key=ids.__getitem__), dtype=np.int32),
        )

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, row: int) -> KnownCampaign: ...
    @overload
    def __getitem__(self, row: slice) -> list[KnownCampaign]: ...
    def __getitem__(self, row: int | slice) -> KnownCampaign | list[KnownCampaign]:
        if isinstance(row, slice):
            return [self[one] for one in range(*row.indices(len(self)))]
        name = None if self.unnamed[row] else self.names[row]
        return KnownCampaign(self.ids[row], self.clients[row], self.channels[row], name)

    def row_of(self, campaign_id: str) -> int | None:
        """The row of a campaign, None where the index has none of that id."""
        place = bisect_left(range(len(self)), campaign_id, key=lambda place: self.ids[int(self.by_id[place])])
        if place == len(self):
            return None
        row = int(self.by_id[place])
        return row if self.ids[row] == campaign_id else None

    @cached_property
    def rows_of_client(self) -> dict[str, slice]:
        """The consecutive rows of each client.

        Raises:
            ArtifactError: the campaigns are not sorted by client.
        """
        codes = self.clients.codes
        starts: IntArray = np.flatnonzero(np.diff(codes, prepend=-2)).astype(np.int64)
        found: dict[str, slice] = {}
        for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), len(codes)], strict=True):
            client = self.clients[start]
            if client in found:
                raise ArtifactError(f"the campaigns of client {client!r} do not stand together; build the lookups anew")
            if client is not None:
                found[client] = slice(start, stop)
        return found

    def write(self, folder: Path) -> None:
        """Write the table's arrays and its short texts."""
        for name, texts in zip(_TEXTS, (self.ids, self.names), strict=True):
            write_array(folder / f"{name}.npy", texts.content)
            write_array(folder / f"{name}_starts.npy", texts.starts)
        write_array(folder / "unnamed.npy", self.unnamed)
        write_array(folder / "rows_by_campaign_id.npy", self.by_id)
        for name, coded in zip(_CODED, (self.clients, self.channels), strict=True):
            write_array(folder / f"{name}_codes.npy", coded.codes)
            write_json(folder / f"{name}s.json", list(coded.texts))


def read_known_campaigns(artifact: Artifact, folder: str) -> KnownCampaigns:
    """The table that :meth:`KnownCampaigns.write` wrote into a folder of an artifact.

    Raises:
        ArtifactError: its parts do not fit together.
    """
    ids, names = (artifact.texts(f"{folder}/{name}") for name in _TEXTS)
    clients, channels = (
        _Coded(artifact.array(f"{folder}/{name}_codes.npy"), tuple(artifact.document(f"{folder}/{name}s.json")))
        for name in _CODED
    )
    unnamed = artifact.array(f"{folder}/unnamed.npy")
    by_id = artifact.array(f"{folder}/rows_by_campaign_id.npy")
    lengths = {len(ids), len(names), len(unnamed), len(clients.codes), len(channels.codes), len(by_id)}
    if len(lengths) > 1 or not np.array_equal(np.sort(by_id), np.arange(len(ids))):
        raise ArtifactError("the artifact's columns of campaigns do not fit together; build the neighbours again")
    for coded in (clients, channels):
        if len(coded.codes) and not -1 <= coded.codes.min() <= coded.codes.max() < len(coded.texts):
            raise ArtifactError(
                "a campaign of the artifact has an unknown client or channel; build the neighbours again"
            )
    return KnownCampaigns(ids, names, unnamed, clients, channels, by_id)
