"""``serve``: the endpoint and the batch transform, over one read-only model shared by forked workers."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from containers.contract import base_folder
from containers.workers import supervise
from topic_model.artifact import read_artifact, read_model
from topic_model.campaigns import MAX_ID_LENGTH, Campaign, campaign_from_record
from topic_model.errors import CampaignError, NoKnownTermsError, SettingsError, TopicModelError
from topic_model.lookup_model import LookupModel, describe_fingerprint, has_index, read_lookup_model
from topic_model.model import TopicModel
from topic_model.text import Tokenizer

MAX_BODY_BYTES = 6 * 2**20  # InvokeEndpoint's limit
MAX_BATCH_BODY_BYTES = 100 * 2**20  # batch transform's
MAX_ANSWERS = 1_000
MAX_UNKNOWN_TERMS = 50
ONLY_CLIENT = "only_client"
JSON, JSON_LINES = "application/json", "application/jsonlines"
# The event loop answers pings between slices of a long batch.
SLICE = 20
_LOGGER = logging.getLogger(__name__)


class Scorer:
    """Answers records with one model; ``lookup`` is None where the artifact is a trained model alone."""

    def __init__(self, model: TopicModel, version: str, lookup: LookupModel | None, *, batch: bool) -> None:
        self.model, self.version, self.lookup, self.batch = model, version, lookup, batch
        self._tokenizer = Tokenizer(model.text_settings)
        self._tokenizer.terms("warm up")  # spaCy loads before the first request, not in it
        self.model.warm_up()  # nor are kernels loaded in it, and workers share the topics

    def answer(self, record: Any) -> dict[str, Any]:
        """The answer for one decoded record.

        Raises:
            CampaignError: the record is malformed.
            NoKnownTermsError: it has no term that the model knows.
        """
        if not isinstance(record, dict):
            raise CampaignError(f"expected a JSON object, got {type(record).__name__}")
        options = {name: _whole_number(record, name) for name in ("k", "num_recommendations") if name in record}
        fields = {name: value for name, value in record.items() if name not in options and name != ONLY_CLIENT}
        campaign = campaign_from_record({"campaign_id": "fresh", **fields})
        if "campaign_id" not in record:
            campaign = replace(campaign, campaign_id="")  # nobody's id, so that it hides no known campaign
        about = {"campaign_id": campaign.campaign_id or None, "model_version": self.version}
        try:
            return about | self._described(campaign, _client(record), options)
        except NoKnownTermsError as error:
            error.terms = tuple(self._tokenizer.campaign_terms(campaign))[:MAX_UNKNOWN_TERMS]
            raise

    def _described(self, campaign: Campaign, only_client: str | None, options: dict[str, int]) -> dict[str, Any]:
        if self.batch or self.lookup is None:
            theta = self.model.infer(self._tokenizer.campaign_terms(campaign))
            described = describe_fingerprint(self.model, theta)
            return {"fingerprint": described["fingerprint"]} if self.batch else described
        # Said back, so that a caller who must not see other clients' campaigns knows that this container obeyed.
        scope = {ONLY_CLIENT: only_client} if only_client is not None else {}
        return scope | self.lookup.answer(campaign, self._tokenizer, **options, only_client=only_client)

    def answer_line(self, line: bytes, number: int) -> bytes:
        """One answer line for one line: an error object for a bad one, so that no line is lost."""
        record: Any = None
        try:
            record = orjson.loads(line)
            answer = self.answer(record)
        except orjson.JSONDecodeError as error:
            answer = _error("malformed_json", f"line {number} is not JSON: {error}")
        except TopicModelError as error:
            answer = _error(_code(error), str(error))
        except Exception:
            _LOGGER.exception("line %d failed", number)
            answer = _error("internal_error", f"line {number} could not be answered; the container's log says why")
        if "error" in answer and isinstance(record, dict):
            answer["campaign_id"] = _id_as_given(record)
        return orjson.dumps(answer, option=orjson.OPT_APPEND_NEWLINE)


def load_scorer() -> Scorer:
    """The scorer of the container's model folder.

    Raises:
        ArtifactError: the model folder is not a whole, unchanged artifact.
    """
    artifact = read_artifact(base_folder() / "model")
    batch = os.environ.get("SAGEMAKER_BATCH", "").lower() == "true"
    if has_index(artifact) and not batch:
        lookup = read_lookup_model(artifact)
        return Scorer(lookup.model, artifact.model_version, lookup, batch=False)
    return Scorer(read_model(artifact), artifact.model_version, None, batch=batch)


def build_app(scorer: Scorer) -> Starlette:
    """The HTTP application: SageMaker's three routes."""

    async def ping(_request: Request) -> Response:
        return Response(status_code=200)

    async def execution_parameters(_request: Request) -> Response:
        parameters = {"MaxConcurrentTransforms": _workers(), "BatchStrategy": "MULTI_RECORD", "MaxPayloadInMB": 6}
        return _json(parameters)

    async def invocations(request: Request) -> Response:
        kind = request.headers.get("content-type", JSON).split(";")[0].strip().lower()
        if kind not in (JSON, JSON_LINES):
            return _failure(415, "unsupported_media_type", f"content type is {kind!r}; expected {JSON} or {JSON_LINES}")
        try:
            body = await _bounded_body(request, MAX_BATCH_BODY_BYTES if scorer.batch else MAX_BODY_BYTES)
        except ClientDisconnect:
            return Response(status_code=499)
        if body is None:
            return _failure(413, "too_large", "the body is larger than the platform allows; send fewer campaigns")
        if kind == JSON_LINES:
            return Response(await _answer_lines(scorer, body), media_type=JSON_LINES)
        return _answer_one(scorer, body)

    return Starlette(
        routes=[
            Route("/ping", ping),
            Route("/execution-parameters", execution_parameters),
            Route("/invocations", invocations, methods=["POST"]),
        ]
    )


