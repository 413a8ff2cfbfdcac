"""Every shipped scorer, featurizer, dataset and method passes ``asdbench conformance``; most methods are marked slow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_weights import FILES

from asdbench import ConfigError, Selector, load_registry
from asdbench.conformance.check import conformance

SHIPPED = load_registry()
PARTS = [(kind, name) for kind in ("scorer", "featurizer", "dataset") for name in SHIPPED.names(kind)]  # type: ignore[arg-type]
QUICK = ("encoder_knn", "logmel_gmm", "logmel_knn", "modspec_mahalanobis")
"""Methods of the default run."""
TWO_CHANNELS = {"beats_residual": Selector("dcase2026")}
"""Datasets for methods that generated ones of one channel do not fit."""


@pytest.mark.parametrize(("kind", "name"), PARTS)
def test_every_shipped_part_conforms(kind: Any, name: str) -> None:
    report = conformance(SHIPPED, Selector(name), kind=kind)
    assert report.failed == []
    assert [one.check for one in report.findings if one.outcome == "passed"][:2] == ["options", "fits"]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow])
        for name in SHIPPED.names("method")
    ],
)
def test_every_shipped_method_conforms(name: str, tmp_path: Path) -> None:
    options = {}
    for option in SHIPPED.method(name).requires:
        options[option] = str(tmp_path / "weights.pt")
        FILES[name](tmp_path / "weights.pt")
    assert conformance(SHIPPED, Selector(name, options), dataset=TWO_CHANNELS.get(name)).failed == []


def test_a_method_without_an_option_that_it_requires_is_refused() -> None:
    with pytest.raises(ConfigError, match="encoder_knn needs encoder: give the path"):
        conformance(SHIPPED, Selector("encoder_knn"))
