"""Code of the harness that is replaced while a job runs is found, whatever kind it is of."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

from asdbench.detector.detector import Detector
from asdbench.errors import PluginError
from asdbench.jobs import job, probe, untouched
from asdbench.jobs.untouched import HarnessCode


def imitation(*arguments: Any, **options: Any) -> Any:
    return arguments, options


@pytest.mark.parametrize(
    ("of", "name", "by", "called"),
    [
        (job, "moves_unheard", imitation, "asdbench.jobs.job.moves_unheard"),
        (probe, "np", ModuleType("numpy"), "asdbench.jobs.probe.np"),
        (Detector, "score", imitation, "asdbench.detector.detector.Detector.score"),
        (probe.dithered, "__code__", imitation.__code__, "asdbench.jobs.probe.dithered"),
    ],
)
def test_what_is_replaced_is_named(
    of: Any, name: str, by: Any, called: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = HarnessCode()
    harness.check()
    monkeypatch.setattr(of, name, by)
    with pytest.raises(
        PluginError, match=f"^the method replaced {called}.* in the process of its job; a plu"
    ):
        harness.check()


def test_many_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = HarnessCode()
    for name in ("moves_unheard", "detector_of", "items_of", "size_of", "rehearse"):
        monkeypatch.setattr(job, name, imitation)
    with pytest.raises(PluginError, match=r"replaced asdbench\.jobs\.job\.\w+, .* and 2 more in the process"):
        harness.check()


def test_values_and_new_names_may_change(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = HarnessCode()
    monkeypatch.setattr(probe, "PROBED_ITEMS", 5)
    monkeypatch.setattr(probe, "kept_for_later", imitation, raising=False)
    harness.check()


def test_what_the_server_had_loaded_is_looked_at_once_and_what_came_later_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(untouched, "_by_server", untouched._Loaded())
    untouched.know_loaded()
    assert untouched._by_server.count == len(sys.modules)
    late = ModuleType("asdbench.late")
    late.look = imitation  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "asdbench.late", late)
    harness = HarnessCode()
    harness.check()
    with monkeypatch.context() as patch:
        patch.setattr(late, "look", print)
        with pytest.raises(PluginError, match=r"replaced asdbench\.late\.look in"):
            harness.check()
    with monkeypatch.context() as patch:
        patch.setattr(probe, "moves_unheard", imitation)
        with pytest.raises(PluginError, match=r"replaced asdbench\.jobs\.probe\.moves_unheard in"):
            harness.check()
    monkeypatch.setitem(sys.modules, "asdbench.jobs.job", ModuleType("asdbench.jobs.job"))
    with pytest.raises(PluginError, match=r"replaced asdbench\.jobs\.job in"):
        harness.check()
