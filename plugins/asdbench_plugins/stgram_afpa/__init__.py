"""STgram-MFN and ASD-AFPA: classifiers of machine IDs from wave and log-mel; ASD-AFPA attends over frequency."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from asdbench import Entry, Method, OneOf, Preset, PresetRun, Selector, Setting, hookimpl, lazy
from asdbench_plugins.stgram_afpa.space import MARGINS, SPACE

CITES = "liu2022stgram, zhang2023afpa"

REDUCED = Setting(
    options={
        "length_s": 1.536,  # 48 frames once the last is dropped; all heads of the sweep divide 48
        "drop_last_frame": True,
        "epochs": 6,
        "batch_size": 32,
        "lr": 1.5e-3,
        "start_epoch": 0,
        "checkpoint_every": 3,
    },
    reduced=True,
)
"""The small budget for generated data: some 600 clips in 35 to 45 seconds on two threads."""

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "dcase2022": {"mfn_setting": "dcase2022"},
    "cosine_old": {"schedule": "cosine_old"},
    "margin_off_at_test": {"scorer.margin_at_test": False},
}
"""Presets of both methods."""

HEADS = (1, 2, 3, 4, 6, 8, 12)
"""Numbers of heads in the sweep; all divide 312 frames."""


@hookimpl
def asdbench_models() -> Iterable[Entry]:
    """Offer the network that both methods use."""
    return [
        Entry(
            name="stgram",
            build=lazy("asdbench_plugins.stgram_afpa.model:StgramModel"),
            summary="TgramNet and log-mel, MobileFaceNet, ArcFace over machine IDs; with or without AFPA",
            cites=CITES,
        )
    ]


@hookimpl
def asdbench_methods() -> Iterable[Method]:
    """Offer ASD-AFPA and its backbone."""
    return [_asd_afpa(), _stgram_mfn()]


@hookimpl
def asdbench_figures() -> Iterable[Entry]:
    """Offer the paper's Fig. 2."""
    return [
        Entry(
            name="frequency_pattern",
            build=lazy("asdbench_plugins.stgram_afpa.figures:frequency_pattern_figure"),
            summary="log-mel, mean attention and output of stgram_afpa for chosen clips; asks the trained model",
            cites=CITES,
        )
    ]


@hookimpl
def asdbench_presets() -> Iterable[Preset]:
    """Offer the paper's table with both rules for the checkpoint, and the table of STgram-MFN's repository."""
    dataset = Selector("dcase2020")
    compared = tuple(map(Selector, ("idnn", "mobilenetv2", "glow_aff")))
    own = tuple(map(Selector, ("stgram_mfn", "stgram_afpa")))
    return [
        Preset(
            name="asd_afpa/table1",
            summary="Table 1, last checkpoint; the published code of the last two rows chose it on test labels",
            runs=(PresetRun(dataset=dataset, methods=(*compared, *own)),),
        ),
        Preset(
            name="asd_afpa/table1_selected_on_test",
            summary="the last two rows of Table 1 with the checkpoint that is best on TEST LABELS, as their code chose it",
            runs=(PresetRun(dataset=dataset, methods=own, selection="test"),),
        ),
        Preset(
            name="asd_afpa/readme",
            summary="the table of machine IDs in the README of STgram-MFN, last checkpoint",
            runs=(PresetRun(dataset=dataset, methods=own[:1]),),
        ),
    ]


def _asd_afpa() -> Method:
    return Method(
        name="stgram_afpa",
        title="ASD-AFPA: attention over frequency patterns before STgram-MFN (Interspeech 2023)",
        paper="arXiv:2308.14063",
        featurizer="logmel",
        model="stgram",
        scorer="negative_log_probability",
        defaults={"drop_last_frame": True},
        on={"synthetic": REDUCED},
        scope="all",
        classes=2,
        length_s=10.0,
        presets={**{f"heads_{heads}": {"heads": heads} for heads in HEADS}, **VARIANTS},
        space=SPACE,
        grids={"heads": {"heads": OneOf(values=HEADS)}, "margins": MARGINS},
        home="dcase2020",
        printed=("asd_afpa", "ASD-AFPA"),
    )


def _stgram_mfn() -> Method:
    return Method(
        name="stgram_mfn",
        title="STgram-MFN: wave and log-mel, MobileFaceNet, ArcFace (ICASSP 2022)",
        paper="arXiv:2201.05510",
        featurizer="logmel",
        model="stgram",
        scorer="negative_log_probability",
        defaults={"afpa": False, "margin": 0.7, "epochs": 300},
        on={"synthetic": REDUCED},
        scope="all",
        classes=2,
        length_s=10.0,
        presets={"strict_ablation": {"margin": 1.0, "drop_last_frame": True, "epochs": 200}, **VARIANTS},
        space=SPACE,
        grids={"margins": MARGINS},
        home="dcase2020",
        printed=("asd_afpa", "STgram-MFN"),
    )
