"""Many texts in two arrays: memory-mapped, they are read where they stand, and processes share them.

A list of two million Python strings takes a second to make and 150 MB, and every process that looks at one copies its
page, because looking counts a reference.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import overload

import numpy as np
import numpy.typing as npt

from topic_model.arrays import IntArray
from topic_model.errors import ArtifactError

ByteArray = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Texts(Sequence[str]):
    """Texts in UTF-8, one behind the other in ``content``; the i-th begins at ``starts[i]`` and ends at the next."""

    content: ByteArray
    starts: IntArray
    _content: memoryview = field(init=False, repr=False)
    _starts: memoryview = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """The arrays' memory as Python reads it an item at a time without making an array of it."""
        object.__setattr__(self, "_content", self.content.data)
        object.__setattr__(self, "_starts", self.starts.data)

    @classmethod
    def of(cls, texts: Iterable[str]) -> Texts:
        """The two arrays of some texts."""
        encoded = [text.encode() for text in texts]
        starts = np.zeros(len(encoded) + 1, dtype=np.int64)
        np.cumsum([len(text) for text in encoded], out=starts[1:])
        return cls(np.frombuffer(b"".join(encoded), dtype=np.uint8), starts)

    def check(self, name: str) -> None:
        """Raise an ArtifactError where the arrays are not those of texts; ``name`` says which."""
        starts, content = self.starts, self.content
        if (
            content.dtype != np.uint8
            or starts.dtype != np.int64
            or content.ndim != 1
            or starts.ndim != 1
            or not len(starts)
            or starts[0] != 0
            or starts[-1] != len(content)
            or (np.diff(starts) < 0).any()
        ):
            raise ArtifactError(f"{name} of the artifact does not hold texts; build the neighbours again")

    def __len__(self) -> int:
        return len(self.starts) - 1

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> list[str]: ...
    def __getitem__(self, place: int | slice) -> str | list[str]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        if place < 0:
            place += len(self)
        if not 0 <= place < len(self):
            raise IndexError(place)
        return str(self._content[self._starts[place] : self._starts[place + 1]], "utf-8")

    def __iter__(self) -> Iterator[str]:
        content = self.content.tobytes()
        return (str(content[start:stop], "utf-8") for start, stop in pairwise(self.starts.tolist()))
