"""Featurizers that any method can name: ``logmel``, ``modspec`` and ``raw``."""

from __future__ import annotations

from collections.abc import Iterable

from asdbench.hookspecs import hookimpl
from asdbench.values import Entry, lazy


@hookimpl
def asdbench_featurizers() -> Iterable[Entry]:
    """Offer the log-mel spectrogram, the modulation spectrum, and the raw items themselves."""
    return [
        Entry(
            name="logmel",
            build=lazy("asdbench_plugins.features.featurizers:LogMel"),
            summary="log-mel energies of mono waves in dB, [mels, frames]; equal to librosa's",
        ),
        Entry(
            name="modspec",
            build=lazy("asdbench_plugins.features.featurizers:ModSpec"),
            summary="modulation spectrum of mono waves, [bands, bins], or features that are given as such",
        ),
        Entry(
            name="raw",
            build=lazy("asdbench_plugins.features.featurizers:Raw"),
            summary="the items as they are",
        ),
    ]
