"""``mimii_due``: MIMII DUE, the five industrial machine types of DCASE 2021 Task 2 as a separate release.

The clips and their names are those of ``dcase2021``. The release has labelled test clips of sections 00 to 02 and
training clips of all six sections.

Verified, from public readers of the release: Zenodo record 4740355, the names of its archives, the folders
``train``, ``source_test`` and ``target_test``. Not verified: checksums, numbers of clips, and whether the release has
test clips of sections 03 to 05. If ``eval_data`` has such clips, they are read (``test=eval``), with labels if
``ground_truth_data`` in the form of 2021 is in ``mimii_due`` or ``ground_truth/mimii_due``.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from asdbench_datasets import citations
from asdbench_datasets.dcase.dcase2021 import KnownDomains
from asdbench_datasets.dcase.parts import Release

MACHINES = ("fan", "gearbox", "pump", "slider", "valve")
UNCOUNTED = (
    "the numbers of clips of MIMII DUE are not verified: missing clips cannot be detected, and published results are "
    "for the whole release"
)


class MimiiDue(KnownDomains, frozen=True, kw_only=True):
    """MIMII DUE, domain shift in factory machines."""

    release: ClassVar[Release] = Release(
        name="mimii_due",
        title="MIMII DUE",
        homepage="https://zenodo.org/records/4740355",
        licence="CC BY-NC-SA 4.0",
        citation=citations.MIMII_DUE,
        metrics="dcase2021",
        dev_machines=MACHINES,
        eval_machines=MACHINES,
        family="mimii",
        domain_known=True,
    )

    mean: Annotated[
        Literal["harmonic", "arithmetic"],
        Meta(
            description="how results are averaged over sections and domains: as in DCASE 2021, with Omega, or plainly"
        ),
    ] = "harmonic"

    @property
    def metrics(self) -> str:
        """Name of the metric set."""
        return "dcase2021" if self.mean == "harmonic" else "dcase2021_arithmetic"

    @property
    def notes(self) -> tuple[str, ...]:
        """What readers of results must know before they compare them with published ones."""
        return (UNCOUNTED,)
