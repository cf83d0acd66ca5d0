"""A small corpus of five clear themes, and what the library makes of it, shared by this folder's tests."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from topic_model.algorithms import DEFAULT_ALGORITHM, algorithm
from topic_model.algorithms.base import AlgorithmSettings
from topic_model.algorithms.fit import fit_corpus, training_settings
from topic_model.artifact import Artifact, read_artifact, write_model
from topic_model.campaigns import Campaign, Keyword, campaign_from_record, campaign_to_line
from topic_model.corpus import Corpus, build_corpus
from topic_model.errors import NoKnownTermsError
from topic_model.lookups import Lookups, build_lookups
from topic_model.model import TopicModel
from topic_model.prepare import prepare_channel
from topic_model.settings import (
    CorpusSettings,
    NeighbourSettings,
    PrepareSettings,
    TextSettings,
)
from topic_model.text import Tokenizer

THEMES = {
    "running": "runner sneaker marathon trail jogging cushion sole lace sprint treadmill insole pronation",
    "coffee": "espresso roast grinder latte arabica filter mug barista bean brew kettle crema",
    "garden": "rake soil compost seed mower hedge pruner trowel mulch lawn sprinkler greenhouse",
    "insurance": "policy premium claim deductible coverage insurer liability broker quote renewal underwriter annuity",
    "guitar": "fretboard strings amplifier pickup chord strum capo acoustic plectrum luthier tremolo pedal",
}
CHANNELS = ("google_ads", "microsoft_ads")
PREPARED_SCHEMA = pa.schema(
    [
        ("campaign_id", pa.string()),
        ("client_id", pa.string()),
        ("channel", pa.string()),
        ("name", pa.string()),
        ("terms", pa.list_(pa.string())),
        ("term_counts", pa.list_(pa.int32())),
        ("keywords", pa.list_(pa.string())),
        ("keyword_clicks", pa.list_(pa.float64())),
        ("keyword_impressions", pa.list_(pa.float64())),
        ("keyword_cost", pa.list_(pa.float64())),
        ("keyword_conversions", pa.list_(pa.float64())),
        ("negatives", pa.list_(pa.string())),
    ]
)


def themed_campaigns(number: int, seed: int = 7) -> list[Campaign]:
    """Campaigns of one theme each, in turn; ids say the theme. Google's have figures, Microsoft's only clicks."""
    draw = random.Random(seed)  # noqa: S311 - test data, not a secret
    campaigns = []
    names = list(THEMES)
    for position in range(number):
        theme = names[position % len(names)]
        words = THEMES[theme].split()
        google = (position // len(names)) % 2 == 0
        keywords = []
        for phrase in dict.fromkeys(" ".join(draw.sample(words, 2)) for _ in range(draw.randint(8, 14))):
            clicks, cost = draw.randint(0, 50), round(draw.random() * 100, 2)
            figures = {"cost": cost, "conversions": draw.randint(0, 4)} if google else {}
            keywords.append(Keyword(phrase, clicks=clicks, **figures))
        campaigns.append(
            Campaign(
                f"{theme}-{position:04d}",
                f"client-{position % 7}",
                CHANNELS[0 if google else 1],
                f"{theme.title()} {position}",
                tuple(keywords),
                negative_keywords=("second hand", words[0]) if position % 10 == 0 else (),
            )
        )
    return campaigns


def write_exports(campaigns: Sequence[Campaign], folder: Path) -> Path:
    """The campaigns as canonical JSON Lines, a folder a channel."""
    for campaign in campaigns:
        channel = folder / str(campaign.channel)
        channel.mkdir(parents=True, exist_ok=True)
        with (channel / "campaigns.jsonl").open("ab") as stream:
            stream.write(campaign_to_line(campaign))
    return folder


def prepare_all(exports: Path, out: Path, text: TextSettings | None = None) -> tuple[Path, Path]:
    """Run the real prepare step over every channel; returns the folders ``prepared`` and ``scoring``."""
    for channel in sorted(exports.iterdir()):
        prepare_channel(
            channel,
            out / "prepared" / channel.name,
            out / "scoring" / channel.name,
            channel=channel.name,
            settings=PrepareSettings(),
            text=text or TextSettings(),
        )
    return out / "prepared", out / "scoring"


def write_prepared(
    folder: Path, rows: Sequence[dict[str, Any]], *, channel: str = "google_ads", text: TextSettings | None = None
) -> Path:
    """A prepared channel by the layout of ARCHITECTURE.md alone, without the prepare step; returns ``folder``.

    A row needs ``campaign_id`` and ``terms`` (a mapping of term to count); keywords default to the terms.
    """
    records = []
    for row in rows:
        terms = dict(row["terms"])
        keywords = row.get("keywords", list(terms))
        record = {
            "campaign_id": row["campaign_id"],
            "client_id": row.get("client_id"),
            "channel": channel,
            "name": row.get("name"),
            "terms": list(terms),
            "term_counts": list(terms.values()),
            "keywords": keywords,
            "negatives": row.get("negatives", []),
        }
        for figure in ("clicks", "impressions", "cost", "conversions"):
            record[f"keyword_{figure}"] = row.get(figure, [None] * len(keywords))
        records.append(record)
    out = folder / channel
    out.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(records, schema=PREPARED_SCHEMA), out / "campaigns.parquet")
    settings = (text or TextSettings()).model_dump()
    (out / "quality.json").write_bytes(orjson.dumps({"channel": channel, "text_settings": settings}))
    return folder


def score(model: TopicModel, version: str, scoring: Path, out: Path) -> Path:
    """What batch transform makes of the scoring records: an answer a line, an error object without known terms."""
    tokenizer = Tokenizer(model.text_settings)
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(scoring.glob("*/campaigns.jsonl")):
        with (out / f"{path.parent.name}.jsonl.out").open("wb") as stream:
            for line in path.read_bytes().splitlines():
                campaign = campaign_from_record(orjson.loads(line))
                answer: dict[str, Any] = {"campaign_id": campaign.campaign_id, "model_version": version}
                try:
                    answer["fingerprint"] = model.infer(tokenizer.campaign_terms(campaign)).tolist()
                except NoKnownTermsError as error:
                    answer = {
                        "campaign_id": campaign.campaign_id,
                        "error": {"code": "no_known_terms", "message": str(error)},
                    }
                stream.write(orjson.dumps(answer, option=orjson.OPT_APPEND_NEWLINE))
    return out


@dataclass(frozen=True)
class Chain:
    """One run of the library from campaigns to lookups; all of it read-only."""

    campaigns: list[Campaign]
    prepared: Path
    scoring: Path
    corpus: Corpus
    settings: AlgorithmSettings
    model: TopicModel
    model_folder: Path
    artifact: Artifact
    fingerprints: Path
    neighbour_settings: NeighbourSettings
    lookups: Lookups


def run_chain(
    folder: Path,
    campaigns: Sequence[Campaign],
    *,
    num_topics: int | Literal["auto"],
    corpus_settings: CorpusSettings | None = None,
    neighbours: NeighbourSettings | None = None,
) -> Chain:
    """Prepare, corpus, training, scoring and lookups, each by the real function."""
    prepared, scoring = prepare_all(write_exports(campaigns, folder / "exports"), folder)
    build_corpus(prepared, folder / "corpus", corpus_settings or CorpusSettings())
    corpus = Corpus.load(folder / "corpus")
    lda = algorithm(DEFAULT_ALGORITHM).settings_class(num_topics=num_topics)
    model = fit_corpus(corpus, DEFAULT_ALGORITHM, lda)
    assert model is not None
    about = {
        "algorithm": DEFAULT_ALGORITHM,
        "settings": training_settings(DEFAULT_ALGORITHM, lda),
        "corpus_hash": corpus.content_hash,
        "metrics": {"c_npmi": 0.5},
    }
    version = write_model(model, folder / "model", about=about)
    artifact = read_artifact(folder / "model")
    fingerprints = score(model, version, scoring, folder / "fingerprints")
    settings = neighbours or NeighbourSettings()
    lookups = build_lookups(artifact, prepared, fingerprints, settings)
    return Chain(
        list(campaigns),
        prepared,
        scoring,
        corpus,
        lda,
        model,
        folder / "model",
        artifact,
        fingerprints,
        settings,
        lookups,
    )


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """80 campaigns of five themes, and one campaign of digits alone, which no model knows."""
    campaigns = [*themed_campaigns(80), Campaign("no-terms", None, "google_ads", None, (Keyword("2025"),))]
    return run_chain(tmp_path_factory.mktemp("chain"), campaigns, num_topics=5)


@pytest.fixture(scope="session")
def corpus(chain: Chain) -> Corpus:
    return chain.corpus


@pytest.fixture(scope="session")
def model(chain: Chain) -> TopicModel:
    return chain.model


@pytest.fixture
def model_folder(chain: Chain, tmp_path: Path) -> Path:
    """A copy of the trained model's artifact folder, to be damaged."""
    return Path(shutil.copytree(chain.model_folder, tmp_path / "model"))


@pytest.fixture
def corpus_of(tmp_path: Path) -> Callable[..., Corpus]:
    """Build a corpus of bags given as mappings of term to count; min_df is 1 unless told."""

    def build(*bags: dict[str, int], **settings: Any) -> Corpus:
        rows = [{"campaign_id": f"c{number:04d}", "terms": bag} for number, bag in enumerate(bags)]
        prepared = write_prepared(tmp_path / "prepared", rows)
        settings = {"min_df": 1, "held_out_share": 0} | settings
        build_corpus(prepared, tmp_path / "corpus", CorpusSettings(**settings))
        return Corpus.load(tmp_path / "corpus")

    return build
