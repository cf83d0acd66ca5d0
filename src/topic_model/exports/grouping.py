"""Rows of reports gathered by campaign, compactly: rows of one campaign may stand anywhere in any file.

A row costs 45 bytes (four figures, its campaign, its kind, where its text ends) and its text in UTF-8: ten million rows
of 20 characters take some 700 MB, where Python objects would take several GB.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from topic_model.campaigns import MAX_ID_LENGTH, Campaign, Keyword
from topic_model.exports.rejected import RejectedLog

__all__ = ["KEYWORD", "NEGATIVE", "SEARCH_TERM", "RowStore"]

KEYWORD, SEARCH_TERM, NEGATIVE = 0, 1, 2
_MATCH_TYPES = (None, "exact", "phrase", "broad")
_FIGURES = 4


@dataclass(slots=True)
class _Group:
    """A campaign as far as its rows have told."""

    campaign_id: str | None
    client: str | None
    name: str | None
    file: str
    line: int


class RowStore:
    """Collects rows and gives them back as campaigns, in the order in which the campaigns were first seen."""

    def __init__(self, *, max_texts: int, channel: str | None) -> None:
        self._max_texts = max_texts
        self._channel = channel
        self._groups: list[_Group] = []
        self._by_id: dict[str, int] = {}
        self._by_name: dict[tuple[str | None, str], int] = {}
        self._text = bytearray()
        self._text_ends = array("q", [0])
        self._group_of_row = array("i")
        self._kinds = array("b")
        self._figures = array("d")

    def add(
        self,
        campaign_id: str | None,
        client: str | None,
        name: str | None,
        *,
        kind: int,
        text: str,
        match_type: str | None,
        figures: tuple[float, float, float, float],
        file: str,
        line: int,
    ) -> None:
        """One row; ``figures`` are clicks, impressions, cost and conversions, NaN where absent.

        Raises:
            ValueError: there is no id, and what would stand for it is too long.
        """
        self._group_of_row.append(self._group(campaign_id, client, name, file, line))
        self._kinds.append(kind * len(_MATCH_TYPES) + _MATCH_TYPES.index(match_type))
        self._text += text.encode()
        self._text_ends.append(len(self._text))
        self._figures.extend(figures)

    def _group(self, campaign_id: str | None, client: str | None, name: str | None, file: str, line: int) -> int:
        if campaign_id is not None:
            found = self._by_id.get(campaign_id)
            if found is None:
                found = self._by_id[campaign_id] = len(self._groups)
                self._groups.append(_Group(campaign_id, client, name, file, line))
            else:
                group = self._groups[found]
                group.client = group.client or client
                group.name = group.name or name
            return found
        if (length := len(self._id_of_name(client, name))) > MAX_ID_LENGTH:
            raise ValueError(
                f"channel, client and campaign name, which stand for the missing id, have {length} characters; "
                f"at most {MAX_ID_LENGTH}: export the report with the column 'Campaign ID'"
            )
        key = (client, name or "")
        found = self._by_name.get(key)
        if found is None:
            found = self._by_name[key] = len(self._groups)
            self._groups.append(_Group(None, client, name, file, line))
        return found

    def _id_of_name(self, client: str | None, name: str | None) -> str:
        return "/".join(part for part in (self._channel, client, name) if part)

    def campaigns(self, rejected: RejectedLog) -> Iterator[tuple[str, int, Campaign]]:
        """File and line of a campaign's first row, and the campaign; texts over the cap are counted.

        A campaign known by name alone joins the one campaign that another file gives with that name and an id (and
        the same client, where both say one). Else its name, with client and channel before it, is its id: the same
        name is common in two accounts and, after an import, on two platforms.
        """
        home = self._homes()
        rows_group = np.frombuffer(self._group_of_row, dtype=np.int32) if self._group_of_row else np.empty(0, np.int32)
        rows_group = home[rows_group]
        order = np.argsort(rows_group, kind="stable")
        bounds = np.searchsorted(rows_group[order], np.arange(len(self._groups) + 1))
        figures = np.frombuffer(self._figures, dtype=np.float64) if self._figures else np.empty(0, np.float64)
        figures = figures.reshape(-1, _FIGURES)
        for position, group in enumerate(self._groups):
            rows = order[bounds[position] : bounds[position + 1]]
            if len(rows):
                yield group.file, group.line, self._campaign(group, rows, figures[rows], rejected)

    def _homes(self) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
        with_id: dict[str, list[int]] = {}
        for position in self._by_id.values():
            if name := self._groups[position].name:
                with_id.setdefault(name, []).append(position)
        home = np.arange(len(self._groups), dtype=np.int32)
        for (client, name), position in self._by_name.items():
            same = [
                other
                for other in with_id.get(name, ())
                if None in (client, self._groups[other].client) or client == self._groups[other].client
            ]
            if len(same) == 1:
                home[position] = same[0]
        return home

    def _campaign(
        self,
        group: _Group,
        rows: np.ndarray[tuple[int], np.dtype[np.int64]],
        figures: np.ndarray[tuple[int, int], np.dtype[np.float64]],
        rejected: RejectedLog,
    ) -> Campaign:
        merged: tuple[dict[tuple[str, int], list[float]], ...] = ({}, {}, {})
        for row, row_figures in zip(rows.tolist(), figures.tolist(), strict=True):
            text = self._text[self._text_ends[row] : self._text_ends[row + 1]].decode()
            kind, match_type = divmod(self._kinds[row], len(_MATCH_TYPES))
            known = merged[kind].setdefault((text, match_type), row_figures)
            if known is not row_figures:
                # The same keyword again: another ad group, or another day of a segmented report.
                for at, value in enumerate(row_figures):
                    if value == value:  # noqa: PLR0124 NaN alone differs from itself
                        known[at] = known[at] + value if known[at] == known[at] else value
        keywords = _keywords(merged[KEYWORD], self._max_texts)
        search_terms = _keywords(merged[SEARCH_TERM], self._max_texts - len(keywords))
        negatives = tuple(text for text, _ in merged[NEGATIVE])[: self._max_texts]
        over = sum(map(len, merged)) - len(keywords) - len(search_terms) - len(negatives)
        rejected.texts_over_cap += over
        rejected.campaigns_over_cap += over > 0
        campaign_id = group.campaign_id
        if campaign_id is None:
            campaign_id = self._id_of_name(group.client, group.name)
        return Campaign(campaign_id, group.client, self._channel, group.name, keywords, search_terms, negatives)


def _keywords(merged: dict[tuple[str, int], list[float]], room: int) -> tuple[Keyword, ...]:
    keywords: list[Keyword] = []
    for (text, match_type), figures in merged.items():
        if len(keywords) >= room:
            break
        clicks, impressions, cost, conversions = (None if value != value else value for value in figures)  # noqa: PLR0124
        keywords.append(Keyword(text, _MATCH_TYPES[match_type], clicks, impressions, cost, conversions))
    return tuple(keywords)
