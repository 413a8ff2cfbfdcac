"""The name of a dataset in printed results: empty unless its training and test clips are exactly those of the papers."""

from __future__ import annotations

from typing import Any

import pytest

from asdbench_datasets.dcase.dcase2020 import MIMII, Dcase2020
from asdbench_datasets.dcase.dcase2021 import Dcase2021
from asdbench_datasets.dcase.dcase2022 import Dcase2022
from asdbench_datasets.dcase.dcase2023 import Dcase2023
from asdbench_datasets.dcase.dcase2025 import Dcase2025
from asdbench_datasets.dcase.dcase2026 import Dcase2026
from asdbench_datasets.dcase.sections import SectionRelease
from asdbench_datasets.mimii.mimii_due import MimiiDue


@pytest.mark.parametrize(
    ("options", "board"),
    [
        ({}, "dcase2020/dev"),
        ({"machines": "fan"}, "dcase2020/dev"),
        ({"train": "dev"}, "dcase2020/dev-only"),
        ({"train": "dev", "machines": MIMII}, "dcase2020/dev-only/mimii"),
        ({"machines": MIMII}, "dcase2020/dev"),
        ({"test": "evaluation"}, ""),
        ({"sample_rate": 8000}, ""),
    ],
)
def test_results_are_compared_with_those_of_the_same_training_and_test_clips(
    options: dict[str, Any], board: str
) -> None:
    assert Dcase2020(**options).card.published_as == board


@pytest.mark.parametrize(
    ("dataset", "board"),
    [
        (Dcase2021(), "dcase2021/dev"),
        (Dcase2021(train="dev+additional"), ""),
        (Dcase2021(test="eval"), "dcase2021/eval"),
        (Dcase2021(test="eval", train="dev+additional"), ""),
        (Dcase2022(test="eval"), "dcase2022/eval"),
        (Dcase2022(test="eval", ground_truth="attributes"), ""),
        (Dcase2023(machines=("fan",)), "dcase2023/dev"),
        (Dcase2023(train="dev+additional"), ""),
        (Dcase2025(test="eval"), "dcase2025/eval"),
        (Dcase2025(test="eval", supplemental=True), ""),
        (Dcase2025(supplemental=True), ""),
        (Dcase2026(), "dcase2026/dev"),
        (Dcase2026(test="eval", channel=0), "dcase2026/eval"),
        (Dcase2026(channel=1), ""),
        (MimiiDue(), "mimii_due/dev"),
        (MimiiDue(domain="source"), ""),
        (MimiiDue(train="dev+additional"), ""),
        (MimiiDue(sample_rate=8000), ""),
    ],
    ids=repr,
)
def test_printed_results_belong_to_exactly_their_training_and_test_clips(
    dataset: SectionRelease, board: str
) -> None:
    assert dataset.card.published_as == board


def test_mimii_due_warns_that_its_clip_counts_are_not_verified() -> None:
    [note] = MimiiDue().card.notes
    assert "numbers of clips of MIMII DUE are not verified" in note
