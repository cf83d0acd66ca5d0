"""The sample's words: verticals and their themes from ``words/*.toml``, and the phrases that people bid on.

A vertical (say ``photography``) is a file; each has several themes (``lenses``), and a theme has *heads* (what is
sold), *features* (what tells one from another) and, for products, prefixes of invented model numbers. Words that all
verticals share stand in ``words/_common.toml``. No maker or model is meant to name a real company.
"""

from __future__ import annotations

import tomllib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, TypeVar

import numpy as np

from topic_model.arrays import FloatArray, IntArray

T = TypeVar("T")

PHRASES_A_THEME = 1_200
_MAKES_A_VERTICAL = 20
_MAKES_A_THEME = 8
_MODELS_A_THEME = 24


@dataclass(frozen=True)
class Theme:
    """One theme of a vertical: what campaigns of this kind sell, and how people ask for it."""

    vertical: str
    name: str
    kind: str
    cost_a_click: float
    heads: tuple[str, ...]
    features: tuple[str, ...]
    makes: tuple[str, ...]
    models: tuple[str, ...]

    @property
    def label(self) -> str:
        """The name as a person would write it: ``digital_cameras`` is ``Digital cameras``."""
        return self.name.replace("_", " ").capitalize()


@dataclass(frozen=True)
class CommonWords:
    """Words without a subject of their own, shared by all verticals."""

    before: dict[str, tuple[str, ...]]
    after: dict[str, tuple[str, ...]]
    questions: tuple[str, ...]
    years: tuple[str, ...]
    negatives: tuple[str, ...]
    places: tuple[str, ...]
    clients: tuple[str, ...]


@dataclass(frozen=True)
class Phrases:
    """A theme's phrases, the most popular first.

    ``heads[i]`` is the position of phrase i's head in ``Theme.heads``; ``cumulative`` is the cumulative popularity
    (Zipf-like, ends at 1), so that ``searchsorted`` on uniform draws picks phrases.
    """

    texts: tuple[str, ...]
    heads: IntArray
    cumulative: FloatArray


class Draws:
    """Choices from a seeded stream of uniform numbers.

    Only ``Generator.random`` is used, whose stream NumPy keeps stable over versions, unlike the methods built on it.
    """

    def __init__(self, *seed: int | str) -> None:
        entropy = [zlib.crc32(part.encode()) if isinstance(part, str) else part for part in seed]
        self.generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))

    def uniform(self) -> float:
        """A number in [0, 1)."""
        return float(self.generator.random())

    def pick(self, choices: Sequence[T]) -> T:
        """One of the choices, all alike likely."""
        return choices[int(self.uniform() * len(choices))]

    def pick_early(self, choices: Sequence[T], skew: float = 2.0) -> T:
        """One of the choices, the earlier the likelier."""
        return choices[int(self.uniform() ** skew * len(choices))]

    def shuffled(self, choices: Sequence[T]) -> list[T]:
        """The choices in a new order."""
        order = np.argsort(self.generator.random(len(choices)), kind="stable")
        return [choices[position] for position in order]


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads(resources.files(__package__).joinpath("words", name).read_text(encoding="utf-8"))


@cache
def common_words() -> CommonWords:
    """The shared words of ``words/_common.toml``."""
    table = _read("_common.toml")
    return CommonWords(
        before={kind: _words(entry["before"]) for kind, entry in table["modifiers"].items()},
        after={kind: _words(entry["after"]) for kind, entry in table["modifiers"].items()},
        questions=_words(table["questions"]["words"]),
        years=_words(table["years"]["words"]),
        negatives=_words(table["negatives"]["words"]),
        places=tuple(place for places in table["places"].values() for place in _words(places)),
        clients=_words(table["clients"]["words"]),
    )


