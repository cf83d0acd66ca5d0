"""The report of a delivery: JSON for programs, plain text for people."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from topic_model_cli.deliver_records import DeliveryRecord
from topic_model_cli.results import write_json


def write_delivery(record: DeliveryRecord, folder: Path) -> Path:
    """Write ``delivery.json`` and ``delivery.txt`` into a folder; the path of the latter."""
    write_json(folder / "delivery.json", asdict(record))
    target = folder / "delivery.txt"
    target.write_text(rendered(record), encoding="utf-8")
    return target


def rendered(record: DeliveryRecord) -> str:
    """A delivery as plain text."""
    lines = [
        f"delivery {record.id}",
        f"commit   {record.commit} {record.subject}",
        f"began    {record.started}",
        f"ended    {record.ended}  {record.status}",
        "",
    ]
    for action in record.actions:
        first, *more = action.summary.splitlines() or [""]
        about = f"{action.status:<11} {action.stage:<11} {action.name:<18} {action.provider:<25}"
        lines.append(f"{about} {action.seconds:7.1f} s  {first}")
        lines += [f"            {line}" for line in more]
    if record.reason:
        lines += ["", f"why      {record.reason}"]
    if record.teardown:
        lines += ["", f"after it {record.teardown}"]
    lines += [f"note     {note}" for note in record.notes]
    return "\n".join(lines) + "\n"
