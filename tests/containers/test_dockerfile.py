"""The Dockerfile's promises, its build's helpers, and (marked docker) the image that it made."""

from __future__ import annotations

import itertools
import json
import os
import platform
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from containers import base_image, build, health, prune
from tests.containers.conftest import Run
from topic_model_cli import image_sbom

ROOT = Path(__file__).resolve().parents[2]
IMAGE = os.environ.get("TOPIC_MODEL_IMAGE", build.DEFAULT_TAG)
MAX_IMAGE_BYTES = 700_000_000


@pytest.fixture(scope="module")
def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions in order, as (name, arguments)."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "containers/Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n", " ", text).splitlines()
    return [(line.split(maxsplit=1)[0].upper(), line.split(maxsplit=1)[1]) for line in lines if line.strip()]


def final_stage(instructions: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The instructions from the last FROM on."""
    start = max(number for number, (name, _) in enumerate(instructions) if name == "FROM")
    return instructions[start:]


def test_base_image_is_pinned_by_digest_and_is_an_argument(instructions: list[tuple[str, str]]) -> None:
    """Every stage stands on the one base argument, and its default names a digest."""
    assert instructions[0][0] == "ARG"
    assert re.fullmatch(r"BASE_IMAGE=\S+:\S+@sha256:[0-9a-f]{64}", instructions[0][1])
    stages = [arguments for name, arguments in instructions if name == "FROM"]
    assert len(stages) == 2
    assert all(stage.split()[0] == "${BASE_IMAGE}" for stage in stages)


def test_final_stage_installs_nothing(instructions: list[tuple[str, str]]) -> None:
    """What installs is in the first stage: the last one runs neither pip nor apt and has none of pip's settings."""
    last = final_stage(instructions)
    assert not any(re.search(r"\b(pip|apt|curl|wget)\b", arguments, re.IGNORECASE) for _, arguments in last)
    assert not any(name == "ARG" for name, _ in last)
    assert all("--from=builder" in arguments for name, arguments in last if name == "COPY")


def test_nothing_is_added_from_outside_the_context(instructions: list[tuple[str, str]]) -> None:
    """No ADD, which fetches URLs and unpacks archives, and no COPY from another image."""
    assert not any(name == "ADD" for name, _ in instructions)
    sources = {found for _, text in instructions for found in re.findall(r"--from=(\S+)", text)}
    assert sources == {"builder"}


def test_entry_point_is_in_exec_form(instructions: list[tuple[str, str]]) -> None:
    """A shell between would keep SIGTERM from the process; SageMaker appends train, serve or process <step>."""
    entry = [arguments for name, arguments in instructions if name == "ENTRYPOINT"]
    assert [json.loads(each) for each in entry] == [["python", "-m", "containers"]]
    assert not any(name == "CMD" for name, _ in instructions)


def test_serving_has_a_user_port_and_health_check(instructions: list[tuple[str, str]]) -> None:
    """The last stage makes the user that `serve` becomes, exposes SageMaker's port and checks the health."""
    last = final_stage(instructions)
    made = next(arguments for name, arguments in last if name == "RUN" and "useradd" in arguments)
    user = made.split()[-1]
    environment = " ".join(arguments for name, arguments in last if name == "ENV")
    assert f"TOPIC_MODEL_SERVE_USER={user}" in environment
    assert "PYTHONUNBUFFERED=1" in environment
    assert ("EXPOSE", "8080") in last
    assert any(name == "HEALTHCHECK" and 'CMD ["python"' in arguments for name, arguments in last)


def test_packages_come_from_the_lock_as_wheels(instructions: list[tuple[str, str]]) -> None:
    """Exact versions, no resolver, no compiler; and every line of the lock is exact."""
    install = next(arguments for _, arguments in instructions if " install " in arguments)
    assert "--only-binary :all:" in install
    assert "--no-deps" in install
    assert "--requirement /build/container.txt" in install
    lock = (ROOT / "requirements/container.txt").read_text().split("\n")
    assert all(re.match(r"[a-z0-9.-]+==\S+", line) for line in lock if line)
    names = {line.partition("==")[0] for line in lock if line}
    assert not names & {"boto3", "botocore", "sagemaker", "stepfunctions", "moto", "pytest"}


def test_every_pattern_of_the_ignore_file_finds_something() -> None:
    """What the Dockerfile copies is let through, and the rest of the tree is not."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    allowed = {line[1:] for line in lines if line.startswith("!")}
    assert allowed == {
        "requirements/container.txt",
        str(build.CA_BUNDLE),
        "containers/*.py",
        "src/topic_model",
    }


# The build's helpers


def test_build_passes_settings_of_pip_by_name_alone() -> None:
    """An index URL may hold a password: it is not spelled out where other processes can read it."""
    environment = {"PIP_INDEX_URL": "https://user:secret@mirror.example/simple", "https_proxy": "http://proxy.example"}
    command = build.build_command("t:1", base_image="b:1", network="host", labels={"v": "1"}, environment=environment)
    assert "secret" not in " ".join(command)
    pairs = list(itertools.pairwise(command))
    assert ("--build-arg", "PIP_INDEX_URL") in pairs
    assert ("--build-arg", "https_proxy") in pairs
    assert ("--build-arg", "BASE_IMAGE=b:1") in pairs
    assert ("--network", "host") in pairs
    assert "PIP_EXTRA_INDEX_URL" not in command
    assert command[-1] == "."


def test_certificates_are_in_the_context_for_the_build_alone(tmp_path: Path) -> None:
    """The bundle is there while the build runs, without the key that stood beside it, and gone afterwards."""
    certificate = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"
    bundle = tmp_path / "bundle.pem"
    bundle.write_text(f"a comment\n{certificate}\n-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n")
    with build.certificates(tmp_path, {"SSL_CERT_FILE": str(bundle)}) as target:
        assert target == tmp_path / build.CA_BUNDLE
        assert target.read_text() == f"{certificate}\n"
    assert not (tmp_path / build.CA_BUNDLE).exists()


def test_certificates_that_are_not_there_are_named(tmp_path: Path) -> None:
    """A bundle that the environment names wrongly is an error before anything is built."""
    with pytest.raises(build.BuildError, match=r"PIP_CERT names '/no/such\.pem'"):
        build.certificates(tmp_path, {"PIP_CERT": "/no/such.pem"}).__enter__()


def test_a_changed_source_changes_the_images_label(tmp_path: Path) -> None:
    """The hash is over what the image is made of; the build's own helpers and caches are not in it."""
    for name in ("containers/Dockerfile", "containers/serve.py", "requirements/container.txt", "src/topic_model/a.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    before = build.sources_hash(tmp_path)
    for name in ("containers/build.py", "src/topic_model/__pycache__/a.pyc", "README.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    assert build.sources_hash(tmp_path) == before
    (tmp_path / "src/topic_model/a.py").write_text("2")
    assert build.sources_hash(tmp_path) != before


def test_without_docker_the_build_says_so(tmp_path: Path) -> None:
    """One line and exit code 1, no traceback."""
    finished = subprocess.run(
        [sys.executable, "-m", "containers.build"],
        cwd=ROOT,
        env={**os.environ, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 1
    assert "no program 'docker'" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_base_image_is_trimmed_but_for_copyright(tmp_path: Path) -> None:
    """Manuals and package lists go; copyright files, and folders that the system expects, stay."""
    kept = tmp_path / "usr/share/doc/libc6/copyright"
    gone = [tmp_path / "usr/share/doc/libc6/changelog.gz", tmp_path / "usr/share/man/man1/ls.1.gz"]
    gone += [tmp_path / "var/lib/apt/lists/all", tmp_path / "usr/share/doc/empty/readme"]
    for path in (kept, *gone):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("text")
    base_image.trim(tmp_path)
    assert kept.exists()
    assert not any(path.exists() for path in gone)
    assert (tmp_path / "var/lib/apt/lists").is_dir()
    assert not (tmp_path / "usr/share/doc/empty").exists()


def test_prune_takes_tests_headers_and_other_languages(tmp_path: Path) -> None:
    """Test folders, headers and tables of other languages go; modules named like tests stay."""
    gone = ["pkg/tests/test_a.py", "pkg/deep/tests/data.csv", "pkg/include/a.h", "pkg/mod.pyx", "gensim/test/big.txt"]
    gone += ["spacy_lookups_data/data/de_lemma_lookup.json.gz", "spacy_lookups_data/data/en_lexeme_prob.json.gz"]
    gone += ["pyarrow/libarrow_flight.so.2600", "pyarrow/libarrow_python.so"]
    kept = ["numpy/testing/__init__.py", "pkg/mod.py", "pyarrow/libarrow.so.2600", "pyarrow/libarrow_python.so.2600"]
    kept += ["spacy_lookups_data/data/en_lemma_lookup.json.gz", "spacy_lookups_data/data/en_license.txt"]
    for name in (*gone, *kept):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12345")
    freed = prune.remove(prune.unneeded(tmp_path))
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()} == set(kept)
    assert freed == 5 * len(gone)


def test_prune_leaves_one_of_the_libraries_that_wheels_share(tmp_path: Path) -> None:
    """Where a wheel looks for its copy a link to the first one's stands; others of that name stay, and so do all at a
    second call."""
    for name, content in (("a.libs/libx-1.so", b"x"), ("b.libs/libx-1.so", b"x"), ("c.libs/libx-1.so", b"longer")):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(content)
    assert (prune.share_libraries(tmp_path), prune.share_libraries(tmp_path)) == (1, 0)
    assert (tmp_path / "b.libs/libx-1.so").readlink() == Path("../a.libs/libx-1.so")
    assert [(tmp_path / f"{wheel}.libs/libx-1.so").read_bytes() for wheel in "abc"] == [b"x", b"x", b"longer"]


def test_what_stands_in_for_blis_is_a_module(tmp_path: Path) -> None:
    """thinc's import of it succeeds; nothing is made where there is no such extension."""
    assert prune.replace_blis(tmp_path) == 0
    (tmp_path / "blis").mkdir()
    (tmp_path / "blis/py.cpython-311-x86_64-linux-gnu.so").write_bytes(b"12345")
    assert prune.replace_blis(tmp_path) == 5
    compile((tmp_path / "blis/py.py").read_text(), "py.py", "exec")
    assert [path.name for path in (tmp_path / "blis").iterdir()] == ["py.py"]


@pytest.mark.skipif(sys.platform != "linux", reason="the image's libraries are Linux's")
def test_stripped_library_still_loads_and_computes(tmp_path: Path) -> None:
    """An extension module without its tail answers as before; a file that is no library is left alone."""
    import murmurhash.mrmr

    package = Path(murmurhash.mrmr.__file__).parent
    copy = tmp_path / "murmurhash"
    shutil.copytree(package, copy)
    library = next(copy.glob("mrmr.*.so"))
    size = library.stat().st_size
    saved = prune.strip_library(library)
    assert 0 < saved == size - library.stat().st_size
    assert prune.strip_library(library) == 0
    code = "import murmurhash.mrmr as m; print(m.__file__); print(m.hash('campaign', 7))"
    answered = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout.split()
    assert answered == [str(library), str(murmurhash.mrmr.hash("campaign", 7))]
    script = tmp_path / "linker.so"
    script.write_text("GROUP ( libm.so.6 )" * 10)
    assert prune.strip_library(script) == 0


def test_a_job_that_does_not_serve_is_healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The health check asks for a ping where the first process serves, and fails where nothing answers."""
    monkeypatch.setattr(health, "_serves", lambda: False)
    assert health.main() == 0
    monkeypatch.setattr(health, "_serves", lambda: True)
    monkeypatch.setenv("SAGEMAKER_BIND_TO_PORT", "1")  # nothing listens there
    assert health.main() == 1


# The built image


def docker(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """The docker command's answer."""
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=check)


def inside(code: str) -> str:
    """What Python code prints in the image."""
    return docker("run", "--rm", "--network", "none", "--entrypoint", "python", IMAGE, "-c", code).stdout


@pytest.mark.docker
def test_image_is_small() -> None:
    """Under 700 MB unpacked, which an instance pulls before every job."""
    assert int(docker("image", "inspect", IMAGE, "--format", "{{.Size}}").stdout) < MAX_IMAGE_BYTES


@pytest.mark.docker
def test_image_has_the_locks_versions_and_no_others() -> None:
    """The packages installed are those of the lock for its Python, exactly."""
    code = (
        "import importlib.metadata as m, json; "
        "print(json.dumps({d.name.lower().replace('_', '-').replace('.', '-'): d.version for d in m.distributions("
        "path=['/opt/venv/lib/python3.11/site-packages'])}))"
    )
    installed = json.loads(inside(code))
    lock = {}
    for line in (ROOT / "requirements/container.txt").read_text().splitlines():
        pin, _, marker = line.partition(" ; ")
        if "win32" in marker or ">= '3.12'" in marker:
            continue
        name, _, version = pin.partition("==")
        lock[name] = version
    assert installed == lock


@pytest.mark.docker
def test_bill_of_materials_is_of_what_the_image_holds() -> None:
    """Read inside of the image: the lock's packages, the base's Debian packages, and the interpreter's version."""
    found = image_sbom.inventory(IMAGE)
    lock = (ROOT / "requirements/container.txt").read_text()
    assert all(f"{each['name'].lower().replace('_', '-')}==" in lock for each in found["python"])
    assert len(found["python"]) > 40
    assert {"libc6", "base-files"} <= {each["name"] for each in found["debian"]}
    assert found["version"].startswith("3.11.")
    with pytest.raises(image_sbom.ImageSbomError, match=r"no-such-image:none cannot be read.*make images"):
        image_sbom.inventory("no-such-image:none")


@pytest.mark.docker
def test_image_serves_as_nobody_and_says_when_it_is_healthy(run: Run) -> None:
    """`serve` has given up root once it answers; Docker's health check asks for its ping."""
    name = f"served-{os.getpid()}"
    docker("run", "--detach", "--name", name, "--health-interval", "1s", "--volume", f"{run.model}:/opt/ml/model:ro",
           IMAGE, "serve")  # fmt: skip
    try:
        health = "starting"
        for _ in range(600):
            health = docker("inspect", "--format", "{{.State.Health.Status}}", name).stdout.strip()
            if health != "starting":
                break
            subprocess.run(["sleep", "0.2"], check=True)
        assert health == "healthy", docker("logs", name).stderr
        first = "from pathlib import Path as P; print(P('/proc/1').stat().st_uid, P('/proc/1/cmdline').read_text())"
        assert docker("exec", name, "python", "-c", first).stdout.startswith("10001 python")
    finally:
        docker("rm", "--force", name)


@pytest.mark.docker
def test_image_says_which_sources_it_is_of() -> None:
    """Its label is the hash of this checkout's sources, so that a stale image can be told."""
    labelled = docker("image", "inspect", IMAGE, "--format", f'{{{{index .Config.Labels "{build.SOURCES_LABEL}"}}}}')
    assert labelled.stdout.strip() == build.sources_hash(ROOT), f"{IMAGE} is of other sources: make images"


@pytest.mark.docker
def test_image_has_no_sdk_compiler_tests_or_traces_of_its_build() -> None:
    """What training, processing and serving do not use is not there, nor is anything of the machine that built it."""
    code = (
        "import importlib.util as u, pathlib, shutil; "
        "print([n for n in ('boto3', 'botocore', 'sagemaker', 'moto', 'pytest', 'pipelines', 'local_aws') "
        "if u.find_spec(n)]); "
        "print([n for n in ('cc', 'gcc', 'g++', 'make', 'git') if shutil.which(n)]); "
        "print([str(p) for p in pathlib.Path('/opt').rglob('*') if p.name in ('tests', 'pip.conf')]); "
        "print([n for n in ('/build', '/etc/pip.conf', '/root/.config', '/root/.cache', '/root/.pip') "
        "if pathlib.Path(n).exists()])"
    )
    assert inside(code).split("\n")[:4] == ["[]"] * 4
    history = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", IMAGE).stdout
    configured = docker("image", "inspect", IMAGE, "--format", "{{json .Config.Env}}").stdout
    assert not re.search(r"PIP_|CERT|PROXY", history + configured, re.IGNORECASE)


@pytest.mark.docker
def test_image_runs_as_any_user_on_a_read_only_root(tmp_path: Path) -> None:
    """A laptop's user id, unknown to the image, and no writable place but /opt/ml and /tmp, are enough for a job."""
    exports = tmp_path / "processing/input/exports"
    exports.mkdir(parents=True)
    (exports / "a.jsonl").write_text('{"campaign_id": "1", "keywords": ["running shoes", "trail running shoes"]}\n')
    for path in (tmp_path, *tmp_path.rglob("*")):
        path.chmod(path.stat().st_mode | stat.S_IRWXO)
    finished = docker(
        *("run", "--rm", "--network", "none", "--read-only", "--tmpfs", "/tmp", "--user", "12345:12345"),  # noqa: S108
        *("--volume", f"{tmp_path}:/opt/ml", IMAGE, "process", "prepare", "--channel", "search"),
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    written = tmp_path / "processing/output/prepared/campaigns.parquet"
    assert written.stat().st_uid == 12345


@pytest.mark.docker
def test_image_holds_compiled_kernels_for_any_processor() -> None:
    """A user without a home on a read-only root compiles nothing, whichever processor the builder had."""
    code = (
        "from topic_model.kernels import inference, jit; "
        "print(inference.infer._cache_hits.total(), inference.infer._cache_misses.total(), jit.config.CPU_NAME)"
    )
    finished = docker(
        *("run", "--rm", "--network", "none", "--read-only", "--user", "12345:12345"),
        *("--entrypoint", "python", IMAGE, "-c", code),
    )
    assert finished.stdout.split() == ["1", "0", "x86-64-v3" if platform.machine() == "x86_64" else "generic"]


@pytest.mark.docker
def test_image_says_what_it_was_not_told(tmp_path: Path) -> None:
    """Without a role it exits with 1 and writes the failure file."""
    tmp_path.chmod(0o777)
    finished = docker("run", "--rm", "--volume", f"{tmp_path}:/opt/ml", IMAGE, check=False)
    assert finished.returncode == 1
    assert "expected one of train, serve, process" in (tmp_path / "output/failure").read_text()


@pytest.mark.docker
def test_stopped_processing_job_ends_at_sigterm(tmp_path: Path) -> None:
    """A job is its container's first process, which ignores SIGTERM unless it listens for it: 143, not 137."""
    exports = tmp_path / "processing/input/exports"
    exports.mkdir(parents=True)
    line = json.dumps({"campaign_id": "x", "keywords": [f"word{number} shoes" for number in range(2_000)]})
    with (exports / "a.jsonl").open("w") as file:
        file.writelines(line.replace('"x"', f'"{number}"') + "\n" for number in range(4_000))
    name = f"stopped-{os.getpid()}"
    docker("run", "--detach", "--name", name, "--volume", f"{tmp_path}:/opt/ml", IMAGE, "process", "prepare",
           "--channel", "search")  # fmt: skip
    try:
        # The job listens once its first output is there.
        for _ in range(600):
            if any(tmp_path.rglob("processing/output/**/*")):
                break
            subprocess.run(["sleep", "0.1"], check=True)
        docker("stop", "--time", "60", name)
        assert docker("wait", name).stdout.strip() == "143"
    finally:
        docker("rm", "--force", name)
