"""``asdbench compare``: differences with verdicts in words, what would tell methods apart, and ranks."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import make_schemas
import msgspec
import numpy as np
import pytest
import tiny
from numpy.typing import NDArray

from asdbench import RunDocument, Selector
from asdbench.cli import status_of
from asdbench_leaderboards.statistics.compare import Comparison, MethodRank, Pair, compare_methods
from asdbench_leaderboards.statistics.contrast import Contrast, contrast, judged
from asdbench_leaderboards.statistics.pairwise import pairwise
from asdbench_leaderboards.statistics.words import comparison_text, verdict

Capture = pytest.CaptureFixture[str]
Floats = NDArray[np.float64]
KNN = Selector("logmel_knn")
TOYS = Selector("toy", {"epochs": "1"}), Selector("toy", {"epochs": "2"})


@pytest.fixture(scope="module")
def runs(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunDocument, RunDocument]:
    """A folder with two runs on the same items: three methods with two seeds, and one of them with another seed."""
    out = tmp_path_factory.mktemp("compared")
    first = tiny.go(out, *TOYS, KNN, cache=cache, seeds=[1, 2])
    return out, first, tiny.go(out, TOYS[0], cache=cache, seeds=[3])


def draws_of(*values: float, noise: float, seed: int) -> Floats:
    """Draws of a method with a seed for each value, whose resamples have noise of their own."""
    resampled = noise * np.random.default_rng(seed).normal(size=2000)
    return np.stack([np.append(value, value + resampled) for value in values])


def found_of(first: Floats, second: Floats, metric: str = "auc", **groups: str) -> Contrast:
    return contrast(first, second, groups=groups, metric=metric, items=100)


def test_a_difference_beyond_its_noise_has_a_winner_and_needs_nothing_more() -> None:
    first, second = (
        draws_of(0.90, 0.91, 0.92, noise=0.01, seed=0),
        draws_of(0.80, 0.81, 0.82, noise=0.01, seed=1),
    )
    found = found_of(first, second)
    differences = pairwise([first, second])
    low, high = differences.interval()
    assert (found.first, found.second, found.difference) == pytest.approx((0.91, 0.81, 0.10))
    assert (found.low, found.high, found.p) == (low[0, 1], high[0, 1], differences.p[0, 1])
    # Welch: two means of three seeds with a deviation of 0.01 each, 4 degrees of freedom.
    assert found.seed_noise == pytest.approx(2.776 * 0.01 * np.sqrt(2 / 3), rel=1e-3)
    assert found.exceeds_seed_noise is True
    clear = judged(found, p=0.01)
    assert (clear.better, clear.p, clear.items_needed, clear.seeds_needed) == ("first", 0.01, None, None)
    assert judged(found, p=0.06).better == "neither"
    assert judged(found_of(second, first), p=0.01).better == "second"
    # Fewer false alarms are better.
    assert judged(found_of(first, second, "false_alarms"), p=0.01).better == "second"


def test_more_items_tell_a_difference_that_the_items_hide_and_more_seeds_one_that_the_seeds_hide() -> None:
    few_items = found_of(draws_of(0.81, 0.81, noise=0.02, seed=0), draws_of(0.80, 0.80, noise=0.02, seed=1))
    # (1.96 + 0.84)^2 = 7.85 times the variance of the difference, 2 * 0.02^2, over its square, for 100 items.
    assert few_items.items_needed == pytest.approx(100 * 7.85 * 8e-4 / 1e-4, rel=0.1)
    assert (few_items.seeds_needed, few_items.seed_noise) == (None, 0)
    few_seeds = found_of(draws_of(0.80, 0.84, noise=1e-5, seed=0), draws_of(0.79, 0.83, noise=1e-5, seed=1))
    # The variance of each method is 8e-4 over two seeds: 2 * 7.85 * 8e-4 / 1e-4 seeds.
    assert few_seeds.seeds_needed == pytest.approx(2 * 7.85 * 8e-4 / 1e-4, rel=0.02)
    assert few_seeds.items_needed is None
    assert few_seeds.exceeds_seed_noise is False


def test_a_single_seed_does_not_show_its_noise() -> None:
    found = found_of(draws_of(0.9, noise=0.01, seed=0), draws_of(0.8, 0.8, noise=0.01, seed=1))
    assert (found.seed_noise, found.exceeds_seed_noise, found.seeds_needed) == (None, None, None)
    assert found.seeds == (1, 2)


def test_the_first_method_is_compared_with_each_other_on_the_same_resamples(
    runs: tuple[Path, RunDocument, RunDocument],
) -> None:
    out, document, _ = runs
    found = compare_methods(tiny.registry(), out, methods=[], run=document.run.id)
    assert found.methods == ["toy[epochs=1]", "toy[epochs=2]", "logmel_knn"]
    assert [(pair.first, pair.second, pair.metric) for pair in found.pairs] == [
        ("toy[epochs=1]", "toy[epochs=2]", "auc"), ("toy[epochs=1]", "logmel_knn", "auc"),
    ]  # fmt: skip
    [row] = [row for row in document.results_of("logmel_knn") if row.metric == "auc" and row.is_whole]
    [_, pair] = found.pairs
    assert (pair.whole.second, pair.column) == (pytest.approx(row.value), "machine")
    assert pair.whole.low is not None
    assert pair.whole.low < pair.whole.difference < pair.whole.high  # type: ignore[operator]
    # Two sections with two clips of each label show no interval, and two machines no test.
    assert [(each.groups, each.low, each.why) for each in pair.groups] == [
        ({"machine": name}, None, "too few items to resample") for name in ("fan", "valve")
    ]
    assert (pair.wilcoxon_p, pair.other_groups_low) == (None, None)
    assert {rank.method for rank in found.ranks} == set(found.methods)
    assert found.ranks[0].rank == 1
    two = compare_methods(tiny.registry(), out, methods=["logmel_knn", "toy[epochs=1]"], run=document.run.id)
    assert two.pairs[0].whole.difference == pytest.approx(-pair.whole.difference)  # type: ignore[operator]


def test_methods_of_two_runs_are_compared_by_their_names_and_runs(
    runs: tuple[Path, RunDocument, RunDocument], capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, first, second = runs
    monkeypatch.setattr("asdbench_leaderboards.statistics.commands.load_registry", tiny.registry)
    words = ["compare", f"toy@{second.run.id}", f"toy[epochs=1]@{first.run.id}", "--out", str(out)]
    assert status_of([*words, "--metrics", "pauc,auc", "--json"]) == 0
    text = capsys.readouterr().out
    jsonschema.validate(json.loads(text), json.loads(make_schemas.file_of("compare").read_text("utf-8")))
    found = msgspec.json.decode(text, type=Comparison)
    assert found.methods == [f"toy[epochs=1]@{run.run.id}" for run in (second, first)]
    assert [pair.metric for pair in found.pairs] == ["pauc", "auc"]
    assert found.pairs[0].whole.seeds == (1, 2)
    assert status_of(words) == 0
    text = capsys.readouterr().out
    assert "noise of seeds: unknown, since a method has a single seed" in text
    assert "over machine types: no test, since it needs 6 with a value, found 2" in text


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        (["toy", "logmel_knn"], "toy has several variants; name one of toy[epochs=1], toy[epochs=2]"),
        (["logmel_knm", "toy"], "unknown method 'logmel_knm'; did you mean 'logmel_knn'?"),
        (["logmel_knn"], "a comparison needs two methods or more, got logmel_knn"),
        (["logmel_knn", "logmel_knn"], "logmel_knn is named twice; name different methods"),
        (["logmel_knn", "toy@nowhere"], "unknown run 'nowhere'"),
        (["logmel_knn", "toy[epochs=1]", "--metrics", "auk"], "unknown metric 'auk'; did you mean 'auc'?"),
    ],
)
def test_an_impossible_comparison_is_refused(
    runs: tuple[Path, RunDocument, RunDocument], methods: list[str], message: str, capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("asdbench_leaderboards.statistics.commands.load_registry", tiny.registry)
    assert status_of(["compare", *methods, "--run", runs[1].run.id, "--out", str(runs[0])]) == 2
    assert message in capsys.readouterr().err


def test_runs_on_other_items_cannot_be_compared(
    runs: tuple[Path, RunDocument, RunDocument], cache: Path, tmp_path: Path, capsys: Capture
) -> None:
    options = tiny.DATASET.options | {"test_clips": "2"}
    other = tiny.go(runs[0], KNN, cache=cache, dataset=Selector("synthetic", options))
    words = ["compare", f"logmel_knn@{runs[1].run.id}", f"logmel_knn@{other.run.id}", "--out", str(runs[0])]
    assert status_of(words) == 2
    assert (
        "cannot be compared: they scored different items: 32 in the first run, 16 in"
        in capsys.readouterr().err
    )


def pair_of(*winners: str, whole: Contrast, **about: float | None) -> Pair:
    """A pair with a machine for each winner, and these overall results."""
    groups = [
        msgspec.structs.replace(whole, groups={"machine": f"machine {number}"}, better=winner)
        for number, winner in enumerate(winners)
    ]
    return Pair(first="A", second="B", metric="auc", column="machine", whole=whole, groups=groups, **about)


def whole_of(better: str, difference: float = 0.012, **about: object) -> Contrast:
    whole = Contrast(
        groups={}, metric="auc", first=0.9, second=0.9 - difference, difference=difference, low=difference - 0.009,
        high=difference + 0.009, p=0.02, better="neither", items=900, seeds=(3, 3), seed_noise=0.004,
        exceeds_seed_noise=True,
    )  # fmt: skip
    return msgspec.structs.replace(whole, better=better, **about)


def test_the_verdict_counts_machines_and_gives_the_overall_difference() -> None:
    clear = pair_of(*["first"] * 4, "second", "neither", whole=whole_of("first"))
    assert (
        verdict(clear)
        == "A is better on 4 of 6 machine types, B is better on 1; overall +1.2 [0.3, 2.1]: A is better"
    )
    worse = pair_of("second", "neither", whole=whole_of("second", -0.012))
    assert verdict(worse) == "B is better on 1 of 2 machine types; overall -1.2 [-2.1, -0.3]: B is better"
    unclear = pair_of("neither", "unknown", whole=whole_of("neither", 0.001))
    assert verdict(unclear).startswith(
        "neither is better beyond doubt on any of 2 machine types; overall +0.1 [-0.8, 1.0]: "
    )
    assert verdict(pair_of(whole=whole_of("first"))) == "overall +1.2 [0.3, 2.1]: A is better"
    why = pair_of(whole=whole_of("unknown", low=None, high=None, p=None, why="too few items to resample"))
    assert verdict(why) == "overall +1.2: no interval, too few items to resample"


def test_the_text_says_what_is_needed_and_who_shares_a_rank() -> None:
    needed = whole_of("neither", items_needed=2700, seeds_needed=12, exceeds_seed_noise=False)
    about = {"wilcoxon_p": 0.031, "other_groups_low": -0.001, "other_groups_high": 0.02}
    ranks = [
        MethodRank(method=name, metric="auc", value=0.9, rank=1, best=1, worst=worst)
        for name, worst in (("A", 2), ("B", 3), ("C", 3))
    ]
    compared = Comparison(
        dataset="made",
        methods=["A", "B", "C"],
        pairs=[pair_of("neither", whole=needed, **about)],
        ranks=ranks,
    )
    lines = comparison_text(compared).splitlines()
    assert lines[0] == "made, differences with 95 % intervals over items and seeds"
    assert "noise of seeds: the difference does not exceed the ±0.40 that 3 seeds each leave" in lines
    assert (
        "to tell a difference of this size in 80 % of the cases: 2,700 items instead of 900, or 12 seeds each instead of 3"
        in lines
    )
    assert (
        "over machine types: Wilcoxon's p 0.031, mean difference on others of their kind within [-0.1, 2.0]"
        in lines
    )
    assert lines[-1].split() == ["C", "90.00", "1", "1", "to", "3"]
    nothing = msgspec.structs.replace(compared, pairs=[pair_of(whole=whole_of("neither"))])
    assert "neither more items nor more seeds alone would do" in comparison_text(nothing)
