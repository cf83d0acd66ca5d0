"""Checkpoints: the state behind a pass, written whole, hashed, and refused by name where it does not belong."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from topic_model.algorithms.base import State
from topic_model.arrays import hash_of, sha256_of, written_whole
from topic_model.errors import CheckpointError, DamagedCheckpointError

FORMAT_VERSION = 2
CHECKPOINT_NAME = "checkpoint.npz"
SLOTS = ("scratch-0", "scratch-1", "scratch-2")
_STATE = "state."


@dataclass(frozen=True, slots=True)
class Identity:
    """What a training is determined by; a checkpoint of another one is of no use to it."""

    algorithm: str
    corpus: str
    num_topics: int
    settings: Mapping[str, Any]
    code_version: str

    def differences(self, found: Mapping[str, Any]) -> list[str]:
        """How the identity found in a checkpoint differs, a phrase each."""
        told = []
        if found["algorithm"] != self.algorithm:
            told.append(f"another algorithm ({found['algorithm']!r}, expected {self.algorithm!r})")
        if found["corpus"] != self.corpus:
            told.append(f"another corpus ({found['corpus'][:12]}, expected {self.corpus[:12]})")
        if found["algorithm"] == self.algorithm and found["settings"] != dict(self.settings):
            names = sorted(
                name
                for name in {*found["settings"], *self.settings}
                if found["settings"].get(name) != self.settings.get(name)
            )
            each = [f"{name} {found['settings'].get(name)}, expected {self.settings.get(name)}" for name in names]
            told.append(f"other settings ({'; '.join(each)})")
        if not told and found["num_topics"] != self.num_topics:
            told.append(f"another number of topics ({found['num_topics']}, expected {self.num_topics})")
        if found["code_version"] != self.code_version:
            told.append(f"another version of topic-model ({found['code_version']}, expected {self.code_version})")
        return told

    def document(self) -> dict[str, Any]:
        """The parts, as they are stored."""
        return {
            "algorithm": self.algorithm,
            "corpus": self.corpus,
            "num_topics": self.num_topics,
            "settings": dict(self.settings),
            "code_version": self.code_version,
        }


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state behind pass ``number``, and the scratch folder (of :data:`SLOTS`) that belongs to it, if one does."""

    number: int
    state: State
    slot: str | None


def write_checkpoint(folder: Path, identity: Identity, number: int, state: State, slot: str | None) -> None:
    """Write the checkpoint whole or not at all: a kill in the middle leaves the one before."""
    about = orjson.dumps(
        {
            "format_version": FORMAT_VERSION,
            "identity": identity.document(),
            "number": number,
            "slot": slot,
            "scratch": _hashes(folder / slot) if slot else {},
        },
        option=orjson.OPT_SORT_KEYS,
    )
    arrays: dict[str, Any] = {_STATE + name: array for name, array in state.items()}
    with written_whole(folder / CHECKPOINT_NAME) as temporary, temporary.open("wb") as stream:
        np.savez(stream, about=np.frombuffer(about, dtype=np.uint8), digest=np.array(_digest(about, state)), **arrays)


def read_checkpoint(folder: Path, identity: Identity) -> Checkpoint | None:
    """The folder's checkpoint, or None where there is none.

    Raises:
        DamagedCheckpointError: it or a scratch file of it is cut, changed or missing.
        CheckpointError: it is of another algorithm, corpus, settings or release; the message says which.
    """
    path = folder / CHECKPOINT_NAME
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as archive:
            about_bytes = archive["about"].tobytes()
            digest = str(archive["digest"])
            state = {name.removeprefix(_STATE): archive[name] for name in archive.files if name.startswith(_STATE)}
        about = orjson.loads(about_bytes)
    except Exception as error:  # zipfile, zlib and NumPy each raise their own for a damaged archive
        message = f"{path.name} is damaged ({error}); delete the checkpoint folder to start again"
        raise DamagedCheckpointError(message) from error
    if digest != _digest(about_bytes, state):
        message = f"{path.name} differs from its digest; delete the checkpoint folder to start again"
        raise DamagedCheckpointError(message)
    if about["format_version"] != FORMAT_VERSION:
        raise CheckpointError(
            f"{path.name} has the format version {about['format_version']}; expected {FORMAT_VERSION}: finish the "
            "training with the release that began it, or delete the checkpoint folder to start again"
        )
    if told := identity.differences(about["identity"]):
        raise CheckpointError(
            f"{path.name} belongs to {' and '.join(told)}; use another checkpoint folder or delete this one"
        )
    slot = about["slot"]
    if slot and _hashes(folder / slot) != about["scratch"]:
        message = f"the scratch files of {path.name} are incomplete or changed; delete the checkpoint folder"
        raise DamagedCheckpointError(f"{message} to start again")
    return Checkpoint(about["number"], state, slot)


def discard_checkpoint(folder: Path) -> None:
    """Remove what training wrote into a checkpoint folder; the folder, which may be a mount, stays."""
    (folder / CHECKPOINT_NAME).unlink(missing_ok=True)
    discard_leftovers(folder)
    discard_scratch(folder)


def discard_leftovers(folder: Path) -> None:
    """Remove the temporary files of checkpoints that a kill left half-written; each is as large as a checkpoint."""
    for path in folder.glob(f".{CHECKPOINT_NAME}.*"):
        path.unlink()


def discard_scratch(folder: Path, *, but: tuple[str, ...] = ()) -> None:
    """Remove the scratch folders, but for some."""
    for slot in SLOTS:
        if slot not in but and (folder / slot).exists():
            shutil.rmtree(folder / slot)


def _hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): sha256_of(path) for path in sorted(folder.rglob("*")) if path.is_file()
    }


def _digest(about: bytes, state: State) -> str:
    parts: list[Any] = [about]
    for name in sorted(state):
        array = state[name]
        parts += [f"{name} {array.dtype.str} {array.shape}".encode(), array]
    return hash_of(*parts)
