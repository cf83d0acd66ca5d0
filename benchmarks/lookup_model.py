"""A lookup model by itself: start-up, memory, own work, recall: ``python -m benchmarks.lookup_model [--campaigns N]``.

- Start-up: seconds from a fresh interpreter's start to its first answer, from the unpacked artifact, all hashes
  checked; the median of some processes, behind one that warms the disk's cache and does not count.
- Memory: such a process forks two workers, which answer; what each has for itself, its share of all (proportional set
  size), and the process's own, from the kernel's figures.
- Own work: from an analyst's JSON text to the answer's, campaigns that the model does not know, one at a time;
  percentiles over campaigns, wall clock and CPU time of the thread.
- Recall of the 10 and 100 nearest of the same campaigns against all pairs, beside what the artifact says.

Without ``--model`` the model is made (``benchmarks.serving_model``), which takes some minutes at 100,000 campaigns, and
kept under ``build/``. Exits non-zero where start-up, the 99th percentile of the median-sized campaigns or recall miss
what is required.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson

from benchmarks.serving_model import fresh_records, lookup_model
from topic_model.artifact import read_artifact
from topic_model.campaigns import Campaign, campaign_from_record
from topic_model.inverted_lists import recall
from topic_model.lookup_model import LookupModel, read_lookup_model
from topic_model.neighbours import CampaignVectors
from topic_model.text import Tokenizer

MAX_START_SECONDS, MAX_OWN_MILLISECONDS, MIN_RECALL = 5.0, 3.0, 0.99
TERMS = (40, 100)
"""Keywords and search terms of a median campaign: 100 words and 250; what is required is of the first."""
STARTED = """
import json, os, pathlib, sys, time
from topic_model.artifact import read_artifact
from topic_model.campaigns import Campaign, Keyword
from topic_model.lookup_model import read_lookup_model
from topic_model.text import Tokenizer

def seconds():
    ticks = int(pathlib.Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")

def memory(process):
    lines = pathlib.Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]
    sizes = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines}
    return {"own": sizes["Private_Clean"] + sizes["Private_Dirty"], "share": sizes["Pss"], "resident": sizes["Rss"]}

