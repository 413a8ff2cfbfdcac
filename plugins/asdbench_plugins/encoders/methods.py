"""The methods of this plugin: nothing is trained, so each is an encoder, its pooling and a scorer."""

from __future__ import annotations

from asdbench import Between, Method, OneOf, Setting, Space

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
        on={"dcase2026": Setting(options={"channel": "w1"})},
        home="dcase2026",
        scope="machine",
        approximate="VarMin as in a public replication: the paper's own formula, and where it applies, were not seen",
    ),
    Method(
        name="beats_residual",
        title="Residual view of frozen BEATs, nearest neighbours with mixed target points and prototypes (DCASE 2026)",
        paper="github.com/UTurtle/residual_view_dcase2026_task2",
        featurizer="raw",
        model="beats_residual",
        scorer="prps",
        defaults={
            "channel": "all",
            "layer": 5,
            "bands": "concatenated",
            "deviation": "minmax",
            "scorer.metric": "euclidean",
            "scorer.memmixup": 990,
        },
        requires={
            "weights": "give the path of a published BEATs checkpoint, for example weights=BEATs_iter3_plus_AS2M.pt"
        },
        home="dcase2026",
        scope="machine",
        approximate="one encoder and layer of an ensemble; the distance and the generator of the projection were not seen",
    ),
)
"""All methods of this plugin."""
