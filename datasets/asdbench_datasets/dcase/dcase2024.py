"""``dcase2024``: DCASE 2024 Challenge Task 2, first-shot detection with hidden attributes.

As 2023, with nine new machine types in the evaluation part. The operating conditions of some machine types are
hidden: their attributes are ``noAttribute``.

Verified: layout, names, machine types and Zenodo records from the official baseline
(nttcslab/dcase2023_task2_baseline_ae; two archives of additional clips are the second revision); the commit of
nttcslab/dcase2024_task2_evaluator and its ground truth for five machine types (3DPrinter, AirCompressor,
BrushlessMotor, RoboticArm, Scanner; its manual names the others); numbers of development clips from the listing in the
manual of the official baseline (release 3.3.0): 990 and 10 training clips and 50 test clips per domain and label. Not
verified: all checksums, numbers of additional and evaluation clips.
"""

from __future__ import annotations

from typing import ClassVar

from asdbench_datasets import citations
from asdbench_datasets.dcase.dcase2022 import MACHINES
from asdbench_datasets.dcase.parts import Release
from asdbench_datasets.dcase.sections import SectionRelease

CITATION = f"""\
T. Nishida, N. Harada, D. Niizumi, D. Albertini, R. Sannino, S. Pradolini, F. Augusti, K. Imoto, K. Dohi, \
H. Purohit, T. Endo, Y. Kawaguchi: Description and Discussion on DCASE 2024 Challenge Task 2: First-Shot \
Unsupervised Anomalous Sound Detection for Machine Condition Monitoring. arXiv 2406.07250, 2024.
{citations.TOYADMOS2}
{citations.MIMII_DG}
{citations.FIRST_SHOT}"""


class Dcase2024(SectionRelease, frozen=True, kw_only=True):
    """DCASE 2024 Task 2, its development and evaluation part."""

    release: ClassVar[Release] = Release(
        name="dcase2024",
        title="DCASE 2024 Challenge Task 2",
        homepage="https://dcase.community/challenge2024/"
        "task-first-shot-unsupervised-anomalous-sound-detection-for-machine-condition-monitoring",
        licence="CC BY-NC-SA 4.0",
        citation=CITATION,
        metrics="dcase2024",
        dev_machines=MACHINES,
        eval_machines=(
            "3DPrinter",
            "AirCompressor",
            "BrushlessMotor",
            "HairDryer",
            "HoveringDrone",
            "RoboticArm",
            "Scanner",
            "ToothBrush",
            "ToyCircuit",
        ),
        dev_sections=("00",),
        eval_sections=("00",),
        evaluator="nttcslab/dcase2024_task2_evaluator",
        train_items={"source": 990, "target": 10},
        # Not "additional": its numbers of clips are not verified.
        counted=("train",),
        test_items=50,
    )
