"""The estimate of a plan: how long a training is where that is stated, and no number where it is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import tiny
import torch
import toy_plugin

from asdbench import Selector, load_registry
from asdbench.jobs.measure import matmul_peak, measure
from asdbench.messages.jobs import Case
from asdbench.messages.measures import Measure, MeasureTask, SpeedTask
from asdbench.recipes.resolve import resolve
from asdbench.runs.estimate import CaseEstimate, estimate, items_seen, items_seen_by_options
from asdbench.runs.plan import plan_run

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
    monkeypatch.setattr("asdbench.runs.estimate.items_seen_by_options", lambda options, train: None)
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
    monkeypatch.setattr(toy_plugin.Toy, "epochs", 7)
    assert items_seen(measured(cases)[0], options[0], train=10) == 70


def measured(cases: Sequence[Case]) -> list[Measure]:
    """Measure the detectors of fit jobs in this process."""
    task = MeasureTask(specs=[case.fit for case in cases])
    return msgspec.msgpack.decode(measure(msgspec.msgpack.encode(task)), type=list[Measure])


def test_the_speed_is_measured_on_the_device_and_with_the_threads_of_the_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = answered(monkeypatch, cpu=1e3, cuda=1e4)
    request = tiny.request(tmp_path, Selector("toy"), cache=tmp_path / "cache", threads=2)
    planned = plan_run(request, tiny.registry(), observer=tiny.Silent())
    on_gpu = replace(planned, resources=replace(planned.resources, device="cuda"))
    slow, fast = (row.estimate_s for each in (planned, on_gpu) for row in estimate(each))
    assert asked == [("cpu", 2), ("cuda", 2)]
    assert slow is not None
    assert fast is not None
    assert slow == pytest.approx(10 * fast, rel=0.01)
    assert [row.estimate_s for row in estimate(planned)] == [slow]
    assert len(asked) == 2  # the speed of a device is measured once


def answered(monkeypatch: pytest.MonkeyPatch, **speeds: float) -> list[tuple[str, int]]:
    """Answer questions for the speed of a device; return the devices and threads that are asked for."""
    asked: list[tuple[str, int]] = []

    def answer(function: str, message: bytes) -> bytes:
        assert function == "asdbench.jobs.measure:speed"
        task = msgspec.msgpack.decode(message, type=SpeedTask)
        asked.append((task.device, task.threads))
        return msgspec.msgpack.encode(speeds[task.device])

    monkeypatch.setattr("asdbench.runs.estimate.ask", answer)
    return asked


def test_the_process_of_a_worker_measures_the_speed(tmp_path: Path) -> None:
    [row] = estimated(tmp_path, Selector("toy"))
    assert row.estimate_s is not None
    [file] = (tmp_path / "cache" / "measures").glob("speed-*.json")
    assert float(file.read_text()) > 1e6


def test_measuring_the_speed_uses_the_threads_it_is_given_and_restores_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used: list[int] = []
    rand = torch.rand

    def watched(*shape: int, device: str) -> torch.Tensor:
        used.append(torch.get_num_threads())
        return rand(*shape, device=device)

    monkeypatch.setattr(torch, "rand", watched)
    before = torch.get_num_threads()
    assert matmul_peak(threads=before + 1, size=8) > 0
    assert used == [before + 1] * 2
    assert torch.get_num_threads() == before


@pytest.mark.gpu
def test_a_gpu_is_measured_itself() -> None:
    assert matmul_peak(device="cuda") > 3 * matmul_peak(threads=1)


def test_a_method_that_is_inapplicable_does_not_hide_the_training_that_it_shares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    methods = (Selector("toy"), Selector("toy", {"scorer": "knn"}))
    request = tiny.request(tmp_path, *methods, cache=tmp_path / "cache")
    planned = plan_run(request, tiny.registry(), observer=tiny.Silent())
    answered(monkeypatch, cpu=1e4)
    both = estimate(planned)
    first, second = planned.cases
    alone = estimate(replace(planned, cases=[replace(first, inapplicable="too small"), second]))
    assert [row.fit for row in alone] == ["inapplicable", "planned"]
    assert [row.note for row in alone] == ["too small", ""]
    assert (alone[1].estimate_s or 0.0) > (both[1].estimate_s or 0.0) > 0.0
