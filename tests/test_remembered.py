"""What planning finds out is kept in the cache: recipes, and what building the detectors of a plan found."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import pytest
import tiny
import torch
from torch import Tensor, nn

from asdbench import ConfigError, Registry, Selector
from asdbench.core.config import configure
from asdbench.jobs.processes import ask
from asdbench.messages.jobs import Case
from asdbench.messages.measures import Measure, MeasureTask
from asdbench.recipes.recipe import Recipe
from asdbench.recipes.remembered import resolve_remembered
from asdbench.recipes.resolve import resolve
from asdbench.runs.buildable import measures
from asdbench.runs.estimate import estimate
from asdbench.runs.plan import Planned, plan_run

METHODS = (Selector("toy"), Selector("toy_with_foreign"), Selector("stgram_afpa"))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def planned(cache: Path, *methods: Selector, **options: Any) -> Planned:
    request = tiny.request(cache.parent / "runs", *methods, cache=cache, **options)
    return plan_run(request, tiny.registry(), observer=tiny.Silent())


def refuse(function: str, message: bytes, *, first: str) -> NoReturn:
    raise AssertionError(f"a process was started for {function}")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The labels of the methods that each process was started for."""
    labels: list[list[str]] = []

    def counted(function: str, message: bytes, *, first: str) -> bytes:
        task = msgspec.msgpack.decode(message, type=MeasureTask)
        labels.append([spec.recipe.label for spec in task.specs])
        return ask(function, message, first=first)

    monkeypatch.setattr("asdbench.runs.buildable.ask", counted)
    return labels


