"""A corpus that stays on disk: time and memory of training, or of build-corpus, at 100,000 and 1,000,000 campaigns.

``python -m benchmarks.million [N ...] [--algorithm lda] [--topics 100] [--threads 2]``
``python -m benchmarks.million [N ...] --build``

Campaigns of some 50 distinct terms out of 50,000 are drawn from planted topics, by seed, straight into a corpus folder.
What is measured runs in a fresh process; its peak memory is the kernel's figure for that process (``ru_maxrss``, in
which pages of mapped files count; shards are read, not mapped). ``reading`` is one pass over all chunks without
training. ``--build`` makes prepared channels instead, of campaigns in no order with rare terms of all kinds.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

N_TERMS = 50_000
PLANTED_TOPICS = 100
TERMS_A_TOPIC = 2_000
WORDS_A_CAMPAIGN = 52
BACKGROUND_SHARE = 0.15
HELD_OUT_SHARE = 0.02
RARE_TERMS = 2_000_000


def main() -> None:
    """Print a row a size, and the ratios of neighbouring sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="*", type=int, default=[100_000, 1_000_000])
    parser.add_argument("--algorithm", default="lda")
    parser.add_argument("--topics", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a hyperparameter more")
    parser.add_argument("--build", action="store_true", help="measure build-corpus, and not training")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(build(arguments.child) if arguments.build else train(arguments.child, arguments)))
        return
    found = [(measure_build if arguments.build else measure)(size, arguments) for size in arguments.sizes]
    for one, other in pairwise(found):
        campaigns, seconds, mib = (other[name] / one[name] for name in ("campaigns", "seconds", "mib"))
        print(f"{campaigns:g} times the campaigns took {seconds:.2f} times the time and {mib:.2f} times the memory")


def measure(size: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Generate a corpus of ``size`` campaigns and train on it in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="topic-model-million-") as work:
        began = time.monotonic()
        generate(Path(work) / "corpus", size, arguments.seed)
        generated = time.monotonic() - began
        found = _in_a_process(Path(work) / "corpus", arguments)
    print(
        f"{size:>9,} campaigns of {found['terms']:.1f} terms (made in {generated:.0f} s), {arguments.algorithm}, "
        f"K = {arguments.topics}, {arguments.threads} threads\n"
        f"          {found['seconds']:.1f} s for {found['passes']} passes ({found['cpu_seconds']:.1f} s of processor), "
        f"reading the shards once {found['reading_seconds']:.2f} s\n"
        f"          peak {found['mib']:,.0f} MiB, {found['before_mib']:,.0f} MiB of it before training\n"
        f"          held-out bound {found['held_out_bound']:.4f} nats a word",
        flush=True,
    )
    return found


def measure_build(size: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Make prepared channels of ``size`` campaigns and their corpus in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="topic-model-million-") as work:
        make_prepared(Path(work) / "prepared", size, arguments.seed)
        found = _in_a_process(Path(work) / "prepared", arguments)
    print(
        f"{size:>9,} campaigns of {found['terms']:.1f} terms, build-corpus: {found['seconds']:.1f} s "
        f"({found['cpu_seconds']:.1f} s of processor), peak {found['mib']:,.0f} MiB",
        flush=True,
    )
    return found


def _in_a_process(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """What ``build`` or ``train`` tells of a folder, and the process's peak memory."""
    command = [sys.executable, "-m", "benchmarks.million", "--child", str(folder)]
    command += ["--algorithm", arguments.algorithm, "--topics", str(arguments.topics)]
    command += ["--threads", str(arguments.threads), "--seed", str(arguments.seed)]
    command += [part for setting in arguments.set for part in ("--set", setting)]
    command += ["--build"] if arguments.build else []
    result = folder.with_name("result.json")
    with result.open("wb") as stream:
        child = subprocess.Popen(command, stdout=stream)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"the process measured ended with exit code {child.returncode}")
    return {**json.loads(result.read_bytes()), "mib": usage.ru_maxrss / 1024}


def build(prepared: Path) -> dict[str, Any]:
    """Build the corpus of prepared channels in this process."""
    from topic_model.corpus import build_corpus
    from topic_model.settings import CorpusSettings

    began, cpu = time.monotonic(), time.process_time()
    corpus = build_corpus(prepared, prepared.with_name("corpus"), CorpusSettings())
    return {
        "campaigns": len(corpus),
        "terms": sum(entry.n_entries for entry in corpus.shards.entries) / len(corpus),
        "seconds": time.monotonic() - began,
        "cpu_seconds": time.process_time() - cpu,
    }


