"""The estimate of a plan: how long a training is, where anything tells, and no number where nothing does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
import toy_plugin

from asdbench.estimate import estimate, matmul_peak, shown, shown_by_options
from asdbench.job import detector_of
from asdbench.recipe import resolve
from asdbench.registry import load_registry
from asdbench.runner import plan_run

INSTALLED = load_registry()
PRESETS = [
    (name, preset) for name in INSTALLED.names("method") for preset in ("", *INSTALLED.method(name).presets)
]


def estimated(folder: Path, *methods: tuple[str, dict[str, str]], **options: Any) -> list[dict[str, Any]]:
    request = tiny.request(folder, *methods, cache=folder / "cache", **options)
    return estimate(plan_run(request, tiny.registry(), tiny.Silent()))


@pytest.mark.parametrize(("method", "preset"), PRESETS, ids=[f"{name}-{preset}" for name, preset in PRESETS])
def test_the_options_of_every_preset_tell_the_length_of_its_training_or_that_nothing_does(
    method: str, preset: str
) -> None:
    options = {"preset": preset} if preset else {}
    recipe = resolve(INSTALLED, method, options, dataset=INSTALLED.method(method).home)
    items = shown_by_options(recipe.model.options, 10)
    assert items is None or items >= 0


def test_a_method_whose_epochs_are_those_of_its_paper_can_be_planned(tmp_path: Path) -> None:
    faces = ("synthetic_faces", {"subjects": "1", "size": "28"})
    small = {"width": "0.0625", "input_size": "18", "epochs": "none"}
    rows = estimated(tmp_path, ("waspp", small), dataset=faces)
    assert [row["fit"] for row in rows] == ["planned"] * 3
    assert all(row["estimate_s"] is None or row["estimate_s"] > 0 for row in rows)


def test_a_training_of_which_nothing_tells_how_long_it_is_has_no_estimate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asdbench.estimate.shown_by_options", lambda options, train: None)
    [row] = estimated(tmp_path, ("toy", {}))
    assert row["estimate_s"] is None


def test_the_length_of_a_training_is_read_from_what_its_options_are_called() -> None:
    assert shown_by_options({"epochs": 3}, 10) == 30
    assert shown_by_options({"time_epochs": 2, "fusion_epochs": 1, "start_epoch": 9}, 10) == 30
    assert shown_by_options({"iterations": 5, "batch_size": 4}, 10) == 20
    assert shown_by_options({"epochs": None}, 10) is None
    assert shown_by_options({"width": 1.0}, 10) is None


def test_a_model_may_tell_its_epochs_and_one_without_gradient_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = tiny.request(tmp_path, ("toy", {}), ("logmel_knn", {"scope": "all"}), cache=tmp_path / "cache")
    toy, statistics = (
        detector_of(task.fit) for task in plan_run(request, tiny.registry(), tiny.Silent()).tasks
    )
    assert shown(toy, 10) == 30
    assert not any(value.requires_grad for value in statistics.model.parameters())
    assert shown(statistics, 10) == 10
    monkeypatch.setattr(toy_plugin.Toy, "epochs", 7, raising=False)
    assert isinstance(toy.model, torch.nn.Module)
    assert shown(toy, 10) == 70


def test_the_speed_is_measured_on_the_device_and_with_the_threads_of_the_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, int]] = []

    def peak(*, device: str, threads: int) -> float:
        asked.append((device, threads))
        return 1e4 if device == "cuda" else 1e3

    monkeypatch.setattr("asdbench.estimate.matmul_peak", peak)
    request = tiny.request(tmp_path, ("toy", {}), cache=tmp_path / "cache", threads=2)
    planned = plan_run(request, tiny.registry(), tiny.Silent())
    [on_cpu] = estimate(planned)
    [on_gpu] = estimate(replace(planned, resources=replace(planned.resources, device="cuda")))
    assert asked == [("cpu", 2), ("cuda", 2)]
    assert on_cpu["estimate_s"] == pytest.approx(10 * on_gpu["estimate_s"], rel=0.01)


def test_measuring_the_speed_uses_the_threads_it_is_told_and_puts_them_back(
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
    request = tiny.request(tmp_path, ("toy", {}), ("toy", {"scorer": "knn"}), cache=tmp_path / "cache")
    planned = plan_run(request, tiny.registry(), tiny.Silent())
    monkeypatch.setattr("asdbench.estimate.matmul_peak", lambda **_: 1e6)
    both = estimate(planned)
    first, second = planned.tasks
    alone = estimate(replace(planned, tasks=[replace(first, inapplicable="too small"), second]))
    assert [row["fit"] for row in alone] == ["inapplicable", "planned"]
    assert [row.get("note") for row in alone] == ["too small", None]
    assert alone[1]["estimate_s"] > both[1]["estimate_s"]