lookup = read_lookup_model(read_artifact(pathlib.Path(sys.argv[1])))
tokenizer = Tokenizer(lookup.model.text_settings)
first = Campaign("", keywords=tuple(map(Keyword, lookup.model.vocabulary.terms[:40])))
lookup.answer(first, tokenizer)
found = {"seconds": seconds()}
workers = []
for _ in range(2):
    ready, tell = os.pipe()
    wait, done = os.pipe()
    worker = os.fork()
    if not worker:
        os.close(done)
        for row in range(0, len(lookup.index), max(1, len(lookup.index) // 500)):
            ids = lookup.index.weights[row].indices[:40]
            terms = [lookup.model.vocabulary.terms[term] for term in ids]
            lookup.answer(Campaign("", keywords=tuple(map(Keyword, terms))), tokenizer)
        os.write(tell, b"1")
        os.read(wait, 1)
        os._exit(0)
    os.read(ready, 1)
    workers.append((worker, done))
found["parent"] = memory(os.getpid())
found["workers"] = [memory(worker) for worker, _ in workers]
for worker, done in workers:
    os.close(done)
    os.kill(worker, 9)
    os.waitpid(worker, 0)
print(json.dumps(found))
"""


def main() -> int:
    """Print the figures; the exit code says whether what is required holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--campaigns", type=int, default=100_000)
    parser.add_argument("--topics", type=int, default=100)
    parser.add_argument("--model", type=Path, help="folder of an unpacked lookup model, instead of making one")
    parser.add_argument("--questions", type=int, default=500, help="fresh campaigns of each size")
    parser.add_argument("--repeats", type=int, default=5, help="start-ups that count")
    options = parser.parse_args()
    folder = options.model or lookup_model(options.campaigns, options.topics)
    lookup = read_lookup_model(read_artifact(folder))
    print(
        f"{len(lookup.index):,} campaigns, K = {lookup.model.num_topics}, {len(lookup.model.vocabulary):,} terms, "
        f"{len(lookup.keywords.keys):,} keywords; {time.strftime('%Y-%m-%d')}"
    )
    held = [_start_up(folder, options.repeats)]
    for terms in TERMS:
        records = fresh_records(options.questions, 2, terms)
        slowest = _own_work(lookup, records, terms)
        held.append(terms != TERMS[0] or slowest <= MAX_OWN_MILLISECONDS)
        held.append(_recall(lookup, records[:200]))
    return 0 if all(held) else 1


def _start_up(folder: Path, repeats: int) -> bool:
    found = []
    for _ in range(repeats + 1):
        command = [sys.executable, "-c", STARTED, str(folder)]
        answered = subprocess.run(command, capture_output=True, text=True, check=False)
        if answered.returncode:
            raise SystemExit(f"the process failed: {answered.stderr.strip()[-1000:]}")
        found.append(json.loads(answered.stdout))
    seconds = [one["seconds"] for one in found[1:]]
    worker, parent = found[-1]["workers"][-1], found[-1]["parent"]
    print(
        f"start-up: first answer after {statistics.median(seconds):.2f} s (slowest {max(seconds):.2f} s; required "
        f"{MAX_START_SECONDS:g} s)\n"
        f"memory: a worker has {worker['own']:.0f} MiB of its own and a share of {worker['share']:.0f} MiB "
        f"({worker['resident']:.0f} MiB resident); the process that forks them a share of {parent['share']:.0f} MiB"
    )
    return bool(statistics.median(seconds) <= MAX_START_SECONDS)


def _own_work(lookup: LookupModel, records: Sequence[bytes], terms: int) -> float:
    """Prints the percentiles; returns the 99th of the wall clock, in milliseconds."""
    tokenizer = Tokenizer(lookup.model.text_settings)

    def answer(record: bytes) -> None:
        document = orjson.loads(record)
        k = document.pop("k", None)
        orjson.dumps(lookup.answer(campaign_from_record({"campaign_id": "fresh", **document}), tokenizer, k=k))

    wall, cpu = [], []
    for count, record in enumerate([*records, *records]):
        began, worked = time.perf_counter(), time.thread_time()
        answer(record)
        if count >= len(records):  # the first round makes words known, as they are to a server that has run for a while
            wall.append((time.perf_counter() - began) * 1e3)
            cpu.append((time.thread_time() - worked) * 1e3)
    told = [
        f"{kind} " + " / ".join(f"{value:.2f}" for value in np.percentile(times, [50, 90, 99]))
        for kind, times in (("wall clock", wall), ("CPU", cpu))
    ]
    words = statistics.median(len(record.split()) for record in records)
    print(f"own work, ms p50 / p90 / p99, {terms} keywords ({words:g} words) in the median: {'; '.join(told)}")
    return float(np.percentile(wall, 99))


def _recall(lookup: LookupModel, records: Sequence[bytes]) -> bool:
    index = lookup.index
    if index.lists is None:
        print("recall: every campaign is compared")
        return True
    tokenizer = Tokenizer(lookup.model.text_settings)
    queries = []
    for record in records:
        document = orjson.loads(record)
        document.pop("k", None)
        campaign = campaign_from_record({"campaign_id": "fresh", **document})
        for asked in (campaign, replace(campaign, keywords=campaign.keywords[:2], search_terms=())):
            queries.append(_vectors(lookup, asked, tokenizer))
    exact = replace(index, lists=None)
    known = [query for query in queries if query is not None]
    found, every = ([one.nearest(query, 100) for query in known] for one in (index, exact))
    measured = {number: recall(found, every, number) for number in (10, 100)}
    scope = index.lists.scopes[0]
    print(
        f"recall, {len(known)} fresh campaigns, whole and of two keywords: @10 {measured[10]:.4f}, @100 "
        f"{measured[100]:.4f}; the artifact says {scope.recall_at_10:.4f} and {scope.recall_at_100:.4f} "
        f"({scope.probes} of {len(index.lists.centres)} lists)"
    )
    return min(measured.values()) >= MIN_RECALL


def _vectors(lookup: LookupModel, campaign: Campaign, tokenizer: Tokenizer) -> CampaignVectors | None:
    """What a campaign is compared by; None where the model knows none of its terms."""
    terms = tokenizer.campaign_terms(campaign)
    ids, counts = lookup.model.vocabulary.bow(terms)
    return lookup.vectors(lookup.model.infer(terms), ids, counts) if len(ids) else None


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
