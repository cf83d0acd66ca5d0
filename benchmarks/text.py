"""Text: the memoised tokeniser against plain ``nlp.pipe`` over the same prepared texts, in one run.

``python -m benchmarks.text [--campaigns 10000]`` prints both throughputs, their ratio, and whether the terms are the
same; it exits non-zero where they are not, or where the ratio is under 5 at 10,000 campaigns or more.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from topic_model.exports import RejectedLog, read_exports
from topic_model.sample.generator import generate_sample
from topic_model.settings import TextSettings
from topic_model.text import Tokenizer, load_pipeline, normalise_phrase, prepare_text, select_terms

SEED = 20_260_601
REQUIRED_RATIO = 5.0


def reference_terms(texts: Iterable[str], settings: TextSettings) -> Iterator[list[str]]:
    """What the tokeniser must equal: spaCy's own pipe over whole texts, nothing remembered between them."""
    prepared = (prepare_text(normalise_phrase(text[: settings.max_text_length])) for text in texts)
    for doc in load_pipeline().pipe(prepared):
        yield list(select_terms(((token.text, token.lemma_) for token in doc), settings))


def sample_texts(campaigns: int) -> list[str]:
    """All keywords and search terms of the sample, in reading order."""
    with tempfile.TemporaryDirectory() as folder:
        report = generate_sample(Path(folder) / "sample", campaigns=campaigns, seed=SEED, format="jsonl")
        return [
            keyword.text
            for campaign in read_exports(report.exports, rejected=RejectedLog(None))
            for keyword in (*campaign.keywords, *campaign.search_terms)
        ]


def _timed(texts_terms: Iterable[list[str]]) -> tuple[int, float]:
    """Terms and seconds; the lists are let go, as a step that streams does."""
    started = time.perf_counter()
    tokens = sum(map(len, texts_terms))
    return tokens, time.perf_counter() - started


def main() -> int:
    """Run the comparison; the exit code says whether the claim holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--campaigns", type=int, default=10_000, help="campaigns of the sample")
    campaigns = parser.parse_args().campaigns
    settings = TextSettings()
    texts = sample_texts(campaigns)
    load_pipeline()
    tokens, our_seconds = _timed(Tokenizer(settings).pipe(texts))
    _, reference_seconds = _timed(reference_terms(texts, settings))
    ratio = reference_seconds / our_seconds
    print(f"{campaigns:,} campaigns, {len(texts):,} texts, {tokens:,} terms; seed {SEED}")
    print(f"Python {platform.python_version()} on {platform.machine()}")
    print(f"nlp.pipe  {reference_seconds:8.2f} s {tokens / reference_seconds:12,.0f} terms/s")
    print(f"memoised  {our_seconds:8.2f} s {tokens / our_seconds:12,.0f} terms/s  {ratio:.1f} times")
    same = all(
        ours == theirs
        for ours, theirs in zip(Tokenizer(settings).pipe(texts), reference_terms(texts, settings), strict=True)
    )
    print("terms are identical" if same else "terms DIFFER")
    return 0 if same and (ratio >= REQUIRED_RATIO or campaigns < 10_000) else 1


if __name__ == "__main__":
    sys.exit(main())
