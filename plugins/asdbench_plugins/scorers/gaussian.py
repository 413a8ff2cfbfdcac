"""Scorers by Gaussians around the normal points.

Small groups: a mixture has at most as many components as the group has different points (``components_used``
in the state); a single point gives one component of covariance ``reg`` times the identity.
"""

from __future__ import annotations

import warnings
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray
from scipy.special import logsumexp
from sklearn import mixture
from sklearn.exceptions import ConvergenceWarning

from asdbench.contracts import State
from asdbench_plugins.scorers.grouped import GroupedScorer, Vectors

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
        fitted = mixture.GaussianMixture(
            used,
            covariance_type=self.covariance,
            reg_covar=self.reg,
            max_iter=self.max_iter,
            random_state=RANDOM_STATE,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # said by ``converged`` in the state
            # scikit-learn refuses a single point; the same point twice has the same mean and covariance.
            fitted.fit(points if len(points) > 1 else points.repeat(2, axis=0))
        return {
            "weights": fitted.weights_,
            "means": fitted.means_,
            "precisions_cholesky": fitted.precisions_cholesky_,
            "components_used": np.array([used]),
            "converged": np.array([fitted.converged_]),
        }

    def score_group(self, state: State, points: Vectors) -> NDArray[np.float64]:
        """Return the negative log-likelihood of each point."""
        gaussians = zip(state["means"], state["precisions_cholesky"], strict=True)
        each = np.stack([_log_density(points, mean, cholesky) for mean, cholesky in gaussians], axis=1)
        likelihood: NDArray[np.float64] = logsumexp(each + np.log(state["weights"]), axis=1)
        return -likelihood


class Mahalanobis(GroupedScorer, frozen=True, kw_only=True):
    """Mahalanobis distance from the mean; the covariance is the maximum-likelihood one with ``reg`` added."""

    reg: Annotated[float, Meta(gt=0, description="added to the variances")] = 1e-3

    def fit_group(self, points: Vectors) -> State:
        """Keep the mean and the Cholesky factor of the inverse covariance."""
        mean = points.mean(axis=0)
        centred = points - mean
        covariance = centred.T @ centred / len(points) + self.reg * np.eye(points.shape[1])
        return {"mean": mean, "precision_cholesky": np.linalg.inv(np.linalg.cholesky(covariance)).T}

    def score_group(self, state: State, points: Vectors) -> NDArray[np.float64]:
        """Return the distance of each point, in standard deviations."""
        distances: NDArray[np.float64] = np.linalg.norm(
            (points - state["mean"]) @ state["precision_cholesky"], axis=1
        )
        return distances


def _log_density(points: Vectors, mean: Vectors, cholesky: Vectors) -> NDArray[np.float64]:
    """Return ``ln N(x | mean, (P P^T)^-1)`` for P = ``cholesky``, ``[d, d]``, or ``[d]`` if diagonal."""
    full = cholesky.ndim == 2
    whitened = (points - mean) @ cholesky if full else (points - mean) * cholesky
    log_determinant = np.log(cholesky.diagonal() if full else cholesky).sum()
    density: NDArray[np.float64] = log_determinant - 0.5 * (
        points.shape[1] * np.log(2 * np.pi) + np.square(whitened).sum(axis=1)
    )
    return density
