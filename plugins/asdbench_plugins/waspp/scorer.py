"""Class scores of a classifier: log-probabilities of its logits."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray
from scipy.special import log_softmax

from asdbench.contracts import Outputs, State, Told
from asdbench.errors import DataError
from asdbench.values import Config


class ClassProbability(Config, frozen=True, kw_only=True):
    """The log-probability of every class, ``[n, segments, classes]``; the largest is the prediction."""

    learns: ClassVar[bool] = False
    classifies: ClassVar[bool] = True
    """Its scores have a last axis over the classes."""

    on: Annotated[str, Meta(description="output of the model that is read, [items, segments, classes]")] = (
        "logits"
    )

    def fit(self, outputs: Outputs, told: Told) -> State:
        """Learn nothing."""
        return {}

    def score(self, state: State, outputs: Outputs, told: Told) -> NDArray[np.float64]:
        """Return log-probabilities ``[n, segments, classes]``.

        Raises:
            DataError: The output has another shape.
        """
        logits = np.asarray(outputs[self.on], dtype=np.float64)
        if logits.ndim != 3:
            raise DataError(
                f"output {self.on!r} has shape {list(logits.shape)}, class scores are of [items, segments, classes]"
            )
        return np.asarray(log_softmax(logits, axis=2))
