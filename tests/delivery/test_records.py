"""Deliveries as they are written down, and one at a time."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from topic_model_cli.deliver_errors import DeliveryError
from topic_model_cli.deliver_records import Records


def test_a_delivery_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Whole, with its actions."""
    records = Records(tmp_path)
    record = records.new("c" * 40, "a change")
    record.variables["Source"] = {"CommitId": "c"}
    records.write(record)
    assert records.all() == [record]


def test_a_file_that_is_damaged_hides_no_other(tmp_path: Path) -> None:
    """A delivery that was killed while it wrote leaves the others readable."""
    records = Records(tmp_path)
    record = records.new("c" * 40, "a change")
    (tmp_path / "damaged.json").write_text("{")
    assert records.all() == [record]


def test_a_stage_is_rolled_back_to_the_last_delivery_that_passed_it(tmp_path: Path) -> None:
    """Not to one that failed in it."""
    records = Records(tmp_path)
    for commit, status in (("1", "Succeeded"), ("2", "Failed")):
        record = records.new(commit * 40, "")
        record.stages["Production"] = status  # type: ignore[assignment]
        record.started = f"2026-01-0{commit}"
        records.write(record)
    last = records.last_that_passed("Production")
    assert last is not None
    assert last.commit == "1" * 40
    assert records.last_that_passed("Model") is None


def test_what_says_it_is_under_way_while_nobody_is_was_killed(tmp_path: Path) -> None:
    """The next delivery cleans up behind it."""
    records = Records(tmp_path)
    record = records.new("c" * 40, "")
    with records.turn("QUEUED", lambda _told: None):
        assert [one.id for one in records.cut_off()] == [record.id]


def test_a_second_delivery_waits_for_its_turn(tmp_path: Path) -> None:
    """Execution mode QUEUED: it is told which one is before it, and goes on when that has ended."""
    records, told, order = Records(tmp_path), threading.Event(), []
    first = records.new("c" * 40, "")

    def second() -> None:
        with records.turn("QUEUED", lambda text: (order.append(text), told.set())):  # type: ignore[func-returns-value]
            order.append("second")

    with records.turn("QUEUED", lambda _told: None):
        thread = threading.Thread(target=second)
        thread.start()
        assert told.wait(30)
        order.append("first ends")
    thread.join(30)
    assert order == [f"delivery {first.id} of cccccccc is under way; this one waits behind it (execution mode QUEUED)",
                     "first ends", "second"]  # fmt: skip


def test_without_a_queue_a_second_delivery_is_refused(tmp_path: Path) -> None:
    """It says which one is under way."""
    records = Records(tmp_path)
    with records.turn("QUEUED", lambda _told: None):
        refused: list[BaseException] = []

        def second() -> None:
            try:
                with records.turn("SUPERSEDED", lambda _told: None):
                    pass
            except DeliveryError as error:
                refused.append(error)

        thread = threading.Thread(target=second)
        thread.start()
        thread.join(30)
    with pytest.raises(DeliveryError, match="is under way; wait for it"):
        raise refused[0]
