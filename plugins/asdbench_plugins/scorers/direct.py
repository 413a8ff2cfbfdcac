"""Scorers that read the score directly from a model output and learn nothing."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray
from torch import nn

from asdbench import DataError, ItemContext, Outputs, Scorer, State
from asdbench_plugins.scorers.graphs import Selected
from asdbench_plugins.scorers.grouped import finite_output


class NegativeLogProbability(Scorer, frozen=True, kw_only=True):
    """The negative log-probability of the claimed class, as computed by the model."""

    learns: ClassVar[bool] = False
    no_graph: ClassVar[str] = ""

    margin_at_test: Annotated[
        bool, Meta(description="keep ArcFace's margin on the claimed class, as in training")
    ] = True

    @property
    def on(self) -> str:
        """Name of the output it reads."""
        return "claim_nll" if self.margin_at_test else "claim_nll_without_margin"

    def fit(self, outputs: Outputs, context: ItemContext) -> State:
        """Learn nothing."""
        return {}

    @property
    def needs_claims(self) -> bool:
        """True: it is the probability of the claimed class."""
        return True

    def score(self, state: State, outputs: Outputs, context: ItemContext) -> NDArray[np.float64]:
        """Return the output ``[n, segments]`` unchanged.

        Raises:
            DataError: An item claims a class outside the unit, so it has no probability.
        """
        _check_claims(context)
        return _scalars(outputs, self.on)

    def graph(self, state: State, *, claim: int) -> nn.Module:
        """Return the output."""
        return Selected(self.on)


class ClaimLogOdds(Scorer, frozen=True, kw_only=True):
    """Log-odds against the claimed class, ``ln((1 - p) / p)``."""

    learns: ClassVar[bool] = False
    no_graph: ClassVar[str] = ""

    on: Annotated[str, Meta(description="model output to read")] = "claim_log_odds"

    def fit(self, outputs: Outputs, context: ItemContext) -> State:
        """Learn nothing."""
        return {}

    @property
    def needs_claims(self) -> bool:
        """True: it is the probability of the claimed class."""
        return True

    def score(self, state: State, outputs: Outputs, context: ItemContext) -> NDArray[np.float64]:
        """Return the output ``[n, segments]`` unchanged.

        Raises:
            DataError: An item claims a class outside the unit.
        """
        _check_claims(context)
        return _scalars(outputs, self.on)

    def graph(self, state: State, *, claim: int) -> nn.Module:
        """Return the output."""
        return Selected(self.on)


class ReconstructionError(Scorer, frozen=True, kw_only=True):
    """The error of a model that reconstructs or predicts its input."""

    learns: ClassVar[bool] = False
    no_graph: ClassVar[str] = ""

    on: Annotated[str, Meta(description="model output to read")] = "reconstruction_error"

    def fit(self, outputs: Outputs, context: ItemContext) -> State:
        """Learn nothing."""
        return {}

    def score(self, state: State, outputs: Outputs, context: ItemContext) -> NDArray[np.float64]:
        """Return the output ``[n, segments]`` unchanged."""
        return _scalars(outputs, self.on)

    def graph(self, state: State, *, claim: int) -> nn.Module:
        """Return the output."""
        return Selected(self.on)


def _check_claims(context: ItemContext) -> None:
    if np.any(context.claim < 0):
        raise DataError(
            f"{np.sum(context.claim < 0)} of {len(context.claim)} items claim a class that the model was not trained on; "
            "use a scorer with per=pool, which needs no claim"
        )


def _scalars(outputs: Outputs, name: str) -> NDArray[np.float64]:
    values: NDArray[Any] = finite_output(outputs, name)
    if values.ndim != 2:
        raise DataError(f"output {name!r} has shape {list(values.shape)}; scores must be [items, segments]")
    return values
