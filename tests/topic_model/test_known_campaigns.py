"""The table of known campaigns and the texts it is made of: what went in comes out, and damage is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from topic_model.artifact import Artifact
from topic_model.errors import ArtifactError
from topic_model.known_campaigns import KnownCampaign, KnownCampaigns, read_known_campaigns
from topic_model.texts import Texts

CAMPAIGNS = [
    KnownCampaign("b", "acme", "google_ads", "Schuhe für Läufer 靴 🏃"),
    KnownCampaign("a", "acme", None, None),
    KnownCampaign("ü", "zoo", "google_ads", ""),
    KnownCampaign("10", None, "microsoft_ads", "x"),
]


@pytest.fixture
def written(tmp_path: Path) -> Artifact:
    KnownCampaigns.of(CAMPAIGNS).write(tmp_path / "index")
    return Artifact(tmp_path, {})


def test_what_is_written_is_read(written: Artifact) -> None:
    """Every field, null and empty told apart, in every script."""
    table = read_known_campaigns(written, "index")
    assert list(table) == CAMPAIGNS == table[:]
    assert len(table) == 4


def test_a_campaign_is_found_by_its_id(written: Artifact) -> None:
    """Each in its row, and nobody who is not there."""
    table = read_known_campaigns(written, "index")
    assert [table.row_of(campaign.campaign_id) for campaign in CAMPAIGNS] == [0, 1, 2, 3]
    assert [table.row_of(stranger) for stranger in ("", "aa", "c", "üü", "1")] == [None] * 5
    assert KnownCampaigns.of([]).row_of("a") is None


def test_a_client_has_consecutive_rows(written: Artifact) -> None:
    """Those without a client are nobody's; a client in two places is refused."""
    table = read_known_campaigns(written, "index")
    assert table.rows_of_client == {"acme": slice(0, 2), "zoo": slice(2, 3)}
    apart = KnownCampaigns.of([CAMPAIGNS[0], CAMPAIGNS[2], CAMPAIGNS[1]])
    with pytest.raises(ArtifactError, match="'acme' do not stand together"):
        _ = apart.rows_of_client


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("campaign_id_starts", np.array([0, 9, 2, 3, 6])),
        ("campaign_id_starts", np.array([0, 1, 2])),
        ("name", np.zeros(3, dtype=np.uint8)),
        ("unnamed", np.zeros(3, dtype=bool)),
        ("rows_by_campaign_id", np.array([0, 1, 2, 7], dtype=np.int32)),
        ("client_id_codes", np.array([0, 0, 1, 2], dtype=np.int32)),
    ],
)
def test_columns_that_do_not_fit_are_refused(name: str, array: np.ndarray, written: Artifact) -> None:
    """Before an answer names a campaign that is not there."""
    np.save(written.folder / "index" / f"{name}.npy", array)
    with pytest.raises(ArtifactError, match="build the neighbours again"):
        read_known_campaigns(written, "index")


def test_texts_are_a_sequence() -> None:
    """Indexed from both ends, cut and iterated over as a list is."""
    plain = ["", "a", "ß靴", "", "z"]
    texts = Texts.of(plain)
    assert [texts[place] for place in range(-5, 5)] == plain + plain
    assert (list(texts), texts[1:4], len(texts)) == (plain, plain[1:4], 5)
    for place in (5, -6):
        with pytest.raises(IndexError):
            _ = texts[place]
    assert list(Texts.of([])) == []
