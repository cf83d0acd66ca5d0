"""What goes in and comes out, as models.

Requests are checked by them. Answers are not: they are built from published rows and sent as they are, and tests hold
real answers against these models, from which the OpenAPI document is made.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

MAX_TEXTS = 1_000
MAX_TEXT_LENGTH = 1_000
MAX_K = 100
PAGE_SIZE = 20
MAX_PAGES = 50
MAX_QUERY_LENGTH = 200
MAX_PARTS = 1_000
MAX_BODY_BYTES = 1 << 20

# No control characters, which break the tables and files that this is shown in.
PRINTABLE = r"^[^\u0000-\u001f\u007f-\u009f]+$"
Printable = Annotated[str, Field(min_length=1, max_length=1_024, pattern=PRINTABLE)]
CampaignId = Annotated[str, Field(min_length=1, max_length=256, pattern=PRINTABLE)]
Similarity = Annotated[float, Field(ge=0, le=1)]
AnswerId = Annotated[
    str | None,
    Field(description="signed; what feedback names the answer by. Null where the API has no key: none can be given"),
]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class KeywordIn(_Request):
    """A keyword or search term with its figures, where there are any."""

    text: str = Field(max_length=MAX_TEXT_LENGTH)
    match_type: str | None = Field(None, max_length=40)
    clicks: float | None = Field(None, ge=0)
    impressions: float | None = Field(None, ge=0)
    cost: float | None = Field(None, ge=0)
    conversions: float | None = Field(None, ge=0)


Text = Annotated[str, Field(max_length=MAX_TEXT_LENGTH)]


class FreshCampaign(_Request):
    """A campaign that is not among the known ones, or not as it is given here."""

    campaign_id: CampaignId | None = Field(
        None, description="of a known campaign that this is a new state of: it is then not its own neighbour"
    )
    name: str | None = Field(None, max_length=1_024)
    channel: str | None = Field(None, max_length=256)
    keywords: list[Text | KeywordIn] = Field(default=[], max_length=MAX_TEXTS)
    search_terms: list[Text | KeywordIn] = Field(default=[], max_length=MAX_TEXTS)
    negative_keywords: list[Text] = Field(default=[], max_length=MAX_TEXTS)
    k: int = Field(10, ge=1, le=MAX_K, description="how many similar campaigns")
    num_recommendations: int = Field(10, ge=0, le=MAX_K, description="how many recommended keywords")
    min_similarity: float = Field(0.0, ge=0, le=1)
    client: CampaignId | None = Field(None, description="only this client's campaigns; for a key that sees several")
    explain: bool = Field(False, description="say what each similarity is made of")


class Feedback(_Request):
    """What somebody thought of one recommended keyword or one similar campaign of an answer."""

    answer_id: str = Field(
        min_length=1,
        max_length=4_096,
        pattern=r"^[A-Za-z0-9_-]+$",
        description="`answer_id` of the answer, as it came, with the key that asked; good for 7 days",
    )
    kind: Literal["keyword", "neighbour"]
    item: Printable = Field(description="the recommended keyword, or the similar campaign's id, as the answer has it")
    verdict: Literal["accepted", "rejected"]
    by: Annotated[str, Field(min_length=1, max_length=256, pattern=PRINTABLE)] = Field(description="who says so")


class TopicShare(_Answer):
    """A topic's share of a campaign."""

    topic: int = Field(ge=0)
    share: Similarity
    terms: list[str]


class TermContribution(_Answer):
    """What a term of the campaign adds to a similarity."""

    term: str
    contribution: Similarity


class TopicContribution(_Answer):
    """What a topic that both campaigns have adds to a similarity."""

    topic: int = Field(ge=0)
    terms: list[str]
    contribution: Similarity


class Explanation(_Answer):
    """What a similarity is made of: all contributions add up to it."""

    terms: list[TermContribution]
    other_terms: Similarity
    related_terms: list[TermContribution] = Field(description="terms of the campaign that occur with the other's terms")
    other_related_terms: Similarity
    topics: list[TopicContribution]
    other_topics: Similarity


class SimilarCampaign(_Answer):
    """A similar campaign, with what the two share."""

    campaign_id: str
    client_id: str | None
    name: str | None
    channel: str | None
    similarity: Similarity
    shared_topics: list[TopicShare]
    shared_terms: list[str]
    related_terms: list[str]
    explanation: Explanation | None = Field(None, description="with `explain=true`")


