"""The engine benchmark's verdicts, its store, its quality measure and its command."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.engine import __main__ as command
from benchmarks.engine.bertopic import NPMI_BAR, diversity
from benchmarks.engine.measure import Result, Results
from benchmarks.engine.retrieval import Truth
from benchmarks.engine.trainers import GENSIM, OURS, TOMOTOPY
from benchmarks.engine.verdicts import above, against_peers, medians, training_table

RESULT = Result("bbc", "0" * 12, 20, OURS, 0, "abc", "now", 0.5, 2.0, 3.0, 4.0, 100.0, -6.5, 0.2, 0.8, 0.9)


def _lines(ours: Result, gensim: Result, tomotopy: Result) -> list[str]:
    measured = {OURS: medians([ours]), GENSIM: medians([gensim]), TOMOTOPY: medians([tomotopy])}
    return [str(verdict) for verdict in against_peers("bbc", OURS, measured)]


def test_verdicts_name_measure_bar_and_outcome() -> None:
    """A line a bar: times as ratios, yardsticks against the peer's."""
    lines = _lines(RESULT, replace(RESULT, seconds=28.4, c_npmi=0.25), replace(RESULT, seconds=3.9))

    assert "bbc: time vs gensim LdaModel 1/14.2 (bar 1/10): met" in lines
    assert "bbc: c_npmi vs gensim LdaModel 0.200 (bar 0.250): MISSED" in lines
    assert "bbc: log-likelihood vs tomotopy -6.500 (bar -6.500): met" in lines
    assert "bbc: time vs tomotopy 1/1.9 (bar 1/2): MISSED" in lines
    assert len(lines) == 8


def test_a_bar_to_be_above_is_not_met_by_its_own_value() -> None:
    """Above means above, in the decimals that are printed."""
    assert str(above("NPMI", NPMI_BAR, NPMI_BAR)) == "NPMI 0.200 (bar above 0.200): MISSED"
    assert above("NPMI", 0.201, NPMI_BAR, "LSI").met
    assert not above("precision@5", 1 / 3, 0.333).met


def test_medians_are_over_seeds() -> None:
    """One slow seed does not move the time, nor does it end in the table."""
    found = medians([replace(RESULT, seed=seed, seconds=seconds) for seed, seconds in enumerate((1.0, 2.0, 90.0))])

    assert found.seconds == 2.0
    assert "| lda | 2.00 |" in training_table({OURS: found}, 0.7)


def test_results_are_kept_and_the_last_counts(tmp_path: Path) -> None:
    """A later line of the same corpus, trainer and seed replaces the one before."""
    results = Results(tmp_path)
    results.add(RESULT)
    results.add(replace(RESULT, seconds=1.0))
    lines = (tmp_path / "results.jsonl").read_text().splitlines()

    assert [json.loads(line)["seconds"] for line in lines] == [2.0, 1.0]
    assert Results(tmp_path)._found[RESULT.corpus_hash, OURS, 0].seconds == 1.0
    assert asdict(RESULT) == json.loads(lines[0])


def test_siblings_do_not_count_and_missing_neighbours_are_wrong() -> None:
    """Of the two first that are no siblings one is of the vertical; whoever has no neighbours has no hit."""
    truth = Truth.of(["x-1", "x-2", "y-1", "z-1"], {"x-1": "a", "x-2": "a", "y-1": "a", "z-1": "b"})

    at_1, at_5, at_10 = truth.precision_of({"x-1": ["x-2", "y-1", "z-1"], "z-1": ["y-1"]})

    assert at_1 == pytest.approx(1 / 4)
    assert at_5 == pytest.approx(1 / 20)
    assert at_10 == pytest.approx(1 / 40)


def test_both_measures_of_precision_agree() -> None:
    """Neighbours by vectors and the same neighbours by id."""
    random = np.random.RandomState(1)
    ids = [f"g{number // 3}-{number % 3}" for number in range(30)]
    truth = Truth.of(ids, {name: "abc"[number % 3] for number, name in enumerate(ids)})
    vectors = random.random_sample((30, 4))
    products = vectors @ vectors.T
    np.fill_diagonal(products, -1)
    by_id = {ids[row]: [ids[other] for other in np.argsort(-products[row])] for row in range(30)}

    assert truth.precision(vectors) == pytest.approx(truth.precision_of(by_id))


def test_bertopic_diversity_is_over_words() -> None:
    """Three distinct of four."""
    assert diversity([["a", "b"], ["b", "c"]]) == 0.75


def test_the_command_measures_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small corpus is measured in processes of its own; a second call prints the same table and trains nothing."""
    arguments = ["engine", "--work", str(tmp_path), "--corpora", "generated-300", "--trainers", "lda", "--seeds", "0"]
    monkeypatch.setattr("sys.argv", arguments)

    assert command.main() == 0
    first = capfd.readouterr()
    assert command.main() == 0
    second = capfd.readouterr()

    assert "generated-300 lda, seed 0:" in first.err
    assert "generated-300 lda" not in second.err
    assert "rows all of one run" in second.out
    assert [line for line in first.out.splitlines() if line.startswith("| lda |")] == [
        line for line in second.out.splitlines() if line.startswith("| lda |")
    ]


@pytest.mark.parametrize("name", ["generated", "generated-x", "generated-5", "news", "bbc"])
def test_a_corpus_that_cannot_be_made_is_refused(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, naming what was expected."""
    monkeypatch.setattr("sys.argv", ["engine", "--corpora", name])

    with pytest.raises(SystemExit) as stopped:
        command.main()
    assert stopped.value.code == 2
    assert "generated-N" in capsys.readouterr().err or name == "bbc"
