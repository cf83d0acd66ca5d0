"""``topic-model api`` serves the application over the local AWS, with keys that end with it."""

from __future__ import annotations

import gzip
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from local_aws.config import LocalConfig
from tests.local_aws.conftest import free_port
from topic_model.published import POINTER, directory_name, document_key
from topic_model_cli.stack import LOOKUP_TABLE


@contextmanager
def served(config: LocalConfig, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The command as a process."""
    command = [sys.executable, "-m", "topic_model_cli.main", "api", "--root", str(config.root), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def answered(url: str, key: str) -> httpx.Response:
    """The first answer of a server that starts."""
    end = time.monotonic() + 60
    while True:
        try:
            return httpx.get(url, headers={"x-api-key": key}, timeout=30)
        except httpx.TransportError:
            assert time.monotonic() < end
            time.sleep(0.05)


def test_the_command_serves_with_keys_of_its_own_until_it_ends(local_aws: LocalConfig) -> None:
    """It prints a key for all and for each client, says that nothing is published, and takes the keys back."""
    port = free_port()
    with served(local_aws, "--port", str(port), "--client", "acme") as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(5)]
        keys = [match[1] for line in said if (match := re.search(r"key for .*: (\S+)$", line))]
        assert len(keys) == 2 and "client acme" in said[2] and "nothing is published yet" in said[4]
        url = f"http://127.0.0.1:{port}/v1/topics"
        assert [answered(url, key).status_code for key in (*keys, "other")] == [503, 503, 403]
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    assert local_aws.client("dynamodb").scan(TableName="topic-model-local-clients")["Items"] == []


def test_a_key_that_sees_nothing_is_told(local_aws: LocalConfig) -> None:
    """A client without campaigns, which may be a slip of the pen, is named; one that has some is not."""
    dynamodb = local_aws.client("dynamodb")
    names = ("campaign_id", "model_version")
    dynamodb.create_table(
        TableName=LOOKUP_TABLE,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[
            {"AttributeName": names[0], "KeyType": "HASH"},
            {"AttributeName": names[1], "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in names],
    )
    try:
        directory = json.dumps({"parts": 1, "clients": [{"client_id": "acme"}]}).encode()
        for campaign_id, version, more in (
            (POINTER, POINTER, {"version": {"S": "v1"}}),
            (document_key(directory_name(0)), "v1", {"packed": {"B": gzip.compress(directory)}}),
        ):
            keys = {"campaign_id": {"S": campaign_id}, "model_version": {"S": version}}
            dynamodb.put_item(TableName=LOOKUP_TABLE, Item={**keys, **more})
        port = str(free_port())
        with served(local_aws, "--port", port, "--client", "acme", "--client", "acne") as process:
            assert process.stdout is not None
            said = [process.stdout.readline() for _ in range(6)]
            assert said[5] == "no campaigns are published for acne\n"
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=30) == 0
    finally:
        dynamodb.delete_table(TableName=LOOKUP_TABLE)


def test_a_port_in_use_is_told(local_aws: LocalConfig) -> None:
    """With the option that mends it, and no traceback."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with served(local_aws, "--port", str(taken.getsockname()[1])) as process:
            said, _ = process.communicate(timeout=60)
            assert process.returncode == 1
            assert "choose another with --port" in said and "Traceback" not in said
