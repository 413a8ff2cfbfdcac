"""``dcase2021``: DCASE 2021 Challenge Task 2, anomalous sound detection under domain shift (MIMII DUE, ToyADMOS2).

Seven machine types of six sections; 00 to 02 are the development part, 03 to 05 the evaluation part. Each section
has many training clips from a source domain and three from a target domain; the name of a test clip gives its domain.

Verified: layout, names, machine types and sections from the manual of the official baseline
(y-kawagu/dcase2021_task2_baseline_ae) and the tables of nttcslab/dcase2023_task2_baseline_ae, which also give the
Zenodo records; numbers of test clips from the clips listed with published scores; numbers of evaluation clips from the
evaluator's ground truth; checksums of the ground truth from a copy of it (one file was compared with the file at the
pinned commit). Not verified: numbers of training clips (the manual shows 1000 and 3 per section, but its number of
100 test clips is also wrong for gearbox and slider) and checksums of the archives.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, ClassVar, Literal

from msgspec import Meta
from msgspec.structs import force_setattr

from asdbench import ConfigError, Count, Fold, Row, by_part
from asdbench_datasets import citations
from asdbench_datasets.dcase.parts import DOMAINS, TRAINING, Part, Release
from asdbench_datasets.dcase.sections import SectionRelease
from asdbench_datasets.official_tables import count_of, table

MACHINES = ("fan", "gearbox", "pump", "slider", "valve", "ToyCar", "ToyTrain")
CITATION = f"""\
Y. Kawaguchi, K. Imoto, Y. Koizumi, N. Harada, D. Niizumi, K. Dohi, R. Tanabe, H. Purohit, T. Endo: Description \
and Discussion on DCASE 2021 Challenge Task 2: Unsupervised Anomalous Sound Detection for Machine Condition \
Monitoring under Domain Shifted Conditions. DCASE Workshop 2021.
{citations.MIMII_DUE}
{citations.TOYADMOS2}"""


class KnownDomains(SectionRelease, frozen=True, kw_only=True):
    """A release whose test clips have their domain in their names."""

    domain: Annotated[
        Literal["both", "source"], Meta(description="clips of both domains, or of the source domain only")
    ] = "both"

    @property
    def domains(self) -> tuple[str, ...]:
        """The selected domains."""
        return DOMAINS if self.domain == "both" else ("source",)

    @property
    def published_as(self) -> str:
        """Name of these clips in tables of published results; clips of one domain have none."""
        return super().published_as if self.domain == "both" else ""


class Dcase2021(KnownDomains, frozen=True, kw_only=True):
    """DCASE 2021 Task 2, its development and evaluation part.

    Raises:
        ConfigError: See ``SectionOptions``; or an option contradicts ``protocol=serial_oe``.
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
        # Test clips lie in source_test and target_test: a method may use the domain in this year only.
        domain_known=True,
        evaluator="y-kawagu/dcase2021_task2_evaluator",
    )

    protocol: Annotated[
        Literal["official", "serial_oe"],
        Meta(
            description="serial_oe: source domain only; training clips of all six sections train, test clips of "
            "sections 00 to 02 validate, and test clips of 03 to 05 are tested; sets train, test and domain"
        ),
    ] = "official"

    def __post_init__(self) -> None:
        if self.protocol == "serial_oe":
            if self.train not in {None, "dev+additional"}:
                raise ConfigError(
                    f"protocol=serial_oe trains on all sections, which contradicts train={self.train}; leave train out"
                )
            # Before super().__post_init__, which checks the options against each other.
            for name, value in {"train": "dev+additional", "test": "eval", "domain": "source"}.items():
                force_setattr(self, name, value)
        super().__post_init__()

    @property
    def parts(self) -> tuple[Part, ...]:
        """The selected parts."""
        if self.protocol == "official":
            return super().parts
        return tuple(part for part in self.release.parts if part.name != "supplemental")

    @property
    def published_as(self) -> str:
        """Name of these clips in tables of published results."""
        return "dcase2021/serial_oe" if self.protocol == "serial_oe" else super().published_as

    @property
    def known_leaks(self) -> tuple[str, ...]:
        """What the protocol leaks; the protocol of serial OE has validation clips."""
        return super().known_leaks if self.protocol == "official" else ()

    def folds(self, rows: Sequence[Row]) -> Sequence[Fold]:
        """Return the one fold of the protocol."""
        if self.protocol == "official":
            return super().folds(rows)
        return by_part(rows, name="serial_oe", train=TRAINING, validation={"test"}, test={"evaluation"})

    def counts(self, part: Part, columns: dict[str, str]) -> Iterator[Count]:
        """Yield the official counts of a section."""
        for line in table(self.release.family, "dcase2021_counts.csv"):
            if line["domain"] in self.domains and columns.items() <= line.items():
                yield count_of(line, columns=(*columns, "domain"))
