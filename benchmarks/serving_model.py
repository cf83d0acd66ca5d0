"""A lookup model of many generated campaigns, for benchmarks that serve one: made once, kept under ``build/``.

``python -m benchmarks.serving_model [--campaigns 100000] [--topics 100] [--out FOLDER]`` goes the workflow's way from
exports to the artifact that an endpoint loads, in one process and without the rows of the lookup table.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import orjson

from topic_model.algorithms import DEFAULT_ALGORITHM, algorithm
from topic_model.algorithms.fit import fit_corpus
from topic_model.artifact import read_artifact, write_model
from topic_model.campaigns import campaign_from_record
from topic_model.corpus import build_corpus, read_corpus
from topic_model.describe import with_topic_terms
from topic_model.errors import NoKnownTermsError
from topic_model.lookup_model import write_lookup_model
from topic_model.lookups import build_lookups
from topic_model.model import TopicModel
from topic_model.prepare import prepare_channel
from topic_model.sample import generate_sample
from topic_model.settings import CorpusSettings, NeighbourSettings, PrepareSettings, TextSettings
from topic_model.text import Tokenizer

SEED = 20_260_601
TERMS_PER_CAMPAIGN = 100
FRESH_TERMS = 40
NEAREST = 10
"""Neighbours that a fresh campaign asks for."""


def main() -> None:
    """Make one and say where it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--campaigns", type=int, default=100_000)
    parser.add_argument("--topics", type=int, default=100)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    print(lookup_model(options.campaigns, options.topics, options.out))


def lookup_model(campaigns: int, topics: int, folder: Path | None = None) -> Path:
    """The artifact's folder; it is made where it is not there yet."""
    folder = folder or Path("build") / "bench-serving" / f"model-{campaigns}-{topics}"
    if not (folder / "manifest.json").exists():
        with tempfile.TemporaryDirectory(prefix="topic-model-serving-") as work:
            _build(Path(work), campaigns, topics)
            folder.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(Path(work) / "lookup", folder)
    return folder


def _build(work: Path, campaigns: int, topics: int) -> None:
    began = time.monotonic()

    def told(step: str) -> None:
        print(f"  {time.monotonic() - began:6.1f} s  {step}", flush=True)

    _prepare(work, "known", campaigns, SEED)
    told("prepared")
    build_corpus(work / "known" / "prepared", work / "corpus", CorpusSettings())
    corpus = read_corpus(work / "corpus")
    settings = algorithm(DEFAULT_ALGORITHM).settings_class(num_topics=topics, seed=SEED)
    model = fit_corpus(corpus, settings=settings)
    assert model is not None  # noqa: S101 - nothing stops it
    model = with_topic_terms(model, corpus.training_bags, SEED)
    version = write_model(model, work / "model", about={"algorithm": DEFAULT_ALGORITHM})
    told("trained")
    _score(model, version, work / "known" / "scoring", work / "fingerprints")
    told("scored")
    lookups = build_lookups(
        read_artifact(work / "model"), work / "known" / "prepared", work / "fingerprints", NeighbourSettings()
    )
    write_lookup_model(lookups.lookup, work / "lookup", lookups.model_manifest)
    told("indexed")


def _prepare(work: Path, name: str, campaigns: int, seed: int) -> None:
    generate_sample(
        work / "sample", campaigns=campaigns, seed=seed, format="jsonl", terms_per_campaign=TERMS_PER_CAMPAIGN
    )
    for channel in sorted(path for path in (work / "sample" / "exports").iterdir() if path.is_dir()):
        prepare_channel(
            channel, work / name / "prepared" / channel.name, work / name / "scoring" / channel.name,
            channel=channel.name, settings=PrepareSettings(), text=TextSettings(),
        )  # fmt: skip


def _score(model: TopicModel, version: str, scoring: Path, out: Path) -> None:
    """Fingerprints of all campaigns, as the batch transform answers."""
    out.mkdir()
    tokenizer = Tokenizer(model.text_settings)
    with (out / "answers.jsonl").open("wb") as answers:
        for path in sorted(scoring.glob("*/campaigns.jsonl")):
            with path.open("rb") as lines:
                for line in lines:
                    campaign = campaign_from_record(orjson.loads(line))
                    answer: dict[str, object] = {"campaign_id": campaign.campaign_id, "model_version": version}
                    try:
                        theta = model.infer(tokenizer.campaign_terms(campaign))
                        answer["fingerprint"] = [round(share, 7) for share in theta.tolist()]
                    except NoKnownTermsError as error:
                        answer["error"] = {"code": "no_known_terms", "message": str(error)}
                    answers.write(orjson.dumps(answer, option=orjson.OPT_APPEND_NEWLINE))


def fresh_records(number: int, seed: int, terms: int = FRESH_TERMS) -> list[bytes]:
    """Campaigns that no model of :func:`lookup_model` knows, as an analyst asks about them: JSON records.

    ``terms`` are about the keywords and search terms of the median one, of some three words each.
    """
    with tempfile.TemporaryDirectory(prefix="topic-model-fresh-") as work:
        generate_sample(Path(work) / "sample", campaigns=number, seed=seed, format="jsonl", terms_per_campaign=terms)
        records = []
        for path in sorted((Path(work) / "sample" / "exports").rglob("*.jsonl*")):
            for line in path.read_bytes().splitlines():
                record = orjson.loads(line)
                texts = [one["text"] if isinstance(one, dict) else one for one in record.get("keywords") or []]
                searched = [one["text"] if isinstance(one, dict) else one for one in record.get("search_terms") or []]
                records.append(orjson.dumps({"keywords": texts, "search_terms": searched, "k": NEAREST}))
        return records


if __name__ == "__main__":
    main()
