"""Featurizers that any method can use: ``logmel``, ``modspec``, ``covariance``, ``randconv`` and ``raw``."""

from __future__ import annotations

from collections.abc import Iterable

from asdbench import Entry, hookimpl, lazy


@hookimpl
def asdbench_featurizers() -> Iterable[Entry]:
    """Offer spectrograms, what is computed from them, and the raw items."""
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
            name="covariance",
            build=lazy("asdbench_plugins.features.covariance:SpectralCovariance"),
            summary="logarithm of the covariance of a clip's log-mel bands, and their means",
            cites="arsigny2007geometric",
        ),
        Entry(
            name="randconv",
            build=lazy("asdbench_plugins.features.random_convolutions:RandomConvolutions"),
            summary="rectified responses of a log-mel spectrogram to fixed random kernels, [responses, frames]",
            cites="dempster2020rocket",
        ),
        Entry(
            name="raw",
            build=lazy("asdbench_plugins.features.featurizers:Raw"),
            summary="the items unchanged",
        ),
    ]
