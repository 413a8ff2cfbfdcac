"""The methods that adapt an encoder."""

from __future__ import annotations

from asdbench import Between, Method, OneOf, Setting

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
    on={
        "synthetic": Setting(
            options={"epochs": 2, "warmup": 20, "checkpoint_every": 1, "sub_clusters": 2}, reduced=True
        )
    },
    presets={"asdkit": {"adapted": "qv"}, "qkv": {"adapted": "qkv"}},
    space={
        "lr": Between(low=1e-5, high=1e-3, log=True),
        "rank": OneOf(values=(8, 16, 32, 64)),
        "gamma": Between(low=1.0, high=25.0, log=True),
    },
    requires={"weights": "give the path of a published BEATs checkpoint, for example weights=BEATs_iter3.pt"},
    home="dcase2023",
    scope="all",
    approximate="alpha and dropout of LoRA and the weight decay are those of common code; no SpecAugment",
)
"""``beats_lora``."""
