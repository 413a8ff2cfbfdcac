"""Datasets that ship with asdbench: a package for each family of releases, and one for each kind of generated data."""

from __future__ import annotations

from collections.abc import Iterable

from asdbench import Entry, hookimpl, lazy

_YEARS = {
    "2020": ("six machine types, 41 machine IDs, MIMII and ToyADMOS recordings", "koizumi2020dcase"),
    "2021": ("domain shift, seven machine types of six sections, MIMII DUE, ToyADMOS2", "kawaguchi2021dcase"),
    "2022": ("domain generalisation, seven machine types of six sections, MIMII DG", "dohi2022dcase"),
    "2023": ("first shot, other machine types in the evaluation part", "dohi2023dcase"),
    "2024": ("first shot, attributes of some machine types hidden", "nishida2024dcase"),
    "2025": ("first shot, with supplemental clips of clean machines or noise", "nishida2025dcase"),
    "2026": ("first shot, two channels: a microphone near the machine and one far from it", ""),
}
_METRICS = {
    "2020": "AUC and pAUC per machine ID, arithmetic means over IDs and over types",
    "2021": "AUC and pAUC per section and domain, harmonic means over all",
    "2022": "AUC per domain against all anomalous clips, pAUC over both, harmonic mean Omega",
    "2023": "as 2022, one section per machine type",
    "2024": "as 2023",
    "2025": "as 2023",
    "2026": "as 2023",
}

_DCASE = (
    *(
        Entry(
            name=f"dcase{year}",
            build=lazy(f"asdbench_datasets.dcase.dcase{year}:Dcase{year}"),
            summary=f"DCASE {year} Task 2: {summary}",
            cites=cites,
        )
        for year, (summary, cites) in _YEARS.items()
    ),
    Entry(
        name="dcase2020_modspec",
        build=lazy("asdbench_datasets.dcase.modspec:Modspec"),
        summary="modulation spectra of DCASE 2020, 20 machine IDs; features only, no audio",
        cites="koizumi2020dcase",
    ),
)

_MIMII = (
    Entry(
        name="mimii",
        build=lazy("asdbench_datasets.mimii.mimii:Mimii"),
        summary="MIMII: four machine types at -6, 0 or 6 dB, eight microphones",
        cites="purohit2019mimii",
    ),
    Entry(
        name="mimii_due",
        build=lazy("asdbench_datasets.mimii.mimii_due:MimiiDue"),
        summary="MIMII DUE: five machine types under domain shift",
        cites="tanabe2021mimii",
    ),
)

_ROBOT = (
    Entry(
        name="kuka",
        build=lazy("asdbench_datasets.robot.kuka:Kuka"),
        summary="KUKA arm at usual and reduced speed, windows of 86 columns; the files are not public",
    ),
    Entry(
        name="synthetic_robot",
        build=lazy("asdbench_datasets.robot.synthetic_robot:SyntheticRobot"),
        summary="simulated arm in the format of kuka, generated from a seed; no download",
    ),
    Entry(
        name="timeseries",
        build=lazy("asdbench_datasets.robot.timeseries:TimeSeries"),
        summary="your own tables (csv, parquet, npy) as windows, with or without labels",
    ),
    Entry(
        name="ur3_cobotops",
        build=lazy("asdbench_datasets.robot.ur3_cobotops:Ur3Cobotops"),
        summary="UR3 cobot, protective stops and grip losses, windows of 19 columns",
        cites="tyrovolas2024ur3",
    ),
)

_FACES = (
    Entry(
        name="micro_expression",
        build=lazy("asdbench_datasets.faces.micro_expression:MicroExpression"),
        summary="micro-expressions of 68 subjects, CASME II, SAMM and SMIC-HS as optical flow; needs licences",
        cites="see2019megc",
    ),
    Entry(
        name="synthetic_faces",
        build=lazy("asdbench_datasets.faces.synthetic_faces:SyntheticFaces"),
        summary="optical flow of 68 generated faces, from a seed; no download",
    ),
)

_OTHERS = (
    Entry(
        name="folder",
        build=lazy("asdbench_datasets.folder:Folder"),
        summary="your own recordings: <machine>/{train,test}/*.wav, or one folder of normal recordings",
    ),
    Entry(
        name="synthetic",
        build=lazy("asdbench_datasets.synthetic.synthetic:Synthetic"),
        summary="machine sounds from physical models, generated from a seed; no download",
    ),
)


@hookimpl
def asdbench_datasets() -> Iterable[Entry]:
    """Offer the releases of DCASE Task 2 and MIMII, robot and face data, your own files and generated data."""
    return [*_DCASE, *_MIMII, *_ROBOT, *_FACES, *_OTHERS]


@hookimpl
def asdbench_metrics() -> Iterable[Entry]:
    """Offer the official metric sets of the challenges that the datasets belong to."""
    return [
        Entry(name=f"dcase{year}", build=lazy(f"asdbench.metrics:dcase{year}"), summary=summary)
        for year, summary in _METRICS.items()
    ] + [
        Entry(
            name="dcase2021_arithmetic",
            build=lazy("asdbench.metrics:dcase2021_arithmetic"),
            summary="AUC and pAUC per section and domain as in 2021, arithmetic means",
        ),
        Entry(
            name="holdout",
            build=lazy("asdbench.metrics:holdout"),
            summary="AP and F1max of validation items, recall of test items at the threshold of F1max",
        ),
        Entry(
            name="classification",
            build=lazy("asdbench.metrics:classification"),
            summary="accuracy, accuracy against the rest, macro-F1 and mean recall of pooled predictions",
        ),
    ]
