"""The lookup API behind the local API Gateway under load: ``python -m benchmarks.gateway --root DIR``.

``DIR`` is a local AWS that is up, with a finished run. For each kind of request it prints percentiles of the time from
when a request was due, how many failed, and the CPU time a request of the local AWS's own process, which is gateway,
DynamoDB and ``InvokeEndpoint`` in one; functions and containers are other processes.
"""

from __future__ import annotations

import argparse
import json
import os
from functools import partial
from pathlib import Path
from urllib.parse import quote, urlsplit

from benchmarks.http_load import Call, at_rate, cpu_during
from benchmarks.lookup_api import Api
from local_aws import lifecycle
from topic_model_cli.gateway_plans import Limits
from topic_model_cli.gateway_stack import ANALYSTS, ensure_gateway

_WIDE = 1_000_000


def main() -> None:
    """Print a line a kind of request."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="a local AWS that is up, with a finished run")
    parser.add_argument("--seconds", type=float, default=6)
    options = parser.parse_args()
    config = lifecycle.connect(options.root)
    pid = int(json.loads((config.root / "server.json").read_text())["pid"])
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"{'request':<18} {'a second':>8} {'p50':>7} {'p95':>7} {'p99':>7} {'failed':>7} {'CPU':>8}")
    for cached in (60, 0):
        made = ensure_gateway(config, [], Limits(rate=_WIDE, burst=_WIDE, quota=_WIDE * 1_000, cache_seconds=cached))
        api = Api(made.url, made.keys[ANALYSTS], pid)
        path = urlsplit(made.url).path
        ids = [quote(one["campaign_id"], safe="") for one in api.get("/v1/campaigns")["campaigns"]]
        known = [Call("GET", f"{path}/v1/campaigns/{one}/similar?explain=true") for one in ids]
        keywords = [api.get(f"/v1/campaigns/{one}")["keywords"] for one in ids]
        fresh = [Call("POST", f"{path}/v1/similar", json.dumps({"keywords": some}).encode()) for some in keywords]
        refused = [Call("GET", f"{path}/v1/nothing")]
        kinds = (
            [("refused", refused, 300), ("known, cached", known, 300)]
            if cached
            else [("known, by function", known, 100), ("fresh", fresh, 100)]
        )
        for kind, calls, rate in kinds:
            ask = partial(at_rate, config.endpoint_url, calls, rate=rate, headers={"x-api-key": api.key})
            ask(seconds=2)  # functions and cache are warm
            load, cpu = cpu_during(api.cpu_seconds, partial(ask, seconds=options.seconds))
            times = " ".join(f"{load.percentile(percent):>7.1f}" for percent in (50, 95, 99))
            failed = load.failed if kind != "refused" else sum(load.statuses.values()) - load.statuses[403]
            print(f"{kind:<18} {rate:>8.0f} {times} {failed:>7} {cpu:>6.2f}ms", flush=True)
    ensure_gateway(config, [], Limits())


if __name__ == "__main__":
    main()
