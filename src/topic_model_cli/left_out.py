"""What the model did not get of a run's exports, told after the run with the files that list it."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from topic_model_cli.summary import RunSummary


def say_left_out(folder: Path, summary: RunSummary, console: Console) -> None:
    """Print a line for each channel of which something was left out; ``folder`` is the run's."""
    for channel in summary.channels:
        if told := channel.left_out():
            prepared = folder / "prepared" / channel.channel
            places = [prepared / "rejected.jsonl"] if channel.counts.get("rejected_lines") else []
            if channel.counts.get("campaigns_without_terms"):
                places.append(folder / "lookups" / "unscored.jsonl")
            listed = " and ".join(map(str, places or [prepared / "quality.json"]))
            console.print(f"left out of {channel.channel}: {told}; see {listed}", soft_wrap=True, markup=False)
