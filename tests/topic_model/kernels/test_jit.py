"""Compiled kernels are found again by later processes, and nothing that can be wrong with their files breaks one."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import topic_model

# A package of two kernels: one that is called, and one in a module of its own that it calls.
ADDING = """
from topic_model.kernels.jit import kernel

@kernel()
def plus(a, b):
    return a + b{change}
"""
SUMS = """
from numba import float64
from topic_model.kernels.jit import array, kernel
from tiny.adding import plus

@kernel(float64(array(float64, 1)), nogil=True)
def total(values):
    result = 0.0
    for value in values:
        result = plus(result, value)
    return result
"""
ASKED = """
import json, numpy, numba
from tiny.sums import total
values = numpy.arange(4.0)
values.flags.writeable = False
found = {"total": total(values), "loaded": sum(total._cache_hits.values()), "cpu": numba.config.CPU_NAME}
print(json.dumps(found))
"""


def write_package(parent: Path) -> Path:
    """The package's sources."""
    folder = parent / "tiny"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "adding.py").write_text(ADDING.format(change=""))
    (folder / "sums.py").write_text(SUMS)
    return folder


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The package, not compiled yet."""
    return write_package(tmp_path)


@pytest.fixture(scope="module")
def compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package whose kernel a first process compiled."""
    folder = write_package(tmp_path_factory.mktemp("compiled"))
    assert answer(start(folder))["loaded"] == 0
    return folder


@pytest.fixture
def compiled(compiled_once: Path, tmp_path: Path) -> Path:
    """A copy of it, as another machine would get one."""
    return Path(shutil.copytree(compiled_once, tmp_path / "tiny"))


def start(package: Path, **environment: str) -> subprocess.Popen[bytes]:
    """A fresh process that sums 0 to 3 by the package's kernel; by default it has no home to write to."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("NUMBA", "XDG", "HOME"))}
    settings = {"PYTHONPATH": str(package.parent), "HOME": os.devnull, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen([sys.executable, "-c", ASKED], env=inherited | settings | environment, stdout=-1, stderr=-1)


def answer(process: subprocess.Popen[bytes]) -> dict[str, object]:
    """What the process found."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err.decode()
    found: dict[str, object] = json.loads(out)
    return found


def kept(package: Path) -> list[Path]:
    """The files of compiled kernels beside the sources."""
    return sorted((package / "__pycache__").glob("*"))


def test_the_second_process_compiles_nothing(compiled: Path) -> None:
    """What one process compiled, the next one loads, though the package moved; read-only arguments are taken, too."""
    before = [path.stat().st_mtime_ns for path in kept(compiled)]
    assert answer(start(compiled)) | {"cpu": ""} == {"total": 6.0, "loaded": 1, "cpu": ""}
    assert [path.stat().st_mtime_ns for path in kept(compiled)] == before


def test_processes_that_compile_at_once_leave_one_whole_file(package: Path, compiled_once: Path) -> None:
    """Each writes a file of its own and moves it into place."""
    processes = [start(package), start(package), start(package)]
    assert [answer(process)["total"] for process in processes] == [6.0] * 3
    assert [path.name for path in kept(package)] == [path.name for path in kept(compiled_once)]


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_a_damaged_file_is_compiled_anew(compiled: Path, damage: str) -> None:
    """It is known by its hash before anything in it is believed, and is whole again afterwards."""
    (path,) = kept(compiled)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if damage == "cut" else whole[:-1] + bytes([whole[-1] ^ 1]))
    assert answer(start(compiled)) | {"cpu": ""} == {"total": 6.0, "loaded": 0, "cpu": ""}
    content = path.read_bytes()
    assert hashlib.sha256(content[32:]).digest() == content[:32]


def test_a_change_in_a_module_that_a_kernel_calls_counts(compiled: Path) -> None:
    """Numba's own cache would miss it; what was compiled of the old sources goes."""
    (compiled / "adding.py").write_text(ADDING.format(change=" + 1.0"))
    assert answer(start(compiled)) | {"cpu": ""} == {"total": 10.0, "loaded": 0, "cpu": ""}
    assert len(kept(compiled)) == 1


def test_without_a_place_to_write_kernels_are_compiled_in_memory(package: Path) -> None:
    """No folder beside the sources can be made and nobody's home is there: slower, and no error."""
    (package / "__pycache__").touch()
    assert answer(start(package)) | {"cpu": ""} == {"total": 6.0, "loaded": 0, "cpu": ""}


def test_where_nobody_may_write_beside_the_sources_the_users_cache_serves(package: Path, tmp_path: Path) -> None:
    """A package that root installed is compiled once a user."""
    (package / "__pycache__").touch()
    home = tmp_path / "home"
    assert answer(start(package, HOME=str(home)))["loaded"] == 0
    assert answer(start(package, HOME=str(home)))["loaded"] == 1
    assert len(list((home / ".cache/topic-model").rglob("*.kernel"))) == 1


def test_code_for_another_processor_is_not_taken(compiled: Path) -> None:
    """A processor that NUMBA_CPU_NAME names has files of its own."""
    assert answer(start(compiled, NUMBA_CPU_NAME="generic")) == {"total": 6.0, "loaded": 0, "cpu": "generic"}
    assert len(kept(compiled)) == 2


# One chunk's E-step, in a process that compiles its kernels or one that loads them.
_E_STEP = """
import hashlib
import numpy as np
from topic_model.kernels.em import e_step
random = np.random.default_rng(0)
lengths = random.integers(5, 60, 300)
indptr = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
indices = np.concatenate([np.sort(random.choice(2000, n, replace=False)) for n in lengths]).astype(np.int32)
counts = random.integers(1, 4, len(indices)).astype(np.float32)
topics = random.random((2000, 33)).astype(np.float32) ** 4 + np.float32(1e-6)
mixtures, scales = np.empty((300, 33), np.float32), np.empty(len(indices), np.float32)
alpha = np.full(33, 0.05, np.float32)
e_step(0, 300, indptr, indices, counts, topics, alpha, 3, np.float32(1e-3), mixtures, scales)
print(e_step._cache_hits.total(), hashlib.sha256(mixtures.tobytes() + scales.tobytes()).hexdigest())
"""


@pytest.mark.slow
def test_a_process_that_compiles_computes_what_one_computes_that_loads(tmp_path: Path) -> None:
    """Equal bits in the first run after a change and in all that follow: helpers are part of their callers' code."""
    package = Path(shutil.copytree(Path(topic_model.__file__).parent, tmp_path / "topic_model"))
    for kept in package.rglob("*.kernel"):
        kept.unlink()
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    told = [
        subprocess.run(
            [sys.executable, "-c", _E_STEP], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout.split()
        for _ in range(2)
    ]
    assert [loaded for loaded, _ in told] == ["0", "1"]
    assert told[0][1] == told[1][1]
