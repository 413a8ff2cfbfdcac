"""A plugin for tests, which registers the toy without loading torch, as shipped plugins do."""

from __future__ import annotations

import sys
from typing import Any

from asdbench import (
    Ensemble,
    Entry,
    Method,
    Preset,
    PresetRun,
    Registry,
    Selector,
    hookimpl,
    lazy,
    load_registry,
)
from asdbench.plugin.registry import Plugin


def registry() -> Registry:
    """Return the registry of the installed plugins and the toy."""
    loaded = load_registry()
    loaded.add(Plugin(name="toy"), sys.modules[__name__])
    return loaded


@hookimpl
def asdbench_models() -> list[Entry]:
    """Offer the toy."""
    return [Entry(name="toy", build=lazy("toy_model:Toy"), summary="a toy")]


@hookimpl
def asdbench_ensembles() -> list[Ensemble]:
    """Offer two toys together."""
    members = (Selector("toy_by_machine"), Selector("toy_with_foreign", {"epochs": "2"}))
    return [Ensemble(name="toys", title="toys", paper="none", members=members, approximate="a guess")]


@hookimpl
def asdbench_presets() -> list[Preset]:
    """Offer the toy on two sizes of data."""
    options = {"machines": "fan", "ids": "2", "train_clips": "6", "test_clips": "4", "length_s": "1"}
    runs = tuple(
        PresetRun(
            dataset=Selector("synthetic", options | {"snr_db": snr}),
            methods=(Selector("toy", {"epochs": "1"}),),
        )
        for snr in ("0", "6")
    )
    return [Preset(name="toy/table1", summary="the toy in two noises", runs=runs)]


@hookimpl
def asdbench_methods() -> list[Method]:
    """Offer the toy as a method, in one piece and by machine."""
    shared: dict[str, Any] = {
        "title": "a toy", "paper": "none", "featurizer": "logmel", "model": "toy",
        "scorer": "negative_log_probability", "defaults": {"n_mels": 16},
    }  # fmt: skip
    return [
        Method(name="toy", classes=2, **shared),
        Method(name="toy_by_machine", scope="machine", held=0.2, **shared),
        Method(
            name="toy_with_foreign",
            **{**shared, "defaults": {"n_mels": 16, "scorer": "gmm", "epochs": 1}},
            scope="machine",
            auxiliary=True,
            held=0.34,
            scorer_on="held",
            items=2,
            selection="validation",
            approximate="all of it",
            units={"fan": {"epochs": 2, "scorer": "knn", "aggregate": "max"}},
        ),
    ]
