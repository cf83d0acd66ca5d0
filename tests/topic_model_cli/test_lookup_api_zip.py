"""The lookup API's zip: it is enough, it is what was locked, and it is the same each time."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from local_aws.config import LocalConfig
from lookup_api.keys import gateway_key
from lookup_api.tables import ensure_tables
from tests.lookup_api.test_lambda import ENVIRONMENT, event
from topic_model.published import POINTER
from topic_model_cli.lookup_api_zip import REQUIREMENTS, RUNTIME_PYTHON, PackageError, package_lookup_api
from topic_model_cli.stack import _ensure_table

ROOT = Path(__file__).parents[2]
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"

_IN_A_CLEAN_PROCESS = """
import json, os, sys
folder = sys.argv[1]
sys.path[:] = [folder, *(path for path in sys.path if "site-packages" not in path)]
os.environ.update(json.loads(sys.argv[2]))
from lookup_api.lambda_handler import handler
for event in json.loads(sys.argv[3]):
    answer = handler(event, None)
    print("answer", json.dumps([answer["statusCode"], json.loads(answer["body"])]))
loaded = [name for name in sys.modules.values() if getattr(name, "__file__", None)]
foreign = {name.__name__ for name in loaded if not name.__file__.startswith((folder, sys.base_prefix + "/lib"))}
print("foreign", json.dumps(sorted(foreign)))
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zip for the Python that runs the tests: its compiled modules can be loaded here."""
    out = tmp_path_factory.mktemp("zip") / "lookup-api.zip"
    try:
        return package_lookup_api(out, ROOT / REQUIREMENTS, python=HERE)
    except PackageError as error:
        if "from versions: none" in str(error):
            pytest.skip(f"no package index can be reached: {error}")
        raise


def test_the_zip_alone_answers(archive: Path, moto_aws: LocalConfig, tmp_path: Path) -> None:
    """Unpacked as Lambda does it, with nothing else to import, the handler answers, and its calls of AWS are right."""
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(tmp_path / "task")
    tables = ENVIRONMENT["CLIENTS_TABLE"], ENVIRONMENT["FEEDBACK_TABLE"]
    dynamodb = moto_aws.client("dynamodb")
    ensure_tables(dynamodb, *tables)
    dynamodb.put_item(TableName=tables[0], Item={"key": {"S": gateway_key("abc123")}, "admin": {"BOOL": True}})
    lookups = ENVIRONMENT["LOOKUP_TABLE"]
    _ensure_table(moto_aws, lookups)
    pointer = {"campaign_id": {"S": POINTER}, "model_version": {"S": POINTER}, "version": {"S": "0123456789ab"}}
    dynamodb.put_item(TableName=lookups, Item=pointer)
    events = [
        event("GET", "/health", key_id=None),
        event("GET", "/v1/topics", key_id="of nobody"),
        event("GET", "/v1/topics/1", key_id="abc123"),
        event("POST", "/v1/similar", key_id="abc123", body={"keywords": ["latte"]}),
    ]
    command = [sys.executable, "-I", "-S", "-c", _IN_A_CLEAN_PROCESS, str(tmp_path / "task")]
    command += [json.dumps({**ENVIRONMENT, **moto_aws.environment()}), json.dumps(events)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=60)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    answers: list[tuple[int, Any]] = [json.loads(line[7:]) for line in lines if line.startswith("answer ")]
    assert answers[0][0] == 200
    assert answers[1][0] == 403  # the table of clients knows no such key
    assert (answers[2][0], answers[2][1]["detail"]) == (503, "version 0123456789ab was published without its topics")
    assert (answers[3][0], answers[3][1]["type"]) == (
        502,
        "urn:topic-model:problem:endpoint-failed",
    )  # moto's is no model
    assert lines[-1] == "foreign []"


def test_the_zip_holds_what_is_used_and_no_more(archive: Path) -> None:
    """Of botocore's services those that are called; bytecode of every module; no script and no trace of a machine."""
    with zipfile.ZipFile(archive) as opened:
        names = set(opened.namelist())
        services = {Path(name).parts[2] for name in names if re.match(r"botocore/data/[^/]+/", name)}
        assert services == {"dynamodb", "sagemaker-runtime", "secretsmanager"}
        modules = {name for name in names if name.endswith(".py")}
        assert len({name for name in names if name.endswith(".pyc")}) == len(modules)
        assert not any(name.startswith(("bin/", "numpy/", "workflow_functions/")) for name in names)
        assert not any(b"topic-model-lookup-api-" in opened.read(name) for name in names if name.endswith(".pyc"))
    assert archive.stat().st_size < 50 << 20  # what Lambda takes without a bucket


def test_the_dependencies_are_those_of_the_lock() -> None:
    """What the function runs with is what the tests run with."""
    locked = set((ROOT / "requirements/development.txt").read_text(encoding="utf-8").splitlines())
    assert set((ROOT / REQUIREMENTS).read_text(encoding="utf-8").splitlines()) <= locked


def test_the_zip_is_for_the_templates_runtime() -> None:
    """Modules compiled for another Python or processor would not load."""
    template = (ROOT / "template.yaml").read_text(encoding="utf-8")
    assert set(re.findall(r"Runtime: &runtime python(.*)", template)) == {RUNTIME_PYTHON}
    assert "Architectures: [x86_64]" in template


def test_what_cannot_be_had_is_named(tmp_path: Path) -> None:
    """A version that no index has is told with its file; nothing half-written stays."""
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("orjson==0.0.0.1\n", encoding="utf-8")
    with pytest.raises(PackageError, match=r"requirements\.txt could not be downloaded .*orjson==0\.0\.0\.1"):
        package_lookup_api(tmp_path / "out" / "lookup-api.zip", requirements)
    with pytest.raises(PackageError, match="is missing; package in the repository's folder"):
        package_lookup_api(tmp_path / "out" / "lookup-api.zip", tmp_path / "nothing.txt")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_same_sources_make_the_same_bytes(archive: Path, tmp_path: Path) -> None:
    """A stack must not change because the zip was made at another time or in another folder."""
    again = package_lookup_api(tmp_path / "again.zip", ROOT / REQUIREMENTS, python=HERE)
    assert again.read_bytes() == archive.read_bytes()
