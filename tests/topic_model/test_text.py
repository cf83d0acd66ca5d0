"""Text: phrases, match-type marks, terms, and their identity with plain spaCy."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.text import reference_terms
from topic_model.campaigns import Campaign, Keyword
from topic_model.settings import TextSettings
from topic_model.text import (
    MAX_CHUNK_LENGTH,
    Tokenizer,
    campaign_phrases,
    load_pipeline,
    normalise_phrase,
    parse_keyword,
)

# Alphabets where tokenisers go wrong: marks, inner punctuation, contractions, digits, other scripts, invisible ones.
ADVERSARIAL = st.text(
    alphabet=st.one_of(
        st.sampled_from(list("ab19.-'’/&+[]\"#@:;,()_ \t\n\x00\u200b½ßİﬁ智茶Кг🎉éع\ud800")), st.characters(codec=None)
    ),
    max_size=40,
)
AD_WORDS = """
don't dont id wed men's shoes TVs wh-1000xm4 t-shirts c++ nike.com https://www.x.de/a?b u.s. 24/7 10am 3m
[exact +broad "q" -neg o'clock :) xD :-3 it 's do n't gon na $50 50% a/b 7-eleven 智能 手机 кроссовки
"""
AD_LIKE = st.lists(st.sampled_from(AD_WORDS.split()), max_size=8).map(" ".join)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(TextSettings())


@settings(max_examples=400, deadline=None)
@given(st.lists(st.one_of(ADVERSARIAL, AD_LIKE), max_size=6))
def test_terms_are_those_of_plain_spacy(texts: list[str]) -> None:
    """Any text gives the terms of nlp.pipe over the whole text, whatever stands beside it."""
    assert list(Tokenizer(TextSettings()).pipe(texts)) == list(reference_terms(texts, TextSettings()))


@settings(max_examples=300, deadline=None)
@given(st.one_of(ADVERSARIAL, AD_LIKE))
def test_a_phrase_is_its_own_phrase(text: str) -> None:
    """Normalising is idempotent, so a phrase may pass any number of steps."""
    phrase = normalise_phrase(text)
    assert normalise_phrase(phrase) == phrase
    phrase.encode()  # a lone surrogate could not be written


@settings(max_examples=200, deadline=None)
@given(st.one_of(ADVERSARIAL, AD_LIKE))
def test_marks_do_not_change_the_phrase(text: str) -> None:
    """A keyword is the same phrase as exact, phrase and negative keyword."""
    phrase = normalise_phrase(text)
    if phrase:
        assert [parse_keyword(mark).phrase for mark in (f"[{phrase}]", f'"{phrase}"', f"-{phrase}")] == [phrase] * 3


@pytest.mark.parametrize(
    ("text", "phrase", "match_type", "negative"),
    [
        ("[Red Shoes]", "red shoes", "exact", False),
        ('"red  shoes"', "red shoes", "phrase", False),
        ("“red shoes”", "red shoes", "phrase", False),
        ("+red +shoes", "red shoes", "broad", False),
        ("red +shoes", "red shoes", "broad", False),
        ("red shoes", "red shoes", None, False),
        ("-free", "free", None, True),
        ("-[free shoes]", "free shoes", "exact", True),
        ("−free", "free", None, True),
        ("- red", "red", None, False),
        ("ＲＥＤ\u00a0shoes", "red shoes", None, False),
        ("google+", "google+", None, False),
        ("İstanbul", "istanbul", None, False),
        ("I\u0307stanbul", "istanbul", None, False),
        ("[DİYARBAKIR otel]", "diyarbakir otel", "exact", False),
        ("i\u200b\u0307", "i", None, False),
        ("🎉!!", "", None, False),
        ("", "", None, False),
    ],
)
def test_match_type_marks_are_read(text: str, phrase: str, match_type: str | None, negative: bool) -> None:
    """Marks of ads accounts give the match type and the sign, and leave the phrase."""
    assert parse_keyword(text) == (phrase, match_type, negative)


@pytest.mark.parametrize(
    "model", ["dsc-t20", "wh-1000xm4", "3m", "4k", "5g", "10kg", "i7-12700k", "7-eleven", "2.4ghz"]
)
def test_a_model_number_is_one_term(tokenizer: Tokenizer, model: str) -> None:
    """Letters with digits are never split, dropped or lemmatised, whatever stands around them."""
    assert tokenizer.terms(f"Sony {model.upper()}, cases") == ["sony", model, "case"]


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("running-shoes", ["running", "shoe"]),
        ("T-Shirts", ["t-shirt"]),
        ("men's watches", ["man", "watch"]),
        ("H&M dresses", ["h&m", "dress"]),
        ("wedding training rent", ["wedding", "training", "rent"]),
        ("TVs", ["tv"]),
        ("id card", ["id", "card"]),
        ("wells fargo ups store", ["wells", "fargo", "ups", "store"]),
        ("how do i tell if i want a new sofa", ["new", "sofa"]),
        ("buy cheap tyres online near me", ["tyre"]),
        ("front door full mattress", ["front", "door", "full", "mattress"]),
        ("https://www.nike.com/de/shoes?x=1", ["nike.com"]),
        ("booking.com", ["booking.com"]),
        ("jane@example.com", []),
        ("@nike #sneakers", ["nike", "sneaker"]),
        ("кроссовки nike", ["кроссовки", "nike"]),
        ("智能手机 🎉", ["智能手机"]),
        ("أحذية", ["أحذية"]),
        ("हिन्दी जूते", ["हिन्दी", "जूते"]),
        ("c++ c# developer", ["c++", "c#", "developer"]),
    ],
)
def test_terms_read_as_a_person_would_choose(tokenizer: Tokenizer, text: str, terms: list[str]) -> None:
    """Plurals fold, brands and other scripts survive, words of asking and of buying go."""
    assert tokenizer.terms(text) == terms


def test_digits_alone_go_unless_kept() -> None:
    """keep_numbers decides about tokens without a letter, and about nothing else."""
    text = "iphone 15 2025 24/7 3m"
    assert Tokenizer(TextSettings()).terms(text) == ["iphone", "3m"]
    assert Tokenizer(TextSettings(keep_numbers=True)).terms(text) == ["iphone", "15", "2025", "24/7", "3m"]


def test_lengths_are_capped() -> None:
    """Text beyond max_text_length is not read, and an endless chunk is no term."""
    few = Tokenizer(TextSettings(max_text_length=18))
    assert few.terms("red sofa " + "blue " * 1_000_000) == ["red", "sofa", "blue", "blue"]
    assert Tokenizer(TextSettings(max_text_length=100_000)).terms("sofa " + "!a" * 40_000) == ["sofa"]
    assert Tokenizer(TextSettings(max_token_length=5)).terms("sofas mattress") == ["sofa"]
    assert Tokenizer(TextSettings()).terms("x" * (MAX_CHUNK_LENGTH + 1)) == []


def test_terms_do_not_depend_on_what_came_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tokeniser that has seen much, and forgotten some of it, answers as a fresh one does."""
    monkeypatch.setattr("topic_model.text.MAX_REMEMBERED_CHUNKS", 10)
    texts = [f"brand{number} shoes model-{number % 7}x" for number in range(200)]
    worn = Tokenizer(TextSettings())
    first = list(map(worn.terms, texts))
    assert len(worn._terms_of_chunk) <= 10
    assert list(worn.pipe(texts)) == first
    assert [worn.terms(text) for text in reversed(texts)] == first[::-1]
    assert [Tokenizer(TextSettings()).terms(text) for text in texts[:5]] == first[:5]


def test_spacy_does_not_grow_with_the_texts() -> None:
    """The vocabulary lets go of the chunks it has seen; a server may run for months."""
    tokenizer = Tokenizer(TextSettings())
    tokenizer.terms("warm up")
    before = len(load_pipeline().vocab.strings)
    list(tokenizer.pipe(f"unseen{number}" for number in range(2_000)))
    assert len(load_pipeline().vocab.strings) == before


def test_campaign_terms_count_phrases_once() -> None:
    """Repeated phrases count once; keywords come before search terms; negatives never count."""
    campaign = Campaign(
        "1",
        keywords=(Keyword("[Red shoes]", "exact"), Keyword("red shoes", "broad"), Keyword("-free shoes")),
        search_terms=(Keyword("red shoes"), Keyword("shoes for kids"), Keyword("-5 degree bag")),
        negative_keywords=("second hand",),
    )
    tokenizer = Tokenizer(TextSettings())
    assert list(tokenizer.campaign_terms(campaign).items()) == [
        ("red", 1),
        ("shoe", 2),
        ("kid", 1),
        ("degree", 1),
        ("bag", 1),
    ]
    assert list(campaign_phrases(campaign, TextSettings()).negatives) == ["free shoes", "second hand"]


def test_counts_equal_the_terms_of_the_phrases(tokenizer: Tokenizer) -> None:
    """The bulk count is the sum over phrases, in the order of first sight."""
    phrases = ["new york new york hotels", "hotels in york", "york-style pie", "men's o'neill"]
    expected: dict[str, int] = {}
    for phrase in phrases:
        for term in tokenizer.terms(phrase):
            expected[term] = expected.get(term, 0) + 1
    assert list(tokenizer.count_terms(phrases).items()) == list(expected.items())


def test_figures_of_a_phrase_are_merged() -> None:
    """Rows of a phrase are summed, None stays None, and a search term never adds to its keyword's figures."""
    campaign = Campaign(
        "1",
        keywords=(Keyword("a1", "exact", 1, 10, None, 0.5), Keyword("[A1]", "exact", 2, None, None, 0.5)),
        search_terms=(Keyword("a1", None, 100, 100, 7.0, 100), Keyword("b2"), Keyword("b2", None, 3)),
    )
    merged = campaign_phrases(campaign, TextSettings()).keywords
    assert merged["a1"] == Keyword("a1", "exact", 3, 10, 7.0, 1.0)
    assert merged["b2"] == Keyword("b2", None, 3)


def test_texts_beyond_the_caps_are_counted() -> None:
    """max_texts holds for keywords and search terms together; what is left out or cut is counted."""
    campaign = Campaign(
        "1",
        keywords=tuple(Keyword(f"k{n}") for n in range(6)),
        search_terms=(Keyword("x" * 10_000_000), *(Keyword(f"s{n}") for n in range(5))),
    )
    found = campaign_phrases(campaign, TextSettings(max_texts=8, max_text_length=20))
    assert list(found.keywords) == ["k0", "k1", "k2", "k3", "k4", "k5", "x" * 20, "s0"]
    assert (found.own, found.texts_cut, found.texts_over_cap) == (6, 1, 4)


def test_loading_needs_no_heavy_library() -> None:
    """The pipeline loads without torch, and importing the module without spaCy."""
    script = (
        "import sys, topic_model.text as t; assert 'spacy' not in sys.modules; "
        "t.load_pipeline(); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("name", ["clinc150", "google_taxonomy", "wands_queries"])
def test_real_queries_give_spacys_terms(name: str) -> None:
    """Queries and product categories that people wrote give the terms of nlp.pipe."""
    path = Path(__file__).parents[3] / "shared" / "data" / f"{name}.jsonl.gz"
    if not path.exists():
        pytest.skip(f"the shared trial data is not beside the project: {path.name}")
    with gzip.open(path) as stream:
        records = [json.loads(line) for line in stream]
    texts = [text for record in records for text in (*record["keywords"], *record["search_terms"])][:5_000]
    assert list(Tokenizer(TextSettings()).pipe(texts)) == list(reference_terms(texts, TextSettings()))
