"""The estimate of a plan: how long a training is where that is stated, and no number where it is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import tiny
import toy_model

from asdbench import Selector, load_registry
from asdbench.core.environment import environment
from asdbench.jobs.measure import measure
from asdbench.messages.jobs import Case
from asdbench.messages.measures import Measure, MeasureTask
from asdbench.recipes.resolve import resolve
from asdbench.runs.estimate import CaseEstimate, estimate
from asdbench.runs.needs import KnownNeeds
from asdbench.runs.pace import items_seen, items_seen_by_options, items_trained_on, job_seconds
from asdbench.runs.plan import Planned, plan_run
from asdbench.runs.run import run_planned

INSTALLED = load_registry()
PRESETS = [
    (name, preset) for name in INSTALLED.names("method") for preset in ("", *INSTALLED.method(name).presets)
]


def estimated(folder: Path, *methods: Selector, **options: Any) -> list[CaseEstimate]:
    request = tiny.request(folder, *methods, cache=folder / "cache", **options)
    return estimate(plan_run(request, tiny.registry(), observer=tiny.Silent()))


@pytest.mark.parametrize(("method", "preset"), PRESETS, ids=[f"{name}-{preset}" for name, preset in PRESETS])
def test_the_options_of_every_preset_state_the_length_of_its_training_or_nothing(
    method: str, preset: str
) -> None:
    options = {"preset": preset} if preset else {}
    recipe = resolve(INSTALLED, Selector(method, options), dataset=INSTALLED.method(method).home)
    items = items_seen_by_options(recipe.model.options, 10)
    assert items is None or items >= 0


def test_a_method_whose_epochs_are_those_of_its_paper_can_be_planned(tmp_path: Path) -> None:
    faces = Selector("synthetic_faces", {"subjects": "1", "size": "28"})
    small = {"width": "0.0625", "input_size": "18", "epochs": "none"}
    rows = estimated(tmp_path, Selector("waspp", small), dataset=faces)
    assert [row.fit for row in rows] == ["planned"] * 3
    assert all(row.estimate_s is None or row.estimate_s > 0 for row in rows)


def test_a_training_of_unknown_length_has_no_estimate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asdbench.runs.pace.items_seen_by_options", lambda options, train: None)
    [row] = estimated(tmp_path, Selector("toy"))
    assert row.estimate_s is None


def test_the_length_of_a_training_is_read_from_the_names_of_its_options() -> None:
    assert items_seen_by_options({"epochs": 3}, 10) == 30
    assert items_seen_by_options({"time_epochs": 2, "fusion_epochs": 1, "start_epoch": 9}, 10) == 30
    assert items_seen_by_options({"iterations": 5, "batch_size": 4}, 10) == 20
    assert items_seen_by_options({"epochs": None}, 10) is None
    assert items_seen_by_options({"width": 1.0}, 10) is None


def test_a_model_may_state_its_epochs_and_one_without_gradient_sees_its_items_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    methods = (Selector("toy"), Selector("logmel_knn", {"scope": "all"}))
    request = tiny.request(tmp_path, *methods, cache=tmp_path / "cache")
    cases = plan_run(request, tiny.registry(), observer=tiny.Silent()).cases
    toy, statistics = measured(cases)
    options = [case.fit.recipe.model.options for case in cases]
    assert (toy.epochs, toy.trains, toy.learns) == (None, True, False)
    assert items_seen(toy, options[0], train=10) == 30
    assert (statistics.trains, statistics.learns) == (False, True)
    assert items_seen(statistics, options[1], train=10) == 10
    monkeypatch.setattr(toy_model.Toy, "epochs", 7)
    assert items_seen(measured(cases)[0], options[0], train=10) == 70


def measured(cases: Sequence[Case]) -> list[Measure]:
    """Measure the detectors of fit jobs in this process."""
    task = MeasureTask(specs=[case.fit for case in cases])
    return msgspec.msgpack.decode(measure(msgspec.msgpack.encode(task)), type=list[Measure])


def planned(folder: Path, *methods: Selector, **options: Any) -> Planned:
    request = tiny.request(folder, *methods, cache=folder / "cache", **options)
    return plan_run(request, tiny.registry(), observer=tiny.Silent())


def test_without_an_earlier_fit_forward_passes_are_timed_with_the_device_and_threads_of_the_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = answered(monkeypatch, cpu=1.0, cuda=0.1)
    plan = planned(tmp_path, Selector("toy"), threads=2)
    specs = [replace(case, fit=msgspec.structs.replace(case.fit, device="cuda")) for case in plan.cases]
    on_gpu = replace(plan, resources=replace(plan.resources, device="cuda"), cases=specs)
    [slow], [fast] = estimate(plan), estimate(on_gpu)
    assert asked == [("cpu", 2), ("cuda", 2)]
    train, test = len(plan.cases[0].fit.train.ids), len(plan.cases[0].score.test.ids)
    assert slow.estimate_s == 3 * 3 * train + test  # three epochs of three forward passes each
    assert fast.estimate_s == pytest.approx(slow.estimate_s / 10, abs=0.05)
    assert (slow.basis, fast.basis) == ("forward pass", "forward pass")
    assert estimate(plan) == [slow]
    assert len(asked) == 2  # a model is timed once on a device


def test_another_machine_is_asked_for_twice_the_estimated_time_of_a_job_without_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = answered(monkeypatch, cpu=2.0)
    plan = planned(tmp_path, Selector("toy"))
    [case] = plan.cases
    assert KnownNeeds(plan).of(case.fit).seconds is None
    assert asked == []  # nothing is timed for an executor that reserves no time
    needs = KnownNeeds(plan, estimate=job_seconds)
    train, test = case.fit.train.count, case.score.test.count
    assert needs.of(case.fit).seconds == 2 * 2.0 * 3 * 3 * train  # three epochs of three forward passes each
    assert needs.of(case.score).seconds == 2 * 2.0 * test
    assert needs.of(case.fit).memory_bytes is None


def answered(monkeypatch: pytest.MonkeyPatch, **seconds: float | None) -> list[tuple[str, int]]:
    """Answer how long an item takes on a device; return the devices and threads that are asked for."""
    asked: list[tuple[str, int]] = []

    def answer(function: str, message: bytes, *, first: str) -> bytes:
        assert (function, first) == ("asdbench.jobs.measure:paces", "asdbench.jobs.measure:shut_in")
        specs = msgspec.msgpack.decode(message, type=MeasureTask).specs
        asked.extend((spec.device, spec.threads) for spec in specs)
        return msgspec.msgpack.encode([seconds[spec.device] for spec in specs])

    monkeypatch.setattr("asdbench.runs.pace.ask", answer)
    return asked


def test_the_process_of_a_worker_times_the_model(tmp_path: Path) -> None:
    [row] = estimated(tmp_path, Selector("toy"))
    assert row.estimate_s is not None
    [file] = (tmp_path / "cache" / "measures").glob("pace-forward-*.json")
    assert 0 < float(file.read_text()) < 10


def test_earlier_fits_of_a_method_count_before_timed_passes_also_for_other_plans(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = planned(tmp_path, Selector("toy"))
    run_planned(first, tiny.registry(), observer=tiny.Silent())
    asked = answered(monkeypatch)  # nothing needs to be timed
    [done] = estimate(first)
    assert (done.fit, done.estimate_s, done.basis) == ("ok", 0.0, "")
    [fit] = (tmp_path / "models").glob("*/fit.json")
    seconds = msgspec.json.decode(fit.read_bytes())["usage"]["seconds"]
    longer = planned(tmp_path, Selector("toy", {"epochs": "3000"}))
    [row] = estimate(longer)
    assert row.basis == "earlier fits"
    assert row.estimate_s == pytest.approx(1000 * seconds, rel=0.01)  # three epochs took that long
    assert asked == []


def test_a_fit_on_other_hardware_says_nothing_about_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = planned(tmp_path, Selector("toy"))
    run_planned(first, tiny.registry(), observer=tiny.Silent())
    here = environment()
    monkeypatch.setattr(
        "asdbench.runs.pace.environment", lambda: msgspec.structs.replace(here, processor="another")
    )
    answered(monkeypatch, cpu=1.0)
    [row] = estimate(planned(tmp_path, Selector("toy", {"epochs": "9"})))
    assert row.basis == "forward pass"


def test_a_model_that_cannot_be_timed_has_no_estimate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered(monkeypatch, cpu=None)
    [row] = estimate(planned(tmp_path, Selector("toy")))
    assert (row.estimate_s, row.basis) == (None, "")


def test_of_the_negatives_as_many_are_seen_as_own_items(tmp_path: Path) -> None:
    case = planned(tmp_path, Selector("toy_with_foreign")).cases[0]
    own = sum(case.fit.train.own)
    assert 0 < own < len(case.fit.train.ids)
    assert items_trained_on(case, Measure(epochs=0.5)) == min(len(case.fit.train.ids), 2 * own) / 2


def test_a_method_that_is_inapplicable_does_not_hide_the_training_that_it_shares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    methods = (Selector("toy"), Selector("toy", {"scorer": "knn"}))
    request = tiny.request(tmp_path, *methods, cache=tmp_path / "cache")
    planned = plan_run(request, tiny.registry(), observer=tiny.Silent())
    answered(monkeypatch, cpu=10.0)
    both = estimate(planned)
    first, second = planned.cases
    alone = estimate(replace(planned, cases=[replace(first, inapplicable="too small"), second]))
    assert [row.fit for row in alone] == ["inapplicable", "planned"]
    assert [row.note for row in alone] == ["too small", ""]
    assert (alone[1].estimate_s or 0.0) > (both[1].estimate_s or 0.0) > 0.0
