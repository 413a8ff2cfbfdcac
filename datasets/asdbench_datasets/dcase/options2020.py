"""Options of ``dcase2020``: its parts and machine types, and the names of its clips."""

from __future__ import annotations

import functools
import re
from typing import Annotated, Literal

from msgspec import Meta
from msgspec.structs import force_setattr

from asdbench import Config, ConfigError
from asdbench_datasets.dcase.parts import Part
from asdbench_datasets.machine_recordings import Channel, Machines, SampleRate, ordered_machines
from asdbench_datasets.official_tables import table

MACHINES = ("fan", "pump", "slider", "valve", "ToyCar", "ToyConveyor")
MIMII = ("fan", "pump", "slider", "valve")
"""Machine types whose clips are from MIMII; papers call results of training on them alone MIMII results."""
TABLES = "dcase"

LABELLED = re.compile(r"(?P<label>normal|anomaly)_id_(?P<section>\d{2})_(?P<number>\d{8})\.wav", re.ASCII)
# The empty label gives both patterns the same fields; `fields_of` drops it.
_SECRET = re.compile(r"(?P<label>)id_(?P<section>\d{2})_\d{8}\.wav", re.ASCII)
_TRAIN, _TEST, _EVALUATION = {"train": LABELLED}, {"test": LABELLED}, {"test": _SECRET}
_NORMAL, _BARE = "normal_id_00_00000000.wav", "id_00_00000000.wav"
PARTS = (
    Part(name="train", folder="dev_data", archives="dev", patterns=_TRAIN, example=_NORMAL),
    Part(name="additional", folder="eval_data", archives="additional", patterns=_TRAIN, example=_NORMAL),
    Part(name="test", folder="dev_data", archives="dev", patterns=_TEST, example=_NORMAL),
    Part(name="evaluation", folder="eval_data", archives="evaluation", patterns=_EVALUATION, example=_BARE),
)


class Options2020(Config, frozen=True):
    """What a user can select of DCASE 2020 Task 2.

    Raises:
        ConfigError: A machine type is unknown, or evaluation clips are selected without their training clips.
    """

    train: Annotated[
        Literal["dev", "dev+additional"],
        Meta(description="training clips of the 23 development machine IDs, or of all 41"),
    ] = "dev+additional"
    test: Annotated[
        Literal["dev", "evaluation"],
        Meta(
            description="test clips of the development IDs, or of the other IDs, whose labels are in the ground truth "
            "of the official evaluator"
        ),
    ] = "dev"
    machines: Machines = ()
    sample_rate: SampleRate = 16000
    channel: Channel = 0

    def __post_init__(self) -> None:
        force_setattr(self, "machines", ordered_machines(self.machines, MACHINES))
        if self.test == "evaluation" and self.train == "dev":
            raise ConfigError("test=evaluation needs train=dev+additional, which has its machine IDs")

    @property
    def published_as(self) -> str:
        """Name of these training and test clips in tables of published results; empty: there are none."""
        if (self.test, self.sample_rate) != ("dev", 16000) or self.channel not in {0, "all"}:
            return ""
        # Methods use the other machine IDs as outliers, so results of each training set have their own name.
        if self.train == "dev+additional":
            return "dcase2020/dev"
        return "dcase2020/dev-only/mimii" if self.machines == MIMII else "dcase2020/dev-only"

    @property
    def selected(self) -> tuple[str, ...]:
        """The selected machine types."""
        return tuple(self.machines) or MACHINES

    @property
    def parts(self) -> list[Part]:
        """The selected parts."""
        training = ("train",) if self.train == "dev" else ("train", "additional")
        tested = "test" if self.test == "dev" else "evaluation"
        return [part for part in PARTS if part.name in {*training, tested}]

    @property
    def tested(self) -> Part:
        """The part that is tested."""
        # Exactly one of the selected parts is tested.
        return next(part for part in self.parts if not part.trains)


@functools.cache
def sections_of(machine: str, folder: str) -> tuple[str, ...]:
    """Return the IDs of a machine type in a folder, ``dev_data`` or ``eval_data``."""
    # Training parts have one line per machine ID; the secret IDs are those of the additional training clips.
    part = "train" if folder == "dev_data" else "additional"
    lines = table(TABLES, "dcase2020_counts.csv")
    return tuple(line["section"] for line in lines if (line["machine"], line["part"]) == (machine, part))


@functools.cache
def test_items(machine: str, section: str, *, label: str) -> int:
    """Return the official number of development test clips of a machine ID with this label."""
    lines = table(TABLES, "dcase2020_counts.csv")
    return sum(
        int(line["items"])
        for line in lines
        if (line["machine"], line["section"], line["part"], line["label"])
        == (machine, section, "test", label)
    )
