"""GenRep: generic representations of one layer of a frozen encoder, and nearest neighbours of two domains.

Saengthong and Shinozaki, "Deep generic representations for domain-generalized anomalous sound detection",
arXiv:2409.05035.
"""

from __future__ import annotations

from asdbench import Between, Method, OneOf

GENREP = Method(
    name="genrep",
    title="GenRep: one layer of frozen BEATs, MemMixup, nearest neighbour of two domains",
    paper="arXiv:2409.05035",
    featurizer="raw",
    model="beats",
    scorer="knn",
    defaults={
        "layer": 4,
        "pooling": "mean",
        "bands": "concatenated",
        "scorer.k": 1,
        "scorer.metric": "euclidean",
        "scorer.memmixup": 990,
        "scorer.rescale": "domain",
    },
    presets={
        "without_normalisation": {"scorer.rescale": "none"},
        "test_set_normalisation": {"scorer.rescale": "test_set"},
    },
    space={"layer": Between(low=1, high=12), "scorer.rescale": OneOf(values=("none", "domain", "density"))},
    requires={
        "weights": "give the path of a published BEATs checkpoint, for example "
        "weights=BEATs_iter3_plus_AS2M_finetuned_on_AS2M_cpt1.pt"
    },
    deterministic=True,
    home="dcase2023",
    scope="machine",
    approximate="the printed system normalises distances by the test clips, which only preset=test_set_normalisation does",
)
"""``genrep``."""