class RecommendedKeyword(_Answer):
    """A keyword that similar campaigns use and this one lacks; figures are sums over them, null where none has any."""

    keyword: str
    score: Similarity
    campaigns: int = Field(ge=1, description="similar campaigns that use it")
    similarity: Similarity = Field(description="their mean similarity")
    clicks: float | None
    conversions: float | None
    cost: float | None


class KnownCampaign(_Answer):
    """A known campaign."""

    campaign_id: str
    client_id: str | None
    channel: str | None
    name: str | None
    model_version: str
    cluster: int
    cluster_label: str
    topics: list[TopicShare]
    keywords: list[str] = Field(description="at most 50, the most clicked first")
    num_keywords: int = Field(ge=0)


class SimilarCampaigns(_Answer):
    """The campaigns most similar to a known one, the most similar first."""

    answer_id: AnswerId
    model_version: str
    campaign_id: str
    considered: int = Field(ge=0, description="published neighbours, before filters and k")
    similar: list[SimilarCampaign]


class Recommendations(_Answer):
    """Recommended keywords of a known campaign, the best first."""

    answer_id: AnswerId
    model_version: str
    campaign_id: str
    recommendations: list[RecommendedKeyword]


class Confidence(_Answer):
    """How far an answer about a fresh campaign is to be trusted."""

    known_terms_share: Similarity = Field(description="of the campaign's distinct terms, those that the model knows")
    nearest: Similarity = Field(description="similarity of the nearest campaign, of those that the key sees")


class FreshAnswer(_Answer):
    """Everything about a fresh campaign."""

    model_config = ConfigDict(extra="ignore")

    answer_id: AnswerId
    model_version: str
    variant: str | None = Field(description="the endpoint's production variant that answered")
    campaign_id: str | None
    known_terms: int = Field(ge=1)
    unknown_terms: list[str] = Field(description="at most 50")
    cluster: int
    cluster_label: str
    topics: list[TopicShare]
    similar: list[SimilarCampaign]
    recommendations: list[RecommendedKeyword]
    low_confidence: bool | None = Field(
        description="whether the model knows too few of the terms, or no campaign that is near; null of older models"
    )
    confidence: Confidence | None = Field(description="what `low_confidence` is told by; null of older models")


class FeedbackKept(_Answer):
    """That feedback is kept."""

    feedback_id: str
    stored: Literal["created", "unchanged", "changed"]


class TopicTerm(_Answer):
    """A term of a topic."""

    term: str
    probability: float = Field(ge=0, le=1)


class Topic(_Answer):
    """A topic with its most probable terms and its mean share over all campaigns."""

    topic: int = Field(ge=0)
    share: float = Field(ge=0, le=1)
    terms: list[TopicTerm]


class TopicOfVersion(Topic):
    """A topic and the model that has it."""

    model_version: str


class Topics(_Answer):
    """All topics."""

    model_version: str
    topics: list[Topic]


class FoundCampaign(_Answer):
    """A campaign that a search found."""

    campaign_id: str
    client_id: str | None
    name: str | None
    channel: str | None
    matched: Literal["id", "name", "keyword"]


class FoundCampaigns(_Answer):
    """A page of what a search found."""

    model_version: str
    query: str
    page: int
    pages: int
    total: int = Field(description=f"at most {MAX_PAGES * PAGE_SIZE}")
    more: bool = Field(description="whether there are more than `total`; make the query longer")
    campaigns: list[FoundCampaign]


class MapPart(_Answer):
    """A part of the map of campaigns: aligned columns, a place a campaign.

    Near campaigns are about the same thing; far distances mean nothing. A key that sees one client's campaigns gets
    those alone, at their places on the map of all.
    """

    model_version: str
    part: int = Field(ge=1)
    parts: int = Field(ge=0, description="0 where there is no campaign")
    total: int = Field(ge=0, description="campaigns that the map is of; of more than 50,000 it shows a sample")
    campaign_id: list[str]
    name: list[str | None] = Field(description="at most 200 characters of each")
    x: list[int] = Field(description="from 0, left, to 10,000")
    y: list[int] = Field(description="from 0, below, to 10,000")
    cluster: list[int]
    cluster_labels: list[str] = Field(description="of all clusters, in their order")


class Health(_Answer):
    """That the application answers, and from which version of the lookups."""

    status: Literal["ok"]
    model_version: str


class ParameterMistake(_Answer):
    """What is wrong with one part of a request."""

    place: str
    message: str


class ProblemDocument(BaseModel):
    """An error by RFC 9457; `type` ends in a code for programs, `detail` is for people."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    errors: list[ParameterMistake] | None = None
    unknown_terms: list[str] | None = Field(None, description="of `no-known-terms`: the campaign's terms")
