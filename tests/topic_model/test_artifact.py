"""The artifact: equal models are equal bytes, and whatever was changed, cut, added or taken away is named."""

from __future__ import annotations

import ast
import gzip
import io
import shutil
import tarfile
from pathlib import Path

import numpy as np
import orjson
import pytest

import topic_model
from tests.topic_model.conftest import Chain
from topic_model.artifact import MANIFEST, pack, read_artifact, read_model, unpack, write_manifest, write_model
from topic_model.errors import ArtifactError
from topic_model.model import TopicModel

FILES = ("alpha.npy", "beta.npy", "lambda.npy", "vocabulary.json")


def test_a_model_read_back_gives_the_same_fingerprints(model: TopicModel, tmp_path: Path) -> None:
    """Every parameter survives to the bit, so fingerprints do."""
    write_model(model, tmp_path, about={})
    found = read_model(read_artifact(tmp_path))
    terms = dict.fromkeys(model.vocabulary.terms[:7], 2)
    assert np.array_equal(found.infer(terms), model.infer(terms))
    assert (found.vocabulary, found.eta, found.text_settings) == (model.vocabulary, model.eta, model.text_settings)


def test_equal_models_are_equal_bytes_and_versions(model: TopicModel, tmp_path: Path) -> None:
    """Two writings of one model differ in nothing, not even in the archive's times."""
    versions = set()
    for name in ("one", "two"):
        versions.add(write_model(model, tmp_path / name, about={"settings": {"alpha": 0.1}}))
        pack(tmp_path / name, tmp_path / f"{name}.tar.gz")
    assert len(versions) == 1
    assert (tmp_path / "one.tar.gz").read_bytes() == (tmp_path / "two.tar.gz").read_bytes()


def test_a_version_is_that_of_files_and_settings(model: TopicModel, tmp_path: Path) -> None:
    """Other settings answer otherwise, so they are another version; so is one changed parameter."""
    changed = TopicModel(model.vocabulary, model.lambda_ * (1 + 1e-15), model.alpha * 2, model.eta, model.text_settings)
    versions = [
        write_model(model, tmp_path / "a", about={"neighbour_settings": {"topic_weight": 0.4}}),
        write_model(model, tmp_path / "b", about={"neighbour_settings": {"topic_weight": 0.5}}),
        write_model(changed, tmp_path / "c", about={"neighbour_settings": {"topic_weight": 0.4}}),
    ]
    assert len(set(versions)) == 3
    assert all(len(version) == 12 and int(version, 16) >= 0 for version in versions)


def test_packing_and_unpacking_keeps_the_artifact(model_folder: Path, tmp_path: Path) -> None:
    """The same files and version come out of model.tar.gz."""
    pack(model_folder, tmp_path / "model.tar.gz")
    artifact = unpack(tmp_path / "model.tar.gz", tmp_path / "out")
    assert artifact.manifest == read_artifact(model_folder).manifest
    assert (tmp_path / "out" / "lambda.npy").read_bytes() == (model_folder / "lambda.npy").read_bytes()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["cut", "flip", "missing"])
def test_a_damaged_file_is_named(name: str, damage: str, model_folder: Path) -> None:
    """A file cut, with one bit changed, or missing is an error with its name."""
    path = model_folder / name
    content = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    else:
        content[-1] ^= 1
        path.write_bytes(content if damage == "flip" else content[:-1])
    with pytest.raises(ArtifactError, match=rf"^{name}"):
        read_artifact(model_folder)


def test_an_added_file_is_named(model_folder: Path) -> None:
    """Nothing rides along with a model."""
    (model_folder / "code").mkdir()
    (model_folder / "code" / "inference.py").write_text("")
    with pytest.raises(ArtifactError, match=r"^code/inference\.py is not in manifest"):
        read_artifact(model_folder)


def test_an_archive_may_lie_beside_what_was_unpacked_from_it(model_folder: Path) -> None:
    """A file that the reader is told of is none of the artifact's; its namesake in a folder is refused."""
    (model_folder / "model.tar.gz").write_bytes(b"")
    read_artifact(model_folder, beside=["model.tar.gz"])
    (model_folder / "code").mkdir()
    (model_folder / "code" / "model.tar.gz").write_bytes(b"")
    with pytest.raises(ArtifactError, match=r"^code/model\.tar\.gz is not in manifest"):
        read_artifact(model_folder, beside=["model.tar.gz"])