def test_a_second_plan_starts_no_process_and_is_the_same(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitting = METHODS[:-1]
    first = planned(cache, *fitting)
    rows = estimate(first)
    for module in ("asdbench.runs.buildable", "asdbench.runs.pace"):
        monkeypatch.setattr(f"{module}.ask", refuse)
    again = planned(cache, *fitting)
    assert msgspec.json.encode(again.recipes) == msgspec.json.encode(first.recipes)
    assert messages_of(again.cases) == messages_of(first.cases)
    assert again.run_id == first.run_id
    assert {case.inapplicable for case in again.cases} == {None}
    assert estimate(again) == rows


def messages_of(cases: list[Case]) -> list[bytes]:
    """Return the messages of all jobs without the memory that is free at the moment."""
    jobs = [job for case in cases for job in (case.fit, case.score)]
    return [msgspec.json.encode(msgspec.structs.replace(job, feature_bytes=0)) for job in jobs]


def test_one_process_measures_all_that_is_missing_each_shape_once(
    cache: Path, asked: list[list[str]]
) -> None:
    planned(cache, Selector("toy"))
    planned(cache, Selector("toy"), Selector("toy_by_machine"), seeds=[1, 2])
    planned(cache, Selector("toy", {"length_s": "0.5"}))
    # Both machines and both seeds have detectors of one shape.
    assert asked == [["toy"], ["toy_by_machine"], ["toy[length_s=0.5]"]]


def test_another_recipe_or_number_of_classes_is_measured_by_itself(
    cache: Path, asked: list[list[str]]
) -> None:
    fans = Selector("synthetic", {**tiny.DATASET.options, "machines": "fan"})
    planned(cache, Selector("toy"))
    planned(cache, Selector("toy"), dataset=fans)
    planned(cache, Selector("toy", {"n_mels": "8"}))
    planned(cache, Selector("toy", {"scorer": "knn"}))
    assert asked == [["toy"], ["toy"], ["toy[n_mels=8]"], ["toy[scorer=knn]"]]


@pytest.mark.parametrize("content", [b"", b"{", b'{"flops": "many"}', b'{"colour": 3}', b"\xff"])
def test_a_damaged_measure_is_measured_again_with_a_warning(
    content: bytes, cache: Path, asked: list[list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    planned(cache, Selector("toy"))
    [file] = (cache / "measures").iterdir()
    whole = file.read_bytes()
    file.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        planned(cache, Selector("toy"))
    assert asked == [["toy"], ["toy"]]
    assert f"{file} is damaged" in caplog.text
    assert "working it out again" in caplog.text
    assert file.read_bytes() == whole
    assert msgspec.json.decode(whole, type=Measure).trains


def test_a_damaged_speed_is_measured_again_with_a_warning(
    cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plan = planned(cache, Selector("toy"))
    estimate(plan)
    [file] = (cache / "measures").glob("pace-forward-*.json")
    file.write_bytes(b"fast")
    with caplog.at_level(logging.WARNING):
        estimate(plan)
    assert f"{file} is damaged" in caplog.text
    assert float(file.read_text()) > 0


def test_a_model_that_cannot_be_built_is_not_remembered(cache: Path, asked: list[list[str]]) -> None:
    broken = Selector("toy", {"trouble": "broken"})
    for _ in range(2):
        cases = planned(cache, Selector("toy"), broken).cases
        assert [case.inapplicable for case in cases] == [None, None]  # its own job reports the error
    assert asked == [["toy", "toy[trouble=broken]"], ["toy[trouble=broken]"]]
    assert len(list((cache / "measures").iterdir())) == 1


def test_a_model_that_ends_its_process_while_it_is_built_costs_the_others_nothing(
    cache: Path, asked: list[list[str]]
) -> None:
    plan = planned(cache, Selector("toy"), Selector("toy", {"trouble": "gone"}))
    assert [case.inapplicable for case in plan.cases] == [None, None]
    assert asked == [["toy", "toy[trouble=gone]"], ["toy"], ["toy[trouble=gone]"]]
    sound, gone = measures(plan.cases, cache=cache).values()
    assert sound.broken is None
    assert gone.broken is not None
    assert "asdbench.jobs.measure:measure failed in its process with exit status 7" in gone.broken
    assert [row.estimate_s is None for row in estimate(plan)] == [False, True]


INSTALLED = tiny.registry()


@pytest.mark.parametrize("method", INSTALLED.names("method"))
def test_a_recipe_in_the_cache_equals_a_fresh_one(
    method: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    selectors = [Selector(method), *(Selector(method, {"preset": name}) for name in presets_of(method))]
    datasets = {"synthetic", INSTALLED.method(method).home, *INSTALLED.method(method).on}
    wanted = [(selector, dataset) for selector in selectors for dataset in sorted(datasets)]
    for selector, dataset in wanted:
        resolve_remembered(INSTALLED, selector, dataset=dataset, cache=cache)
    monkeypatch.setattr("asdbench.recipes.remembered.resolve", refuse)
    for selector, dataset in wanted:
        found = resolve_remembered(INSTALLED, selector, dataset=dataset, cache=cache)
        fresh = resolve(INSTALLED, selector, dataset=dataset)
        assert msgspec.json.encode(found) == msgspec.json.encode(fresh)
        assert (found.trained(), found.scored()) == (as_read(fresh.trained()), as_read(fresh.scored()))


def presets_of(method: str) -> list[str]:
    """Return the first and the last preset of a method."""
    names = list(INSTALLED.method(method).presets)
    return list(dict.fromkeys(names[:1] + names[-1:]))


def as_read(value: dict[str, Any]) -> Any:
    """Return a value as JSON gives it back, with lists in the place of tuples."""
    return msgspec.json.decode(msgspec.json.encode(value))


def test_a_damaged_recipe_is_resolved_again_with_a_warning(
    cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = remembered(Selector("toy"), cache)
    [file] = (cache / "recipes").iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:-9])
    with caplog.at_level(logging.WARNING):
        assert remembered(Selector("toy"), cache) == first
    assert f"{file} is damaged" in caplog.text
    assert "working it out again" in caplog.text
    assert file.read_bytes() == whole


def remembered(selector: Selector, cache: Path, *, dataset: str = "synthetic") -> Recipe:
    return resolve_remembered(INSTALLED, selector, dataset=dataset, cache=cache)


def test_a_recipe_depends_on_the_options_the_dataset_and_the_code_of_its_parts(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remembered(Selector("toy"), cache)
    remembered(Selector("toy", {"epochs": "5"}), cache)
    remembered(Selector("toy"), cache, dataset="dcase2020")
    assert len(list((cache / "recipes").iterdir())) == 3
    monkeypatch.setattr(type(INSTALLED), "source_hash", lambda self, kind, name: f"edited {name}")
    assert remembered(Selector("toy"), cache).model.source == "edited toy"


class Gain(nn.Module):
    """An encoder with one weight."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor([gain, gain]))

    def forward(self, waves: Tensor) -> Tensor:
        return waves.square().mean(dim=1, keepdim=True) * self.gain


def save(encoder: nn.Module, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        traced = torch.jit.trace(encoder.eval(), torch.zeros(2, 16000))  # type: ignore[no-untyped-call]
        torch.jit.save(traced, str(path))


def test_a_changed_weight_file_behind_an_option_is_not_served_from_the_cache(
    cache: Path, tmp_path: Path, asked: list[list[str]]
) -> None:
    file = tmp_path / "encoder.pt"
    method = Selector("encoder_knn", {"encoder": str(file)})
    save(Gain(1.0), file)
    plans = [planned(cache, method) for _ in range(2)]
    save(Gain(2.0), file)
    plans.append(planned(cache, method))
    digests = [plan.cases[0].fit.recipe.model.options["encoder_sha256"] for plan in plans]
    models = [plan.cases[0].fit.model_id for plan in plans]
    assert digests[0] == digests[1] != digests[2]
    assert models[0] == models[1] != models[2]
    assert len(asked) == 2


def test_a_weight_file_that_is_gone_is_missed_although_its_recipe_is_remembered(
    cache: Path, tmp_path: Path
) -> None:
    file = tmp_path / "encoder.pt"
    method = Selector("encoder_knn", {"encoder": str(file)})
    save(Gain(1.0), file)
    planned(cache, method)
    file.unlink()
    with pytest.raises(ConfigError, match=r"encoder\.pt"):
        planned(cache, method)


def test_planning_again_imports_no_torch(cache: Path) -> None:
    code = (
        "import sys\n"
        "from asdbench.cli import status_of\n"
        "status = status_of(sys.argv[1:])\n"
        "print('torch' in sys.modules, file=sys.stderr)\n"
        "sys.exit(status)\n"
    )
    words = ["run", "-p", "idnn", "-d", str(tiny.DATASET), "--cache", str(cache), "--out", str(cache / "out")]
    words += ["--device", "cpu", "--threads", "1", "--dry-run", "--json"]
    shown = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", code, *words],
            env=tiny.environment(), capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        shown.append((done.stdout, done.stderr.splitlines()[-1]))
    assert shown[0][0] == shown[1][0]
    assert shown[1][1] == "False"


def test_a_misfit_is_measured_again_since_its_cause_may_lie_elsewhere(
    cache: Path, asked: list[list[str]]
) -> None:
    for _ in range(2):
        [case] = planned(cache, Selector("stgram_afpa")).cases  # clips of one second
        assert case.inapplicable is not None
        assert "heads=6 does not divide" in case.inapplicable
    assert asked == [["stgram_afpa"], ["stgram_afpa"]]


def test_scorers_of_one_model_are_measured_apart(cache: Path) -> None:
    plan = planned(cache, Selector("toy"), Selector("toy", {"scorer": "negative_log_probability"}))
    assert len({case.fit.job_id for case in plan.cases}) == 1
    assert [plan.measures[case.score.job_id].learns for case in plan.cases] == [
        build(case).learns for case in plan.cases
    ]


def build(case: Case) -> Any:
    return configure(
        INSTALLED.build("scorer", case.recipe.scorer.name), case.recipe.scorer.options, of="scorer"
    )


def test_a_file_named_by_a_preset_is_not_served_from_the_cache(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "seen.txt"
    file.write_text("one")
    asked: list[Selector] = []

    def counted(registry: Registry, selector: Selector, *, dataset: str) -> Recipe:
        asked.append(selector)
        return resolve(registry, selector, dataset=dataset)

    monkeypatch.setattr("asdbench.recipes.remembered.resolve", counted)
    registry = tiny.registry()
    toy = registry.method("toy")
    presets = {**toy.presets, "seen": {"file": str(file)}}
    monkeypatch.setattr(registry, "method", lambda name: msgspec.structs.replace(toy, presets=presets))
    for _ in range(2):
        resolve_remembered(registry, Selector("toy", {"preset": "seen"}), dataset="synthetic", cache=cache)
    assert len(asked) == 2


def test_a_cache_that_cannot_be_written_to_costs_only_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "recipes").touch()  # a file where the folder would be
    with caplog.at_level(logging.WARNING):
        recipe = resolve_remembered(INSTALLED, Selector("idnn"), dataset="synthetic", cache=tmp_path)
    assert recipe == resolve(INSTALLED, Selector("idnn"), dataset="synthetic")
    assert "not remembered" in caplog.text


def test_an_interrupted_question_ends_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    ask("asdbench.jobs.measure:has_cuda", b"")
    monkeypatch.setattr("asdbench.jobs.processes.connection.wait", interrupt)
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        ask("time:sleep", 60)  # type: ignore[arg-type]
    assert time.monotonic() - started < 30
