"""The methods of this plugin: nothing is trained, so each is an encoder, its pooling and a scorer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asdbench import Between, Method, OneOf, Setting, Space

OF_BEAMS: Space = {
    "layer": Between(low=1, high=12),
    "gamma": Between(low=1.0, high=25.0, log=True),
    "deviation": OneOf(values=("max", "minmax")),
    "scorer.rescale": OneOf(values=("none", "density", "varmin")),
    "scorer.density_neighbours": Between(low=1, high=16, log=True),
}

OF_TOKENS: Space = {
    "pooling": OneOf(values=("mean", "rdp", "gem", "rdp_gem")),
    "gamma": Between(low=1.0, high=25.0, log=True, when={"pooling": ("rdp", "rdp_gem")}),
    "scorer.k": Between(low=1, high=4),
    "scorer.rescale": OneOf(values=("none", "density", "varmin")),
}
PRINTED = "which layer, number of neighbours and rescaling: the printed systems do not say, or use the encoder otherwise"


def nearest(
    model: str, *, title: str, file: str, defaults: Mapping[str, Any], approximate: str = PRINTED
) -> Method:
    """Return the method that scores an encoder's pooled tokens by the nearest training clips."""
    return Method(
        name=f"{model}_knn",
        title=f"Frozen {title}, pooled over time and bands, nearest training clips with local density normalisation",
        paper="arXiv:2603.04605",
        featurizer="raw",
        model=model,
        scorer="knn",
        defaults={
            "bands": "joint",
            "scorer.metric": "cosine",
            "scorer.rescale": "density",
            "scorer.density_neighbours": 2,
            **defaults,
        },
        space=OF_TOKENS,
        requires={
            "weights": f"give the path of a published checkpoint of {title}, for example weights={file}"
        },
        home="dcase2023",
        scope="machine",
        deterministic=True,
        approximate=approximate,
    )


METHODS = (
    nearest("eat", title="EAT or SSLAM", file="EAT-base_epoch10_pt.pt", defaults={"model.gamma": 1.0}),
    nearest("ced", title="CED", file="audiotransformer_mini_mAP_4896.pt", defaults={"pooling": "mean"}),
    nearest("dasheng", title="Dasheng", file="dasheng_base.pt", defaults={"model.gamma": 20.0}),
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
        presets={"near": {"channel": 0}, "far": {"channel": 1}, "ss": {"channel": "ss"}},
        home="dcase2026",
        scope="machine",
        deterministic=True,
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
        deterministic=True,
        approximate="one encoder and layer of an ensemble; the distance and the generator of the projection were not seen",
    ),
)
"""All methods of this plugin."""
