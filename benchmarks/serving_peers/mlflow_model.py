"""The lookup model as an MLflow pyfunc model: this file is the model's code, and its artifact is the container's.

``python mlflow_model.py FOLDER`` saves it; ``mlflow models serve`` serves it. MLflow reads the annotations of
``predict``, so they stay what they are and are not made strings.
"""

import sys
from typing import Any

import mlflow  # type: ignore[import-not-found]
import orjson

from containers.scorer import Scorer, load_scorer


class Lookups(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """Answers a list of campaign records, as ``{"inputs": [record, …]}`` brings them."""

    _scorer: Scorer | None = None

    # MLflow goes by the names of the arguments.
    def load_context(self, context: Any) -> None:  # noqa: ARG002
        """Load the model once a process, as the container does."""
        self._scorer = load_scorer()
        self._scorer.warm_up()

    def predict(self, context: Any, model_input: list[dict[str, Any]]) -> list[dict[str, Any]]:  # noqa: ARG002
        """An answer a record."""
        assert self._scorer is not None  # noqa: S101 - MLflow loads before it asks
        return [self._scorer.answer(orjson.dumps(record)).document for record in model_input]


if __name__ == "__main__":
    mlflow.pyfunc.save_model(sys.argv[1], python_model=__file__, pip_requirements=[])
else:
    mlflow.models.set_model(Lookups())
