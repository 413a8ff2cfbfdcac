"""``dcase2021``: DCASE 2021 Challenge Task 2, anomalous sound detection under domain shift (MIMII DUE, ToyADMOS2).

Seven machine types of six sections; 00 to 02 are the development part, 03 to 05 the evaluation part. Each section
has many training clips of a source domain and three of a target domain; a test clip tells its domain.

Verified: layout, names, machine types and sections from the manual of the official baseline
(y-kawagu/dcase2021_task2_baseline_ae) and the tables of nttcslab/dcase2023_task2_baseline_ae, which also give the
Zenodo records; numbers of test clips from the clips that published scores list, of evaluation clips from the
evaluator's ground truth; checksums of the ground truth from a copy of it, of which a file was compared with that at
the pinned commit. Not verified: numbers
of training clips (the manual shows 1000 and 3 of a section, but its 100 test clips are not right for gearbox and
slider either) and checksums of the archives.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from asdbench.data.folds import by_part
from asdbench.errors import ConfigError
from asdbench.values import Count, Fold, Row
from asdbench_datasets import citations
from asdbench_datasets.parts import DOMAINS, TRAINING, Part, Release
from asdbench_datasets.sections import SectionRelease
from asdbench_datasets.tables import table

MACHINES = ("fan", "gearbox", "pump", "slider", "valve", "ToyCar", "ToyTrain")
CITATION = f"""\
Y. Kawaguchi, K. Imoto, Y. Koizumi, N. Harada, D. Niizumi, K. Dohi, R. Tanabe, H. Purohit, T. Endo: Description \
and Discussion on DCASE 2021 Challenge Task 2: Unsupervised Anomalous Sound Detection for Machine Condition \
Monitoring under Domain Shifted Conditions. DCASE Workshop 2021.
{citations.MIMII_DUE}
{citations.TOYADMOS2}"""


class ToldDomains(SectionRelease, frozen=True, kw_only=True):
    """A release whose test clips say which domain they are of."""

    domain: Annotated[
        Literal["both", "source"], Meta(description="clips of both domains, or of the source domain alone")
    ] = "both"

    @property
    def domains(self) -> tuple[str, ...]:
        """The domains that the options select."""
        return DOMAINS if self.domain == "both" else ("source",)

    @property
    def published_as(self) -> str:
        """Name of these clips in tables of printed results; those of one domain are none that anyone names."""
        return super().published_as if self.domain == "both" else ""


class Dcase2021(ToldDomains, frozen=True, kw_only=True):
    """DCASE 2021 Task 2, its development and evaluation part.

    Raises:
        ConfigError: See ``SectionRelease``; or an option contradicts ``protocol=serial_oe``.
    """

    release: ClassVar[Release] = Release(
        name="dcase2021",
        title="DCASE 2021 Challenge Task 2",
        homepage="https://dcase.community/challenge2021/task-unsupervised-detection-of-anomalous-sounds",
        licence="CC BY-NC-SA 4.0",
        citation=CITATION,
        metrics="dcase2021",
        dev_machines=MACHINES,
        eval_machines=MACHINES,
        tells_domain=True,
        evaluator="y-kawagu/dcase2021_task2_evaluator",
    )

    protocol: Annotated[
        Literal["official", "serial_oe"],
        Meta(
            description="serial_oe: source domain alone, training clips of all six sections, test clips of "
            "sections 00 to 02 validate, those of 03 to 05 are tested; it sets train, test and domain"
        ),
    ] = "official"

    def __post_init__(self) -> None:
        if self.protocol == "serial_oe":
            if self.train not in {None, "dev+additional"}:
                raise ConfigError(
                    f"protocol=serial_oe trains on all sections; train={self.train} contradicts it"
                )
            for name, value in {"train": "dev+additional", "test": "eval", "domain": "source"}.items():
                msgspec.structs.force_setattr(self, name, value)
        super().__post_init__()

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts that the options select."""
        if self.protocol == "official":
            return super().parts
        return tuple(part for part in self.release.parts if part.name != "supplemental")

    @property
    def published_as(self) -> str:
        """Name of these clips in tables of printed results."""
        return "dcase2021/serial_oe" if self.protocol == "serial_oe" else super().published_as

    @property
    def known_leaks(self) -> tuple[str, ...]:
        """What the protocol leaks; that of serial OE has validation clips of its own."""
        return super().known_leaks if self.protocol == "official" else ()

    def folds(self, rows: Sequence[Row]) -> Sequence[Fold]:
        """Return the one division that the protocol states."""
        if self.protocol == "official":
            return super().folds(rows)
        return by_part(rows, name="serial_oe", train=TRAINING, validation={"test"}, test={"evaluation"})

    def counts(self, part: Part, columns: dict[str, str]) -> Iterator[Count]:
        """Give the official counts of a section."""
        for line in table("dcase2021_counts.csv"):
            if line["domain"] in self.domains and columns.items() <= line.items():
                yield Count(
                    columns={**columns, "domain": line["domain"]},
                    label=line["label"] or None,
                    items=int(line["items"]),
                )
