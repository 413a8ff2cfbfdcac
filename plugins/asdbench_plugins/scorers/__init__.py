"""Scorers that work on any method's outputs."""

from __future__ import annotations

from collections.abc import Iterable

from asdbench import Entry, hookimpl, lazy


@hookimpl
def asdbench_scorers() -> Iterable[Entry]:
    """Offer scorers that read a score from the model, and scorers that learn the region of normal embeddings."""
    return [
        _entry(
            "negative_log_probability",
            "direct:NegativeLogProbability",
            summary="negative log-probability of the claimed class",
        ),
        _entry("claim_log_odds", "direct:ClaimLogOdds", summary="log-odds against the claimed class"),
        _entry(
            "reconstruction_error",
            "direct:ReconstructionError",
            summary="error of the model's reconstruction",
        ),
        _entry(
            "knn", "neighbours:NearestNeighbours", summary="mean distance to the k nearest training points"
        ),
        _entry(
            "lof", "neighbours:LocalOutlierFactor", summary="local outlier factor", cites="breunig2000lof"
        ),
        _entry("kmeans", "clusters:KMeans", summary="distance to the nearest cluster centre"),
        _entry(
            "source_centres",
            "centres:SourceCentres",
            summary="cosine distance to the nearest source centre or target point",
        ),
        _entry("gmm", "gaussian:GaussianMixture", summary="negative log-likelihood of a Gaussian mixture"),
        _entry("mahalanobis", "gaussian:Mahalanobis", summary="Mahalanobis distance from the training mean"),
        _entry("ocsvm", "kernels:OneClass", summary="one-class SVM", cites="scholkopf2001support"),
        _entry("pca_residual", "fusion:PcaResidual", summary="distance to the first principal components"),
        _entry(
            "prps",
            "prototypes:Prototypes",
            summary="knn, and distance to prototypes spread over keys, half each",
        ),
        _entry("min_fusion", "fusion:MinFusion", summary="the least of several standardised scores"),
        _entry("kde", "kernels:KernelDensity", summary="negative log-density of a kernel density estimate"),
    ]


def _entry(name: str, path: str, *, summary: str, cites: str = "") -> Entry:
    return Entry(name=name, build=lazy(f"asdbench_plugins.scorers.{path}"), summary=summary, cites=cites)
