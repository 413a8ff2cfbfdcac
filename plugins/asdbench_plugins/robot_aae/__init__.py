"""Autoencoder and adversarial autoencoder of robot windows, and two references without gradient training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from asdbench import Entry, Method, Preset, PresetRun, Selector, Setting, hookimpl, lazy
from asdbench_plugins.robot_aae.space import ADVERSARIAL, COMPONENTS, FOREST, SPACE, TABLE_1, TABLE_2

PAPER = (
    "Zakhireh, Karimi, Lahijaniamiri, Mahdavi: Detection of anomalous behaviour in industrial robot, course report, "
    "Politecnico di Torino"
)
CITES = "zhou2019beatgan, mescheder2018which"
LATENTS = (50, 70)
"""Latent sizes of Table I besides the default of 30."""
WEIGHTS = ("1e-4", "1e-2", "1e-1")
"""Values of lambda in Table II besides the default of 1e-3."""
WINDOWS = (30, 50, 70, 100)
"""Window lengths of Table I; Table II has the first and the last."""
SMALL = ("synthetic_robot", "ur3_cobotops")
SHARED: Mapping[str, Mapping[str, Any]] = {
    "beatgan_adam": {"beta1": 0.5},
    "bn_everywhere": {"bn_first": True},
    "sigmoid": {"output": "sigmoid"},
    "scaled_by_dataset": {"scale": "none"},
    "scaled_by_row": {"scale": "row"},
}
"""Presets of both networks for what the paper leaves open or states in two ways."""


@hookimpl
def asdbench_featurizers() -> Iterable[Entry]:
    """Offer the scaling of windows."""
    return [
        Entry(
            name="minmax",
            build=lazy("asdbench_plugins.robot_aae.scaling:MinMax"),
            summary="windows [rows, features], scaled to 0..1 by the range of the training windows",
        )
    ]


@hookimpl
def asdbench_models() -> Iterable[Entry]:
    """Offer the networks and the references."""
    return [
        Entry(
            name="robot_autoencoder",
            build=lazy("asdbench_plugins.robot_aae.model:RobotAutoencoder"),
            summary="strided convolutional autoencoder over the features of a window, rows as channels",
            cites=CITES,
        ),
        Entry(
            name="robot_adversarial",
            build=lazy("asdbench_plugins.robot_aae.model:RobotAdversarial"),
            summary="the same, trained against a discriminator, with pairwise feature matching and R1",
            cites=CITES,
        ),
        Entry(
            name="window_pca",
            build=lazy("asdbench_plugins.robot_aae.references:WindowPca"),
            summary="reconstruction from principal components of whole windows",
        ),
        Entry(
            name="window_forest",
            build=lazy("asdbench_plugins.robot_aae.references:WindowForest"),
            summary="isolation forest of whole windows",
            cites="liu2008isolation",
        ),
    ]


@hookimpl
def asdbench_methods() -> Iterable[Method]:
    """Offer the paper's two networks and the references."""
    return [_autoencoder(), _adversarial(), _pca(), _forest()]


@hookimpl
def asdbench_presets() -> Iterable[Preset]:
    """Offer both tables of the paper."""
    return [
        _table(
            "table1",
            summary="autoencoders: window lengths x latent sizes",
            windows=WINDOWS,
            method="robot_ae",
            presets=[f"L{latent}" for latent in LATENTS],
        ),
        _table(
            "table2",
            summary="adversarial autoencoders: values of lambda",
            windows=(30, 100),
            method="robot_aae",
            presets=[f"lambda_{weight}" for weight in WEIGHTS],
        ),
    ]


def _table(name: str, *, summary: str, windows: Sequence[int], method: str, presets: Sequence[str]) -> Preset:
    """Return one run per window length, of the method with its defaults and with each preset."""
    methods = (Selector(method), *(Selector(method, {"preset": preset}) for preset in presets))
    return Preset(
        name=f"robot_aae/{name}",
        summary=summary,
        runs=tuple(
            PresetRun(dataset=Selector("kuka", {"window": str(window)}), methods=methods)
            for window in windows
        ),
    )


def _reduced() -> Mapping[str, Setting]:
    """Return the budgets for small datasets: up to a few minutes on one CPU thread, UR3 the longest."""
    fast = {"lr": 3e-3, "batch_size": 32, "output": "sigmoid", "log_every": 100}
    return {
        "synthetic_robot": Setting(options={**fast, "width": 0.5, "iterations": 500}, reduced=True),
        "ur3_cobotops": Setting(options={**fast, "latent": 70, "iterations": 3000}, reduced=True),
    }


def _whole() -> Mapping[str, Setting]:
    """Return settings that change nothing on the small datasets."""
    return {name: Setting(options={}) for name in SMALL}


def _autoencoder() -> Method:
    return Method(
        name="robot_ae",
        title="Autoencoder of robot windows, convolutions over the features",
        paper=PAPER,
        featurizer="minmax",
        model="robot_autoencoder",
        scorer="reconstruction_error",
        on=_reduced(),
        items=2,
        presets={**{f"L{latent}": {"latent": latent} for latent in LATENTS}, **SHARED},
        space=SPACE,
        grids={"table1": TABLE_1},
        home="kuka",
        printed=("robot_aae", "AE L=30"),
    )


def _adversarial() -> Method:
    return Method(
        name="robot_aae",
        title="Adversarial autoencoder of robot windows, pairwise feature matching and R1",
        paper=PAPER,
        featurizer="minmax",
        model="robot_adversarial",
        scorer="reconstruction_error",
        on=_reduced(),
        items=2,
        presets={
            **{f"lambda_{weight}": {"weight": float(weight)} for weight in WEIGHTS},
            "without_r1": {"r1": False},
            "reference_r1": {"gamma": 20.0},
            **SHARED,
        },
        space=ADVERSARIAL,
        grids={"table2": TABLE_2},
        home="kuka",
        printed=("robot_aae", "AAE lambda=1e-3"),
    )


def _pca() -> Method:
    return Method(
        name="pca",
        title="Principal components of robot windows, no gradient training",
        paper="none: a reference",
        featurizer="minmax",
        model="window_pca",
        deterministic=True,
        scorer="reconstruction_error",
        space=COMPONENTS,
        on=_whole(),
        items=2,
        home="kuka",
    )


def _forest() -> Method:
    return Method(
        name="isolation_forest",
        title="Isolation forest of robot windows, no gradient training",
        paper="Liu, Ting, Zhou: Isolation forest, ICDM 2008",
        featurizer="minmax",
        model="window_forest",
        scorer="reconstruction_error",
        defaults={"scorer.on": "isolation"},
        space=FOREST,
        on=_whole(),
        items=2,
        home="kuka",
    )
