"""The pre-imported worker: what it forks behaves as a plain process would."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local_aws.config import LocalConfig
from local_aws.runner import Container, Launch, Runner
from tests.local_aws.toy_server import is_running, processes_naming, wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the worker is for Linux; elsewhere jobs are processes")

ABOUT = """
import __main__, json, os, random, sys
import numpy
print(json.dumps({
    "argv": sys.argv, "name": __name__, "main": __main__.__file__, "folder": os.getcwd(),
    "environment": dict(os.environ), "session": os.getsid(0) == os.getpid(), "group": os.getpgid(0) == os.getpid(),
    "stdin": sys.stdin.read(), "path": sys.path[0], "random": [random.random(), numpy.random.random()],
}))
sys.stderr.write("to the log too\\n")
"""
THREADS = """
import numpy, os
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_info
print(*{pool["num_threads"] for pool in threadpool_info()})
points = numpy.random.default_rng(7).random((2000, 64))
product = points @ points.T
print(numpy.allclose(product[3], [point @ points[3] for point in points]))
print(KMeans(4, n_init=2, random_state=1).fit(points).inertia_ > 0)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("worker")


@pytest.fixture(scope="module")
def forking(folder: Path) -> Iterator[Runner]:
    """A runner whose worker has imported NumPy and scikit-learn."""
    yield from make_runner(folder, LOCAL_AWS_WORKER_IMPORTS="numpy,sklearn.cluster,not_there")


@pytest.fixture(scope="module")
def plain(folder: Path) -> Iterator[Runner]:
    """A runner without a worker."""
    yield from make_runner(folder, LOCAL_AWS_WORKER="off")


def make_runner(folder: Path, **environment: str) -> Iterator[Runner]:
    patch = pytest.MonkeyPatch()
    patch.delenv("LOCAL_AWS_WORKER", raising=False)
    for name, value in environment.items():
        patch.setenv(name, value)
    runner = Runner(LocalConfig(folder / "root", 1, images={"toy": f"file:{folder / 'toy.py'}", "m": "module:toy_mod"}))
    patch.undo()
    yield runner
    runner.close()


def launch(folder: Path, runner: Runner, text: str, *arguments: str, image: str = "toy", **variables: str) -> Container:
    (folder / "toy.py").write_text(text)
    name = f"job-{time.monotonic_ns()}"
    told = Launch(name, image, arguments, folder / name, folder / f"{name}.log", environment=variables)
    return runner.start(told)


def run(folder: Path, runner: Runner, text: str, *arguments: str, **variables: str) -> tuple[int, str]:
    container = launch(folder, runner, text, *arguments, **variables)
    return container.wait(60), container.log_path.read_text()


def test_a_forked_job_sees_what_a_plain_process_sees(folder: Path, forking: Runner, plain: Runner) -> None:
    """Arguments, main module, folder, exactly the same environment, session, standard streams, import path."""
    seen = []
    for runner in (forking, plain):
        code, log = run(folder, runner, ABOUT, "train", "--x", "1", COLOUR="red", DATA="/opt/ml/input")
        assert code == 0 and log.endswith("to the log too\n")
        about = json.loads(log.splitlines()[0])
        about.pop("random")
        text = json.dumps(about).replace(about["folder"], "HERE")
        seen.append(json.loads(text))
    assert seen[0] == seen[1]
    assert seen[0]["environment"]["DATA"] == "HERE/input" and seen[0]["environment"]["COLOUR"] == "red"


def test_a_module_runs_as_with_dash_m(folder: Path, forking: Runner, plain: Runner) -> None:
    """``module:`` entries are ``__main__`` and are found as ``python -m`` finds them: in the job's folder first."""
    for runner in (forking, plain):
        name = f"job-{time.monotonic_ns()}"
        (folder / name).mkdir()
        (folder / name / "toy_mod.py").write_text("import sys; print(__name__, sys.argv[1:]); sys.exit(4)")
        container = runner.start(Launch(name, "m", ("serve",), folder / name, folder / f"{name}.log"))
        assert (container.wait(60), container.log_path.read_text()) == (4, "__main__ ['serve']\n")


def test_thread_pools_work_after_the_fork(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A matrix product by OpenBLAS and a clustering by OpenMP, with two threads each, are right in the child."""
    monkeypatch.setattr("local_aws.runner._THREADS", {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"})
    for runner in make_runner(tmp_path, LOCAL_AWS_WORKER_IMPORTS="numpy,sklearn.cluster"):
        assert run(tmp_path, runner, THREADS) == (0, "2\nTrue\nTrue\n")


def test_two_jobs_draw_different_random_numbers(folder: Path, forking: Runner) -> None:
    """Neither Python's nor NumPy's global generator is a copy of the worker's."""
    drawn = [json.loads(run(folder, forking, ABOUT)[1].splitlines()[0])["random"] for _ in range(2)]
    assert drawn[0][0] != drawn[1][0] and drawn[0][1] != drawn[1][1]


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("", 0, ""),
        ("import sys; sys.exit()", 0, ""),
        ("import sys; sys.exit(3)", 3, ""),
        ("import sys; sys.exit('a message')", 1, "a message"),
        ("raise ValueError('why')", 1, "ValueError: why"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 137, ""),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", 143, ""),
        ("import atexit; atexit.register(print, 'at the end')", 0, "at the end"),
        ("import threading, time; threading.Thread(target=lambda: (time.sleep(.2), print('late'))).start()", 0, "late"),
        ("import not_there_at_all", 1, "No module named 'not_there_at_all'"),
    ],
)
def test_the_exit_is_the_same_as_a_plain_process_has(
    folder: Path, forking: Runner, plain: Runner, text: str, code: int, said: str
) -> None:
    """Exit codes, messages, tracebacks, signals, exit functions and threads that are still running."""
    for runner in (forking, plain):
        ended, log = run(folder, runner, text)
        assert ended == code and said in log


