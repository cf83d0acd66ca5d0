"""The model artifact: arrays and JSON with a manifest of hashes; never a pickle.

An artifact is a folder (what a training container leaves in its model folder, and what a serving container finds) or
the ``model.tar.gz`` that SageMaker makes of it. Loading checks every file against the manifest and says what is wrong.
"""

from __future__ import annotations

import gzip
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import orjson

import topic_model
from topic_model.arrays import IntArray, hash_of, sha256_of, write_array, write_json, written_whole
from topic_model.corpus import Vocabulary
from topic_model.errors import ArtifactError
from topic_model.model import TopicModel
from topic_model.settings import TextSettings
from topic_model.texts import Texts

FORMAT_VERSION = 1
MAX_UNPACKED_BYTES = 20 * 2**30
MANIFEST = "manifest.json"
TOPIC_TERMS = "topic_terms.npy"


@dataclass(frozen=True, slots=True)
class Artifact:
    """A checked artifact folder and its manifest."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def model_version(self) -> str:
        """First 12 hexadecimal digits of the hash over the files and the facts that the manifest states of them."""
        return str(self.manifest["model_version"])

    def array(self, name: str) -> Any:
        """One array of the artifact, memory-mapped: several workers share one copy."""
        try:
            return np.load(self.folder / name, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise ArtifactError(f"{name} of the artifact cannot be read ({error}); train the model again") from error

    def texts(self, name: str) -> Texts:
        """Texts of the artifact, memory-mapped: ``<name>.npy`` and where each begins, ``<name>_starts.npy``."""
        found = Texts(*(np.asarray(self.array(f"{name}{part}.npy")) for part in ("", "_starts")))
        found.check(name)
        return found

    def document(self, name: str) -> Any:
        """One JSON document of the artifact."""
        try:
            return orjson.loads((self.folder / name).read_bytes())
        except (OSError, orjson.JSONDecodeError) as error:
            raise ArtifactError(f"{name} of the artifact cannot be read ({error}); train the model again") from error


def write_model(model: TopicModel, folder: Path, *, about: Mapping[str, Any]) -> str:
    """Write a model's files and manifest; returns the model version.

    ``about`` goes into the manifest: the algorithm's name, settings, corpus hash, metrics. Every algorithm's model is
    the same kind of posterior, so the name says where a model is from and not how to read it.
    """
    write_json(folder / "vocabulary.json", list(model.vocabulary.terms))
    write_array(folder / "lambda.npy", model.lambda_)
    write_array(folder / "beta.npy", model.beta.astype(np.float32))
    write_array(folder / "alpha.npy", model.alpha)
    if model.topic_term_ids is not None:
        write_array(folder / TOPIC_TERMS, model.topic_term_ids.astype(np.int32))
    return write_manifest(
        folder,
        {
            "eta": model.eta,
            "text_settings": model.text_settings.model_dump(),
            "vocabulary_hash": model.vocabulary.content_hash,
            **about,
        },
    )


def write_manifest(folder: Path, about: Mapping[str, Any]) -> str:
    """Hash every file of the folder into its manifest; returns the model version."""
    files = {name: sha256_of(folder / name) for name in _names_in(folder)}
    manifest = {**about, "format_version": FORMAT_VERSION, "code_version": topic_model.__version__, "files": files}
    version = _version_of(manifest)
    write_json(folder / MANIFEST, {**manifest, "model_version": version})
    return version


def _names_in(folder: Path) -> Iterator[str]:
    """The artifact's files but the manifest, sorted; hidden ones are temporary files or the system's own."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name != MANIFEST and not path.name.startswith("."):
            yield name


def _version_of(manifest: Mapping[str, Any]) -> str:
    """The version of what a manifest describes.

    Settings count as the files do: a model answers otherwise with another ``topic_weight``. The code's version does
    not, so that a release which changes nothing gives equal models equal versions.
    """
    facts = {name: value for name, value in manifest.items() if name not in ("model_version", "code_version")}
    return hash_of(orjson.dumps(facts, option=orjson.OPT_SORT_KEYS))[:12]


def read_artifact(folder: Path, *, beside: Collection[str] = ()) -> Artifact:
    """Check an artifact folder against its manifest.

    ``beside`` names files that may lie there without being the artifact's; nothing reads them.

    Raises:
        ArtifactError: no manifest, another format version, or a file missing, added or changed; each is named.
    """
    try:
        manifest = orjson.loads((folder / MANIFEST).read_bytes())
        version, files = manifest["format_version"], dict(manifest["files"])
    except FileNotFoundError as error:
        raise ArtifactError(f"{folder.name} has no {MANIFEST}; expected a topic-model artifact") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{MANIFEST} cannot be read ({error}); train the model again") from error
    if version != FORMAT_VERSION:
        raise ArtifactError(
            f"the artifact has format version {version}, expected {FORMAT_VERSION}; "
            "train it again with this version of topic-model"
        )
    for name, expected in files.items():
        path = folder / name
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ArtifactError(f"the manifest names {name!r}, which is outside the artifact; do not use this artifact")
        if not path.is_file():
            raise ArtifactError(f"{name} is missing from the artifact; fetch it again or train the model again")
        if sha256_of(path) != expected:
            raise ArtifactError(f"{name} differs from its hash in {MANIFEST}: the artifact was changed or cut")
    if added := sorted(set(_names_in(folder)) - set(files) - set(beside)):
        raise ArtifactError(f"{added[0]} is not in {MANIFEST}: it was added to the artifact; do not use this artifact")
    if _version_of(manifest) != manifest.get("model_version"):
        raise ArtifactError(f"model_version in {MANIFEST} is not that of its content: the manifest was changed")
    return Artifact(folder, manifest)


