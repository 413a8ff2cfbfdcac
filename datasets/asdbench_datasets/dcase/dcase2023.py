"""``dcase2023``: DCASE 2023 Challenge Task 2, first-shot detection (MIMII DG, ToyADMOS2+).

One section per machine type. The evaluation part has other machine types than the development part, so nothing can be
tuned on the types that are ranked. The domain of a test clip is unknown at run time.

Verified: layout, names, machine types and Zenodo records from the official baseline
(nttcslab/dcase2023_task2_baseline_ae), whose manual lists 990 and 10 training clips and 50 test clips per domain and
label for the development part; checksums of all archives; files and commit of the ground truth from
nttcslab/dcase2023_task2_evaluator. Not verified: checksums of the ground truth, numbers of evaluation clips
(their labels are not balanced: bandsaw has fewer anomalous than normal clips).
"""

from __future__ import annotations

from typing import ClassVar

from asdbench_datasets import citations
from asdbench_datasets.dcase.dcase2022 import MACHINES
from asdbench_datasets.dcase.parts import Release
from asdbench_datasets.dcase.sections import SectionRelease

CITATION = f"""\
K. Dohi, K. Imoto, N. Harada, D. Niizumi, Y. Koizumi, T. Nishida, H. Purohit, R. Tanabe, T. Endo, Y. Kawaguchi: \
Description and Discussion on DCASE 2023 Challenge Task 2: First-Shot Unsupervised Anomalous Sound Detection for \
Machine Condition Monitoring. DCASE Workshop 2023.
{citations.TOYADMOS2}
{citations.MIMII_DG}
{citations.FIRST_SHOT}"""


class Dcase2023(SectionRelease, frozen=True, kw_only=True):
    """DCASE 2023 Task 2, its development and evaluation part."""

    release: ClassVar[Release] = Release(
        name="dcase2023",
        title="DCASE 2023 Challenge Task 2",
        homepage="https://dcase.community/challenge2023/"
        "task-first-shot-unsupervised-anomalous-sound-detection-for-machine-condition-monitoring",
        licence="CC BY-NC-SA 4.0",
        citation=CITATION,
        metrics="dcase2023",
        dev_machines=MACHINES,
        eval_machines=("bandsaw", "grinder", "shaker", "Vacuum", "ToyDrone", "ToyNscale", "ToyTank"),
        dev_sections=("00",),
        eval_sections=("00",),
        evaluator="nttcslab/dcase2023_task2_evaluator",
        train_items={"source": 990, "target": 10},
        # Not "additional": its numbers of clips are not verified.
        counted=("train",),
        test_items=50,
    )
