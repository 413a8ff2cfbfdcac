"""Records: one repeats its run, tells of models not made alike, and is read while it is whole; failures are told."""

from __future__ import annotations

import importlib.metadata
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import pytest
import tiny

from asdbench import environment as environment_module
from asdbench.environment import differences, environment, required_by
from asdbench.errors import RunError
from asdbench.estimate import estimate
from asdbench.metrics.resampling import BOOTSTRAP_SEED
from asdbench.records import read_run
from asdbench.report import Report
from asdbench.runner import known_outcomes, plan_run, run

ENSEMBLE: tuple[str, dict[str, str]] = ("toys", {})
HEX = re.compile(r"[0-9a-f]{16}")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """A run of the toy and of an ensemble of two toys."""
    folder = tmp_path_factory.mktemp("finished")
    go(folder, ("toy", {}), ENSEMBLE, cache=cache)
    return folder


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "copied"))


def go(folder: Path, *methods: tuple[str, dict[str, str]], cache: Path, **options: object) -> Report:
    return run(tiny.request(folder, *methods, cache=cache, **options), tiny.registry(), tiny.Silent())


def record_of(folder: Path, label: str) -> dict[str, Any]:
    [record] = [method for method in read_run(folder).methods if method.label == label]
    return dict(record.document)


def folder_of(folder: Path, label: str) -> Path:
    return folder / "records" / str(record_of(folder, label)["record_id"])


@pytest.fixture(scope="module")
def record(finished: Path) -> dict[str, Any]:
    return record_of(finished, "toy")


def test_a_record_has_the_whole_recipe_with_threads_and_precision(record: dict[str, Any]) -> None:
    recipe = record["method"]["recipe"]
    assert recipe["model"]["options"]["epochs"] == 3
    assert recipe["knobs"]["precision"] == "fp32"
    assert HEX.fullmatch(recipe["harness"])
    [model], [score] = record["models"].values(), record["scores"].values()
    assert (model["threads"], model["device"], model["seed"]) == (1, "cpu", 42)
    assert (score["threads"], score["device"]) == (1, "cpu")
    assert score["model_id"] in record["models"]


def test_a_record_has_the_data_by_hash_and_completeness_with_every_option(record: dict[str, Any]) -> None:
    data, about = record["data"], record["run"]
    assert (data["complete"], data["items"], data["expected"]) == (True, 56, 56)
    assert len(data["manifest"]) == len(data["samples"]) == 64
    assert data["known_leaks"] == []
    assert about["dataset_options"] == tiny.DATASET[1]
    resolved = about["dataset_options_resolved"]
    assert (resolved["machines"], resolved["ids"], resolved["seed"]) == (["fan", "valve"], 2, 0)
    assert set(resolved) > set(tiny.DATASET[1])


def test_a_record_has_distribution_version_and_source_of_every_part(record: dict[str, Any]) -> None:
    plugins = {(row["kind"], row["name"]): row for row in record["run"]["plugins"]}
    registry = tiny.registry()
    for part in ("featurizer", "scorer"):
        chosen = record["method"]["recipe"][part]
        row = plugins[part, chosen["name"]]
        assert (row["distribution"], row["version"]) == ("asdbench", importlib.metadata.version("asdbench"))
        assert row["source_hash"] == chosen["source"]
    assert plugins["dataset", "synthetic"] == {
        "kind": "dataset",
        "name": "synthetic",
        "plugin": "datasets",
        "distribution": "asdbench",
        "version": importlib.metadata.version("asdbench"),
        "source_hash": registry.source_hash("dataset", "synthetic"),
    }
    assert plugins["metrics", record["run"]["metric_set"]]["source_hash"]
    # The toy stands in no distribution.
    assert (plugins["model", "toy"]["plugin"], plugins["model", "toy"]["version"]) == ("toy", "unknown")
    assert plugins["model", "toy"]["libraries"] == {}
    assert {("method", "toy"), ("ensemble", "toys"), ("method", "toy_by_machine")} <= set(plugins)
    assert ("scorer", "knn") in plugins, "what a method takes on one unit alone"


def test_a_record_has_metrics_seeds_selection_and_how_intervals_are_made(record: dict[str, Any]) -> None:
    about = record["run"]
    assert about["metric_set"] == "dcase2020"
    assert (about["resamples"], about["bootstrap_seed"]) == (1000, BOOTSTRAP_SEED)
    assert (about["seeds"], record["method"]["selection"]) == ([42], "last")
    assert {row["metric"] for row in record["results"]} >= {"auc", "pauc"}
    assert all(row["per_seed"] for row in record["results"])