@cache
def themes() -> tuple[Theme, ...]:
    """All themes, by vertical (in the alphabet's order) and in the order of their file."""
    makes = _invented_makes()
    files = sorted(
        entry.name
        for entry in resources.files(__package__).joinpath("words").iterdir()
        if entry.name.endswith(".toml") and not entry.name.startswith("_")
    )
    found = []
    for position, file in enumerate(files):
        vertical = file.removesuffix(".toml")
        table = _read(file)
        own_makes = makes[position * _MAKES_A_VERTICAL : (position + 1) * _MAKES_A_VERTICAL]
        for name, entry in table["themes"].items():
            draws = Draws("theme", vertical, name)
            prefixes = _words(entry.get("models", ""))
            found.append(
                Theme(
                    vertical=vertical,
                    name=name,
                    kind=entry.get("kind", table["kind"]),
                    cost_a_click=float(table["cost_a_click"]),
                    heads=_words(entry["heads"]),
                    features=_words(entry["features"]),
                    makes=tuple(draws.shuffled(own_makes)[:_MAKES_A_THEME]),
                    models=tuple(_model_number(draws, prefixes) for _ in range(_MODELS_A_THEME if prefixes else 0)),
                )
            )
    return tuple(found)


@cache
def phrases(theme: Theme) -> Phrases:
    """The theme's phrases; the same for every seed, so that samples of different seeds speak of one world."""
    draws = Draws("phrases", theme.vertical, theme.name)
    common = common_words()
    found: dict[str, int] = {}
    for _ in range(PHRASES_A_THEME * 6):
        if len(found) == PHRASES_A_THEME:
            break
        head = int(draws.uniform() ** 1.5 * len(theme.heads))
        found.setdefault(_phrase(theme, theme.heads[head], common, draws), head)
    popularity = 1 / (np.arange(len(found)) + 10.0) ** 0.8
    cumulative = np.cumsum(popularity)
    return Phrases(tuple(found), np.array(list(found.values()), dtype=np.int64), cumulative / cumulative[-1])


def _phrase(theme: Theme, head: str, common: CommonWords, draws: Draws) -> str:
    """A head with what people put around it: a feature, a maker, a model, a place, a year, what they intend."""
    before, after = common.before[theme.kind], common.after[theme.kind]
    kind = draws.uniform()
    if kind >= 0.74:
        return _named(theme, head, common, draws)
    if kind < 0.14:
        words = head
    elif kind < 0.36:
        words = f"{draws.pick(theme.features)} {head}"
    elif kind < 0.48:
        words = f"{draws.pick_early(before)} {head}"
    elif kind < 0.60:
        words = f"{head} {draws.pick_early(after)}"
    elif kind < 0.70:
        words = f"{draws.pick(theme.features)} {head} {draws.pick_early(after)}"
    else:
        words = f"{head} {draws.pick(common.years)}"
    return words


def _named(theme: Theme, head: str, common: CommonWords, draws: Draws) -> str:
    """A head with a name: products by maker and model, the rest by place or maker."""
    make, kind = draws.pick_early(theme.makes), draws.uniform()
    if theme.kind != "product":
        link = " " if kind < 0.3 else " to " if theme.kind == "travel" else " in "
        return f"{head}{link}{draws.pick_early(common.places)}" if kind < 0.7 else f"{make} {head}"
    if theme.models and kind < 0.4:
        model = draws.pick(theme.models)
        return f"{make} {model}" if kind < 0.2 else f"{make} {model} {head}"
    return f"{make} {head}" if kind < 0.85 else f"{make} {head} {draws.pick_early(common.after[theme.kind])}"


def _invented_makes() -> list[str]:
    table = _read("_common.toml")["makes"]
    return Draws("makes").shuffled([start + end for start in _words(table["starts"]) for end in _words(table["ends"])])


def _model_number(draws: Draws, prefixes: Sequence[str]) -> str:
    number = 10 * (1 + int(draws.uniform() * 99)) if draws.uniform() < 0.6 else 1 + int(draws.uniform() * 99)
    return f"{draws.pick(prefixes)}{number}{'x' if draws.uniform() < 0.15 else ''}"
