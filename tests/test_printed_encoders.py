"""Printed official scores of encoders and of the direct baseline: as published, and beside the methods that run them."""

from __future__ import annotations

import re
from pathlib import Path

import made_documents as made
import pytest

from asdbench import Registry, load_registry
from asdbench_datasets.dcase.dcase2023 import Dcase2023
from asdbench_datasets.dcase.dcase2026 import Dcase2026
from asdbench_leaderboards.systems import lines
from asdbench_plugins.baselines import official
from asdbench_plugins.encoders import printed

NAMES = {"GenRep": "GenRep (BEATs+MemMixup+kNN)", "Wilkinghoff 2023": "Wilkinghoff 2023 [60]"}


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


def test_every_score_is_one_of_the_published_table() -> None:
    table = {
        (line["board"], line["method"]): float(line["value"]) / 100
        for line in lines("published.csv")
        if line["metric"] == "official score" and not line["machine"]
    }
    ours = {
        (number.dataset, NAMES.get(number.method, number.method)): number.value
        for number in (*printed.printed(), *official.printed())
        if not number.method.startswith("baseline")  # known to more digits there
    }
    assert len(ours) == 10 + 4 * 2 * 3 + 2 + 2
    assert {key: table[key] for key in ours} == pytest.approx(ours)


@pytest.mark.parametrize(
    ("words", "development", "evaluation"),
    [
        ("beats_beam", 67.480082, 66.834996),
        ("beats_beam[channel=0]", 61.324604, 62.841128),
        ("beats_beam[channel=1]", None, 58.361635),
        ("beats_lora[adapted=qkv,unequal=pad,channel=w1]", 69.52826, 70.65872),
        ("beats_full", 64.48, None),
    ],
)
def test_a_method_of_2026_stands_beside_what_is_printed(
    words: str, development: float | None, evaluation: float | None, registry: Registry, tmp_path: Path
) -> None:
    bench = made.Bench(registry=registry, cache=tmp_path)
    for part, value in (("dev", development), ("eval", evaluation)):
        found = bench.numbers(words, card=Dcase2026(test=part).card)
        assert {key: number.value for key, number in found.items()} == (
            {} if value is None else {("omega",): pytest.approx(value / 100)}
        )


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (
            "genrep",
            "over the test clips, which no detector in use can do; this method does so by training clips",
        ),
        ("genrep[scorer.rescale=test_set]", "over the test clips, which no detector in use can do$"),
    ],
)
def test_genrep_stands_beside_a_figure_that_its_default_need_not_reach(
    words: str, why: str, registry: Registry, tmp_path: Path
) -> None:
    bench = made.Bench(registry=registry, cache=tmp_path)
    [number] = bench.numbers(words, card=Dcase2023(test="eval").card).values()
    assert number.value == pytest.approx(0.7379)
    assert re.search(why, number.why)