def test_a_record_has_the_cost_of_the_method_and_of_each_job(record: dict[str, Any]) -> None:
    cost = record["method"]["cost"]
    assert {"fit_s", "score_ms", "parameters", "flops", "peak_memory_bytes"} <= set(cost)
    [model], [score] = record["models"].values(), record["scores"].values()
    assert model["cost"]["seconds"] > 0
    assert score["cost"]["peak_memory_bytes"] > 0
    assert score["ms_per_item"] > 0


def test_a_record_has_commit_versions_and_hardware_of_the_run_and_of_every_job(
    record: dict[str, Any],
) -> None:
    here = record["run"]["environment"]
    assert here == environment()
    [model], [score] = record["models"].values(), record["scores"].values()
    for job in (model, score):
        there = record["environments"][job["environment"]]
        assert there["libraries"] == here["libraries"]
        assert (there["processor"], there["commit"]) == (here["processor"], here["commit"])
    assert len(record["environments"]) == 1
    # What the project itself needs, by its own metadata; tools of its developers compute nothing.
    assert {"asdbench", "torch", "pyarrow", "threadpoolctl", "safetensors"} <= set(here["libraries"])
    assert {"pytest", "ruff"}.isdisjoint(here["libraries"])
    assert "not installed" not in here["libraries"].values()


def test_a_record_has_the_scores_of_every_item_by_official_name(finished: Path) -> None:
    items = pd.read_parquet(folder_of(finished, "toy") / "items.parquet")
    assert len(items) == 32
    assert {"source", "sha256", "label", "score_42"} <= set(items.columns)


def test_the_record_of_an_ensemble_has_all_members(finished: Path) -> None:
    record = record_of(finished, "toys")
    assert len(record["models"]) == len(record["scores"]) == 4
    assert {score["model_id"] for score in record["scores"].values()} == set(record["models"])
    assert len(record["method"]["recipe"]["members"]) == 2


def aged(folder: Path, kind: str, file: str, **changed: Any) -> None:
    """Change the environment that one result in a store was made in."""
    path = next(iter(sorted(folder.glob(f"{kind}/*/{file}"))))
    document = json.loads(path.read_text())
    document["environment"] |= changed
    path.write_bytes(msgspec.json.encode(document))


def rules_of(report: Report, label: str) -> list[str]:
    told = [rule for rule in report.document()["methods"][label]["rules"] if "alike" in rule]
    return [rule.removeprefix("not all models and scores were computed alike: ") for rule in told]


def test_models_of_other_versions_or_hardware_are_not_averaged_without_a_word(
    copied: Path, cache: Path
) -> None:
    assert rules_of(go(copied, ENSEMBLE, cache=cache), "toys") == []
    here = environment()
    libraries = here["libraries"] | {"torch": "0.1", "strange": "7"}
    aged(copied, "models", "fit.json", libraries=libraries, processor="an abacus")
    report = go(copied, ("toy", {}), ENSEMBLE, cache=cache)
    assert not any(job.new for job in report.jobs)
    told = [rule for label in ("toy", "toys") for rule in rules_of(report, label)]
    torch = here["libraries"]["torch"]
    processors = " and ".join(sorted(["an abacus", here["processor"]]))
    assert told == [f"processor {processors}; torch 0.1 and {torch}; strange 7 and none"]


def test_a_gpu_that_was_not_used_makes_no_difference(copied: Path, cache: Path) -> None:
    aged(copied, "scores", "score.json", gpus=["a card"], platform="another kernel", cores=64)
    report = go(copied, ("toy", {}), ENSEMBLE, cache=cache)
    assert rules_of(report, "toy") == rules_of(report, "toys") == []


def test_differences_name_what_differs_with_its_values() -> None:
    one = {"python": "3.11", "gpus": ["A", "A"], "libraries": {"torch": "2.13"}, "commit": "a"}
    other = {"python": "3.12", "gpus": [], "libraries": {"torch": "2.13"}, "commit": "b"}
    assert differences([one, other, one]) == ["python 3.11 and 3.12", "gpus A, A and none"]
    assert differences([one]) == differences([]) == []


def test_a_distribution_that_is_not_installed_requires_nothing_known() -> None:
    assert required_by("no-such-distribution-of-sounds") == {}
    assert "torch" in required_by("asdbench")


