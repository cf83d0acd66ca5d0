"""``topic-model costs``: an estimate that follows the settings, and the guide that shows it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.settings import load_settings, parse_settings
from topic_model_cli.costs import PRICES, SIZES, Load, at_rest, monthly
from topic_model_cli.main import app

ROOT = Path(__file__).parents[2]
PRICE_LIST = json.loads((ROOT / PRICES).read_bytes())


def test_the_guide_shows_what_the_command_prints() -> None:
    """Settings, prices or the formula changed: ``topic-model costs`` writes the guide's table anew."""
    told = CliRunner().invoke(app, ["costs"])
    assert told.exit_code == 0, told.output
    assert told.output.strip() in (ROOT / "docs/operating.md").read_text()


def test_an_endpoint_of_twice_the_machines_costs_twice() -> None:
    """At rest and while it bakes; nothing else follows the number of machines."""
    two, four = (parse_settings(f"deployment: {{instance_count: {count}}}") for count in (2, 4))
    load = SIZES["an agency"]
    before, after = monthly(load, two, PRICE_LIST), monthly(load, four, PRICE_LIST)
    changed = {item for item in before if before[item] != after[item]}
    assert changed == {"endpoint", "its second fleet while a canary bakes"}
    assert all(after[item] == pytest.approx(2 * before[item]) for item in changed)


def test_each_load_costs_where_it_falls() -> None:
    """Trainings, known and fresh requests each raise their own items, and nothing costs less for being asked more."""
    settings, rest = load_settings(), Load(1_000, 0, 0, 0)
    at_nothing = monthly(rest, settings, PRICE_LIST)
    for load, items in (
        (Load(1_000, 9, 0, 0), {"training", "workflow", "lookup table, written", "buckets"}),
        (Load(1_000, 0, 9_000, 0), {"lookup table, read and kept", "API and its function", "logs"}),
        (Load(1_000, 0, 0, 9_000), {"API and its function", "logs", "buckets"}),
    ):
        month = monthly(load, settings, PRICE_LIST)
        raised = {item for item in month if month[item] > at_nothing[item]}
        assert items <= raised <= items | {"its second fleet while a canary bakes"}
        assert all(month[item] >= at_nothing[item] for item in month)
    assert at_rest(rest, settings, PRICE_LIST) == pytest.approx(sum(at_nothing.values()))


def test_spot_training_is_cheaper() -> None:
    """By the share of the price list, for the training job alone."""
    with_spot, without = (parse_settings(f"jobs: {{train: {{spot: {word}}}}}") for word in ("true", "false"))
    load = Load(100_000, 1, 0, 0)
    assert monthly(load, with_spot, PRICE_LIST)["training"] < monthly(load, without, PRICE_LIST)["training"]


def test_a_machine_without_a_price_is_named(tmp_path: Path) -> None:
    """With the file to add it to, and without a traceback."""
    settings = tmp_path / "settings.yaml"
    settings.write_text("deployment: {instance_type: ml.x9.nano}")
    told = CliRunner().invoke(app, ["costs", "--settings", str(settings)])
    assert told.exit_code == 1 and "ml.x9.nano" in told.output and str(PRICES) in told.output


def test_a_load_of_ones_own() -> None:
    """As JSON, for a spreadsheet."""
    told = json.loads(CliRunner().invoke(app, ["costs", "--campaigns", "500", "--trainings", "1", "--json"]).stdout)
    (size,) = told.values()
    assert size["hour_at_rest"] > 0 and size["month"]["endpoint"] > size["month"]["training"] > 0
