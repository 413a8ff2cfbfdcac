"""Datasets that ship with asdbench, one module for each release."""

from __future__ import annotations

from collections.abc import Iterable

from asdbench.hookspecs import hookimpl
from asdbench.values import Entry, lazy


@hookimpl
def asdbench_datasets() -> Iterable[Entry]:
    """Offer DCASE 2020 Task 2, any folder of recordings, and machine sounds that are made on the machine."""
    return [
        Entry(
            name="dcase2020",
            build=lazy("asdbench_datasets.dcase2020:Dcase2020"),
            summary="DCASE 2020 Task 2: six machine types, 41 machine IDs, MIMII and ToyADMOS recordings",
            cites="koizumi2020dcase",
        ),
        Entry(
            name="folder",
            build=lazy("asdbench_datasets.folder:Folder"),
            summary="your own recordings: <machine>/{train,test}/*.wav, or a folder of normal ones",
        ),
        Entry(
            name="synthetic",
            build=lazy("asdbench_datasets.synthetic:Synthetic"),
            summary="machine sounds from physics, made on the machine from a seed; nothing is downloaded",
        ),
    ]


@hookimpl
def asdbench_metrics() -> Iterable[Entry]:
    """Offer the official figures of the challenges that the datasets belong to."""
    return [
        Entry(
            name="dcase2020",
            build=lazy("asdbench.metrics:dcase2020"),
            summary="AUC and pAUC per machine ID, arithmetic means over IDs and over types",
        )
    ]
