"""Keywords and search terms become normalised phrases (identity) and terms (what the topic model counts).

A phrase is a keyword as a person would compare it: match-type marks gone, Unicode NFKC, case folded, spaces collapsed.
Terms come from spaCy's English tokeniser and lookup lemmatiser. spaCy tokenises each whitespace-separated chunk by
itself, and ad text repeats its chunks endlessly, so each distinct chunk is analysed once and remembered; the terms are
those of plain ``nlp.pipe`` over :func:`prepare_text` (tests and ``benchmarks/text.py`` hold both to it).

What a term is:

- a word of letters, its plural lemmatised (``shoes`` → ``shoe``), hyphens split (``running-shoes`` → ``running``,
  ``shoe``). Only plurals: see :func:`_is_plural`;
- a model number, i.e. letters and digits together with inner hyphens or dots, whole and never lemmatised
  (``dsc-t20``, ``wh-1000xm4``, ``3m``, ``4k``, ``2.4ghz``);
- one letter, hyphen, word stays whole (``t-shirt``, ``e-bike``, ``x-ray``);
- a web address is its host (``https://www.nike.com/de`` → ``nike.com``); an e-mail address is dropped: it is personal;
- a token without a letter (``2025``, ``24/7``, ``50%``) is dropped unless ``keep_numbers``, and then its digits stay.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from topic_model.campaigns import Campaign, Keyword
from topic_model.settings import TextSettings
from topic_model.words import IRREGULAR_PLURALS, LEMMAS, STOP_WORDS

if TYPE_CHECKING:
    from spacy.language import Language

__all__ = ["CampaignPhrases", "ParsedKeyword", "Tokenizer", "campaign_phrases", "normalise_phrase", "parse_keyword"]

#: Chunks that are remembered before the memory starts anew: some 60 MB, and ad text has far fewer frequent ones.
MAX_REMEMBERED_CHUNKS = 250_000
#: A longer run of characters without a space is no word in any language we tokenise; bounds the work on junk.
MAX_CHUNK_LENGTH = 200
_TEXTS_PER_BLOCK = 1_024

# Texts that need no more than case folding and single spaces, and of those the ones without addresses and symbols; most
# ad texts are both, so these two decide the speed.
_PLAIN_PHRASE = re.compile(r"[a-z0-9][a-z0-9&'.,/ -]*")
_PLAIN_TEXT = re.compile(r"[a-z0-9][a-z0-9&' -]*")
_INVISIBLE = re.compile("[\u00ad\u200b\u200e\u200f\u2060\ufeff]")
# Lone surrogates can neither be stored nor sent; control characters (NUL among them) separate words at best.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
# What case folding leaves of the Turkish capital dotted I beside its i: without it İstanbul is no istanbul.
_DOT_OVER_I = re.compile("(?<=i)\u0307+")
_TYPOGRAPHIC = str.maketrans(dict.fromkeys("‘’‛ʼ′", "'") | dict.fromkeys("“”„‟″", '"') | dict.fromkeys("‐‑‒–—―−", "-"))
_MARKS = str.maketrans(dict.fromkeys('"[]', " "))
_LEADING_MARKS = re.compile(r"^[-+\s]+|(?<=\s)\++")
_HAS_WORD = re.compile(r"[^\W_]")
_EMAIL = re.compile(r"\S+@\S+\.\S+")
_URL = re.compile(r"(?:https?://|(?<!\S)www\.)(?:www\.)?([^\s/?#:]+)\S*")
_HOST_WITH_PATH = re.compile(r"(?<!\S)([a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z]{2,24})[/?#:]\S*")
# Symbols that are never part of a word; letters, marks (as in Hindi), digits and - . ' & + / , % stay for spaCy.
_SEPARATORS = re.compile(r"(?<!\S)#+|[@_|~*^=<>(){}\\;!?\"“”«»…•·]+")
_MODEL_NUMBER = re.compile(r"(?=\S*\d)(?=\S*[^\W\d_])[^\W_]+(?:[-.][^\W_]+)*|[^\W\d_]-[^\W_]{2,}|[cf]#|c\+\+")
_LETTER = re.compile(r"[^\W\d_]")


class ParsedKeyword(NamedTuple):
    """A keyword as written in an ads account, taken apart."""

    phrase: str
    match_type: str | None
    negative: bool


def parse_keyword(text: str) -> ParsedKeyword:
    """The phrase, the match type its marks say, and whether it is a negative keyword.

    ``[red shoes]`` is exact, ``"red shoes"`` phrase, ``+red +shoes`` broad (the retired modifier), and a leading
    ``-`` means "do not show for this". Without marks the match type is None: the export's own column knows it.
    The phrase is empty where the text has no letter or digit.
    """
    folded = text.casefold()
    if _PLAIN_PHRASE.fullmatch(folded):
        return ParsedKeyword(_single_spaced(folded), None, False)
    cleaned = _clean(text)
    negative = len(cleaned) > 1 and cleaned[0] == "-" and not cleaned[1].isspace()
    core = cleaned.lstrip("- ") if negative else cleaned
    match_type = None
    if core.startswith("[") and core.endswith("]"):
        match_type = "exact"
    elif len(core) > 1 and core.startswith('"') and core.endswith('"'):
        match_type = "phrase"
    elif core.startswith("+") or " +" in core:
        match_type = "broad"
    phrase = " ".join(_LEADING_MARKS.sub("", " ".join(core.translate(_MARKS).split())).split())
    return ParsedKeyword(phrase if _HAS_WORD.search(phrase) else "", match_type, negative)


def normalise_phrase(text: str) -> str:
    """The identity of a keyword: marks stripped, NFKC, case folded, spaces collapsed; idempotent."""
    return parse_keyword(text).phrase


def _single_spaced(text: str) -> str:
    return " ".join(text.split()) if "  " in text or text[-1] == " " else text


def _clean(text: str) -> str:
    text = unicodedata.normalize("NFKC", _INVISIBLE.sub("", _UNPRINTABLE.sub(" ", text)))
    text = unicodedata.normalize("NFKC", _DOT_OVER_I.sub("", text.casefold()))
    return " ".join(text.translate(_TYPOGRAPHIC).split())


def prepare_text(phrase: str) -> str:
    """A normalised phrase as spaCy gets it: addresses reduced, symbols spaced out, single spaces, no endless chunk."""
    if _PLAIN_TEXT.fullmatch(phrase) and len(phrase) <= MAX_CHUNK_LENGTH:
        return phrase
    text = _EMAIL.sub(" ", phrase) if "@" in phrase else phrase
    text = _HOST_WITH_PATH.sub(r"\1", _URL.sub(r"\1", text))
    return " ".join(chunk for chunk in _SEPARATORS.sub(" ", text).split() if len(chunk) <= MAX_CHUNK_LENGTH)


@dataclass(frozen=True, slots=True)
class CampaignPhrases:
    """A campaign's distinct phrases.

    ``keywords`` maps a normalised phrase to one keyword (its text as first written, cut at ``max_text_length``),
    keywords and search terms together in first-seen order; ``negatives`` likewise to the text as written.
    The first ``own`` of them are the campaign's keywords, the rest came from search terms alone.
    ``texts_cut`` counts texts over ``max_text_length``, ``texts_over_cap`` those beyond ``max_texts``.
    """

    keywords: dict[str, Keyword]
    own: int
    negatives: dict[str, str]
    texts_cut: int
    texts_over_cap: int


def campaign_phrases(campaign: Campaign, settings: TextSettings) -> CampaignPhrases:
    """The distinct phrases of a campaign with their figures, negatives apart.

    Rows of one phrase (other ad groups, match types or days) are summed. A phrase that is both keyword and search
    term keeps the keyword's figures, because the search term's clicks are already among them; the search term's only
    fill what is missing.
    """
    limit = settings.max_text_length
    cut = 0
    negatives: dict[str, str] = {}
    own: dict[str, Keyword] = {}
    searched: dict[str, Keyword] = {}
    room = settings.max_texts
    # Most texts are plain, and this loop sees each of them: their way through parse_keyword is taken here.
    is_plain = _PLAIN_PHRASE.fullmatch
    for merged, texts, signed in ((own, campaign.keywords, True), (searched, campaign.search_terms, False)):
        for keyword in texts[:room]:
            if len(keyword.text) > limit:
                cut += 1
                keyword = replace(keyword, text=keyword.text[:limit])  # noqa: PLW2901 the cut text stands for it
            phrase = keyword.text.casefold()
            if is_plain(phrase):
                phrase = _single_spaced(phrase)
            else:
                phrase, _, negative = parse_keyword(keyword.text)
                if not phrase:
                    continue
                if negative and signed:
                    negatives.setdefault(phrase, keyword.text)
                    continue
            if (known := merged.get(phrase)) is None:
                merged[phrase] = keyword
            else:
                merged[phrase] = _summed(known, keyword)
        room = max(0, room - len(texts))
    num_own = len(own)
    for phrase, keyword in searched.items():
        known = own.get(phrase)
        own[phrase] = keyword if known is None else _filled(known, keyword)
    for text in campaign.negative_keywords[: settings.max_texts]:
        cut += len(text) > limit
        if phrase := normalise_phrase(text[:limit]):
            negatives.setdefault(phrase, text[:limit])
    over = max(0, len(campaign.keywords) + len(campaign.search_terms) - settings.max_texts)
    over += max(0, len(campaign.negative_keywords) - settings.max_texts)
    return CampaignPhrases(own, num_own, negatives, cut, over)


def _summed(first: Keyword, second: Keyword) -> Keyword:
    return Keyword(
        first.text,
        first.match_type,
        _sum(first.clicks, second.clicks),
        _sum(first.impressions, second.impressions),
        _sum(first.cost, second.cost),
        _sum(first.conversions, second.conversions),
    )


def _sum(first: float | None, second: float | None) -> float | None:
    if first is None or second is None:
        return second if first is None else first
    return first + second


def _filled(first: Keyword, second: Keyword) -> Keyword:
    return Keyword(
        first.text,
        first.match_type,
        second.clicks if first.clicks is None else first.clicks,
        second.impressions if first.impressions is None else first.impressions,
        second.cost if first.cost is None else first.cost,
        second.conversions if first.conversions is None else first.conversions,
    )


class Tokenizer:
    """Terms of texts and campaigns; the same text gives the same terms, whatever was tokenised before.

    One instance may be shared by threads. spaCy loads at the first text, in well under a second.
    """

    def __init__(self, settings: TextSettings | None = None) -> None:
        self.settings = settings or TextSettings()
        self._terms_of_chunk: dict[str, tuple[str, ...]] = {}
        self._lock = threading.Lock()

    def terms(self, text: str) -> list[str]:
        """The terms of one text, in order; repeated terms repeat. Negative or not is the caller's to know."""
        return next(self.pipe((text,)))

    def pipe(self, texts: Iterable[str]) -> Iterator[list[str]]:
        """:meth:`terms` of many texts, in order."""
        limit = self.settings.max_text_length
        remaining = iter(texts)
        while block := list(islice(remaining, _TEXTS_PER_BLOCK)):
            prepared = [_prepare_written(text[:limit]) for text in block]
            known = self._known_chunks(set(" ".join(prepared).split()))
            for text in prepared:
                yield [term for chunk in text.split() for term in known[chunk]]

    def campaign_terms(self, campaign: Campaign) -> dict[str, int]:
        """Distinct terms with counts, in first-seen order; of keywords and search terms, never of negatives.

        A phrase counts once, however many ad groups, match types or days repeat it: how an account is organised or
        an export is segmented says nothing about the topic.
        """
        return self.count_terms(campaign_phrases(campaign, self.settings).keywords)

    def phrase_terms(self, phrases: Iterable[str]) -> list[list[str]]:
        """The terms of each of some normalised phrases."""
        prepared = [prepare_text(phrase).split() for phrase in phrases]
        known = self._known_chunks({chunk for chunks in prepared for chunk in chunks})
        return [[term for chunk in chunks for term in known[chunk]] for chunks in prepared]

    def count_terms(self, phrases: Iterable[str]) -> dict[str, int]:
        """Distinct terms with counts of normalised phrases, in first-seen order."""
        chunks = Counter(" ".join(map(prepare_text, phrases)).split())
        known = self._known_chunks(chunks)
        counts: dict[str, int] = {}
        # Counting chunks first is as good: a term is first seen where its first chunk is.
        for chunk, times in chunks.items():
            for term in known[chunk]:
                counts[term] = counts.get(term, 0) + times
        return counts

    def _known_chunks(self, chunks: Collection[str]) -> Mapping[str, tuple[str, ...]]:
        """A mapping that holds the terms of all these chunks."""
        known = self._terms_of_chunk
        missing = [chunk for chunk in chunks if chunk not in known]
        if not missing:
            return known
        with self._lock:
            known = self._terms_of_chunk
            if len(known) + len(missing) > MAX_REMEMBERED_CHUNKS:
                # A new memory, not an emptied one: other threads may still read the old.
                known = self._terms_of_chunk = {}
                missing = list(chunks)
            nlp = load_pipeline()
            # spaCy's vocabulary keeps every string it has seen; the zone lets go of them, and of its own cache.
            with nlp.memory_zone():
                for chunk, doc in zip(missing, nlp.pipe(missing), strict=True):
                    tokens = [(token.text, token.lemma_) for token in doc]
                    known[chunk] = tuple(select_terms(tokens, self.settings))
        return known


