"""Scorers with Gaussian kernels around the normal points: one-class SVM and kernel density."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from sklearn.svm import OneClassSVM

from asdbench import ConfigError, State
from asdbench_plugins.scorers.grouped import GroupedScorer, Vectors

_Reduce = Callable[[NDArray[np.float64]], NDArray[np.float64]]
CHUNK = 1024
"""Points per block of kernel values; bounds memory."""
LEAST_BANDWIDTH = 1e-6
"""Smallest bandwidth from a rule of thumb, which is 0 where points coincide."""


class OneClass(GroupedScorer, frozen=True, kw_only=True):
    """How far a point is outside the support of the normal points: 0 on its border, negative inside.

    Schölkopf et al., "Estimating the support of a high-dimensional distribution", Neural Computation 2001.
    """

    nu: Annotated[
        float,
        Meta(gt=0, le=1, description="largest share of training points outside, smallest of support vectors"),
    ] = 0.5
    gamma: Annotated[
        str,
        Meta(description="gamma of the kernel exp(-gamma d^2): a number, or scale: 1 / (dims * variance)"),
    ] = "scale"

    def fit_group(self, points: Vectors) -> State:
        """Fit with scikit-learn and keep what its decision function needs."""
        gamma = self._gamma(points)
        machine = OneClassSVM(nu=self.nu, gamma=gamma)
        machine.random_state = (
            0  # no option, and nothing is random; None would advance numpy's global generator
        )
        fitted = machine.fit(points)
        return {
            "support": np.ascontiguousarray(fitted.support_vectors_),
            "weights": np.ascontiguousarray(fitted.dual_coef_[0]),
            "gamma": np.array([gamma]),
            "offset": np.asarray(fitted.offset_, dtype=np.float64).reshape(1),
        }

    def score_group(self, state: State, points: Vectors) -> NDArray[np.float64]:
        """Return the negated decision function of each point."""
        inside = _chunked(
            points,
            state["support"],
            reduce=lambda squares: np.exp(-state["gamma"] * squares) @ state["weights"],
        )
        # decision(x) = sum_i alpha_i K(x_i, x) - rho; scikit-learn's ``offset_`` is rho.
        strangeness: NDArray[np.float64] = state["offset"][0] - inside
        return strangeness

    def _gamma(self, points: Vectors) -> float:
        if self.gamma == "scale":
            variance = float(points.var())
            # scikit-learn's gamma="scale", including its 1 for constant points.
            return 1 / (points.shape[1] * variance) if variance > 0 else 1.0
        return _positive(self.gamma, of="gamma", words=("scale",))


class KernelDensity(GroupedScorer, frozen=True, kw_only=True):
    """Negative log-density of Gaussian kernels around the normal points, in nats."""

    bandwidth: Annotated[
        str,
        Meta(
            description="standard deviation of a kernel: a number, or scott or silverman (scaled to the data)"
        ),
    ] = "scott"

    def fit_group(self, points: Vectors) -> State:
        """Keep the points and the bandwidth."""
        return {"points": points, "bandwidth": np.array([self._bandwidth(points)])}

    def score_group(self, state: State, points: Vectors) -> NDArray[np.float64]:
        """Return the negative log-density of each point."""
        width, (count, dims) = float(state["bandwidth"][0]), state["points"].shape
        kernels = _chunked(
            points, state["points"], reduce=lambda squares: logsumexp(-squares / (2 * width**2), axis=1)
        )
        # ln p(x) = ln sum_i exp(-|x - x_i|^2 / 2 h^2) - ln n - d (ln h + ln(2 pi) / 2).
        density: NDArray[np.float64] = (
            kernels - np.log(count) - dims * (np.log(width) + 0.5 * np.log(2 * np.pi))
        )
        return -density

    def group_rules(self, state: State) -> list[str]:
        """Report points that coincide, for which a rule of thumb gives no width."""
        if self._is_rule() and state["bandwidth"][0] <= LEAST_BANDWIDTH:
            return [f"bandwidth={self.bandwidth} is {LEAST_BANDWIDTH:g}: the points coincide"]
        return []

    def _is_rule(self) -> bool:
        return self.bandwidth in ("scott", "silverman")

    def _bandwidth(self, points: Vectors) -> float:
        if not self._is_rule():
            return _positive(self.bandwidth, of="bandwidth", words=("scott", "silverman"))
        count, dims = points.shape
        # Scott: n^(-1 / (d + 4)). Silverman: (n (d + 2) / 4)^(-1 / (d + 4)).
        factor = count if self.bandwidth == "scott" else count * (dims + 2) / 4
        # One width for all dims: the factor times the root mean square of their deviations.
        spread = float(np.sqrt(points.var(axis=0).mean()))
        width: float = spread * float(factor) ** (-1 / (dims + 4))
        return max(width, LEAST_BANDWIDTH)


def _chunked(points: Vectors, bank: Vectors, *, reduce: _Reduce) -> NDArray[np.float64]:
    """Apply ``reduce`` to the squared distances ``[chunk, bank]``, chunk by chunk, and join the results."""
    pieces = [
        reduce(cdist(points[first : first + CHUNK], bank, "sqeuclidean"))
        for first in range(0, len(points), CHUNK)
    ]
    return np.concatenate(pieces)


def _positive(text: str, *, of: str, words: tuple[str, ...]) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise ConfigError(f"{of}={text!r} is neither a positive number nor {' or '.join(words)}")
    return value
