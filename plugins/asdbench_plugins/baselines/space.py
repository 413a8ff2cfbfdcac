"""What ``asdbench tune`` searches of the baselines."""

from __future__ import annotations

from collections.abc import Mapping

from asdbench import Between, OneOf, Space

WINDOWS: Space = {
    "frames": OneOf(values=(3, 5, 7, 9)),
    "lr": Between(low=1e-4, high=1e-2, log=True),
    "batch_size": OneOf(values=(128, 256, 512, 1024)),
}
AUTOENCODER: Space = {
    **WINDOWS,
    "hidden": OneOf(values=(64, 128, 256)),
    "bottleneck": Between(low=2, high=32, log=True),
}
CLASSIFIER: Space = {
    "lr": Between(low=1e-5, high=1e-2, log=True),
    "momentum": Between(low=0.01, high=0.5, log=True),
}
FLOW: Space = {
    "lr": Between(low=1e-4, high=1e-2, log=True),
    "steps": Between(low=2, high=8),
    "hidden": OneOf(values=(32, 64, 128)),
}
NEAREST: Space = {
    "scorer.k": Between(low=1, high=32, log=True),
    "scorer.metric": OneOf(values=("cosine", "euclidean")),
    "scorer.normalize": OneOf(values=(False, True), when={"scorer.metric": ("euclidean",)}),
    "scorer.rescale": OneOf(values=("none", "density")),
}
BACKENDS: Mapping[str, Space] = {
    "knn": NEAREST,
    "gmm": {
        "scorer.components": Between(low=1, high=16, log=True),
        "scorer.covariance": OneOf(values=("full", "diag")),
        "scorer.reg": Between(low=1e-6, high=1.0, log=True),
        "scorer.normalize": OneOf(values=(False, True)),
    },
    "mahalanobis": {
        "scorer.reg": Between(low=1e-6, high=10.0, log=True),
        "scorer.normalize": OneOf(values=(False, True)),
    },
    "lof": {
        "scorer.k": Between(low=2, high=64, log=True),
        "scorer.metric": OneOf(values=("cosine", "euclidean")),
    },
}
STANDARDISED: Space = {"standardise": OneOf(values=("claim", "pool", "none"))}
SPECTRUM: Space = {
    "n_mels": OneOf(values=(32, 64, 128)),
    "take": OneOf(values=("mean", "mean_std", "mean_std_max")),
}
