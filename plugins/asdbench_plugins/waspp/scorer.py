"""Class scores of a classifier: log-probabilities of its logits."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray
from scipy.special import log_softmax

from asdbench import DataError, ItemContext, Outputs, Scorer, State


class ClassProbability(Scorer, frozen=True, kw_only=True):
    """The log-probability of every class, ``[n, segments, classes]``; the highest is the prediction."""

    learns: ClassVar[bool] = False
    classifies: ClassVar[bool] = True
    """Its scores have a last axis over the classes."""

    on: Annotated[str, Meta(description="model output to read, [items, segments, classes]")] = "logits"

    def fit(self, outputs: Outputs, context: ItemContext) -> State:
        """Learn nothing."""
        return {}

    def score(self, state: State, outputs: Outputs, context: ItemContext) -> NDArray[np.float64]:
        """Return log-probabilities ``[n, segments, classes]``.

        Raises:
            DataError: The output has a different shape.
        """
        logits = np.asarray(outputs[self.on], dtype=np.float64)
        if logits.ndim != 3:
            raise DataError(
                f"output {self.on!r} has shape {list(logits.shape)}; class scores need [items, segments, classes]"
            )
        return np.asarray(log_softmax(logits, axis=2))
