"""``mimii_due``: MIMII DUE, the five industrial machine types of DCASE 2021 Task 2 in a release of their own.

The clips and their names are those of ``dcase2021``; the release gives labelled test clips of sections 00 to 02 and
training clips of all six sections.

Verified, from public readers of the release: Zenodo record 4740355, the names of its archives, the folders
``train``, ``source_test`` and ``target_test``. Not verified: checksums, numbers of clips, and whether test clips of
sections 03 to 05 are offered there; where such clips lie in ``eval_data``, they are read (``test=eval``), with labels
if ``ground_truth_data`` in the form of 2021 lies in ``mimii_due`` or ``ground_truth/mimii_due``.
"""

from __future__ import annotations

from typing import ClassVar

from asdbench_datasets import citations
from asdbench_datasets.dcase2021 import ToldDomains
from asdbench_datasets.parts import Release

MACHINES = ("fan", "gearbox", "pump", "slider", "valve")
UNCOUNTED = (
    "numbers of clips of MIMII DUE are not verified: nothing here tells a part of the release from all of it, which "
    "printed results are of"
)


class MimiiDue(ToldDomains, frozen=True, kw_only=True):
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
        tells_domain=True,
    )

    @property
    def notes(self) -> tuple[str, ...]:
        """What every reader of results must be told, since printed results stand beside them."""
        return (UNCOUNTED,)
