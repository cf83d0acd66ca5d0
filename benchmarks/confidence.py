"""What the bars of low confidence tell apart: ``python -m benchmarks.confidence MODEL [EXPORT ...]``.

MODEL is the folder of a lookup model of the generated sample. It is asked about campaigns that it should know how to
answer (of the same generator, another seed, whole and cut to a few keywords) and about ones it should not (part of the
keywords replaced by made-up words, words of its vocabulary drawn at random), and about the campaigns of further exports
in JSON Lines. A line a kind: quantiles of both figures of the confidence, and the share of answers that each bar, and
both together, would call low.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import random
import string
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from topic_model.artifact import read_artifact
from topic_model.campaigns import Campaign, Keyword
from topic_model.confidence import MIN_KNOWN_TERMS_SHARE
from topic_model.errors import NoKnownTermsError
from topic_model.lookup_model import LookupModel, read_lookup_model
from topic_model.sample import generate_sample
from topic_model.text import Tokenizer

Texts = Sequence[str]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder of an unpacked lookup model")
    parser.add_argument("exports", nargs="*", type=Path, help="campaigns in JSON Lines, .gz or not, of another kind")
    parser.add_argument("--campaigns", type=int, default=600, help="of each kind, at most")
    parser.add_argument("--seed", type=int, default=2, help="another than the model's sample has")
    options = parser.parse_args()
    lookup = read_lookup_model(read_artifact(options.model))
    tokenizer = Tokenizer(lookup.model.text_settings)
    print(
        f"{len(lookup.index):,} campaigns, K = {lookup.model.num_topics}; "
        f"bars {MIN_KNOWN_TERMS_SHARE:g} and {lookup.min_nearest:g}\n"
        f"{'':<26}{'unknown':>8}  {'known_terms_share':<17}  {'nearest':<17}  {'low by share':>12} {'by nearest':>10} "
        f"{'by both':>7}\n{'':<36}{'1 %   25 %   50 %':<17}  1 %   25 %   50 %"
    )
    for name, campaigns in _kinds(lookup, options.campaigns, options.seed, options.exports):
        _report(name, lookup, tokenizer, campaigns)


def _report(name: str, lookup: LookupModel, tokenizer: Tokenizer, campaigns: Sequence[Texts]) -> None:
    shares, nearest, unknown = [], [], 0
    for texts in campaigns:
        try:
            campaign = Campaign("", keywords=tuple(map(Keyword, texts)))
            found = lookup.answer(campaign, tokenizer, k=1, num_recommendations=0)["confidence"]
        except NoKnownTermsError:
            unknown += 1
            continue
        shares.append(found["known_terms_share"])
        nearest.append(found["nearest"])
    few, far = np.array(shares) < MIN_KNOWN_TERMS_SHARE, np.array(nearest) < lookup.min_nearest
    print(
        f"{name:<26}{unknown / len(campaigns):>8.3f}  {_quantiles(shares):<17}  {_quantiles(nearest):<17}  "
        f"{few.mean():>12.3f} {far.mean():>10.3f} {(few | far).mean():>7.3f}",
        flush=True,
    )


def _quantiles(values: Sequence[float]) -> str:
    return "  ".join(f"{value:.2f}" for value in np.quantile(values, [0.01, 0.25, 0.5]))


def _kinds(
    lookup: LookupModel, number: int, seed: int, exports: Sequence[Path]
) -> Iterator[tuple[str, Sequence[Texts]]]:
    draw = random.Random(seed)  # noqa: S311 - measurements, not secrets
    with tempfile.TemporaryDirectory(prefix="topic-model-confidence-") as work:
        generate_sample(Path(work) / "sample", campaigns=number, seed=seed, format="jsonl")
        fresh = [_texts(record) for record in _records(sorted(Path(work).glob("sample/exports/*/*.jsonl")))]
    vocabulary = lookup.model.vocabulary.terms

    def some(texts: Texts, wanted: int) -> list[str]:
        return draw.sample(texts, min(wanted, len(texts)))

    def made_up(phrases: int) -> list[str]:
        words = ["".join(draw.choices(string.ascii_lowercase, k=draw.randint(4, 10))) for _ in range(2 * phrases)]
        return [" ".join(words[place : place + 2]) for place in range(0, len(words), 2)]

    def drawn(phrases: int) -> list[str]:
        return [f"{draw.choice(vocabulary)} {draw.choice(vocabulary)}" for _ in range(phrases)]

    yield "fresh, whole", fresh
    for wanted in (5, 3, 1):
        yield f"fresh, {wanted} keyword{'s' if wanted > 1 else ''}", [some(texts, wanted) for texts in fresh]
    yield "halves of two campaigns", [[*one[::2], *other[::2]] for one, other in itertools.pairwise(fresh)]
    yield "5 of 5 campaigns", [[draw.choice(texts) for texts in draw.sample(fresh, 5)] for _ in fresh]
    for quarters in (1, 2, 3):
        yield (
            f"{quarters}/4 of the words made up",
            [
                [*some(texts, max(1, len(texts) * (4 - quarters) // 4)), *made_up(max(1, len(texts) * quarters // 4))]
                for texts in fresh
            ],
        )
    yield "made up but one word", [[*made_up(5), draw.choice(vocabulary)] for _ in fresh]
    for phrases in (5, 20):
        yield f"{2 * phrases} known words at random", [drawn(phrases) for _ in fresh]
    for path in exports:
        yield path.name.split(".")[0], [_texts(record) for record in _records([path])][:number]


def _records(paths: Sequence[Path]) -> Iterator[dict[str, Any]]:
    for path in paths:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as lines:
            yield from map(orjson.loads, lines)


def _texts(record: dict[str, Any]) -> list[str]:
    texts = [*record.get("keywords", []), *record.get("search_terms", [])]
    return [text if isinstance(text, str) else text["text"] for text in texts]


if __name__ == "__main__":
    main()