def train(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Train on a corpus folder in this process."""
    from topic_model.algorithms import parse_hyperparameters
    from topic_model.algorithms.fit import PassReport, fit_corpus
    from topic_model.corpus import read_corpus

    values = {"algorithm": arguments.algorithm, "num_topics": str(arguments.topics), "seed": str(arguments.seed)}
    if arguments.algorithm != "lda-gensim":
        values["threads"] = str(arguments.threads)
    values |= dict(setting.split("=", 1) for setting in arguments.set)
    name, settings = parse_hyperparameters(values)
    corpus = read_corpus(folder)
    began, cpu = time.monotonic(), time.process_time()
    entries = sum(len(bags.indices) for bags in corpus.training_bags.chunks())
    reading = time.monotonic() - began
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    reports: list[PassReport] = []

    def tell(report: PassReport) -> None:
        reports.append(report)
        print(f"{report}", file=sys.stderr, flush=True)

    began, cpu = time.monotonic(), time.process_time()
    fit_corpus(corpus, name, settings, on_pass=tell)
    return {
        "campaigns": len(corpus),
        "terms": entries / corpus.training_bags.n_campaigns,
        "seconds": time.monotonic() - began,
        "cpu_seconds": time.process_time() - cpu,
        "reading_seconds": reading,
        "before_mib": before,
        "passes": len(reports),
        "held_out_bound": reports[-1].held_out_bound,
    }


def generate(folder: Path, size: int, seed: int) -> None:
    """Write a corpus folder of ``size`` campaigns, a shard at a time.

    A campaign has one to three of the planted topics. Each word is drawn from one of them, by Zipf's law over its
    terms, or from the law over all terms: what every campaign says.
    """
    from topic_model.corpus import Vocabulary
    from topic_model.corpus_writer import corpus_writer
    from topic_model.settings import CorpusSettings, TextSettings
    from topic_model.shards import SHARD_CAMPAIGNS, ShardBags

    random = np.random.default_rng(seed)
    terms_of_topic = np.stack([random.permutation(N_TERMS)[:TERMS_A_TOPIC] for _ in range(PLANTED_TOPICS)])
    everywhere = random.permutation(N_TERMS)
    of_topic, of_all = _zipf(TERMS_A_TOPIC), _zipf(N_TERMS)
    vocabulary = Vocabulary.of([f"term{number:05d}" for number in range(N_TERMS)])
    settings = CorpusSettings(held_out_share=HELD_OUT_SHARE, seed=seed)
    with corpus_writer(folder, vocabulary, TextSettings(), settings) as writer:
        for start in range(0, size, SHARD_CAMPAIGNS):
            number = min(SHARD_CAMPAIGNS, size - start)
            shape = (number, WORDS_A_CAMPAIGN)
            own = random.integers(0, PLANTED_TOPICS, (number, 3))
            chosen = (random.random(shape) ** 2 * random.integers(1, 4, (number, 1))).astype(np.int64)
            topics = np.take_along_axis(own, chosen, axis=1)
            words = terms_of_topic[topics, np.searchsorted(of_topic, random.random(shape))]
            background = random.random(shape) < BACKGROUND_SHARE
            words[background] = everywhere[np.searchsorted(of_all, random.random(int(background.sum())))]
            keys, counts = np.unique(np.arange(number)[:, None] * N_TERMS + words, return_counts=True)
            shard = ShardBags(
                np.searchsorted(keys, np.arange(number + 1) * N_TERMS).astype(np.int64),
                (keys % N_TERMS).astype(np.int32),
                counts.astype(np.int32),
                random.random(number) < HELD_OUT_SHARE,
            )
            writer.add(shard, [f"c{campaign:08d}" for campaign in range(start, start + number)])


def make_prepared(folder: Path, size: int, seed: int) -> None:
    """Two prepared channels of ``size`` campaigns in all: 60 words each out of two million by Zipf's law, no order."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from topic_model.prepare import CAMPAIGNS_SCHEMA
    from topic_model.settings import TextSettings

    random = np.random.default_rng(seed)
    words = pa.array([f"word{number:07d}" for number in range(RARE_TERMS)])
    law = _zipf(RARE_TERMS)
    names = ("campaign_id", "channel", "name", "terms", "term_counts")
    schema = pa.schema([CAMPAIGNS_SCHEMA.field(name) for name in names])
    for channel, numbers in zip(("a_ads", "b_ads"), np.array_split(random.permutation(size), 2), strict=True):
        (folder / channel).mkdir(parents=True)
        quality = {"text_settings": TextSettings().model_dump()}
        (folder / channel / "quality.json").write_text(json.dumps(quality), encoding="utf-8")
        with pq.ParquetWriter(folder / channel / "campaigns.parquet", schema) as writer:
            for start in range(0, len(numbers), 4_000):
                own = numbers[start : start + 4_000].tolist()
                drawn = np.searchsorted(law, random.random((len(own), 60)))
                keys, counts = np.unique(np.arange(len(own))[:, None] * RARE_TERMS + drawn, return_counts=True)
                offsets = pa.array(np.searchsorted(keys, np.arange(len(own) + 1) * RARE_TERMS), pa.int32())
                columns = [
                    pa.array([f"campaign-{number:09d}" for number in own]),
                    pa.array([channel] * len(own)),
                    pa.array([f"Campaign number {number} of {channel}" for number in own]),
                    pa.ListArray.from_arrays(offsets, words.take(pa.array(keys % RARE_TERMS))),
                    pa.ListArray.from_arrays(offsets, pa.array(counts, pa.int32())),
                ]
                writer.write_table(pa.Table.from_arrays(columns, schema=schema))


def _zipf(number: int) -> Any:
    """Cumulative probabilities of ranks by Zipf's law, flattened at its head as in text without stop words."""
    weights = 1 / (np.arange(number) + 20.0)
    return np.cumsum(weights / weights.sum())


if __name__ == "__main__":
    main()