def _prepare_written(text: str) -> str:
    """:func:`prepare_text` of a text as written; a plain one is done with one look."""
    folded = text.casefold()
    if _PLAIN_TEXT.fullmatch(folded) and len(folded) <= MAX_CHUNK_LENGTH:
        return folded
    return prepare_text(normalise_phrase(text))


def select_terms(tokens: Iterable[tuple[str, str]], settings: TextSettings) -> Iterator[str]:
    """The terms among (token, lemma) pairs: stop words, numbers, symbols and lengths out of bounds left out."""
    for text, lemma in tokens:
        if not _HAS_WORD.search(text) or text in STOP_WORDS:
            continue
        if not _LETTER.search(text) and not settings.keep_numbers:
            continue
        # A lemma that is a stop word is a wrong guess: ups is the carrier, wells the bank.
        term = text if lemma in STOP_WORDS else lemma.strip("'.-&/,")
        if settings.min_token_length <= len(term) <= settings.max_token_length:
            yield term


@cache
def load_pipeline() -> Language:
    """spaCy's blank English pipeline with the lookup lemmatiser, its tokeniser made safe for brands and models."""
    import spacy
    from spacy.lookups import Lookups
    from spacy.util import load_language_data
    from spacy_lookups_data import en

    plurals = {word: lemma for word, lemma in load_language_data(en["lemma_lookup"]).items() if _is_plural(word, lemma)}
    # Texts are case folded, so TVs must be found as tvs; a word's own lower-case entry goes first.
    folded = {word.lower(): lemma.lower() for word, lemma in plurals.items()}
    lookups = Lookups()
    lookups.add_table("lemma_lookup", folded | plurals | LEMMAS)
    nlp = spacy.blank("en")
    nlp.add_pipe("lemmatizer", config={"mode": "lookup"}).initialize(lookups=lookups)
    nlp.tokenizer.token_match = _MODEL_NUMBER.fullmatch
    nlp.tokenizer.rules = {text: tokens for text, tokens in nlp.tokenizer.rules.items() if _is_contraction(text)}
    return nlp


def _is_plural(word: str, lemma: str) -> bool:
    """Whether the lookup table's entry folds a plural into its singular.

    The rest of the table was made for prose and merges what advertising keeps apart (wedding → wed, training → train,
    shipping → ship, rent → rend, stove → stave). Same-vertical precision@5 of TF-IDF neighbours with the whole table
    and with plurals alone: intents people typed .720 and .727, product categories .455 and .465, shoppers' queries
    .326 and .333.
    """
    if word in IRREGULAR_PLURALS:
        return True
    if not word.endswith("s"):
        return False
    return (
        word in (lemma + "s", lemma + "es", lemma + lemma[-1:] + "es")
        or (word.endswith("ies") and lemma == word[:-3] + "y")
        or (word.endswith("ves") and lemma in (word[:-3] + "f", word[:-3] + "fe"))
    )


def _is_contraction(text: str) -> bool:
    # Of spaCy's special cases only contractions help here: emoticons, times (10am) and abbreviations with dots would
    # split model numbers, and `id` or `wed` as "I'd" and "we'd" would lose the card and the wedding.
    return text.replace("'", "").isalpha() and text not in {"id", "wed", "em", "hes", "ima", "ol"}
