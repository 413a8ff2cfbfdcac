"""Training-free methods with local density normalisation, for features beyond log-mel and modulation spectra."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asdbench import Between, Method, OneOf, Space
from asdbench_plugins.baselines.space import NEAREST, STANDARDISED

LDN: Mapping[str, Any] = {
    "scorer.k": 1,
    "scorer.metric": "euclidean",
    "scorer.rescale": "density",
    "scorer.density_neighbours": 2,
}
"""Distance to the nearest clip, relative to that clip's distance to its own two nearest (arXiv:2509.10951)."""


def _untrained(name: str, *, title: str, take: str, space: Space) -> Method:
    return Method(
        name=f"{name}_knn",
        title=f"{title}, nearest neighbour with local density normalisation; no training",
        paper="none: a cheap baseline",
        featurizer=name,
        model="statistics",
        scorer="knn",
        defaults={"take": take, **LDN},
        space={**space, **STANDARDISED, **NEAREST},
        home="dcase2020",
        scope="machine",
        deterministic=True,
    )


UNTRAINED = (
    _untrained(
        "covariance",
        title="Spectral covariance",
        take="flat",
        space={"n_mels": OneOf(values=(16, 32, 64)), "shrink": Between(low=1e-3, high=1.0, log=True)},
    ),
    _untrained(
        "randconv",
        title="Fixed random convolutions of a log-mel spectrogram",
        take="mean_std",
        space={"kernels": OneOf(values=(32, 64, 128)), "size": OneOf(values=(3, 5, 7))},
    ),
)
"""``covariance_knn`` and ``randconv_knn``."""
