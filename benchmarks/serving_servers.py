"""The servers that ``benchmarks.serving`` compares: ours, MLflow's scoring server and BentoML, over one artifact.

A peer has an environment of its own under ``build/bench-serving``, made at first use: its pins need not agree with
ours. All have as many worker processes, one thread each for arithmetic, and answer with the same code of
``containers.scorer``; what differs is the server around it.
"""

from __future__ import annotations

import configparser
import http.client
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from benchmarks.http_load import Call

ROOT = Path(__file__).resolve().parents[1]
PEERS = ROOT / "benchmarks" / "serving_peers"
BUILD = ROOT / "build" / "bench-serving"
MLFLOW, BENTOML = "mlflow==3.17.2", "bentoml==1.4.39"
START_SECONDS = 180


class NotInstalledError(Exception):
    """A peer's packages cannot be installed; the message is the end of what pip says."""


@dataclass(frozen=True)
class Server:
    """How a server is started, where it says that it is ready, and how it wants a record."""

    name: str
    command: Sequence[str]
    ready: str
    wrap: Callable[[bytes], bytes]
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path = ROOT

    def calls(self, records: Sequence[bytes]) -> list[Call]:
        """Requests of some records."""
        return [Call("POST", "/invocations", self.wrap(record)) for record in records]


@dataclass(frozen=True)
class Running:
    """A server that answers: its process, its address, and the seconds that it took to."""

    pid: int
    url: str
    start_seconds: float


def ours(port: int) -> Server:
    """The container's ``serve``."""
    command = [sys.executable, "-m", "containers", "serve"]
    return Server("topic-model", command, "/ping", bytes, {"SAGEMAKER_BIND_TO_PORT": str(port)})


def mlflow(port: int, workers: int) -> Server:
    """MLflow's scoring server over a pyfunc model."""
    binaries = _environment(MLFLOW)
    model = BUILD / "mlflow-model"
    shutil.rmtree(model, ignore_errors=True)
    save = [binaries / "python", PEERS / "mlflow_model.py", model]
    subprocess.run(save, check=True, env={**os.environ, **_import_path()}, capture_output=True)
    command = [str(binaries / "mlflow"), "models", "serve", "--model-uri", str(model), "--env-manager", "local"]
    command += ["--workers", str(workers), "--port", str(port)]
    return Server(
        f"MLflow {MLFLOW.split('==')[1]}",
        command,
        "/ping",
        lambda record: orjson.dumps({"inputs": [orjson.Fragment(record)]}),
        {"PATH": f"{binaries}:{os.environ['PATH']}", "MLFLOW_TRACKING_URI": f"sqlite:///{BUILD}/mlflow.db"},
    )


def bentoml(port: int) -> Server:
    """BentoML's server."""
    binaries = _environment(BENTOML)
    command = [str(binaries / "bentoml"), "serve", "bentoml_service:Lookups", "--port", str(port)]
    return Server(
        f"BentoML {BENTOML.split('==')[1]}",
        command,
        "/readyz",
        lambda record: orjson.dumps({"campaign": orjson.Fragment(record)}),
        {
            "PATH": f"{binaries}:{os.environ['PATH']}",
            "BENTOML_HOME": str(BUILD / "bentoml-home"),
            "BENTOML_DO_NOT_TRACK": "true",
        },
        PEERS,
    )


@contextmanager
def running(server: Server, base: Path, port: int, workers: int, log: Path) -> Iterator[Running]:
    """A server over the model folder of ``base``; ended, with all its processes, afterwards."""
    environment = {
        **os.environ,
        **_import_path(),
        **server.environment,
        "SAGEMAKER_BASE_DIR": str(base),
        "TOPIC_MODEL_WORKERS": str(workers),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    began = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            server.command,
            cwd=server.folder,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        while not _answers(port, server.ready):
            if process.poll() is not None or time.monotonic() - began > START_SECONDS:
                raise SystemExit(f"{server.name} did not start: {log.read_text(errors='replace')[-1_500:]}")
            time.sleep(0.02)
        yield Running(process.pid, f"http://127.0.0.1:{port}", time.monotonic() - began)
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and its session, which is its own."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=30)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _environment(package: str) -> Path:
    """The ``bin`` of a virtual environment with a package of a stated version, and what our library needs."""
    folder = BUILD / package.replace("==", "-")
    if not (folder / "ready").exists():
        print(f"installing {package} into {folder.relative_to(ROOT)}; some minutes, once", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        done = subprocess.run([*pip, package, *_requirements()], capture_output=True, text=True, check=False)
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")] or [done.stderr.strip()]
            raise NotInstalledError(f"{package} cannot be installed: {said[-1][:300]}")
        (folder / "ready").touch()
    return folder / "bin"


def _requirements() -> list[str]:
    """What the library needs, in the ranges that setup.cfg gives."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lines = setup["options"]["install_requires"].splitlines()
    return [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]


def _import_path() -> dict[str, str]:
    return {"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"}
