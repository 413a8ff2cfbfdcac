"""The official baselines of DCASE Task 2 from 2023 on: one code for all years, its settings and what is printed of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from asdbench import Printed

OFFICIAL: Mapping[str, Any] = {
    "frames": 5, "n_mels": 128, "n_fft": 1024, "hop": 512, "hidden": 128, "bottleneck": 8, "lr": 1e-3,
    "epochs": 100, "batch_size": 256, "held": 0.1,
}  # fmt: skip
"""Settings of the public code (nttcslab/dcase2023_task2_baseline_ae, 9b64dc4), the same for every year since 2023."""

EVALUATOR, REPORT, REPOSITORY = "README of the evaluator", "a technical report", "README of an entry"
SECOND_HAND = "second hand: quoted from the challenge, whose page was not seen"
SCORES = (
    ("dcase2023/eval", "MSE", 59.25469, EVALUATOR),
    ("dcase2023/eval", "MAHALA", 61.050822, EVALUATOR),
    ("dcase2024/eval", "MSE", 56.508302, EVALUATOR),
    ("dcase2024/eval", "MAHALA", 56.489334, EVALUATOR),
    ("dcase2025/eval", "MSE", 54.428278, EVALUATOR),
    ("dcase2025/eval", "MAHALA", 56.505582, EVALUATOR),
    ("dcase2026/dev", "MSE", 56.66, REPORT),
    ("dcase2026/dev", "MAHALA", 57.66, REPOSITORY),
    ("dcase2026/eval", "MSE", 59.802896, EVALUATOR),
    ("dcase2026/eval", "MAHALA", 54.762772, EVALUATOR),
)
"""Data, score of the autoencoder, official score in percent (harmonic mean), where it is printed."""
RUN_BY = {"MSE": "autoencoder_mse", "MAHALA": "autoencoder_mahala[preset=official]"}


ASDKIT = (
    ("dcase2021", 69.14, 65.36),
    ("dcase2022", 71.62, 67.74),
    ("dcase2023", 64.4, 66.14),
    ("dcase2024", 61.58, 56.84),
)
"""Data, official score of ``dis_spec_scac_trainable`` on the development and on the evaluation part."""
OTHER_SCORER = (
    "mean of 4 trainings; scored by nearest neighbours with SMOTE, where this preset takes k-means centres"
)


def printed() -> Iterator[Printed]:
    """Yield the official scores of the challenge's own baselines, and of the direct discriminative one."""
    for data, name, value, place in SCORES:
        year = data.partition("/")[0].removeprefix("dcase")
        note = "" if place == EVALUATOR else SECOND_HAND
        yield _score(
            data,
            value,
            paper=f"DCASE {year} Task 2",
            table=place,
            method=f"baseline {name}",
            words=RUN_BY[name],
            note=note,
        )
    direct = "direct_two_branch[preset={}]"
    for data, *values in ASDKIT:
        for part, value in zip(("dev", "eval"), values, strict=True):
            yield _score(
                f"{data}/{part}", value, paper="ASDKit (TakuyaFujimura/dcase-asd-toolkit)", table="docs/results.png",
                method="dis_spec_scac_trainable", words=direct.format("asdkit"), why=OTHER_SCORER,
            )  # fmt: skip
    for part, value in (("dev", 64.2), ("eval", 66.6)):
        yield _score(
            f"dcase2023/{part}", value, paper="arXiv:2603.04605", table="Table V", method="Wilkinghoff 2023",
            words=direct.format("wilkinghoff2023"), note="second hand: quoted by another paper",
        )  # fmt: skip


def _score(
    dataset: str,
    percent: float,
    *,
    paper: str,
    table: str,
    method: str,
    words: str,
    note: str = "",
    why: str = "",
) -> Printed:
    return Printed(
        paper=paper, table=table, dataset=dataset, method=method, groups={}, metric="omega", value=percent / 100,
        note=note, words=words, why=why,
    )  # fmt: skip
