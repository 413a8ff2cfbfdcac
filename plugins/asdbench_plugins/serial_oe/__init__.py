"""Serial outlier exposure with its ablations, the serial method, and DDCSAD."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from asdbench import Ensemble, Entry, Method, Preset, PresetRun, Selector, Setting, hookimpl, lazy
from asdbench_plugins.serial_oe.space import INLIER_MODEL, LOSSES, SPACE, TRAINING
from asdbench_plugins.serial_oe.space import TABLE_1 as TRIED

PAPER = "arXiv:2206.05929"
CITES = "kuroyagi2022serial"

GAUSSIANS = {"scorer.components": 2, "scorer.normalize": False, "scorer.reg": 1e-6, "scorer.max_iter": 100}
"""The inlier model where Table I has no entry: scikit-learn's defaults, with the table's smallest number of components."""


class Printed(NamedTuple):
    """The column of Table I for a machine type."""

    lr: float
    batch_size: int
    lam: float
    scorer: str
    p: int


TABLE_1 = {
    "fan": Printed(1e-3, 32, 0.1, "gmm", 16),
    "gearbox": Printed(1e-3, 128, 10.0, "gmm", 64),
    "pump": Printed(1e-3, 128, 10.0, "gmm", 2),
    "valve": Printed(5e-4, 128, 10.0, "gmm", 32),
    "slider": Printed(1e-3, 128, 10.0, "gmm", 2),
    "ToyCar": Printed(1e-3, 128, 10.0, "lof", 16),
    "ToyTrain": Printed(5e-4, 32, 0.1, "lof", 8),
}

SMALL: Mapping[str, Any] = {
    "segment_s": 1.0,
    "segments": 5,
    "n_mels": 64,
    "n_fft": 1024,
    "width": 0.5,
    "depth": 0.3,
    "epochs": 30,
    "batch_size": 32,
    "lr": 2e-3,
    "checkpoint_every": 10,
    "held": 0.2,
}
"""The small budget for generated data."""

SMALL_INLIER_MODEL: Mapping[str, Any] = {"scorer": "gmm", "scorer.components": 1, "scorer.reg": 0.1}
"""On the small budget it learns from eight clips per section; their full covariances need more regularisation."""

NEAREST: Mapping[str, Any] = {"scorer.k": 2, "scorer.metric": "euclidean", "aggregate": "mean"}

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "linear_mel": {"log": False},
    "three_channels": {"channels": 3},
    "scratch": {"weights": None, "channels": 1},
    "recipe_2022": {"log": False, "channels": 3, "aggregate": "lower_half"},
    "mixup_constant": {"mixup_schedule": "constant"},
    "momentum_fixed": {"cycle_momentum": False},
}
"""Presets of every method with an inlier model."""

WITHOUT_MIXUP: Mapping[str, Mapping[str, Any]] = {"without_mixup": {"alpha": 0.0}}

OF_BOTH_LOSSES: Mapping[str, Mapping[str, Any]] = {
    "norm_scale_1": {"norm_scale": 1.0},
    "product_weight_soft": {"product_weight": "soft"},
}

INLIER_MODELS: Mapping[str, Mapping[str, Any]] = {
    "gmm": {"scorer": "gmm", "aggregate": "upper_half"},
    "lof": {"scorer": "lof", "aggregate": "mean"},
    "knn": {"scorer": "knn", **NEAREST},
    "ocsvm": {"scorer": "ocsvm", "aggregate": "mean"},
    "kde": {"scorer": "kde", "aggregate": "mean"},
    "upper_half_of_normality": {"aggregate": "lower_half"},
}
"""The values of Table I for a scorer apply where the preset uses the same scorer."""


@hookimpl
def asdbench_featurizers() -> Iterable[Entry]:
    """Offer the mel spectrogram of normalised waves."""
    return [
        Entry(
            name="normalised_mel",
            build=lazy("asdbench_plugins.serial_oe.features:NormalisedMel"),
            summary="mel magnitudes or their logarithms, of waves normalised by the training items",
            cites=CITES,
        )
    ]


@hookimpl
def asdbench_models() -> Iterable[Entry]:
    """Offer the encoder with two losses, and the encoder with two centroids."""
    return [
        Entry(
            name="serial_oe",
            build=lazy("asdbench_plugins.serial_oe.model:SerialOutlierExposure"),
            summary="EfficientNet-B0 on segments; product IDs by direction, machine type by length",
            cites=CITES,
        ),
        Entry(
            name="ddcsad",
            build=lazy("asdbench_plugins.serial_oe.ddcsad:DoubleCentroids"),
            summary="EfficientNet-B0 on segments; one product ID against the rest, with two centroids",
            cites=CITES,
        ),
    ]


@hookimpl
def asdbench_methods() -> Iterable[Method]:
    """Offer the proposed method, its ablations of Table III, and two systems of Table II."""
    return [
        _proposed("serial_oe", "Proposed method", title="Serial outlier exposure (EUSIPCO 2022)"),
        _proposed(
            "serial_oe_wo_mixup", "w/o Mixup", title="Serial outlier exposure without mixup", alpha=0.0
        ),
        _without_inlier_model(),
        _only_product(),
        _serial_method(),
        _ddcsad(),
    ]


@hookimpl
def asdbench_ensembles() -> Iterable[Ensemble]:
    """Offer the parallel method, which approximates the winner of DCASE 2021 with the methods available here."""
    held = {"held": "0.1"}
    return [
        Ensemble(
            name="parallel",
            title="Parallel method: ID classifiers and a flow, standardised and averaged (DCASE 2021)",
            paper=PAPER,
            members=(
                Selector("serial_method"),
                Selector("serial_oe_only_product"),
                Selector("mobilenetv2", held),
                Selector("stgram_mfn", held),
                Selector("glow_aff", held),
            ),
            approximate="five of asdbench's ID classifiers and flows replace the entry's own five detectors",
            home="dcase2021",
            printed=("serial_oe", "Parallel method"),
        )
    ]


@hookimpl
def asdbench_presets() -> Iterable[Preset]:
    """Offer both tables of results; the checkpoint with the smallest held-out loss counts, as each method states."""
    return [
        _table_of(
            "table2", "Table II: other systems", methods=("parallel", "serial_method", "ddcsad", "serial_oe")
        ),
        _table_of(
            "table3",
            "Table III: ablations",
            methods=("serial_oe", "serial_oe_wo_mixup", "serial_oe_wo_h", "serial_oe_only_product"),
        ),
    ]


def _table_of(name: str, what: str, *, methods: Iterable[str]) -> Preset:
    dataset = Selector("dcase2021", {"protocol": "serial_oe"})
    return Preset(
        name=f"serial_oe/{name}",
        summary=f"{what}; the checkpoint with the smallest held-out loss",
        runs=(PresetRun(dataset=dataset, methods=tuple(map(Selector, methods))),),
    )


def _proposed(name: str, printed: str, *, title: str, **changed: Any) -> Method:
    return Method(
        name=name,
        title=title,
        paper=PAPER,
        featurizer="normalised_mel",
        model="serial_oe",
        scorer="gmm",
        defaults={**GAUSSIANS, **changed},
        units=_table("lr", "batch_size", "lam", "scorer"),
        on=_reduced(**SMALL_INLIER_MODEL),
        scope="machine",
        auxiliary=True,
        held=0.1,
        scorer_on="held",
        aggregate="upper_half",
        selection="validation",
        presets={**VARIANTS, **OF_BOTH_LOSSES, **INLIER_MODELS},
        space=SPACE,
        grids={"table1": TRIED},
        home="dcase2021",
        printed=("serial_oe", printed),
    )


def _only_product() -> Method:
    return Method(
        name="serial_oe_only_product",
        title="Serial outlier exposure with product IDs only",
        paper=PAPER,
        featurizer="normalised_mel",
        model="serial_oe",
        scorer="gmm",
        defaults={**GAUSSIANS, "machine_loss": False, "lam": 1.0},
        units=_table("lr", "batch_size", "scorer"),
        on=_reduced(**SMALL_INLIER_MODEL),
        scope="machine",
        classes=2,
        items=2,
        held=0.1,
        scorer_on="held",
        aggregate="upper_half",
        selection="validation",
        presets={**WITHOUT_MIXUP, **VARIANTS, **INLIER_MODELS},
        space={**TRAINING, **INLIER_MODEL},
        home="dcase2021",
        printed=("serial_oe", "Only product IDs classification"),
    )


def _serial_method() -> Method:
    return Method(
        name="serial_method",
        title="Serial method: classification of product IDs, then LOF (DCASE 2021)",
        paper=PAPER,
        featurizer="normalised_mel",
        model="serial_oe",
        scorer="lof",
        defaults={"machine_loss": False, "lam": 1.0, "product_loss": "softmax", "scorer.k": 16},
        units=_table("lr", "batch_size"),
        on=_reduced(),
        scope="machine",
        classes=2,
        items=2,
        held=0.1,
        scorer_on="held",
        selection="validation",
        approximate="only the paper's description of the challenge entry is known: product IDs, then an inlier model",
        presets={
            **WITHOUT_MIXUP,
            **VARIANTS,
            **INLIER_MODELS,
            "gmm": {**GAUSSIANS, **INLIER_MODELS["gmm"]},
        },
        space={**TRAINING, **INLIER_MODEL},
        home="dcase2021",
        printed=("serial_oe", "Serial method"),
    )


def _without_inlier_model() -> Method:
    return Method(
        name="serial_oe_wo_h",
        title="Serial outlier exposure scored by the probability of the claimed product ID",
        paper=PAPER,
        featurizer="normalised_mel",
        model="serial_oe",
        scorer="reconstruction_error",
        defaults={"scorer.on": "claim_strangeness"},
        units=_table("lr", "batch_size", "lam"),
        on=_reduced(),
        scope="machine",
        auxiliary=True,
        classes=2,
        held=0.1,
        selection="validation",
        presets={"own_logit": {"scorer.on": "claim_negative_logit"}, **OF_BOTH_LOSSES},
        space={**TRAINING, **LOSSES},
        home="dcase2021",
        printed=("serial_oe", "w/o h"),
    )


def _ddcsad() -> Method:
    return Method(
        name="ddcsad",
        title="DDCSAD: one product ID against the rest, with two centroids",
        paper=PAPER,
        featurizer="normalised_mel",
        model="ddcsad",
        scorer="reconstruction_error",
        defaults={"scorer.on": "strangeness"},
        units=_table("lr", "batch_size"),
        on=_reduced(),
        scope="section",
        auxiliary=True,
        held=0.1,
        selection="validation",
        approximate="full text of arXiv:2106.06151 not read here: metric term, its weight and the score are ours",
        presets={
            "probability": {"scorer.on": "claim_strangeness"},
            "distance": {"scorer.on": "distance"},
            **WITHOUT_MIXUP,
        },
        space=TRAINING,
        home="dcase2021",
        printed=("serial_oe", "DDCSAD"),
    )


def _reduced(**more: Any) -> Mapping[str, Setting]:
    """Return the small budget, which keeps the last checkpoint.

    Its 24 held-out clips cannot choose: of three checkpoints, the first is at the peak of OneCycle's learning rate, and
    small losses there go with scores below chance.
    """
    return {"synthetic": Setting(options={**SMALL, **more}, reduced=True, selection="last")}


def _table(*wanted: str) -> dict[str, dict[str, Any]]:
    """Return the options of Table I that apply to a method, by machine type."""
    return {
        machine: {name: value for name, value in _options(column).items() if name.partition(".")[0] in wanted}
        # Section IV: GMM averages the upper half of the segments, LOF all of them.
        | ({"aggregate": "mean"} if "scorer" in wanted and column.scorer == "lof" else {})
        for machine, column in TABLE_1.items()
    }


def _options(column: Printed) -> dict[str, Any]:
    own = "scorer.components" if column.scorer == "gmm" else "scorer.k"
    return {
        "lr": column.lr,
        "batch_size": column.batch_size,
        "lam": column.lam,
        "scorer": column.scorer,
        own: column.p,
    }
