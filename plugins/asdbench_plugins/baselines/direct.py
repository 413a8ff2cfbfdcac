"""The direct discriminative baseline as a method, with the settings of the codes that train it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asdbench import Between, Method, OneOf, Setting

ASDKIT: Mapping[str, Any] = {
    "optimizer": "adamw", "lr": 1e-3, "epochs": 16, "batch_size": 64, "mixup": 0.5, "sub_clusters": 16,
    "excite": True, "subtract_mean": False, "mixed_classes": False, "scorer.means": "kmeans",
}  # fmt: skip
WILKINGHOFF: Mapping[str, Any] = {
    "optimizer": "adam", "lr": 1e-3, "epochs": 10, "batch_size": 64, "mixup": 0.5, "weight_decay": 1e-5,
    "excite": False, "subtract_mean": True, "mixed_classes": True, "scorer.means": "attributes",
}  # fmt: skip

TWO_BRANCH = Method(
    name="direct_two_branch",
    title="Direct discriminative baseline: spectrum and spectrogram, sub-cluster AdaCos over attributes (2023 to 2026)",
    paper="none: github.com/TakuyaFujimura/dcase-asd-toolkit (multiresnet) and wilkinghoff/DCASE2023_task2",
    featurizer="raw",
    model="two_branch",
    scorer="source_centres",
    on={
        "synthetic": Setting(
            options={"epochs": 6, "batch_size": 16, "checkpoint_every": 3, "sub_clusters": 2}, reduced=True
        )
    },
    presets={"asdkit": ASDKIT, "wilkinghoff2023": WILKINGHOFF},
    space={
        "lr": Between(low=1e-4, high=1e-2, log=True),
        "sub_clusters": OneOf(values=(1, 4, 16)),
        "mixup": Between(low=0.0, high=1.0),
        "dynamic": OneOf(values=(False, True)),
    },
    home="dcase2023",
    approximate="order of layers in a residual block and the weight decay of AdamW",
)
"""``direct_two_branch``."""