def test_what_a_job_prints_is_in_the_log_at_once(folder: Path, forking: Runner) -> None:
    """Without a flush, as PYTHONUNBUFFERED promises."""
    container = launch(folder, forking, "import time\nprint('soon', end='')\ntime.sleep(60)")
    wait_for(lambda: container.log_path.read_text() == "soon")
    container.kill()
    assert container.wait(10) == 137


def test_a_jobs_children_end_with_it(folder: Path, forking: Runner, plain: Runner) -> None:
    """As the processes of a container end with its first."""
    text = "import subprocess, sys; print(subprocess.Popen(['sleep', '600']).pid, flush=True)"
    for runner in (forking, plain):
        code, log = run(folder, runner, text)
        assert code == 0
        wait_for(lambda log=log: not is_running(int(log)))


def test_sigterm_reaches_the_job_and_sigkill_follows(folder: Path, forking: Runner, plain: Runner) -> None:
    """A job that tidies up is let to; one that does not listen is killed."""
    polite = "import signal, sys, time\nsignal.signal(15, lambda *_: (print('bye'), sys.exit(6)))\n"
    polite += "print('up')\ntime.sleep(60)"
    deaf = "import signal, time\nsignal.signal(15, signal.SIG_IGN)\nprint('up')\ntime.sleep(60)"
    for runner in (forking, plain):
        for text, code, said in ((polite, 6, "up\nbye\n"), (deaf, 137, "up\n")):
            container = launch(folder, runner, text)
            wait_for(lambda container=container: container.log_path.read_text())
            assert container.stop(20 if code == 6 else 0.2) == code
            assert container.log_path.read_text() == said


def test_changed_sources_are_never_run_from_the_workers_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an edit of an imported module the next job has the new one, and a job that runs goes on."""
    package = tmp_path / "lib"
    package.mkdir()
    (package / "edited_module.py").write_text("VALUE = 1")
    monkeypatch.setattr("local_aws.runner._KEPT_VARIABLES", ("PATH", "HOME", "PYTHONPATH"))
    monkeypatch.setenv("PYTHONPATH", str(package))
    for runner in make_runner(tmp_path, LOCAL_AWS_WORKER_IMPORTS="edited_module"):
        time.sleep(0.01)
        text = "import edited_module, time, sys; print(edited_module.VALUE); time.sleep(float(sys.argv[1]))"
        assert run(tmp_path, runner, text, "0") == (0, "1\n")
        running = launch(tmp_path, runner, text, "60")
        wait_for(running.log_path.read_text)
        (package / "edited_module.py").write_text("VALUE = 22")
        assert run(tmp_path, runner, text, "0") == (0, "22\n")
        assert running.poll() is None
        running.kill()
        assert running.wait(10) == 137


def test_a_worker_that_is_killed_is_replaced(tmp_path: Path) -> None:
    """Its jobs have ended with it and say so; the next job has a new worker."""
    for runner in make_runner(tmp_path, LOCAL_AWS_WORKER_IMPORTS="json"):
        running = launch(tmp_path, runner, "import os, time\nprint(os.getppid())\ntime.sleep(60)")
        worker = int(wait_for(running.log_path.read_text))
        assert worker != os.getpid(), "the job is a plain process of this one, not the worker's"
        os.kill(worker, signal.SIGKILL)
        assert running.wait(20) == 137
        assert run(tmp_path, runner, "print('again')") == (0, "again\n")


def test_variables_that_libraries_read_at_their_start_mean_a_plain_process(folder: Path, forking: Runner) -> None:
    """OMP_NUM_THREADS would come too late for a fork of a process that has loaded OpenMP."""
    text = "import os; print(open(f'/proc/{os.getppid()}/cmdline').read())"
    assert "local_aws.worker" in run(folder, forking, text)[1]
    assert "local_aws.worker" not in run(folder, forking, text, OMP_NUM_THREADS="1")[1]


@pytest.mark.parametrize("worker", ["on", "off"])
def test_jobs_die_with_a_killed_server(tmp_path: Path, worker: str) -> None:
    """SIGKILL of the server leaves neither worker nor job."""
    import subprocess

    server = (
        "import sys, time\nfrom pathlib import Path\nfrom local_aws.config import LocalConfig\n"
        "from local_aws.runner import Launch, Runner\nfolder = Path(sys.argv[1])\n"
        "(folder / 'toy.py').write_text('import time; print(1); time.sleep(600)')\n"
        "runner = Runner(LocalConfig(folder / 'root', 1, images={'toy': f'file:{folder}/toy.py'}))\n"
        "runner.start(Launch('j', 'toy', (), folder / 'ml', folder / 'log'))\ntime.sleep(600)\n"
    )
    environment: dict[str, Any] = {**os.environ, "LOCAL_AWS_WORKER": worker, "LOCAL_AWS_WORKER_IMPORTS": "json"}
    process = subprocess.Popen([sys.executable, "-c", server, str(tmp_path)], env=environment)
    log = tmp_path / "log"
    wait_for(lambda: log.exists() and log.read_text())
    process.kill()
    process.wait()
    wait_for(lambda: not processes_naming(str(tmp_path)) and not processes_naming(f"--parent\0{process.pid}\0"))
