"""The methods that adapt an encoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asdbench import Between, Method, OneOf, Setting, Space

SMALL = Setting(options={"epochs": 2, "warmup": 20, "checkpoint_every": 1, "sub_clusters": 2}, reduced=True)
OF_BEATS = "give the path of a published BEATs checkpoint, for example weights="
OF_EAT = "give the path of a published checkpoint of EAT or SSLAM, for example weights=EAT-base_epoch10_pt.pt"
OF_TERMS: Space = {"lr": Between(low=1e-5, high=1e-3, log=True), "rank": OneOf(values=(8, 16, 32, 64))}
OF_RATE: Space = {
    "lr": Between(low=1e-5, high=3e-4, log=True),
    "mixup_alpha": Between(low=0.1, high=1.0),
}
FULL: Mapping[str, Any] = {
    "adapted": "all", "loss": "arcface", "sub_clusters": 1, "margin": 0.5, "scale": 30.0, "mixup": 1.0, "warmup": 0,
    "clip_norm": 1.0, "batch_size": 16, "checkpoint_every": 10, "bands": "joint", "pooling": "mean",
}  # fmt: skip
"""What the full fine-tuning of both encoders shares."""
OF_FULL = (
    "cross-entropy instead of one binary cross-entropy per class; shares of mixup are drawn for each clip"
)

ASDKIT: Mapping[str, Any] = {
    "scored": "vector", "scorer.metric": "cosine", "scorer.domains": "separate", "scorer.smote": 0.2,
    "scorer.smote_neighbours": 2,
}  # fmt: skip
"""What ASDKit reads of an adapted encoder, and how it scores that."""

BEATS_LORA = Method(
    name="beats_lora",
    title="BEATs adapted by LoRA to attributes and clusters; a memory for each band, variance minimisation (DCASE 2026)",
    paper="none: github.com/kasahart/asd-experiments and TakuyaFujimura/dcase-asd-toolkit",
    featurizer="raw",
    model="tuned_beats",
    scorer="knn",
    defaults={
        "scorer.metric": "scaled_cosine",
        "scorer.per_segment": True,
        "scorer.rescale": "varmin",
        "scorer.density_neighbours": 4,
    },
    on={"synthetic": SMALL},
    presets={
        "asdkit": {"adapted": "qv", "scorer.per_segment": False, "scorer.rescale": "none", **ASDKIT},
        "qkv": {"adapted": "qkv"},
        "dis_beats": {"adapted": "qkv", "unequal": "pad", "channel": 0},
        "dis_beats_w1": {"adapted": "qkv", "unequal": "pad", "channel": "w1"},
    },
    space={**OF_TERMS, "gamma": Between(low=1.0, high=25.0, log=True)},
    requires={"weights": f"{OF_BEATS}BEATs_iter3.pt"},
    home="dcase2023",
    scope="all",
    approximate="alpha and dropout of LoRA and the weight decay are those of common code; no SpecAugment",
)
"""``beats_lora``."""

EAT_LORA = Method(
    name="eat_lora",
    title="EAT adapted by LoRA to attributes and clusters; nearest neighbours of two domains, SMOTE (ASDKit)",
    paper="none: github.com/TakuyaFujimura/dcase-asd-toolkit",
    featurizer="raw",
    model="tuned_eat",
    scorer="knn",
    defaults={"head": "linear", **ASDKIT},
    on={"synthetic": SMALL},
    space=OF_TERMS,
    requires={"weights": OF_EAT},
    home="dcase2023",
    scope="all",
    approximate="alpha and dropout of LoRA and the weight decay are those of common code; no SpecAugment",
)
"""``eat_lora``."""

BEATS_FULL = Method(
    name="beats_full",
    title="BEATs, every weight trained by ArcFace to attributes and clusters; nearest neighbours, SMOTE (DCASE 2026)",
    paper="none: github.com/outman-goutian/dcase2026_task2",
    featurizer="raw",
    model="tuned_beats",
    scorer="knn",
    defaults={
        **FULL,
        "head": "norm_linear",
        "model.dims": 768,
        "mixup_alpha": 0.35,
        "lr": 1e-4,
        "weight_decay": 5e-3,
        "epochs": 10,
        "halve_every": 5,
        "layer": 10,
        "scorer.metric": "euclidean",
        "scorer.smote": 0.25,
        "scorer.smote_neighbours": 3,
    },
    on={"synthetic": SMALL},
    space={**OF_RATE, "layer": Between(low=1, high=12)},
    requires={"weights": f"{OF_BEATS}BEATs_iter3_plus_AS2M.pt"},
    home="dcase2026",
    scope="all",
    approximate=f"{OF_FULL}; which distance was used was not seen",
)
"""``beats_full``."""

EAT_FULL = Method(
    name="eat_full",
    title="EAT, every weight trained by ArcFace to attributes and clusters; local density normalisation (DCASE 2026)",
    paper="none: github.com/outman-goutian/dcase2026_task2",
    featurizer="raw",
    model="tuned_eat",
    scorer="knn",
    defaults={
        **FULL,
        "head": "norm_linear",
        "model.dims": 768,
        "mixup_alpha": 0.4,
        "lr": 4e-5,
        "weight_decay": 0.02,
        "epochs": 8,
        "halve_every": 4,
        "scorer.metric": "euclidean",
        "layers": "8+10+12",
        "scorer.per_segment": True,
        "scorer.rescale": "density",
        "scorer.density_neighbours": 16,
    },
    on={"synthetic": SMALL},
    space={**OF_RATE, "layers": OneOf(values=("8+10+12", "8", "10", "12"))},
    requires={"weights": OF_EAT},
    home="dcase2026",
    scope="all",
    approximate=f"{OF_FULL}; one number of neighbours for the density of both domains",
)
"""``eat_full``."""
