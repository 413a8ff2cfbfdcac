"""Scorers that read the score from an output of the model and learn nothing."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from asdbench.contracts import Outputs, State, Told
from asdbench.errors import DataError
from asdbench.values import Config
from asdbench_plugins.scorers.grouped import finite_output


class NegativeLogProbability(Config, frozen=True, kw_only=True):
    """The negative log-probability of the claimed class, as the model computed it."""

    learns: ClassVar[bool] = False

    margin_at_test: Annotated[
        bool, Meta(description="with ArcFace's margin on the claim, as in training")
    ] = True

    @property
    def on(self) -> str:
        """Name of the output that it reads."""
        return "claim_nll" if self.margin_at_test else "claim_nll_without_margin"

    def fit(self, outputs: Outputs, told: Told) -> State:
        """Learn nothing."""
        return {}

    def score(self, state: State, outputs: Outputs, told: Told) -> NDArray[np.float64]:
        """Return the output ``[n, segments]`` as it is.

        Raises:
            DataError: An item claims no class of the unit, so that it has no probability.
        """
        _check_claims(told)
        return _scalars(outputs, self.on)


class ClaimLogOdds(Config, frozen=True, kw_only=True):
    """How the probability that an item is not of its claimed class stands to the claim's, ``ln((1 - p) / p)``."""

    learns: ClassVar[bool] = False

    on: Annotated[str, Meta(description="output of the model that is read")] = "claim_log_odds"

    def fit(self, outputs: Outputs, told: Told) -> State:
        """Learn nothing."""
        return {}

    def score(self, state: State, outputs: Outputs, told: Told) -> NDArray[np.float64]:
        """Return the output ``[n, segments]`` as it is.

        Raises:
            DataError: An item claims no class of the unit.
        """
        _check_claims(told)
        return _scalars(outputs, self.on)


class ReconstructionError(Config, frozen=True, kw_only=True):
    """The error of a model that rebuilds or predicts its input."""

    learns: ClassVar[bool] = False

    on: Annotated[str, Meta(description="output of the model that is read")] = "reconstruction_error"

    def fit(self, outputs: Outputs, told: Told) -> State:
        """Learn nothing."""
        return {}

    def score(self, state: State, outputs: Outputs, told: Told) -> NDArray[np.float64]:
        """Return the output ``[n, segments]`` as it is."""
        return _scalars(outputs, self.on)


def _check_claims(told: Told) -> None:
    if np.any(told.claim < 0):
        raise DataError(
            f"{np.sum(told.claim < 0)} of {len(told.claim)} items claim a class that the model was not trained on; "
            "a scorer with per=pool needs no claim"
        )


def _scalars(outputs: Outputs, name: str) -> NDArray[np.float64]:
    values: NDArray[Any] = finite_output(outputs, name)
    if values.ndim != 2:
        raise DataError(f"output {name!r} has shape {list(values.shape)}, a score is [items, segments]")
    return values
