"""``dcase2026``: DCASE 2026 Challenge Task 2, first-shot detection with two channels.

As 2025 without supplemental clips, with new machine types in both parts. Every clip has two channels: 0 is the microphone
near the machine, 1 the one far from it. Items have both, ``[samples, 2]``, and the option ``channel`` of a method chooses:
channel 0 by default, as the official baseline reads it. With the dataset's option ``channel=0`` or ``1`` items are mono.

Clips of a machine type have one length: 10 s in the development part, but 11 s (ToyCar) and 12 s (ToyCarEmu); 6, 10 or 16 s
in the evaluation part, three types of 10 s, one of 6 s and one of 16 s. Which type is which is unknown.

Verified: machine types, names and records from the official baseline (nttcslab/dcase2023_task2_baseline_ae, commit
9b64dc4); channels, lengths, numbers of clips, the checksum of the revised ToyCar archive and of all ten evaluation
archives from public replications (kasahart/asd-experiments) and a technical report; the evaluator's commit and its files of
full names, which give domain and label, from the same. Not verified: other checksums, the evaluator's files of labels and
domains (if its folders ground_truth_data and ground_truth_domain are present, they are read as in 2023), and whether the
development part has the supplemental clips that its record describes (a report found none; they are not read). The
description paper is unknown.
"""

from __future__ import annotations

from typing import ClassVar

from asdbench_datasets import citations
from asdbench_datasets.dcase.parts import Release
from asdbench_datasets.dcase.sections import SectionRelease
from asdbench_datasets.machine_recordings import Channel

CITATION = f"""\
DCASE 2026 Challenge Task 2: Development Dataset, Zenodo 19336329; Additional Training Dataset, Zenodo 20151556; \
Evaluation Dataset, Zenodo 20437238. The paper that describes them is unknown here.
{citations.FIRST_SHOT}"""


class Dcase2026(SectionRelease, frozen=True, kw_only=True):
    """DCASE 2026 Task 2, its development and evaluation part."""

    release: ClassVar[Release] = Release(
        name="dcase2026",
        title="DCASE 2026 Challenge Task 2",
        homepage="https://zenodo.org/records/19336329",
        licence="CC BY-NC-SA 4.0",
        citation=CITATION,
        metrics="dcase2026",
        dev_machines=("bearingEmu", "fan", "gearboxEmu", "sliderEmu", "ToyCar", "ToyCarEmu", "valveEmu"),
        eval_machines=("BlowerDustCollector", "Sander", "SewingMachine", "ToothBrush", "ToyDrone"),
        dev_sections=("00",),
        eval_sections=("00",),
        evaluator="nttcslab/dcase2026_task2_evaluator",
        truth_form="names",
        channels=2,
        train_items={"source": 990, "target": 10},
        counted=("train", "additional"),
        test_items=50,
        evaluation_items=200,
    )

    channel: Channel = "all"

    @property
    def notes(self) -> tuple[str, ...]:
        """What readers of results must know."""
        if self.channel != "all":
            return (f"only channel {self.channel} of two is read (0 near the machine, 1 far from it)",)
        return (
            "clips have two channels (0 near the machine, 1 far from it); a method reads channel 0, unless its option "
            "channel is another",
        )
