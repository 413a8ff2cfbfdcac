"""What is printed of systems that methods of this plugin run: official scores of DCASE Task 2, in percent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from asdbench import Printed

EXPERIMENTS = "kasahart/asd-experiments"
ASDKIT = "ASDKit (TakuyaFujimura/dcase-asd-toolkit)"
OTHER_FILE = "with BEATs_iter3.pt"
BOTH_PARTS = "trained on the normal clips of both parts; its classes were numbered with the help of names of test clips"
BY_TEST_SET = "standardises the distances to each domain over the test clips, which no detector in use can do"
GENREP = (
    ("genrep", f"{BY_TEST_SET}; this method does so by training clips"),
    ("genrep[preset=test_set_normalisation]", BY_TEST_SET),
)
"""What runs it, what readers must know."""
FOUR = "mean of 4 trainings; BEATs_iter3.pt and EAT-base_epoch10_pt.pt"
COMPUTED = (
    "computed from its figures by machine; differences of the training are in the README of the encoders"
)

OF_2026 = (
    ("results/03-beats", "raw-BEATs+w1_global", "beats_beam", 67.480082, 66.834996, OTHER_FILE),
    ("results/03-beats", "raw-BEATs+raw", "beats_beam[preset=near]", 61.324604, 62.841128, OTHER_FILE),
    ("results/summary-with-ss", "raw-BEATs+b1_far", "beats_beam[preset=far]", None, 58.361635, OTHER_FILE),
    ("results/summary-with-ss", "raw-BEATs+ss", "beats_beam[preset=ss]", None, 62.325261, OTHER_FILE),
    ("results/03-beats", "dis-BEATs+raw", "beats_lora[preset=dis_beats]", 63.047991, 67.91591, BOTH_PARTS),
    ("results/03-beats", "dis-BEATs+w1_global", "beats_lora[preset=dis_beats_w1]", 69.52826, 70.65872, BOTH_PARTS),
)  # fmt: skip
"""Table, system, what runs it, development and evaluation part of 2026, what readers must know."""
YEARS = ("2021", "2022", "2023", "2024")
OF_ASDKIT = {
    ("dis_beats_scac_trainable", "beats_lora[preset=asdkit]"): (
        (73.06, 67.62), (73.24, 68.87), (62.66, 71.46), (59.53, 61.72),
    ),
    ("dis_eat_scac_trainable", "eat_lora"): (
        (72.91, 67.57), (73.88, 69.85), (63.98, 72.04), (59.93, 61.47),
    ),
}  # fmt: skip
"""System and what runs it -> development and evaluation part of each year."""


def printed() -> Iterator[Printed]:
    """Yield the official scores."""
    for table, system, words, development, evaluation, why in OF_2026:
        values = (development, evaluation)
        yield from _official(
            "dcase2026", values, paper=EXPERIMENTS, table=table, system=system, words=words, why=why
        )
    for (system, words), by_year in OF_ASDKIT.items():
        for year, both in zip(YEARS, by_year, strict=True):
            yield from _official(
                f"dcase{year}",
                both,
                paper=ASDKIT,
                table="docs/results.png",
                system=system,
                words=words,
                why=FOUR,
            )
    for words, why in GENREP:
        yield from _official(
            "dcase2023", (None, 73.79), paper="arXiv:2409.05035", table="abstract", system="GenRep", words=words, why=why
        )  # fmt: skip
    yield from _official(
        "dcase2026", (64.48, None), paper="outman-goutian/dcase2026_task2", table="REPRODUCE_BEATS_SUBMISSION.md",
        system="beats_full_ft_layer10_knn1_smote0.25", words="beats_full", why=COMPUTED,
    )  # fmt: skip


def _official(
    data: str, values: Sequence[float | None], *, paper: str, table: str, system: str, words: str, why: str
) -> Iterator[Printed]:
    for part, value in zip(("dev", "eval"), values, strict=True):
        if value is not None:
            yield Printed(
                paper=paper, table=table, dataset=f"{data}/{part}", method=system, groups={}, metric="omega",
                value=value / 100, words=words, why=why,
            )  # fmt: skip
