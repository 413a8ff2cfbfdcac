"""The baselines: DCASE 2020's autoencoder and the interpolation network IDNN, one per machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from asdbench.hookspecs import hookimpl
from asdbench.values import Entry, Method, Setting, lazy

BASELINE_FEATURES = {"mel_scale": "slaney", "mel_norm": "slaney", "floor": 2.220446049250313e-16}
"""librosa's mel spectrogram as the DCASE baseline calls it; its floor is the epsilon that it adds."""

REDUCED = Setting(options={"epochs": 30, "checkpoint_every": 10}, reduced=True)
"""The small budget for data that is made on the machine: some seconds a machine."""


@hookimpl
def asdbench_models() -> Iterable[Entry]:
    """Offer the two networks on windows of frames."""
    return [
        Entry(
            name="autoencoder",
            build=lazy("asdbench_plugins.baselines.models:Autoencoder"),
            summary="dense autoencoder of 5-frame windows, 640-128x4-8-128x4-640",
            cites="koizumi2020dcase",
        ),
        Entry(
            name="idnn",
            build=lazy("asdbench_plugins.baselines.models:Interpolator"),
            summary="predicts the centre frame of a 5-frame window from its neighbours",
            cites="suefusa2020idnn",
        ),
    ]


@hookimpl
def asdbench_methods() -> Iterable[Method]:
    """Offer the two baselines."""
    return [
        _baseline(
            "autoencoder",
            title="DCASE 2020 baseline: autoencoder of frame windows",
            paper="arXiv:2006.05822",
            printed=None,
            defaults=BASELINE_FEATURES,
        ),
        _baseline(
            "idnn",
            title="IDNN: interpolation of the centre frame (ICASSP 2020)",
            paper="arXiv:2005.09234",
            printed=("asd_afpa", "IDNN"),
            defaults={},
        ),
    ]


def _baseline(
    name: str, *, title: str, paper: str, printed: tuple[str, str] | None, defaults: Mapping[str, Any]
) -> Method:
    return Method(
        name=name,
        title=title,
        paper=paper,
        featurizer="logmel",
        model=name,
        scorer="reconstruction_error",
        defaults=defaults,
        home="dcase2020",
        on={"synthetic": REDUCED},
        scope="machine",
        held=0.1,
        printed=printed,
    )