@pytest.mark.parametrize(
    ("field", "value"),
    [("eta", 9.0), ("corpus_hash", "0"), ("model_version", "0" * 12), ("text_settings", {}), ("files", {})],
)
def test_a_changed_manifest_is_refused(field: str, value: object, model_folder: Path) -> None:
    """A fact of the manifest changed by hand no longer fits the version."""
    manifest = orjson.loads((model_folder / MANIFEST).read_bytes())
    (model_folder / MANIFEST).write_bytes(orjson.dumps(manifest | {field: value}))
    with pytest.raises(ArtifactError, match="manifest"):
        read_artifact(model_folder)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"null", b'{"format_version": 1, "files": 3}', b"\xff"])
def test_a_manifest_that_is_none_is_refused(content: bytes, model_folder: Path) -> None:
    """Bytes that are no manifest are an error a user can read, not a traceback."""
    (model_folder / MANIFEST).write_bytes(content)
    with pytest.raises(ArtifactError, match=r"manifest\.json"):
        read_artifact(model_folder)


def test_another_format_version_is_refused(model_folder: Path) -> None:
    """An artifact of a later version says so."""
    manifest = orjson.loads((model_folder / MANIFEST).read_bytes())
    (model_folder / MANIFEST).write_bytes(orjson.dumps(manifest | {"format_version": 2}))
    with pytest.raises(ArtifactError, match="format version 2, expected 1"):
        read_artifact(model_folder)


def test_a_folder_without_manifest_is_refused(tmp_path: Path) -> None:
    """An empty folder is no artifact."""
    with pytest.raises(ArtifactError, match=r"has no manifest\.json"):
        read_artifact(tmp_path)


@pytest.mark.parametrize("name", ["../escape.npy", "/etc/hostname"])
def test_a_manifest_that_names_a_file_outside_is_refused(name: str, model_folder: Path) -> None:
    """Reading stays in the folder."""
    manifest = orjson.loads((model_folder / MANIFEST).read_bytes())
    manifest["files"] = {name: "0" * 64, **manifest["files"]}
    (model_folder / MANIFEST).write_bytes(orjson.dumps(manifest))
    with pytest.raises(ArtifactError, match="outside the artifact"):
        read_artifact(model_folder)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9])
def test_a_truncated_archive_is_refused(share: float, model_folder: Path, tmp_path: Path) -> None:
    """Wherever model.tar.gz was cut, unpacking says so and leaves nothing behind."""
    archive = tmp_path / "model.tar.gz"
    pack(model_folder, archive)
    content = archive.read_bytes()
    archive.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ArtifactError):
        unpack(archive, tmp_path / "unpacked" / "out")
    assert not list((tmp_path / "unpacked").iterdir())


@pytest.mark.parametrize("there", ["folder", "file"])
def test_unpacking_spares_what_is_there(there: str, model_folder: Path, tmp_path: Path) -> None:
    """A folder with something in it, or a file, is refused and kept; an empty folder is filled."""
    archive, out = tmp_path / "model.tar.gz", tmp_path / "out"
    pack(model_folder, archive)
    kept = out / "mine" if there == "folder" else out
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("mine")
    with pytest.raises(ArtifactError, match="out holds something already"):
        unpack(archive, out)
    assert kept.read_text() == "mine"
    (tmp_path / "empty").mkdir()
    assert unpack(archive, tmp_path / "empty").folder == tmp_path / "empty"


@pytest.mark.parametrize("content", [b"not an archive", gzip.compress(b"not a tar", mtime=0)], ids=["text", "packed"])
def test_another_file_is_no_archive(content: bytes, tmp_path: Path) -> None:
    """Bytes that are no tar, packed or not, are an ArtifactError."""
    (tmp_path / "model.tar.gz").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"model\.tar\.gz"):
        unpack(tmp_path / "model.tar.gz", tmp_path / "out")


def test_an_archive_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """The message names the archive."""
    with pytest.raises(ArtifactError, match=r"model\.tar\.gz is not there"):
        unpack(tmp_path / "model.tar.gz", tmp_path / "out")


@pytest.mark.parametrize("kind", ["parent", "absolute", "link"])
def test_an_archive_never_writes_outside_its_folder(kind: str, tmp_path: Path) -> None:
    """Entries with .., with absolute names or through links are refused and write nothing."""
    (tmp_path / "outside").mkdir()
    out = tmp_path / "out"
    archive = tmp_path / "model.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        if kind == "link":
            link = tarfile.TarInfo("door")
            link.type, link.linkname = tarfile.SYMTYPE, "../outside"
            tar.addfile(link)
        name = {"parent": "../outside/evil", "absolute": str(tmp_path / "outside/evil"), "link": "door/evil"}[kind]
        entry = tarfile.TarInfo(name)
        entry.size = 4
        tar.addfile(entry, io.BytesIO(b"evil"))
    with pytest.raises(ArtifactError):
        unpack(archive, out)
    assert not list((tmp_path / "outside").iterdir())


