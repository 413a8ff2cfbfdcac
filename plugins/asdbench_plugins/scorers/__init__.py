"""Scorers that can be put on any method's outputs."""

from __future__ import annotations

from collections.abc import Iterable

from asdbench.hookspecs import hookimpl
from asdbench.values import Entry, lazy


@hookimpl
def asdbench_scorers() -> Iterable[Entry]:
    """Offer scorers that read a score from the model, and scorers that learn where normal embeddings lie."""
    return [
        _entry(
            "negative_log_probability", "direct:NegativeLogProbability", "how unlikely the claimed class is"
        ),
        _entry("claim_log_odds", "direct:ClaimLogOdds", "odds against the claimed class"),
        _entry("reconstruction_error", "direct:ReconstructionError", "how badly the model rebuilds an item"),
        _entry("knn", "neighbours:NearestNeighbours", "mean distance to the k nearest training items"),
        _entry("lof", "neighbours:LocalOutlierFactor", "local outlier factor", cites="breunig2000lof"),
        _entry("kmeans", "clusters:KMeans", "distance to the nearest of the training items' centres"),
        _entry("gmm", "gaussian:GaussianMixture", "negative log-likelihood under a Gaussian mixture"),
        _entry("mahalanobis", "gaussian:Mahalanobis", "Mahalanobis distance from the training items' mean"),
        _entry("ocsvm", "kernels:OneClass", "one-class support vectors", cites="scholkopf2001support"),
        _entry("kde", "kernels:KernelDensity", "negative log-density of kernels around the training items"),
    ]


def _entry(name: str, path: str, summary: str, *, cites: str = "") -> Entry:
    return Entry(name=name, build=lazy(f"asdbench_plugins.scorers.{path}"), summary=summary, cites=cites)