def test_what_a_strangers_distribution_requires_is_told_with_versions_but_for_its_tools(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = tmp_path / "stranger_sounds-1.2.dist-info"
    about.mkdir()
    required = [
        "numpy>=2.0", "no.such-library (>=1)", "scipy[all]~=1.14; python_version > '3'", 'click; extra == "shell"',
        'no-such-extra; extra == "shell"', 'pytest; extra == "test"',
    ]  # fmt: skip
    lines = ["Metadata-Version: 2.1", "Name: stranger-sounds", "Version: 1.2"]
    (about / "METADATA").write_text(
        "\n".join([*lines, *(f"Requires-Dist: {one}" for one in required)]) + "\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    version = importlib.metadata.version
    assert required_by("stranger-sounds") == {
        "click": version("click"),
        "no.such-library": "not installed",
        "numpy": version("numpy"),
        "scipy": version("scipy"),
    }


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit, of which the environment takes itself to be a part."""
    package = tmp_path / "harness" / "asdbench"
    package.mkdir(parents=True)
    (package / "environment.py").write_text("x = 1\n")
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], ["add", "."], [*who, "commit", "-q", "-m", "one"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True, capture_output=True)
    monkeypatch.setattr(environment_module, "__file__", str(package / "environment.py"))
    return tmp_path


def told_of_checkout() -> tuple[str | None, bool | None]:
    told = environment.__wrapped__()
    return told["commit"], told["uncommitted_changes"]


def test_uncommitted_changes_of_the_code_are_told(checkout: Path) -> None:
    commit, changed = told_of_checkout()
    assert len(commit or "") == 40
    assert changed is False
    (checkout / "asdbench-runs").mkdir()
    (checkout / "asdbench-runs" / "record.json").write_text("{}")
    assert told_of_checkout() == (commit, False), "results are no code"
    (checkout / "harness" / "asdbench" / "new.py").write_text("")
    assert told_of_checkout() == (commit, True)


def test_an_installed_package_has_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment_module, "__file__", str(tmp_path / "environment.py"))
    assert told_of_checkout() == (None, None)


def test_a_damaged_record_is_named_with_its_file(copied: Path) -> None:
    file = folder_of(copied, "toy") / "items.parquet"
    size = file.stat().st_size
    file.write_bytes(file.read_bytes()[:-10])
    told = rf"items\.parquet of the record of toy has {size - 10} bytes, not the {size} that were written"
    with pytest.raises(RunError, match=told):
        read_run(copied)


def test_a_record_without_a_table_that_it_had_is_refused(copied: Path) -> None:
    path = folder_of(copied, "toy") / "record.json"
    document = json.loads(path.read_text())
    document["sizes"]["held.parquet"] = 7
    path.write_text(json.dumps(document))
    with pytest.raises(RunError, match=r"held\.parquet of the record of toy is gone; run its command again"):
        read_run(copied)


def test_why_a_job_failed_is_told_when_it_is_planned_again(cache: Path, tmp_path: Path) -> None:
    broken = ("toy", {"trouble": "raise"})
    go(tmp_path, broken, cache=cache)
    planned = plan_run(tiny.request(tmp_path, broken, cache=cache), tiny.registry(), tiny.Silent())
    assert [(job.kind, job.status, job.message) for job in known_outcomes(planned)] == [
        ("fit", "planned", "last time: error ValueError: the toy broke"),
        ("score", "planned", ""),
    ]
    [row] = estimate(planned)
    assert (row["fit"], row["note"]) == ("planned", "last time: error ValueError: the toy broke")


def test_a_planned_job_that_never_failed_has_no_note(finished: Path, cache: Path) -> None:
    request = tiny.request(finished, ("toy", {}), ("toy", {"epochs": "1"}), cache=cache)
    rows = estimate(plan_run(request, tiny.registry(), tiny.Silent()))
    assert [row["fit"] for row in rows] == ["ok", "planned"]
    assert not any("note" in row for row in rows)


def test_the_document_of_a_run_is_made_once(
    copied: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Report] = []
    whole = Report.document

    def counted(self: Report) -> dict[str, Any]:
        made.append(self)
        return whole(self)

    monkeypatch.setattr(Report, "document", counted)
    go(copied, ("toy", {}), ("toy", {"scorer": "knn"}), cache=cache)
    assert len(made) == 1
