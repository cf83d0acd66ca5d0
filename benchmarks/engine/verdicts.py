"""Bars, and the lines that say whether they are met; tables of medians."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from statistics import median

from benchmarks.engine.measure import Result
from benchmarks.engine.trainers import GENSIM, TOMOTOPY

TIME_BARS = {GENSIM: Fraction(1, 10), TOMOTOPY: Fraction(1, 2)}
MEASURES = {"log_likelihood": "log-likelihood", "c_npmi": "c_npmi", "precision_at_10": "precision@10"}


@dataclass(frozen=True)
class Verdict:
    """One bar's outcome; ``text`` says what was measured against what."""

    text: str
    met: bool

    def __str__(self) -> str:
        return f"{self.text}: {'met' if self.met else 'MISSED'}"


@dataclass(frozen=True)
class Medians:
    """A trainer's medians over its seeds on one corpus."""

    seconds: float
    cpu_seconds: float
    process_seconds: float
    peak_mib: float
    log_likelihood: float
    c_npmi: float
    diversity: float
    precision_at_10: float


def medians(results: Sequence[Result]) -> Medians:
    """Of some seeds' results of one trainer on one corpus."""
    return Medians(**{name: median(getattr(result, name) for result in results) for name in Medians.__annotations__})


def against_peers(corpus: str, judged: str, measured: Mapping[str, Medians]) -> list[Verdict]:
    """One corpus: time against each peer that has a bar, and no yardstick below it; a peer not measured has no line."""
    ours = measured[judged]
    verdicts = []
    for peer, bar in TIME_BARS.items():
        if peer not in measured:
            continue
        theirs = measured[peer]
        ratio = theirs.seconds / ours.seconds
        verdicts.append(
            Verdict(f"{corpus}: time vs {peer} 1/{ratio:.1f} (bar {bar})", ours.seconds <= bar * theirs.seconds)
        )
        for name, label in MEASURES.items():
            own, other = getattr(ours, name), getattr(theirs, name)
            verdicts.append(Verdict(f"{corpus}: {label} vs {peer} {own:.3f} (bar {other:.3f})", own >= other))
    return verdicts


def above(what: str, value: float, bar: float, whose: str = "") -> Verdict:
    """A value that must be above a bar, which may be a peer's value, in the three decimals that both are told with."""
    return Verdict(f"{what} {value:.3f} (bar above {bar:.3f}{whose and ', ' + whose})", round(value, 3) > round(bar, 3))


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def training_table(measured: Mapping[str, Medians], tfidf: float) -> str:
    """A corpus's medians, a row a trainer; of TF-IDF there is precision only."""
    header = "trainer", "seconds", "CPU s", "process s", "peak MiB", "log-likelihood", "c_npmi", "diversity", "p@10"
    rows = [
        (
            trainer,
            f"{found.seconds:.2f}",
            f"{found.cpu_seconds:.2f}",
            f"{found.process_seconds:.1f}",
            f"{found.peak_mib:,.0f}",
            f"{found.log_likelihood:.3f}",
            f"{found.c_npmi:.3f}",
            f"{found.diversity:.3f}",
            f"{found.precision_at_10:.3f}",
        )
        for trainer, found in measured.items()
    ]
    return table(header, [*rows, ("TF-IDF cosine", *[""] * 7, f"{tfidf:.3f}")])
