"""Typed settings of every step, validated once at the edge; an unknown name is an error, never a silent default.

SageMaker passes hyperparameters and container arguments as strings, so each settings class converts from and to flat
string mappings and reports a typo with the names it knows.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from topic_model.errors import SettingsError

WEAK_SIMILARITY = 0.4
"""Below this, a neighbour is shown as weak: on campaigns of known verticals, about half of such are of another one
(docs/decisions/0006-similarity.md)."""


def explain_validation_error(error: ValidationError, *, what: str, expected: list[str]) -> str:
    """One line a mistake: the name, the value given, what was expected, and the nearest known name for a typo."""
    lines = []
    for mistake in error.errors():
        name = ".".join(str(part) for part in mistake["loc"] if not _is_union_branch(part)) or "(whole)"
        if mistake["type"] == "extra_forbidden":
            leaf = str(mistake["loc"][-1])
            near = difflib.get_close_matches(leaf, expected, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; expected one of {sorted(expected)}"
            lines.append(f"unknown {what} {name!r}{hint}")
        else:
            lines.append(f"{what} {name!r} is {mistake['input']!r}: {mistake['msg']}")
    return "; ".join(dict.fromkeys(lines))


def _is_union_branch(part: int | str) -> bool:
    """Whether a part of a mistake's place is pydantic's name for a branch of a union, and not a field's."""
    return part in ("int", "float") or str(part).startswith("literal[")


class StrictSettings(BaseModel):
    """Frozen settings that refuse unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def from_strings(cls, values: Mapping[str, str], *, what: str = "setting", also: Sequence[str] = ()) -> Self:
        """Settings from a flat mapping of strings, as SageMaker hands over hyperparameters.

        ``null`` is the absent value of the settings that may be absent; ``also`` are names that go with the settings
        and that a typo may have meant.

        Raises:
            SettingsError: an unknown name, or a value that does not convert or is out of range.
        """
        optional = {name for name, field in cls.model_fields.items() if type(None) in get_args(field.annotation)}
        absent = dict.fromkeys(name for name in optional if values.get(name) == "null")
        return cls.from_mapping({**values, **absent}, what=what, also=also)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], *, what: str = "setting", also: Sequence[str] = ()) -> Self:
        """Settings from a mapping; the error names each wrong entry."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            message = explain_validation_error(error, what=what, expected=[*cls.model_fields, *also])
            raise SettingsError(message) from error

    def to_strings(self) -> dict[str, str]:
        """The inverse of :meth:`from_strings`: every value as the string SageMaker carries."""
        return {name: _to_string(value) for name, value in self.model_dump().items()}


def _to_string(value: object) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


class TextSettings(StrictSettings):
    """How keywords and search terms become terms."""

    min_token_length: int = Field(2, ge=1, le=20, description="characters; shorter tokens are dropped")
    max_token_length: int = Field(40, ge=5, le=200, description="characters; longer tokens are dropped")
    max_text_length: int = Field(512, ge=16, le=100_000, description="characters of one keyword that are kept")
    max_texts: int = Field(20_000, ge=1, le=10_000_000, description="keywords and search terms of one campaign")
    keep_numbers: bool = Field(False, description="keep tokens of digits alone (never dropped inside a model number)")


class PrepareSettings(StrictSettings):
    """How exports of one channel are read."""

    max_rejected_share: float = Field(0.05, ge=0, le=1, description="share of rejected lines above which the job fails")


class CorpusSettings(StrictSettings):
    """How prepared campaigns become bags of words."""

    min_df: int = Field(2, ge=1, description="campaigns a term must be in to enter the vocabulary")
    max_df: float = Field(0.5, gt=0, le=1, description="share of campaigns above which a term is dropped")
    max_terms: int = Field(200_000, ge=10, description="size of the vocabulary, the most frequent terms first")
    held_out_share: float = Field(0.1, ge=0, lt=1, description="share of campaigns kept out of training")
    seed: int = Field(20_260_601, ge=0, lt=2**32, description="of the split")


class NeighbourSettings(StrictSettings):
    """Neighbours, clusters and recommendations."""

    topic_weight: float = Field(0.01, ge=0, le=1, description="share of the topics in the similarity")
    latent_weight: float = Field(
        0.7, ge=0, le=1, description="share of the latent space in the similarity; the rest is the overlap of terms"
    )
    latent_dimensions: int = Field(100, ge=1, le=1_000, description="of the latent space, at most")
    num_neighbours: int = Field(10, ge=1, le=1_000, description="similar campaigns a campaign")
    num_recommendations: int = Field(10, ge=0, le=1_000, description="recommended keywords a campaign")
    min_similarity: float = Field(0.2, ge=0, le=1, description="similarity below which a campaign is no neighbour")
    min_evidence_similarity: float = Field(
        WEAK_SIMILARITY, ge=0, le=1, description="similarity below which a neighbour's keywords are not recommended"
    )
    num_clusters: int | Literal["auto"] = Field("auto", description="clusters, or 'auto' for the rule in clusters")
    seed: int = Field(20_260_601, ge=0, lt=2**32)

    @model_validator(mode="after")
    def _shares_leave_no_debt(self) -> Self:
        if self.topic_weight + self.latent_weight > 1 + 1e-9:
            raise ValueError(
                f"topic_weight {self.topic_weight:g} and latent_weight {self.latent_weight:g} are above 1 together; "
                "expected at most 1, for the rest is the share of the terms"
            )
        return self


class EvaluationSettings(StrictSettings):
    """The quality gates a model must pass; a gate of null is off."""

    min_c_npmi: float | None = Field(-0.5, ge=-1, le=1, description="mean coherence (c_npmi) over topics")
    min_topic_diversity: float | None = Field(0.3, ge=0, le=1, description="share of distinct terms in the top tens")
    max_perplexity_ratio: float | None = Field(
        1.0, gt=0, description="held-out perplexity over that of the corpus's unigram model"
    )
    min_coverage: float | None = Field(0.8, ge=0, le=1, description="share of campaigns with a known term")
