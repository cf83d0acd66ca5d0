"""Topic models against their peers: time, memory and quality, all by one protocol; with a verdict a bar.

Trainings: the generated corpora and, with --bbc, BBC News; every training is a fresh process of two threads, one at a
time. Results are kept in the work folder, a JSON line each, and what is there is not measured again.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.engine import bertopic, retrieval
from benchmarks.engine.corpora import BBC, GENERATED_TOPICS, engine_corpus
from benchmarks.engine.measure import Results, commit, measure_all, tfidf
from benchmarks.engine.trainers import OPTIONAL, OURS, trainers
from benchmarks.engine.verdicts import Verdict, against_peers, medians, training_table

BUSY = 2.5
"""Load average above which more was going on than one training of two threads."""
LIBRARIES = "gensim", "tomotopy", "scikit-learn", "numpy", "numba"


def main() -> int:
    """Measure what is asked for; the exit code is 1 when a bar is missed and --strict is given."""
    arguments = _arguments()
    arguments.work.mkdir(parents=True, exist_ok=True)
    print(f"commit {commit()}, {datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {os.cpu_count()} cores, Python "
          f"{platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in LIBRARIES))  # fmt: skip
    verdicts = _trainings(arguments)
    if arguments.bertopic:
        verdicts += bertopic.compare(arguments.bbc, arguments.trainers)
    if arguments.retrieval:
        verdicts += retrieval.compare(arguments.retrieval, arguments.seeds)
    print()
    for verdict in verdicts:
        print(verdict)
    return 1 if arguments.strict and not all(verdict.met for verdict in verdicts) else 0


def _arguments() -> argparse.Namespace:
    names = list(trainers())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.engine", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, default=Path("build/bench-engine"), help="folder of corpora and results")
    parser.add_argument("--corpora", nargs="*", metavar="NAME", help=f"generated-N, {BBC}; without a name, none")
    parser.add_argument("--trainers", nargs="+", metavar="NAME", choices=names, help=", ".join(names))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 21, 42])
    parser.add_argument("--judge", default=OURS, choices=names, help="the trainer that is held to the bars")
    parser.add_argument("--again", action="store_true", help="measure anew what the work folder has")
    parser.add_argument(
        "--bbc", type=Path, metavar="FILE", help="BBC News as OCTIS has it: text, split, label, .tsv.gz"
    )
    parser.add_argument("--bertopic", action="store_true", help="BBC News by the BERTopic paper's protocol")
    parser.add_argument("--retrieval", nargs="+", type=Path, default=[], metavar="EXPORT",
                        help="JSON Lines with verticals: precision of the default similarity")  # fmt: skip
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a bar is missed")
    arguments = parser.parse_args()
    if arguments.corpora is None:
        arguments.corpora = [f"generated-{size}" for size in GENERATED_TOPICS] + ([BBC] if arguments.bbc else [])
    for name in arguments.corpora:
        size = name.removeprefix("generated-")
        if name != BBC and not (name != size and size.isdecimal() and int(size) >= 100):
            parser.error(f"unknown corpus {name!r}; expected generated-N with N of 100 or more, or {BBC}")
    if not arguments.bbc and (arguments.bertopic or BBC in arguments.corpora):
        parser.error(f"{BBC} and --bertopic need --bbc FILE")
    for path in [*arguments.retrieval, *([arguments.bbc] if arguments.bbc else [])]:
        if not path.exists():
            parser.error(f"{path} is not there")
    return arguments


def _trainings(arguments: argparse.Namespace) -> list[Verdict]:
    names: Sequence[str] = arguments.trainers or [name for name in trainers() if name not in OPTIONAL]
    corpora = [engine_corpus(name, arguments.work, arguments.bbc) for name in arguments.corpora]
    results = Results(arguments.work)
    measure_all(corpora, names, arguments.seeds, results, again=arguments.again)
    verdicts = []
    for corpus, _ in corpora:
        found = {name: [results.get(corpus, name, seed) for seed in arguments.seeds] for name in trainers()}
        whole = {name: [each for each in rows if each] for name, rows in found.items() if all(rows)}
        measured = {name: medians(rows) for name, rows in whole.items()}
        runs = {(each.commit, each.run) for rows in whole.values() for each in rows}
        print(
            f"\n{corpus.name}: {len(corpus.indptr) - 1:,} campaigns, {int(corpus.held_out.sum()):,} held out; "
            f"{len(corpus.terms):,} terms, {int(corpus.counts.sum()):,} words; K = {corpus.num_topics}; "
            f"medians of seeds {', '.join(map(str, arguments.seeds))}"
        )
        load = max((each.load for rows in whole.values() for each in rows), default=0.0)
        rows = "all of one run" if len(runs) == 1 else f"of {len(runs)} runs, NOT of one"
        print(f"rows {rows}: " + ", ".join(f"{of} at {when}" for of, when in sorted(runs, key=lambda run: run[1])))
        if load > BUSY:
            print(f"the machine was busy with other work (load average up to {load:.1f}): times compare badly")
        print(training_table(measured, tfidf(corpus, arguments.work)))
        if arguments.judge in measured:
            verdicts += against_peers(corpus.name, arguments.judge, measured)
    return verdicts


if __name__ == "__main__":
    sys.exit(main())
