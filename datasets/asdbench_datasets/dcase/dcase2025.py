"""``dcase2025``: DCASE 2025 Challenge Task 2, first-shot detection with supplemental clips.

As 2024, with eight new machine types in the evaluation part, and with folders of ``supplemental`` clips (the clean
machine, or noise only) beside the training clips. They are for training only and off by default. Their attributes say
what they are (``machine_0001``); their domain is unknown.

Verified: layout, names, machine types and Zenodo records from the official baseline
(nttcslab/dcase2023_task2_baseline_ae), and its list of the evaluation clips' full names, which serves as ground truth,
with its commit; numbers of development clips from the listing in its manual (commit 07f9150): 990 and 10 training clips
and 50 test clips per domain and label. Not verified: the official evaluator (its commit could not be seen, so nothing is
fetched from it; if its folders ground_truth_data and ground_truth_domain are present, they are read before the list),
all checksums, numbers of additional, supplemental and evaluation clips, names of supplemental clips other than
``section_00_machine_0001_.wav``, and whether the development archives have such clips (they are looked for in both
parts).
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from asdbench_datasets import citations
from asdbench_datasets.dcase.dcase2022 import MACHINES
from asdbench_datasets.dcase.parts import Part, Release
from asdbench_datasets.dcase.sections import SectionRelease

CITATION = f"""\
T. Nishida, N. Harada, D. Niizumi, D. Albertini, R. Sannino, S. Pradolini, F. Augusti, K. Imoto, K. Dohi, \
H. Purohit, T. Endo, Y. Kawaguchi: Description and Discussion on DCASE 2025 Challenge Task 2: First-Shot \
Unsupervised Anomalous Sound Detection for Machine Condition Monitoring. arXiv 2506.10097, 2025.
{citations.TOYADMOS2}
{citations.MIMII_DG}
{citations.FIRST_SHOT}"""


class Dcase2025(SectionRelease, frozen=True, kw_only=True):
    """DCASE 2025 Task 2, its development and evaluation part."""

    release: ClassVar[Release] = Release(
        name="dcase2025",
        title="DCASE 2025 Challenge Task 2",
        homepage="https://dcase.community/challenge2025/"
        "task-first-shot-unsupervised-anomalous-sound-detection-for-machine-condition-monitoring",
        licence="CC BY-NC-SA 4.0",
        citation=CITATION,
        metrics="dcase2025",
        dev_machines=MACHINES,
        eval_machines=(
            "AutoTrash",
            "BandSealer",
            "CoffeeGrinder",
            "HomeCamera",
            "Polisher",
            "ScrewFeeder",
            "ToyPet",
            "ToyRCCar",
        ),
        dev_sections=("00",),
        eval_sections=("00",),
        evaluator="nttcslab/dcase2023_task2_baseline_ae/datasets",
        truth_listing="eval_data_list_2025.csv",
        train_items={"source": 990, "target": 10},
        # Not "additional": its numbers of clips are not verified.
        counted=("train",),
        test_items=50,
    )

    supplemental: Annotated[
        bool,
        Meta(description="also train on the supplemental clips: the clean machine, or noise only"),
    ] = False

    @property
    def published_as(self) -> str:
        """Name of these clips in tables of published results, which use no supplemental clips."""
        return "" if self.supplemental else super().published_as

    @property
    def parts(self) -> tuple[Part, ...]:
        """The selected parts."""
        chosen = super().parts
        # Both parts may have supplemental clips; only those beside the chosen training clips count.
        folders = {part.folder for part in chosen if part.trains}
        return tuple(
            part
            for part in self.release.parts
            if part in chosen
            or (self.supplemental and part.name == "supplemental" and part.folder in folders)
        )
