"""Conformance: a sound method passes, each broken one fails the check that it was made for and no other."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import bad_plugins
import jsonschema
import make_schemas
import numpy as np
import pytest
import tiny

from asdbench import ConfigError, PluginError, Registry, Selector, load_registry
from asdbench.cli import conformance as command
from asdbench.cli import status_of
from asdbench.conformance.check import conformance
from asdbench.conformance.findings import Report, Unmet
from asdbench.conformance.outputs import the_set_does_not_matter
from asdbench.plugin.registry import NotOffered, Plugin

BAD = {
    "undescribed": ("options", "model option 'depth' has no description"),
    "failing": ("fits", r"ValueError: no anomalous items to train on \(bad_plugins.py, line \d+\)"),
    "misshaped": ("shapes", "the scorer reads 'distance', the model gives distances"),
    "undefined": ("finite", "16 of 32 items have scores that are not finite"),
    "inverted": ("direction", "planted anomalies score higher in 0% of the pairs"),
    "dropping": ("scoring", "output 'distance' of the same items is another one the second time"),
    "ordered": ("order", "scores change with the order of the items, by up to"),
    "normed": ("batches", "output 'distance' of item 0 differs by .* when the item is scored alone"),
    "crowded": ("batches", "item 0 cannot be scored alone: ValueError: Expected more than 1 value per channel"),
    "standardising": ("set", "scores change in a test set of .*, by up to"),
    "unsaved": ("saved", "'distance' differs by .* after saving and loading"),
    "unseeded": ("same seed", "the same seed gives other scores, by up to"),
    "greedy": ("normal items alone", "scores change with items that it was not given to train on"),
    "constant": ("other seed", "another seed gives the same scores"),
    "mistaken": ("other seed", "another seed gives other scores, though Method.deterministic is True"),
    "defaulting": ("globals", r"it changed torch's default dtype \(torch.float32 before, torch.float64 after\)"),
    "seeding": ("globals", "it changed numpy's random state .*, Python's random state"),
    "writing": ("files", "it reached for .*left_by_a_bad_plugin, outside the folder of its job"),
    "insisting": ("files", "it reached for .*left_by_a_bad_plugin, outside the folder of its job"),
    "connecting": ("network", "it used the network: socket.getaddrinfo 127.0.0.1"),
}  # fmt: skip

SMALL = Selector("synthetic", {"length_s": "1", "sample_rate": "8000"})


@pytest.fixture(scope="module")
def registry() -> Registry:
    loaded = load_registry()
    loaded.add(Plugin(name="bad"), bad_plugins)
    return loaded


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    assert not bad_plugins.OUTSIDE.exists()


def outcomes(report: Report) -> dict[str, str]:
    return {finding.check: finding.outcome for finding in report.findings}


def test_a_sound_method_passes_every_check(registry: Registry) -> None:
    report = conformance(registry, Selector("sound"), dataset=SMALL)
    assert {name for name, outcome in outcomes(report).items() if outcome != "passed"} <= {"cuda"}
    assert set(outcomes(report)) - {check for check, _ in BAD.values()} == {"cuda"}, (
        "a check that nothing fails"
    )
    assert (report.kind, report.plugin, report.dataset, report.api) == ("method", "bad", str(SMALL), "1")
    assert report.isolated in ("landlock", "audit")
    assert report.peak_memory_bytes > 2**25
    assert report.fit_seconds
    assert report.ms_per_item


@pytest.mark.parametrize("name", BAD)
def test_a_broken_promise_fails_its_check_and_no_other(name: str, registry: Registry) -> None:
    check, saw = BAD[name]
    report = conformance(registry, Selector(name), dataset=SMALL)
    assert report.failed == [check]
    [finding] = [finding for finding in report.findings if finding.check == check]
    assert re.search(saw, finding.saw), finding.saw
    assert finding.mend


def test_a_method_that_ends_its_process_is_invalid(registry: Registry) -> None:
    message = r"method quitting of plugin bad \(unknown unknown\) ended the process .* with exit status 3"
    with pytest.raises(PluginError, match=message):
        conformance(registry, Selector("quitting"), dataset=SMALL)


WITHOUT_LANDLOCK = """
import bad_plugins
from asdbench import Selector, load_registry
from asdbench.conformance import check, process
from asdbench.jobs import landlock
from asdbench.plugin.registry import Plugin

def refuse(**places):
    raise OSError("no Landlock here")

landlock.restrict = refuse
check.ask = lambda function, message: process.check(message)  # a hook of Python stays for good
registry = load_registry()
registry.add(Plugin(name="bad"), bad_plugins)
report = check.conformance(registry, Selector("writing"), dataset=Selector.parse("{small}"))
print(report.isolated, *report.failed)
"""


def test_the_hook_of_python_alone_finds_a_file_that_is_left_behind() -> None:
    script = WITHOUT_LANDLOCK.replace("{small}", str(SMALL))
    done = subprocess.run(
        [sys.executable, "-c", script], env=tiny.environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["audit", "files"]


def test_the_command_ends_with_4_if_a_check_fails_and_says_how_to_mend_it(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "load_registry", lambda: registry)
    assert status_of(["conformance", "inverted", "-d", str(SMALL), "--isolation", "audit"]) == 4
    shown = capsys.readouterr().out
    assert shown.startswith(f"method inverted of plugin bad (unknown unknown), as on {SMALL}, plugin API 1\n")
    assert re.search(r"FAILED  direction .*0% of the pairs.*\n +to mend it: a higher score means", shown)
    assert shown.endswith("; isolated by audit\n1 check failed: direction\n")


def test_the_command_ends_with_0_for_a_shipped_scorer_and_prints_json_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert status_of(["conformance", "knn", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    jsonschema.validate(found, json.loads(make_schemas.file_of("conformance").read_text("utf-8")))
    assert (found["kind"], found["name"], found["distribution"]) == ("scorer", "knn", "asdbench")
    assert {one["outcome"] for one in found["findings"]} == {"passed"}


def test_the_command_ends_with_2_for_an_unknown_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(["conformance", "logmel_kn"]) == 2
    assert "did you mean 'logmel_knn'" in capsys.readouterr().err


def test_an_ensemble_is_checked_by_its_members(registry: Registry) -> None:
    with pytest.raises(ConfigError, match=r"parallel is an ensemble, .*; check its members: serial_method, "):
        conformance(registry, Selector("parallel"))


def test_a_dataset_is_for_methods_alone(registry: Registry) -> None:
    with pytest.raises(ConfigError, match="knn is a scorer, which is checked without a dataset"):
        conformance(registry, Selector("knn"), dataset=SMALL)
    with pytest.raises(NotOffered, match="unknown dataset 'knn'"):
        conformance(registry, Selector("knn"), kind="dataset")


def test_rounding_is_measured_against_the_spread_of_all_scores() -> None:
    class Scores:
        """Scores that round differently alone, by a millionth of their spread; or by a tenth of it."""

        recipe = SimpleNamespace(common=SimpleNamespace(precision="fp32"))
        scorer = SimpleNamespace(uses_test_set="")

        def __init__(self, rounding: float) -> None:
            self.rounding = rounding

        def score(self, items: Any) -> Any:
            return 10.0 * items + (self.rounding if len(items) == 1 else 0.0)

    items: Any = np.arange(32.0)
    sound: Any = Scores(1e-4)
    assert the_set_does_not_matter(sound, items)
    unsound: Any = Scores(10.0)
    with pytest.raises(Unmet, match="scores change in a test set of one item, by up to 10"):
        the_set_does_not_matter(unsound, items)
