"""``asdbench check``: a loss beyond the noise of the seeds fails, and so does whatever is missing; other seeds do not."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import make_schemas
import msgspec
import numpy as np
import pytest
import tiny
from made_runs import clips, data_of, recorded, row_of, run_info, run_of
from numpy.typing import NDArray
from scipy import stats

from asdbench import ConfigError, Cost, RunDocument, RunError, Selector
from asdbench.cli import status_of
from asdbench.messages.results import Outcome
from asdbench.results.record import write_document
from asdbench.results.store import Store
from asdbench_leaderboards.regression.baseline import Baseline, baseline_of, read_baseline, write_baseline
from asdbench_leaderboards.regression.gate import Check, GateReport, check_run

Capture = pytest.CaptureFixture[str]
Floats = NDArray[np.float64]
MACHINES = ("fan", "pump", "valve")
COST = Cost(fit_s=1.0, score_ms=1.0, parameters=1000, flops=5000, peak_memory_bytes=1, peak_device_bytes=0)


def document_of(
    values: Mapping[str, Sequence[float]],
    *,
    metric: str = "auc",
    seeds: Sequence[int] = (1, 2, 3),
    **about: Any,
) -> RunDocument:
    """A run of one method with a value for each machine and seed, their mean, and intervals of 4 points."""
    rows = [
        row_of(metric, float(np.mean(each)), groups=groups, per_seed=list(each), low=float(np.mean(each)) - 0.02,
               high=float(np.mean(each)) + 0.02)
        for groups, each in [
            *(({"machine": name}, each) for name, each in values.items()),
            ({}, np.mean([*values.values()], axis=0).tolist()),
        ]
    ]  # fmt: skip
    method = recorded(clips(("fan", "00", [1], [2])), about={"seeds": list(seeds), "cost": COST, **about})
    run = run_of(method, results=[*rows, row_of(metric, 0.5, groups={"machine": "fan", "section": "00"})])
    return run.document


def values_of(*shifts: float, mean: float = 0.8) -> dict[str, list[float]]:
    """Three machines and three seeds; machines may be shifted."""
    losses = [*shifts, 0.0, 0.0, 0.0]
    seeds = np.array([-0.004, 0.005, -0.001])
    return {
        name: (mean + 0.05 * number - losses[number] + np.roll(seeds, number)).tolist()
        for number, name in enumerate(MACHINES)
    }


def worse(report: GateReport) -> list[tuple[str, str]]:
    return [(each.machine, each.metric) for each in report.checks if each.worse]


def test_a_run_is_not_worse_than_itself_and_its_values_are_reported() -> None:
    document = document_of(values_of())
    report = check_run(document, baseline_of(document))
    assert not report.failed
    # Sections are not checked, and neither are costs that are equal.
    assert [each.machine for each in report.checks] == [*MACHINES, ""]
    first = report.checks[0]
    assert (first.method, first.metric, first.noise) == ("knn", "auc", "seeds")
    assert first.baseline == first.value == pytest.approx(0.8)
    assert first.p == 1.0


def test_a_loss_is_named_with_its_machine_and_an_interval_of_the_seeds() -> None:
    report = check_run(document_of(values_of(0.0, 0.05)), baseline_of(document_of(values_of())))
    assert worse(report) == [("pump", "auc"), ("", "auc")]
    assert report.failed
    found = report.checks[1]
    assert found.value - found.baseline == pytest.approx(-0.05)
    # Six equal variances of three seeds with a deviation of 0.00458: 12 degrees of freedom.
    half = stats.t.ppf(0.975, 12) * np.sqrt(2 * np.var([-0.004, 0.005, -0.001], ddof=1) / 3)
    assert (found.low, found.high) == pytest.approx((-0.05 - half, -0.05 + half))
    better = check_run(document_of(values_of(-0.05)), baseline_of(document_of(values_of())))
    assert not better.failed


def test_more_false_alarms_are_a_loss() -> None:
    before, after = (document_of(values_of(shift), metric="false_alarms") for shift in (0.05, 0.0))
    assert worse(check_run(after, baseline_of(before))) == [("fan", "false_alarms"), ("", "false_alarms")]
    assert not check_run(before, baseline_of(after)).failed


def test_seeds_that_agree_by_chance_are_no_certainty() -> None:
    still = {**values_of(), "fan": [0.8, 0.8, 0.8]}
    slightly = {**values_of(), "fan": [0.797, 0.797, 0.797]}
    assert not check_run(document_of(slightly), baseline_of(document_of(still))).failed


def test_a_method_without_noise_may_lose_the_margin_and_no_more() -> None:
    before = baseline_of(document_of(dict.fromkeys(MACHINES, [0.8] * 3)))
    after = document_of({**dict.fromkeys(MACHINES, [0.8] * 3), "pump": [0.7985] * 3})
    assert worse(check_run(after, before)) == [("pump", "auc")]
    assert not check_run(after, before, margin=0.002).failed


def test_a_single_seed_is_judged_by_the_interval_over_items() -> None:
    before = baseline_of(document_of({name: [0.8] for name in MACHINES}, seeds=[1]))
    small, large = (document_of({name: [value] for name in MACHINES}, seeds=[1]) for value in (0.79, 0.7))
    assert not check_run(small, before).failed
    report = check_run(large, before)
    assert len(worse(report)) == 4
    # The interval has a width of 4 points.
    assert {each.noise for each in report.checks} == {"items"}
    assert report.checks[0].high - report.checks[0].low == pytest.approx(0.04, rel=1e-6)


def test_whatever_is_missing_is_a_failure() -> None:
    before = baseline_of(document_of(values_of()))
    gone = values_of()
    del gone["valve"]
    fewer = document_of({name: each[:2] for name, each in gone.items()}, seeds=[1, 2])
    report = check_run(fewer, before)
    assert report.missing == ["seed 3 of knn", "auc of valve of knn"]
    assert report.failed
    other = msgspec.structs.replace(before.methods[0], method="idnn")
    report = check_run(document_of(values_of()), msgspec.structs.replace(before, methods=[other]))
    assert (report.missing, report.failed) == (["method idnn"], True)
    ungraded = check_run(document_of(values_of(), ungraded="no label"), before)
    assert ungraded.missing == ["run made: knn has no results: no label"]


def test_a_larger_model_is_a_failure_and_a_smaller_one_is_not() -> None:
    before = baseline_of(document_of(values_of()))
    larger = document_of(values_of(), cost=msgspec.structs.replace(COST, parameters=1011, flops=4000))
    report = check_run(larger, before)
    assert [(each.cost, each.baseline, each.value, each.worse) for each in report.costs] == [
        ("parameters", 1000, 1011, True), ("flops", 5000, 4000, False),
    ]  # fmt: skip
    assert report.failed


def with_times(fit: Sequence[float], score: Sequence[float] = (1.0, 1.1, 0.9)) -> RunDocument:
    cost = msgspec.structs.replace(COST, fit_work=list(fit), score_work=list(score))
    return document_of(values_of(), seeds=range(1, 1 + len(fit)), cost=cost)


def times_of(report: GateReport) -> dict[str, bool]:
    return {each.cost: each.worse for each in report.costs if each.cost.endswith("time")}


def test_a_longer_training_is_a_failure_if_it_exceeds_margin_and_noise() -> None:
    before = baseline_of(with_times([100.0, 110.0, 90.0]))
    twice = check_run(with_times([200.0, 220.0, 180.0]), before)
    assert times_of(twice) == {"fit time": True, "score time": False}
    assert twice.failed
    [fit] = [each for each in twice.costs if each.cost == "fit time"]
    assert fit.value / fit.baseline == pytest.approx(2)
    assert fit.limit / fit.baseline == pytest.approx(1.5), (
        "the noise of these seeds is smaller than the margin"
    )
    assert not check_run(with_times([140.0, 150.0, 130.0]), before).failed, "within the margin"
    noisy = baseline_of(with_times([20.0, 110.0, 300.0]))
    assert not check_run(with_times([200.0, 220.0, 180.0]), noisy).failed, "within the noise of the baseline"


def test_a_single_seed_and_a_baseline_without_times_are_not_over_interpreted() -> None:
    alone = baseline_of(with_times([100.0], [1.0]))
    assert times_of(check_run(with_times([190.0], [1.0]), alone)) == {"fit time": False, "score time": False}
    assert times_of(check_run(with_times([230.0], [1.0]), alone)) == {"fit time": True, "score time": False}
    assert times_of(check_run(with_times([900.0]), baseline_of(document_of(values_of())))) == {}
    assert not check_run(with_times([900.0], [1.0]), alone, times=False).failed


def test_times_of_equal_work_are_rarely_called_worse() -> None:
    rng = np.random.default_rng(0)
    reruns = [with_times(*np.exp(rng.normal(0, 0.3, (2, 3))).tolist()) for _ in range(201)]
    alarms = [check_run(after, baseline_of(before)).failed for before, after in itertools.pairwise(reruns)]
    assert np.mean(alarms) <= 0.05


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"run": run_info(dataset="other")}, "its dataset is other, that of the baseline made"),
        (
            {"run": run_info(metric_set="dcase2023")},
            "its metric set is dcase2023, that of the baseline dcase2020",
        ),
        (
            {"data": data_of(manifest="f00")},
            "its manifest of the data is f00, that of the baseline ; run on the same",
        ),
    ],
)
def test_a_run_on_other_data_is_refused(document: dict[str, Any], message: str) -> None:
    before = document_of(values_of())
    with pytest.raises(RunError, match=message):
        check_run(msgspec.structs.replace(before, **document), baseline_of(before))


def test_a_baseline_is_whole_and_its_file_readable(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="run made: knn has no results: no label"):
        baseline_of(document_of(values_of(), ungraded="no label"))
    refused = msgspec.structs.replace(document_of(values_of()), refused={"idnn": "it is broken"})
    with pytest.raises(RunError, match="run made is no baseline, since it refused idnn: it is broken"):
        baseline_of(refused)
    failed = Outcome(
        id="1", kind="fit", method="knn", fold="all", unit="fan", place="fan", seed=1, status="error"
    )
    with pytest.raises(RunError, match="run made is no baseline, since 1 of its 1 jobs have no result"):
        baseline_of(msgspec.structs.replace(document_of(values_of()), jobs=[failed]))
    file = tmp_path / "baseline.json"
    with pytest.raises(
        ConfigError, match=r"there is no baseline .*; `asdbench check --baseline .* --update` writes one"
    ):
        read_baseline(file)
    baseline = baseline_of(document_of(values_of()))
    write_baseline(file, baseline)
    assert read_baseline(file) == baseline
    schema = json.loads(make_schemas.file_of("baseline").read_text("utf-8"))
    jsonschema.validate(json.loads(file.read_text("utf-8")), schema)
    write_baseline(file, msgspec.structs.replace(baseline, schema_version=2))
    with pytest.raises(ConfigError, match="has schema version 2, this version of asdbench reads 1"):
        read_baseline(file)
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ConfigError, match=r"baseline\.json cannot be read: Input data was truncated"):
        read_baseline(file)


def test_the_command_writes_a_baseline_and_fails_with_status_3(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "baseline.json"
    write_document(Store(tmp_path), document_of(values_of()))
    words = ["check", "--baseline", str(file), "--out", str(tmp_path)]
    assert status_of(words) == 2
    assert status_of([*words, "--update"]) == 0
    assert capsys.readouterr().out == f"{file}: run made, knn\n"
    assert msgspec.json.decode(file.read_bytes(), type=Baseline).methods[0].seeds == [1, 2, 3]
    assert status_of(words) == 0
    assert capsys.readouterr().out.endswith("4 values of run made beside baseline run made: none is worse\n")
    write_document(
        Store(tmp_path), document_of(values_of(0.0, 0.05), cost=msgspec.structs.replace(COST, flops=6000))
    )
    assert status_of(words) == 3
    text = capsys.readouterr().out
    [line] = [line.split() for line in text.splitlines() if " pump " in line]
    assert line[:6] == ["knn", "pump", "auc", "85.00", "80.00", "-5.00"]
    assert line[-1] == "WORSE"
    assert "knn: flops 6,000, in the baseline 5,000, at most 5,050 allowed: WORSE" in text
    assert text.endswith(": 3 failures\n")
    assert status_of([*words, "--margin", "10", "--json"]) == 3  # the larger model still is one
    report = capsys.readouterr().out
    jsonschema.validate(json.loads(report), json.loads(make_schemas.file_of("check").read_text("utf-8")))
    assert worse(msgspec.json.decode(report, type=GateReport)) == []


def losses(run: RunDocument, *, before: Selector, after: Selector) -> list[Check]:
    """The losses if the second method of a run were what the code of the first has become."""
    whole = baseline_of(run)
    [old] = [each for each in whole.methods if each.method == str(before)]
    baseline = msgspec.structs.replace(whole, methods=[msgspec.structs.replace(old, method=str(after))])
    return [each for each in check_run(run, baseline).checks if each.worse]


def test_another_mel_scale_and_damaged_features_are_caught_on_real_scores(
    cache: Path, tmp_path: Path
) -> None:
    options = tiny.DATASET.options | {"test_clips": "20"}
    plain, mel, damaged = (
        Selector("logmel_knn", changes) for changes in ({}, {"mel_scale": "slaney"}, {"f_max": "200"})
    )
    run = tiny.go(
        tmp_path, plain, mel, damaged, cache=cache, seeds=[1, 2], dataset=Selector("synthetic", options)
    )
    assert losses(run, before=plain, after=plain) == []
    assert losses(run, before=plain, after=damaged)
    assert losses(run, before=plain, after=mel) or losses(run, before=mel, after=plain)


@pytest.mark.slow
def test_a_model_that_lost_its_training_is_caught(cache: Path, tmp_path: Path) -> None:
    options = tiny.DATASET.options | {"test_clips": "20"}
    trained, damaged = (Selector("idnn", {"epochs": epochs}) for epochs in ("30", "0"))
    run = tiny.go(
        tmp_path, trained, damaged, cache=cache, seeds=[1, 2, 3], dataset=Selector("synthetic", options)
    )
    assert losses(run, before=trained, after=trained) == []
    assert ("", "auc") in [(each.machine, each.metric) for each in losses(run, before=trained, after=damaged)]


@pytest.mark.slow
def test_a_margin_left_off_at_test_time_is_caught(cache: Path, tmp_path: Path) -> None:
    kept, off = Selector("stgram_mfn"), Selector("stgram_mfn", {"scorer.margin_at_test": "false"})
    # All machine types: with fewer classes the short training depends less on the margin.
    run = tiny.go(tmp_path, kept, off, cache=cache, seeds=[1], threads=2, dataset=Selector("synthetic"))
    assert losses(run, before=kept, after=kept) == []
    assert ("", "auc") in [(each.machine, each.metric) for each in losses(run, before=kept, after=off)]


@pytest.mark.parametrize("spreads", [(0.01, 0.01, 0.01), (0.002, 0.005, 0.03)])
def test_other_seeds_are_seldom_a_loss(spreads: tuple[float, ...]) -> None:
    generator = np.random.default_rng(8)

    def rerun(center: Floats) -> RunDocument:
        shared = 0.005 * generator.normal(size=3)  # a seed may be good for all machines
        values = center[:, None] + shared + np.outer(spreads, [1, 1, 1]) * generator.normal(size=(3, 3))
        return document_of(dict(zip(MACHINES, np.clip(values, 0, 1).tolist(), strict=True)))

    alarms = 0
    for _ in range(200):
        center = generator.uniform(0.6, 0.98, size=3)
        alarms += check_run(rerun(center), baseline_of(rerun(center))).failed
    assert alarms <= 10  # 5 %
