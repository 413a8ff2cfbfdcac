"""``dcase2022``: DCASE 2022 Challenge Task 2, domain generalisation (MIMII DG, ToyADMOS2).

Seven machine types of six sections; 00 to 02 are the development part, 03 to 05 the evaluation part. The domain of a
test clip is unknown at run time.

The evaluator's ground truth contradicts itself: for ToyCar and ToyTrain, 608 labels and 592 domains in the names in
``ground_truth_attributes`` differ from those in ``ground_truth_data`` and ``ground_truth_domain``, which were used to
score the challenge.

Verified: layout and names from the manual of the official baseline (Kota-Dohi/dcase2022_task2_baseline_ae), which
lists 990 and 10 training clips per section and 50 test clips per domain and label; the same for the evaluation part
from the evaluator's files; Zenodo records from nttcslab/dcase2023_task2_baseline_ae; checksums of the ground truth
from a copy of it (two files were compared with the files at the pinned commits). Not verified: checksums of the
archives.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from asdbench_datasets import citations
from asdbench_datasets.dcase.parts import Release
from asdbench_datasets.dcase.sections import SectionRelease
from asdbench_datasets.dcase.truth import Form

MACHINES = ("bearing", "fan", "gearbox", "slider", "valve", "ToyCar", "ToyTrain")
CITATION = f"""\
K. Dohi, K. Imoto, N. Harada, D. Niizumi, Y. Koizumi, T. Nishida, H. Purohit, T. Endo, M. Yamamoto, Y. Kawaguchi: \
Description and Discussion on DCASE 2022 Challenge Task 2: Unsupervised Anomalous Sound Detection for Machine \
Condition Monitoring Applying Domain Generalization Techniques. arXiv 2206.05876, 2022.
{citations.MIMII_DG}
{citations.TOYADMOS2}"""
CONTRADICTION = (
    "the ground truth of the 2022 evaluation part contradicts itself for ToyCar and ToyTrain: 608 labels and 592 "
    "domains differ between ground_truth_data with ground_truth_domain, which were used to score the challenge, and "
    "ground_truth_attributes"
)


class Dcase2022(SectionRelease, frozen=True, kw_only=True):
    """DCASE 2022 Task 2, its development and evaluation part."""

    release: ClassVar[Release] = Release(
        name="dcase2022",
        title="DCASE 2022 Challenge Task 2",
        homepage="https://dcase.community/challenge2022/"
        "task-unsupervised-anomalous-sound-detection-for-machine-condition-monitoring",
        licence="CC BY-NC-SA 4.0",
        citation=CITATION,
        metrics="dcase2022",
        dev_machines=MACHINES,
        eval_machines=MACHINES,
        evaluator="Kota-Dohi/dcase2022_evaluator",
        train_items={"source": 990, "target": 10},
        counted=("train", "additional"),
        test_items=50,
        evaluation_items=200,
    )

    ground_truth: Annotated[
        Literal["official", "attributes"],
        Meta(
            description="labels and domains of the evaluation part: those used to score the challenge, or those in "
            "the evaluator's attribute tables, which contradict them"
        ),
    ] = "official"

    @property
    def truth_form(self) -> Form:
        """The form of the ground truth to read."""
        return "pair" if self.ground_truth == "official" else "attributes"

    @property
    def published_as(self) -> str:
        """Name of these clips in tables of published results, which all use the official labels."""
        # Development labels are in the file names, so the option does not change them.
        official = self.test == "dev" or self.ground_truth == "official"
        return super().published_as if official else ""

    @property
    def notes(self) -> tuple[str, ...]:
        """What readers of results on the evaluation part must know."""
        used = "the former" if self.ground_truth == "official" else "the latter"
        return (f"{CONTRADICTION}; these results use {used}",) if self.test == "eval" else ()