def read_model(artifact: Artifact) -> TopicModel:
    """The topic model of a checked artifact.

    Raises:
        ArtifactError: another kind of artifact, or arrays of shapes that do not fit together.
    """
    manifest = artifact.manifest
    if missing := sorted({"eta", "text_settings"} - manifest.keys()):
        raise ArtifactError(f"{MANIFEST} has no {missing[0]!r}; expected the artifact of a topic model")
    vocabulary = Vocabulary.of(artifact.document("vocabulary.json"))
    lambda_, alpha = artifact.array("lambda.npy"), artifact.array("alpha.npy")
    if lambda_.ndim != 2 or lambda_.shape[1] != len(vocabulary) or alpha.shape != (lambda_.shape[0],):
        raise ArtifactError(
            f"lambda has shape {lambda_.shape}, alpha {alpha.shape} and the vocabulary {len(vocabulary)} terms; "
            "expected (K, n_terms), (K,) and n_terms; train the model again"
        )
    return TopicModel(
        vocabulary,
        np.asarray(lambda_),
        np.asarray(alpha),
        float(manifest["eta"]),
        TextSettings.from_mapping(manifest["text_settings"]),
        _topic_terms(artifact, lambda_.shape) if TOPIC_TERMS in manifest["files"] else None,
    )


def _topic_terms(artifact: Artifact, shape: tuple[int, int]) -> IntArray:
    found = np.asarray(artifact.array(TOPIC_TERMS), dtype=np.int64)
    if found.ndim != 2 or len(found) != shape[0] or (found.size and not 0 <= found.min() <= found.max() < shape[1]):
        raise ArtifactError(
            f"{TOPIC_TERMS} has shape {found.shape} and does not name terms of {shape[0]} topics; train the model again"
        )
    return found


def pack(folder: Path, archive: Path) -> None:
    """Write ``model.tar.gz`` of a folder: sorted, without times or owners, so equal models are equal bytes."""
    with (
        written_whole(archive) as temporary,
        temporary.open("wb") as raw,
        gzip.GzipFile(fileobj=raw, mode="wb", filename="", compresslevel=1, mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w") as tar,
    ):
        for name in (MANIFEST, *_names_in(folder)):
            entry = tar.gettarinfo(folder / name, name)
            entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname, entry.mode = 0, 0, 0, "", "", 0o644
            with (folder / name).open("rb") as content:
                tar.addfile(entry, content)


def unpack(archive: Path, folder: Path) -> Artifact:
    """Unpack and check a ``model.tar.gz``; the folder, which may be there if it is empty, appears whole or not at all.

    Raises:
        ArtifactError: truncated or not such an archive, too large, or with entries outside its folder.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ArtifactError(f"{folder.name} holds something already; unpack {archive.name} into a new or empty folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
        partial = Path(scratch) / folder.name
        _extract_all(archive, partial)
        manifest = read_artifact(partial).manifest
        if folder.exists():
            folder.rmdir()
        partial.rename(folder)
    return Artifact(folder, manifest)


def _extract_all(archive: Path, folder: Path) -> None:
    folder.mkdir()
    try:
        with tarfile.open(archive, "r:gz") as tar:
            size = 0
            for member in tar:
                size += member.size
                if size > MAX_UNPACKED_BYTES:
                    raise ArtifactError(f"{archive.name} unpacks to over {MAX_UNPACKED_BYTES} bytes; expected a model")
                _extract(tar, member, folder, archive.name)
    except FileNotFoundError as error:
        raise ArtifactError(f"{archive.name} is not there; expected a model artifact") from error
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ArtifactError(f"{archive.name} is truncated or damaged ({error}); fetch it again") from error


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, name: str) -> None:
    """Write one member. Not by ``tar.extract``: the filters that make it safe came with Python 3.11.4."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or not (member.isreg() or member.isdir()):
        raise ArtifactError(f"{name} would write outside its folder (entry {member.name[:200]!r}); do not use it")
    target = folder / path
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    content = tar.extractfile(member)
    assert content is not None  # noqa: S101 - a regular file has a content
    with content, target.open("wb") as file:
        shutil.copyfileobj(content, file, 1 << 20)
