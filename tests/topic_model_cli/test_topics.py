"""``topic-model topics``: a run's topics, and how many exports ask for."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from topic_model_cli.main import app


def _run_folder(runs: Path, name: str, first_term: str) -> None:
    folder = runs / name / "lookups"
    folder.mkdir(parents=True)
    topics = [
        {"topic": 0, "share": 0.25, "terms": [{"term": "vpn", "probability": 0.5}]},
        {"topic": 1, "share": 0.75, "terms": [{"term": first_term, "probability": 0.4}]},
    ]
    (folder / "topics.json").write_text(json.dumps(topics))


def _ask(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["topics", *arguments])
    return result.exit_code, result.output


def test_a_runs_topics_are_listed_the_largest_first(tmp_path: Path) -> None:
    """With their number, share and terms; --json has them as they are."""
    _run_folder(tmp_path, "one", "shoes")
    code, shown = _ask("--runs", str(tmp_path))
    assert code == 0
    assert shown.index("75.0%  shoes") < shown.index("25.0%  vpn")
    code, shown = _ask("--runs", str(tmp_path), "--run", "one", "--json")
    assert [topic["topic"] for topic in json.loads(shown)] == [0, 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--run", "two"], "no run 'two' with topics .* newest that have: one"),
        (["--run", "one", "--suggest", "x"], "either --run NAME or --suggest"),
        (["--suggest", "nowhere"], "there is no nowhere"),
        (["--suggest", ".", "--algorithm", "ldaa"], "unknown algorithm 'ldaa'; did you mean 'lda'"),
    ],
)
def test_a_mistake_is_a_message(tmp_path: Path, arguments: list[str], message: str) -> None:
    """One line that names it, exit code 1."""
    _run_folder(tmp_path, "one", "shoes")
    code, shown = _ask("--runs", str(tmp_path), *arguments)
    assert code == 1
    assert re.search(message, shown)


def test_no_run_yet_is_a_message(tmp_path: Path) -> None:
    """It says how to make one."""
    code, shown = _ask("--runs", str(tmp_path))
    assert code == 1
    assert "topic-model run --input" in shown


def test_a_number_is_suggested_for_exports(tmp_path: Path) -> None:
    """A line a candidate, the rule's number, and what to do; --json has the same."""
    themes = [["running shoes", "trail shoes"], ["vpn service", "fast vpn"], ["dog food", "puppy food"]]
    lines = [{"campaign_id": f"c{number}", "keywords": themes[number % 3]} for number in range(60)]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    code, shown = _ask("--suggest", str(path))
    assert code == 0
    assert "60 campaigns" in shown
    assert "num_topics: auto would take" in shown
    code, shown = _ask("--suggest", str(path), "--json")
    assert code == 0
    assert set(json.loads(shown)) == {"rule", "candidates", "num_topics", "held_out"}
