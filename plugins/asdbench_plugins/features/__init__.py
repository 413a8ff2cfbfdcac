"""Featurizers that any method can use: ``logmel``, ``modspec`` and ``raw``."""

from __future__ import annotations

from collections.abc import Iterable

from asdbench import Entry, hookimpl, lazy


@hookimpl
def asdbench_featurizers() -> Iterable[Entry]:
    """Offer the log-mel spectrogram, the modulation spectrum and the raw items."""
    return [
        Entry(
            name="logmel",
            build=lazy("asdbench_plugins.features.featurizers:LogMel"),
            summary="log-mel energies of mono waves in dB, [mels, frames]; equal to librosa's",
        ),
        Entry(
            name="modspec",
            build=lazy("asdbench_plugins.features.featurizers:ModSpec"),
            summary="modulation spectrum of mono waves, [bands, bins]; precomputed features pass through",
        ),
        Entry(
            name="raw",
            build=lazy("asdbench_plugins.features.featurizers:Raw"),
            summary="the items unchanged",
        ),
    ]
