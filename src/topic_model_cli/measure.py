"""Measures a run's neighbours where the ground truth is known; it reads what the run made and feeds nothing back."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from topic_model_cli.results import download_prepared, write_json

if TYPE_CHECKING:
    from local_aws.config import LocalConfig
    from topic_model_cli.exports_upload import Exports

_RECORD_SUFFIXES = (".jsonl", ".jsonl.gz")
_RECORDS_THAT_TELL = 20


def verticals_of(ground_truth: Path | None, exports: Exports) -> dict[str, str]:
    """The known verticals: of the ground truth file, or else of records that carry a ``vertical`` themselves."""
    from topic_model.errors import ExportError
    from topic_model.evaluate_retrieval import read_verticals

    if ground_truth is not None:
        return read_verticals(ground_truth)
    verticals: dict[str, str] = {}
    for file in exports.files:
        if file.name.endswith(_RECORD_SUFFIXES):
            try:
                # Exports can be large and hardly ever carry verticals: the first records tell.
                if read_verticals(file, at_most=_RECORDS_THAT_TELL):
                    verticals.update(read_verticals(file))
            except (ExportError, OSError, EOFError):  # a malformed export is for the workflow to judge
                continue
    return verticals


def measure_run(
    config: LocalConfig, bucket: str, run: str, folder: Path, verticals: Mapping[str, str]
) -> dict[str, Any] | None:
    """Write ``retrieval.json`` into the run's folder; None where no campaign of the run has a known vertical."""
    from topic_model.evaluate_retrieval import evaluate_retrieval, read_neighbours, read_prepared_terms

    rows = sorted((folder / "lookups").glob("rows-*.jsonl"))
    if not verticals or not rows:
        return None
    with tempfile.TemporaryDirectory(prefix="topic-model-measure-") as temporary:
        download_prepared(config, bucket, run, Path(temporary))
        terms = read_prepared_terms(sorted(Path(temporary).rglob("campaigns.parquet")))
    result = evaluate_retrieval(terms, read_neighbours(rows), verticals)
    if not result["queries"]:
        return None
    write_json(folder / "retrieval.json", result)
    return result


def retrieval_sentence(result: Mapping[str, Any]) -> str:
    """The measurement in one line."""
    k = result["k"]
    line = (
        f"precision@{k} of same-vertical neighbours {result[f'precision_at_{k}']:.3f}, "
        f"TF-IDF cosine {result[f'tfidf_precision_at_{k}']:.3f}, chance {result['chance']:.3f} "
        f"({result['queries']:,} campaigns, {result['verticals']} verticals)"
    )
    if hard := result.get("without_siblings"):
        line += (
            f"; without siblings {hard[f'precision_at_{k}']:.3f}, TF-IDF cosine {hard[f'tfidf_precision_at_{k}']:.3f}"
        )
    return line
