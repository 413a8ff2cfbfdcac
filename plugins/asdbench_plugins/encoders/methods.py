"""The methods of this plugin: nothing is trained, so each is an encoder, its pooling and a scorer."""

from __future__ import annotations

from asdbench import Between, Method, OneOf, Space

OF_BEAMS: Space = {
    "layer": Between(low=1, high=12),
    "gamma": Between(low=1.0, high=25.0, log=True),
    "deviation": OneOf(values=("max", "minmax")),
    "scorer.rescale": OneOf(values=("none", "density", "varmin")),
    "scorer.density_neighbours": Between(low=1, high=16, log=True),
}

METHODS = (
    Method(
        name="beats_beam",
        title="Frozen BEATs, relative deviation pooling, a memory for each band, variance minimisation (DCASE 2026)",
        paper="arXiv:2603.13749 and arXiv:2603.04605",
        featurizer="raw",
        model="beats",
        scorer="knn",
        defaults={
            "scorer.metric": "scaled_cosine",
            "scorer.per_segment": True,
            "scorer.rescale": "varmin",
            "scorer.density_neighbours": 4,
        },
        space=OF_BEAMS,
        requires={
            "weights": "give the path of a published BEATs checkpoint, for example weights=BEATs_iter3.pt"
        },
        home="dcase2023",
        scope="machine",
        approximate="reads one channel: the printed system subtracts what the far channel explains (W1) before BEATs",
    ),
)
"""All methods of this plugin."""