def _answer_one(scorer: Scorer, body: bytes) -> Response:
    try:
        return _json(scorer.answer(orjson.loads(body)))
    except orjson.JSONDecodeError as error:
        return _failure(400, "malformed_json", f"the body is not JSON: {error}")
    except NoKnownTermsError as error:
        document = _error(_code(error), str(error))
        document["error"]["unknown_terms"] = list(error.terms)
        return _json(document, 422)
    except TopicModelError as error:
        return _failure(400, _code(error), str(error))
    except Exception:
        _LOGGER.exception("a request failed")
        return _failure(500, "internal_error", "the campaign could not be answered; the container's log says why")


async def _answer_lines(scorer: Scorer, body: bytes) -> bytes:
    answers = []
    for number, line in enumerate(body.split(b"\n"), start=1):
        if line.strip():
            answers.append(scorer.answer_line(line, number))
        if number % SLICE == 0:
            await asyncio.sleep(0)
    return b"".join(answers)


async def _bounded_body(request: Request, limit: int) -> bytes | None:
    """The body, or None as soon as it is over the limit, whatever its header claims."""
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            return None
        chunks.append(chunk)
    return b"".join(chunks)


def _id_as_given(record: dict[str, Any]) -> str | int | None:
    """The id of a refused record, where it may be one: what was refused is not sent back by the megabyte."""
    given = record.get("campaign_id")
    return given if isinstance(given, int) or (isinstance(given, str) and len(given) <= MAX_ID_LENGTH) else None


def _whole_number(record: dict[str, Any], name: str) -> int:
    value = record[name]
    low = 1 if name == "k" else 0
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= MAX_ANSWERS:
        raise CampaignError(f"{name} is {str(value)[:40]!r}; expected a whole number from {low} to {MAX_ANSWERS}")
    return value


def _client(record: dict[str, Any]) -> str | None:
    """The client whose campaigns alone are to be in the answer; None for all."""
    value = record.get(ONLY_CLIENT)
    if value is not None and (not isinstance(value, str) or not value):
        raise CampaignError(f"{ONLY_CLIENT} is {str(value)[:40]!r}; expected a client's id, or nothing")
    return value


def _code(error: TopicModelError) -> str:
    return "no_known_terms" if isinstance(error, NoKnownTermsError) else "invalid_campaign"


def _error(code: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


def _json(document: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY), status, media_type=JSON)


def _failure(status: int, code: str, message: str) -> Response:
    return _json(_error(code, message), status)


def _workers() -> int:
    """Processes that answer; forking shares the model's memory, which macOS does not do safely."""
    if sys.platform != "linux":
        return 1
    given = os.environ.get("TOPIC_MODEL_WORKERS", "")
    if given and not (given.isdigit() and 1 <= int(given) <= 64):
        raise SettingsError(f"TOPIC_MODEL_WORKERS is {given!r}; expected a whole number from 1 to 64")
    return int(given) if given else max(1, len(os.sched_getaffinity(0)))


def serve(arguments: Sequence[str]) -> int:
    """Load the model once, then answer with forked workers that share it, until SIGTERM."""
    if arguments:
        raise SettingsError(f"serve takes no arguments, got {list(arguments)}")
    workers = _workers()
    app = build_app(load_scorer())
    listener = _listener()
    give_up_root()
    if workers == 1:
        _run_worker(app, listener)
        return 0
    return supervise(lambda: _run_worker(app, listener), workers)


def give_up_root() -> None:
    """Become the unprivileged user that the image names, where the container was started as root.

    Raises:
        SettingsError: there is no such user.
    """
    name = os.environ.get("TOPIC_MODEL_SERVE_USER")
    if not name or os.geteuid() != 0:
        return
    import pwd  # not on Windows, where there is no root either

    try:
        user = pwd.getpwnam(name)
    except KeyError as error:
        raise SettingsError(f"TOPIC_MODEL_SERVE_USER is {name!r}; expected a user of the image, or nothing") from error
    os.setgroups([])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)


def _listener() -> socket.socket:
    """Port 8080 on all interfaces in a container; on a laptop the given port, on loopback only."""
    port = os.environ.get("SAGEMAKER_BIND_TO_PORT") or "8080"
    if not (port.isdecimal() and 0 < int(port) < 2**16):
        raise SettingsError(f"SAGEMAKER_BIND_TO_PORT is {port!r}; expected a port from 1 to 65535")
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # asyncio sets this only on sockets that name their protocol; without it an answer waits 40 ms to be acknowledged.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    local = "SAGEMAKER_BASE_DIR" in os.environ
    address = ("127.0.0.1" if local else "0.0.0.0", int(port))  # noqa: S104 - the platform's contract
    try:
        listener.bind(address)
    except OSError as error:
        raise SettingsError(f"port {address[1]} cannot be listened on ({error.strerror}); free it") from error
    listener.listen(2048)
    return listener


def _run_worker(app: Starlette, listener: socket.socket) -> None:
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=20, lifespan="off")
    uvicorn.Server(config).run(sockets=[listener])
