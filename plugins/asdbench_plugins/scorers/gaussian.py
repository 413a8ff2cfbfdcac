"""Scorers by Gaussians around the normal points.

Small groups: a mixture has at most as many components as the group has different points (``components_used``
in the state); a single point gives one component of covariance ``reg`` times the identity. Where ``reg`` is too small
for the rounding of the group's covariances, it is raised tenfold until they have an inverse (``reg_used``).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Annotated, Literal, TypeVar

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray
from scipy.special import logsumexp
from sklearn import mixture
from sklearn.exceptions import ConvergenceWarning

from asdbench.contracts import State
from asdbench.errors import DataError
from asdbench_plugins.scorers.grouped import GroupedScorer, Vectors

Fitted = TypeVar("Fitted")
LARGEST_REG = 1e12
RANDOM_STATE = 0
"""Of k-means, where the mixture starts: the same points always give the same mixture."""


class GaussianMixture(GroupedScorer, frozen=True, kw_only=True):
    """Negative log-likelihood under a mixture of Gaussians, in nats."""

    normalize: Annotated[bool, Meta(description="scale vectors to length 1 first")] = True
    components: Annotated[int, Meta(ge=1, description="Gaussians of a group")] = 1
    covariance: Annotated[Literal["full", "diag"], Meta(description="form of the covariances")] = "full"
    reg: Annotated[float, Meta(gt=0, description="added to the variances")] = 1e-3
    max_iter: Annotated[int, Meta(ge=1, description="most steps of expectation and maximisation")] = 200

    def fit_group(self, points: Vectors) -> State:
        """Fit by scikit-learn; ``converged`` tells whether ``max_iter`` was enough."""
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
        """Tell of fewer components and a larger ``reg``."""
        used = int(state["components_used"][0])
        fewer = [f"gmm has {used} components, not {self.components}"] if used < self.components else []
        return fewer + _reg_rules("gmm", state, self.reg)

    def score_group(self, state: State, points: Vectors) -> NDArray[np.float64]:
        """Return the negative log-likelihood of each point."""
        gaussians = zip(state["means"], state["precisions_cholesky"], strict=True)
        each = np.stack([_log_density(points, mean, cholesky) for mean, cholesky in gaussians], axis=1)
        likelihood: NDArray[np.float64] = logsumexp(each + np.log(state["weights"]), axis=1)
        return -likelihood

    def _fitted(self, points: Vectors, *, used: int, reg: float) -> mixture.GaussianMixture:
        fitted = mixture.GaussianMixture(
            used,
            covariance_type=self.covariance,
            reg_covar=reg,
            max_iter=self.max_iter,
            random_state=RANDOM_STATE,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # said by ``converged`` in the state
            return fitted.fit(points)


class Mahalanobis(GroupedScorer, frozen=True, kw_only=True):
    """Mahalanobis distance from the mean; the covariance is the maximum-likelihood one with ``reg`` added."""

    reg: Annotated[float, Meta(gt=0, description="added to the variances")] = 1e-3

    def fit_group(self, points: Vectors) -> State:
        """Keep the mean and the Cholesky factor of the inverse covariance."""
        mean = points.mean(axis=0)
        centred = points - mean
        covariance, identity = centred.T @ centred / len(points), np.eye(points.shape[1])
        factor, reg = _least_reg(lambda reg: np.linalg.cholesky(covariance + reg * identity), self.reg)
        return {"mean": mean, "precision_cholesky": np.linalg.inv(factor).T, "reg_used": np.array([reg])}

    def group_rules(self, state: State) -> list[str]:
        """Tell of a larger ``reg``."""
        return _reg_rules("mahalanobis", state, self.reg)

    def score_group(self, state: State, points: Vectors) -> NDArray[np.float64]:
        """Return the distance of each point, in standard deviations."""
        distances: NDArray[np.float64] = np.linalg.norm(
            (points - state["mean"]) @ state["precision_cholesky"], axis=1
        )
        return distances


def _least_reg(fit: Callable[[float], Fitted], reg: float) -> tuple[Fitted, float]:
    """Return ``fit(reg)`` of the first of ``reg``, ``10 reg``, ``100 reg`` ... whose matrices have an inverse."""
    while True:
        try:
            return fit(reg), reg
        except (ValueError, np.linalg.LinAlgError) as error:
            if reg > LARGEST_REG:
                raise DataError(f"no covariance has an inverse, even with reg={reg:g}") from error
            reg *= 10


def _reg_rules(name: str, state: State, asked: float) -> list[str]:
    used = float(state["reg_used"][0])
    return (
        [f"{name} takes reg={used:g}, not {asked:g}, for its covariances to have an inverse"]
        if used > asked
        else []
    )


def _log_density(points: Vectors, mean: Vectors, cholesky: Vectors) -> NDArray[np.float64]:
    """Return ``ln N(x | mean, (P P^T)^-1)`` for P = ``cholesky``, ``[d, d]``, or ``[d]`` if diagonal."""
    full = cholesky.ndim == 2
    whitened = (points - mean) @ cholesky if full else (points - mean) * cholesky
    log_determinant = np.log(cholesky.diagonal() if full else cholesky).sum()
    density: NDArray[np.float64] = log_determinant - 0.5 * (
        points.shape[1] * np.log(2 * np.pi) + np.square(whitened).sum(axis=1)
    )
    return density
