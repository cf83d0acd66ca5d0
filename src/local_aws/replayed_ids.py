"""Ids that the journal's replay draws again: of KMS's keys, secrets, scaling policies, EC2's networks.

moto draws them at random, so a key would have another id after each start. As in API Gateway
(:mod:`local_aws.apigateway_ids`), a changing request is given a seed that the journal keeps with it.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterable
from random import Random
from typing import Any

from moto.kms import models as kms_models
from moto.moto_api._internal import mock_random
from moto.moto_api._internal.moto_random import MotoRandom

from local_aws import apigateway_ids
from local_aws.config import ACCOUNT, LocalConfig
from local_aws.http_server import Environ, WsgiApp
from local_aws.request_names import region_of, service_of

SERVICES = frozenset({"application-autoscaling", "ec2", "kms", "secretsmanager"})
_KEY_BYTES = 32


class _Draws(threading.local):
    source: Random | None = None


_draws = _Draws()


def install(config: LocalConfig) -> None:
    """Patch moto's source of randomness and KMS's of keys; before the journal is played."""
    del config
    stock_bits, stock_random = Random.getrandbits, Random.random

    def getrandbits(self: Random, k: int) -> int:
        return stock_bits(_draws.source or self, k)

    def random(self: Random) -> float:
        return stock_random(_draws.source or self)

    MotoRandom.getrandbits, MotoRandom.random = getrandbits, random
    kms_models.generate_master_key = _new_key


def _new_key() -> bytes:
    """A key's bytes: what it encrypted before a restart is decrypted after it."""
    bits: int = mock_random.getrandbits(8 * _KEY_BYTES)
    return bits.to_bytes(_KEY_BYTES, "little")


def front(app: WsgiApp) -> WsgiApp:
    """``app`` (with its journal), whose requests to these services are given seeds."""

    def wsgi(environ: Environ, start_response: Any) -> Iterable[bytes]:
        if service_of(environ) in SERVICES:
            apigateway_ids.stamp(environ)
        return app(environ, start_response)

    return wsgi


def control_plane(app: WsgiApp) -> WsgiApp:
    """moto, drawing from a request's seed, now and when the request is replayed."""

    def wsgi(environ: Environ, start_response: Any) -> Iterable[bytes]:
        service = service_of(environ)
        seed = environ.get(apigateway_ids.SEED_KEY)
        if service not in SERVICES or not seed:
            return app(environ, start_response)
        if service == "ec2":
            _make_default_network(region_of(environ))
        answer: Iterable[bytes] = _drawing(Random(seed), lambda: app(environ, start_response))  # noqa: S311 - ids
        return answer

    return wsgi


def _drawing(source: Random, action: Any) -> Any:
    before, _draws.source = _draws.source, source
    try:
        return action()
    finally:
        _draws.source = before


@functools.cache
def _make_default_network(region: str) -> None:
    """moto makes a region's default network with the first request, whose seed must not give it its ids."""
    from moto.ec2.models import ec2_backends

    _drawing(Random(f"default network of {region}"), lambda: ec2_backends[ACCOUNT][region])  # noqa: S311 - as above
