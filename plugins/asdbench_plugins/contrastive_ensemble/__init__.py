"""The enhanced contrastive ensemble: GhostNetV2, time CNN, their fusion and frequency statistics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from asdbench import Entry, Method, Preset, PresetRun, Selector, Setting, hookimpl, lazy
from asdbench_plugins.contrastive_ensemble import compared
from asdbench_plugins.contrastive_ensemble.space import ABLATIONS, SPACE

PACKAGE = "asdbench_plugins.contrastive_ensemble"
CITES = "contrastive_ensemble2025"

SMALL: Mapping[str, Any] = {
    "length_s": 1.6,
    "n_fft": 1024,
    "n_mels": 64,
    "width": 0.5,
    "embedding_dims": 256,  # a third of the fusion classifier's cost, which is most of a clip's cost
    "projector_dims": 512,
    "predictor_dims": 128,
    "shift_hop": 256,
    "cosine": "all",
    "pretrain_epochs": 4,
    "pretrain_batch": 32,
    "pretrain_lr": 0.02,
    "finetune_epochs": 2,
    "finetune_batch": 32,
    "time_epochs": 8,
    "time_batch": 32,
    "fusion_epochs": 5,
    "fusion_batch": 32,
    "fusion_lr": 0.01,
}
"""The small budget: some 600 clips in about two minutes on two threads."""

MIMII = Selector("dcase2020", {"train": "dev", "machines": "fan+pump+slider+valve"})
"""What the paper calls MIMII: it names the archive of DCASE 2020."""
TABLE_3 = (
    (MIMII, ("autoencoder", "idnn", "mobilenetv2", "aadcl", "conv_autoencoder", "complex_network")),
    (
        Selector("dcase2020", {"train": "dev"}),
        ("conv_autoencoder", "incremental_classifier", "glow_aff", "stgram_mfn", "time_spectrum_fusion"),
    ),
    (Selector("mimii_due"), ("autoencoder", "mobilenetv2", "uada")),
)
"""The methods that Table 3 compares on each of its datasets, besides the proposed one."""

SHARES = (100, 95, 90, 80, 70, 50, 30, 0)
"""Percentages of the first model in the sweep over both weights."""

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "wo_fusion": {"first": "spectral", "time_epochs": 0, "fusion_epochs": 0},
    "wo_stat": {"first_weight": 1.0, "second_weight": 0.0},
    "no_checkerboard": {"mix": "mixup"},
    "no_mixing": {"mix": "none"},
    "sf_only": {"pseudo": "sf"},
    "sp_only": {"pseudo": "sp"},
    "no_simsiam": {"simsiam": False},
    "raw_likelihoods": {"likelihood": "raw"},
    "small": SMALL,
    **{
        f"weights_{share}_{100 - share}": {"first_weight": share / 100, "second_weight": (100 - share) / 100}
        for share in SHARES
    },
}


@hookimpl
def asdbench_featurizers() -> Iterable[Entry]:
    """Offer the method's three spectrograms."""
    return [
        Entry(
            name="ensemble_planes",
            build=lazy(f"{PACKAGE}.features:SpectralPlanes"),
            summary="log-mel of power and of magnitude, standardised, and linear power mel: [3, mels, frames]",
            cites=CITES,
        )
    ]


@hookimpl
def asdbench_figures() -> Iterable[Entry]:
    """Offer the paper's Figs. 1, 3 and 6."""
    return [
        Entry(
            name="mixing_examples",
            build=lazy(f"{PACKAGE}.figures:examples_figure"),
            summary="checkerboard, SF, SP and GWAP of contrastive_ensemble for two clips; asks the trained model",
            cites=CITES,
        )
    ]


@hookimpl
def asdbench_models() -> Iterable[Entry]:
    """Offer the networks, and those of approximated systems."""
    return [
        Entry(
            name="contrastive_ensemble",
            build=lazy(f"{PACKAGE}.model:EnsembleModel"),
            summary="GhostNetV2 trained with SimSiam, ArcFace and pseudo-anomalies; time CNN; fusion; statistics",
            cites=CITES,
        ),
        *compared.models(),
    ]


@hookimpl
def asdbench_scorers() -> Iterable[Entry]:
    """Offer the weighted sum of two Gaussians."""
    return [
        Entry(
            name="weighted_gaussians",
            build=lazy(f"{PACKAGE}.scorer:WeightedGaussians"),
            summary="weighted sum of two outputs' negative log-likelihoods, each under a Gaussian per claimed class",
            cites=CITES,
        )
    ]


@hookimpl
def asdbench_methods() -> Iterable[Method]:
    """Offer the method, whose ablations are presets, and approximations of systems that the paper compares."""
    return [
        Method(
            name="contrastive_ensemble",
            title="Enhanced contrastive ensemble with pseudo-anomalies and statistics (Appl. Sci. 2025)",
            paper="doi:10.3390/app15031624",
            featurizer="ensemble_planes",
            model="contrastive_ensemble",
            scorer="weighted_gaussians",
            on={"synthetic": Setting(options=SMALL, reduced=True)},
            scope="all",
            classes=2,
            items=2,
            length_s=10.0,
            presets=PRESETS,
            reduced_presets=("small",),
            space=SPACE,
            grids={"ablations": ABLATIONS},
            home="dcase2020",
            printed=("contrastive_ensemble", "This research"),
        ),
        *compared.methods(),
    ]


@hookimpl
def asdbench_presets() -> Iterable[Preset]:
    """Offer the paper's tables of results; it states no rule for checkpoints, so the last one counts."""
    proposed = Selector("contrastive_ensemble")
    table_3 = tuple(
        PresetRun(dataset=dataset, methods=(*map(Selector, compared), proposed))
        for dataset, compared in TABLE_3
    )
    return [
        Preset(
            name="contrastive_ensemble/table3",
            summary="Table 3: other systems on MIMII, DCASE 2020 and MIMII DUE, last checkpoint",
            runs=table_3,
        ),
        _ablation("table4", "Table 4: pAUC and recall on MIMII", presets=()),
        _ablation("table5", "Table 5: without the fusion model, on MIMII", presets=("wo_fusion",)),
        _ablation("table6", "Table 6: without the statistical features, on MIMII", presets=("wo_stat",)),
    ]


def _ablation(name: str, what: str, *, presets: Iterable[str]) -> Preset:
    without = (Selector("contrastive_ensemble", {"preset": preset}) for preset in presets)
    methods = (Selector("contrastive_ensemble"), *without)
    return Preset(
        name=f"contrastive_ensemble/{name}",
        summary=f"{what}, last checkpoint",
        runs=(PresetRun(dataset=MIMII, methods=methods),),
    )
