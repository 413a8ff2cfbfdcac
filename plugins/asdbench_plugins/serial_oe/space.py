"""What ``asdbench tune`` searches of serial outlier exposure, and the values behind the paper's Table I."""

from __future__ import annotations

from asdbench import Between, OneOf, Space

INLIER_MODEL: Space = {
    "scorer": OneOf(values=("gmm", "lof")),
    "scorer.components": Between(low=1, high=64, log=True, when={"scorer": ("gmm",)}),
    "scorer.reg": Between(low=1e-6, high=1e-1, log=True, when={"scorer": ("gmm",)}),
    "scorer.k": Between(low=1, high=64, log=True, when={"scorer": ("lof",)}),
}
TRAINING: Space = {
    "lr": Between(low=2e-4, high=5e-3, log=True),
    "batch_size": OneOf(values=(32, 64, 128)),
}
LOSSES: Space = {
    "lam": Between(low=0.03, high=30.0, log=True),
    "alpha": Between(low=0.05, high=1.0),
}
SPACE: Space = {**TRAINING, **LOSSES, **INLIER_MODEL}

SIZES = (1, 2, 4, 8, 16, 32, 64)
"""The public code tries the powers of 2 up to 32; Table I also has 64."""
TABLE_1: Space = {
    "lr": OneOf(values=(1e-3, 5e-4)),
    "batch_size": OneOf(values=(32, 128)),
    "lam": OneOf(values=(0.1, 1.0, 10.0)),
    "scorer": OneOf(values=("gmm", "lof")),
    "scorer.components": OneOf(values=SIZES, when={"scorer": ("gmm",)}),
    "scorer.k": OneOf(values=SIZES, when={"scorer": ("lof",)}),
}