def test_an_artifact_holds_arrays_and_json_only(chain: Chain, tmp_path: Path) -> None:
    """No file of the lookup model is a pickle: JSON parses, arrays load with allow_pickle=False."""
    chain.lookups.write(tmp_path / "lookups", tmp_path / "model")
    artifact = unpack(tmp_path / "model" / "model.tar.gz", tmp_path / "out")
    assert {Path(name).suffix for name in artifact.manifest["files"]} == {".npy", ".json"}
    for name in artifact.manifest["files"]:
        if name.endswith(".npy"):
            assert np.load(artifact.folder / name, allow_pickle=False).dtype != object
        else:
            orjson.loads((artifact.folder / name).read_bytes())


def _calls(path: Path) -> list[ast.Call]:
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]


def test_no_source_loads_a_pickle() -> None:
    """Every np.load of the library and the containers says allow_pickle=False, and nothing imports pickle or joblib."""
    library = Path(topic_model.__file__).parent
    sources = [*library.rglob("*.py"), *(library.parents[1] / "containers").glob("*.py")]
    loads = 0
    for path in sources:
        for call in _calls(path):
            if isinstance(call.func, ast.Attribute) and ast.unparse(call.func) in ("np.load", "numpy.load"):
                loads += 1
                said = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
                assert said.get("allow_pickle") == "False", f"{path}:{call.lineno}"
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
                assert not {"pickle", "joblib", "dill"} & {name.split(".")[0] for name in names}, path
    assert loads >= 3


def test_a_pickled_array_is_refused(model_folder: Path) -> None:
    """Even where its hash fits, an array of objects is not loaded."""
    np.save(model_folder / "alpha.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    write_manifest(model_folder, {"algorithm": "lda"})
    with pytest.raises(ArtifactError, match=r"alpha\.npy"):
        read_artifact(model_folder).array("alpha.npy")


def test_leftovers_of_a_killed_writer_are_no_part_of_the_model(model: TopicModel, tmp_path: Path) -> None:
    """A temporary file that a kill left in the folder changes neither the version nor the archive."""
    whole = write_model(model, tmp_path / "whole", about={})
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / ".lambda.npy.x7c1").write_bytes(b"half")
    assert write_model(model, tmp_path / "again", about={}) == whole
    pack(tmp_path / "again", tmp_path / "model.tar.gz")
    with tarfile.open(tmp_path / "model.tar.gz") as tar:
        assert sorted(tar.getnames()) == sorted([*FILES, MANIFEST])


def test_shapes_that_do_not_fit_are_refused(model_folder: Path) -> None:
    """A vocabulary of another length than lambda is refused, even where every hash is right."""
    manifest = orjson.loads((model_folder / MANIFEST).read_bytes())
    (model_folder / "vocabulary.json").write_bytes(orjson.dumps(["one", "two"]))
    write_manifest(model_folder, {name: manifest[name] for name in ("algorithm", "eta", "text_settings")})
    with pytest.raises(ArtifactError, match="the vocabulary 2 terms"):
        read_model(read_artifact(model_folder))


def test_another_kind_of_artifact_is_refused(model_folder: Path) -> None:
    """A manifest that is not a topic model's says what it lacks."""
    write_manifest(model_folder, {"algorithm": "word2vec"})
    with pytest.raises(ArtifactError, match="has no 'eta'; expected the artifact of a topic model"):
        read_model(read_artifact(model_folder))


def test_a_model_of_any_algorithm_is_read(model: TopicModel, tmp_path: Path) -> None:
    """Reading a model needs no algorithm: one that is registered nowhere leaves an artifact like any other."""
    write_model(model, tmp_path, about={"algorithm": "of-my-own"})
    artifact = read_artifact(tmp_path)
    assert artifact.manifest["algorithm"] == "of-my-own"
    assert np.array_equal(read_model(artifact).lambda_, model.lambda_)


def test_a_copied_folder_is_the_same_artifact(model_folder: Path, tmp_path: Path) -> None:
    """Times, owners and places do not matter to the check."""
    copied = Path(shutil.copytree(model_folder, tmp_path / "elsewhere", copy_function=shutil.copyfile))
    assert read_artifact(copied).model_version == read_artifact(model_folder).model_version
