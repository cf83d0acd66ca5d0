"""docs/gensim.md: its two examples run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from topic_model.artifact import read_artifact, read_model, write_model
from topic_model.model import TopicModel
from topic_model.settings import TextSettings
from topic_model.vocabulary import Vocabulary

PAGE = Path(__file__).parents[2] / "docs/gensim.md"


def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A model of ours goes to Gensim by the first example and comes back, as an artifact, by the second."""
    lambda_ = np.random.default_rng(0).gamma(0.5, 10.0, (4, 3)) + 0.1
    vocabulary = Vocabulary.of(["trail", "shoe", "espresso"])
    write_model(
        TopicModel(vocabulary, lambda_, np.full(4, 0.1), 0.1, TextSettings()),
        tmp_path / "model",
        about={"algorithm": "lda"},
    )
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        exec(compile(example, str(PAGE), "exec"), {})  # noqa: S102 - the documentation's own code
    assert np.allclose(read_model(read_artifact(Path("imported"))).lambda_, lambda_)
    assert "[" in capsys.readouterr().out
