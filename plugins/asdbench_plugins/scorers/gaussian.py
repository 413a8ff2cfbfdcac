"""Scorers that fit Gaussians to the normal points.

Small groups: a mixture has at most as many components as the group has distinct points (``components_used`` in the
state). A single point gives one component with covariance ``reg`` times the identity. Where ``reg`` is smaller than
the rounding error of the covariances, it is raised tenfold until they have an inverse (``reg_used``).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Annotated, ClassVar, Literal, TypeVar

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray
from scipy.special import logsumexp
from sklearn import mixture
from sklearn.exceptions import ConvergenceWarning
from torch import nn

from asdbench import DataError, State
from asdbench_plugins.scorers.graphs import MixtureSurprise, Whitened, WhitenedLength
from asdbench_plugins.scorers.grouped import GroupedScorer, Vectors

Fitted = TypeVar("Fitted")
LARGEST_REG = 1e12
RANDOM_STATE = 0
"""Seed of the k-means that initialises the mixture: the same points always give the same mixture."""


class GaussianMixture(GroupedScorer, frozen=True, kw_only=True):
    """Negative log-likelihood under a mixture of Gaussians, in nats."""

    no_graph: ClassVar[str] = ""

    normalize: Annotated[bool, Meta(description="scale vectors to length 1 first")] = True
    components: Annotated[int, Meta(ge=1, description="Gaussians per group")] = 1
    covariance: Annotated[Literal["full", "diag"], Meta(description="full or diagonal covariances")] = "full"
    reg: Annotated[float, Meta(gt=0, description="added to the variances")] = 1e-3
    max_iter: Annotated[int, Meta(ge=1, description="maximum number of EM iterations")] = 200

    def fit_group(self, points: Vectors) -> State:
        """Fit with scikit-learn; ``converged`` says whether ``max_iter`` was enough."""
        # k-means, which initialises the mixture, cannot find more clusters than distinct points.
        used = min(self.components, len(np.unique(points, axis=0)))
        # scikit-learn refuses a single point; the same point twice has the same mean and covariance.
        several = points if len(points) > 1 else points.repeat(2, axis=0)
        fitted, reg = _least_reg(lambda reg: self._fitted(several, used=used, reg=reg), self.reg)
        return {
            "weights": fitted.weights_,
            "means": fitted.means_,
            "precisions_cholesky": fitted.precisions_cholesky_,
            "components_used": np.array([used]),
            "reg_used": np.array([reg]),
            "converged": np.array([fitted.converged_]),
        }

    def group_rules(self, state: State) -> list[str]:
        """Report fewer components and a larger ``reg``."""
        used = int(state["components_used"][0])
        fewer = [f"gmm has {used} components instead of {self.components}"] if used < self.components else []
        return fewer + _reg_rules("gmm", state, asked=self.reg)

    def score_group(self, state: State, points: Vectors) -> NDArray[np.float64]:
        """Return the negative log-likelihood of each point."""
        gaussians = zip(state["means"], state["precisions_cholesky"], strict=True)
        each = np.stack(
            [_log_density(points, mean, cholesky=cholesky) for mean, cholesky in gaussians], axis=1
        )
        likelihood: NDArray[np.float64] = logsumexp(each + np.log(state["weights"]), axis=1)
        return -likelihood

    def graph_group(self, state: State) -> nn.Module:
        """Return the negative log-likelihood."""
        gaussians = zip(state["means"], state["precisions_cholesky"], strict=True)
        return MixtureSurprise(
            [Whitened(mean, cholesky) for mean, cholesky in gaussians], weights=state["weights"].tolist()
        )

    def _fitted(self, points: Vectors, *, used: int, reg: float) -> mixture.GaussianMixture:
        fitted = mixture.GaussianMixture(
            used,
            covariance_type=self.covariance,
            reg_covar=reg,
            max_iter=self.max_iter,
            random_state=RANDOM_STATE,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # recorded as ``converged`` in the state
            return fitted.fit(points)


class Mahalanobis(GroupedScorer, frozen=True, kw_only=True):
    """Mahalanobis distance from the mean; the covariance is the maximum-likelihood one with ``reg`` added."""

    no_graph: ClassVar[str] = ""

    reg: Annotated[float, Meta(gt=0, description="added to the variances")] = 1e-3

    def fit_group(self, points: Vectors) -> State:
        """Keep the mean and the Cholesky factor of the inverse covariance."""
        mean = points.mean(axis=0)
        centred = points - mean
        covariance, identity = centred.T @ centred / len(points), np.eye(points.shape[1])
        factor, reg = _least_reg(lambda reg: np.linalg.cholesky(covariance + reg * identity), self.reg)
        # With C = L L^T the inverse is P P^T for P = L^-T.
        return {"mean": mean, "precision_cholesky": np.linalg.inv(factor).T, "reg_used": np.array([reg])}

    def group_rules(self, state: State) -> list[str]:
        """Report a larger ``reg``."""
        return _reg_rules("mahalanobis", state, asked=self.reg)

    def score_group(self, state: State, points: Vectors) -> NDArray[np.float64]:
        """Return the distance of each point, in standard deviations."""
        distances: NDArray[np.float64] = np.linalg.norm(
            (points - state["mean"]) @ state["precision_cholesky"], axis=1
        )
        return distances

    def graph_group(self, state: State) -> nn.Module:
        """Return the distance."""
        return WhitenedLength(Whitened(state["mean"], state["precision_cholesky"]))


def _least_reg(fit: Callable[[float], Fitted], reg: float) -> tuple[Fitted, float]:
    """Return ``fit(reg)`` for the first of ``reg``, ``10 reg``, ``100 reg`` ... whose matrices have an inverse."""
    while True:
        try:
            return fit(reg), reg
        except (ValueError, np.linalg.LinAlgError) as error:
            if reg > LARGEST_REG:
                raise DataError(
                    f"no covariance has an inverse, even with reg={reg:g}: check the scale of the model output"
                ) from error
            reg *= 10


def _reg_rules(name: str, state: State, *, asked: float) -> list[str]:
    used = float(state["reg_used"][0])
    return (
        [f"{name} uses reg={used:g} instead of {asked:g}, so that its covariances have an inverse"]
        if used > asked
        else []
    )


def _log_density(points: Vectors, mean: Vectors, *, cholesky: Vectors) -> NDArray[np.float64]:
    """Return ``ln N(x | mean, (P P^T)^-1)`` for P = ``cholesky``, ``[d, d]``, or ``[d]`` if diagonal."""
    full = cholesky.ndim == 2
    whitened = (points - mean) @ cholesky if full else (points - mean) * cholesky
    # ln sqrt(det(P P^T)) is the sum of the logarithms of P's diagonal.
    log_determinant = np.log(cholesky.diagonal() if full else cholesky).sum()
    density: NDArray[np.float64] = log_determinant - 0.5 * (
        points.shape[1] * np.log(2 * np.pi) + np.square(whitened).sum(axis=1)
    )
    return density
