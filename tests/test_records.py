"""Records: they hold all that repeats a run, name models computed differently, and are read in both versions."""

from __future__ import annotations

import importlib.metadata
import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import make_schemas
import msgspec
import pandas as pd
import pytest
import tiny

from asdbench import (
    EnsembleRecipe,
    MethodRecord,
    Recipe,
    RunDocument,
    RunError,
    Selector,
    read_run,
    write_json,
)
from asdbench.cli import status_of
from asdbench.core import environment as environment_module
from asdbench.core.environment import Environment, differences, environment, required_by
from asdbench.messages.results import FitRecord, ScoreRecord
from asdbench.metrics.resampling import BOOTSTRAP_SEED
from asdbench.results.record import decode
from asdbench.results.schema import MethodSummary, PluginOrigin, ResultRow
from asdbench.results.store import Store
from asdbench.runs.estimate import estimate
from asdbench.runs.plan import plan_run
from asdbench.runs.run import run
from asdbench.runs.scheduler import outcomes

TOY = Selector("toy")
ENSEMBLE = Selector("toys")
HEX = re.compile(r"[0-9a-f]{16}")
replaced = msgspec.structs.replace


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """A run of the toy and of an ensemble of two toys."""
    folder = tmp_path_factory.mktemp("finished")
    go(folder, TOY, ENSEMBLE, cache=cache)
    return folder


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "copied"))


def go(folder: Path, *methods: Selector, cache: Path) -> RunDocument:
    return run(tiny.request(folder, *methods, cache=cache), tiny.registry(), observer=tiny.Silent())


def record_of(folder: Path, label: str) -> MethodRecord:
    [method] = [method for method in read_run(folder).methods if method.label == label]
    return method.record


def folder_of(folder: Path, label: str) -> Path:
    return folder / "records" / record_of(folder, label).record_id


@pytest.fixture(scope="module")
def record(finished: Path) -> MethodRecord:
    return record_of(finished, "toy")


# What a record holds.


def test_a_record_has_the_whole_recipe_with_threads_and_precision(record: MethodRecord) -> None:
    recipe = record.method.recipe
    assert isinstance(recipe, Recipe)
    assert recipe.model.options["epochs"] == 3
    assert recipe.common.precision == "fp32"
    assert HEX.fullmatch(recipe.harness)
    [model], [scores] = record.models.values(), record.scores.values()
    assert (model.threads, model.device, model.seed) == (1, "cpu", 42)
    assert (scores.threads, scores.device) == (1, "cpu")
    assert scores.model_id in record.models


def test_a_record_has_the_data_by_hash_and_completeness_with_every_option(record: MethodRecord) -> None:
    data = record.data
    assert (data.complete, data.items, data.expected) == (True, 56, 56)
    assert len(data.manifest) == len(data.samples) == 64
    assert data.known_leaks == []
    assert record.run.dataset_options == tiny.DATASET.options
    resolved = record.run.dataset_options_resolved
    assert (resolved["machines"], resolved["ids"], resolved["seed"]) == (["fan", "valve"], 2, 0)
    assert set(resolved) > set(tiny.DATASET.options)


def test_a_record_has_distribution_version_and_source_of_every_part(record: MethodRecord) -> None:
    plugins = {(row.kind, row.name): row for row in record.run.plugins}
    registry, recipe = tiny.registry(), record.method.recipe
    version = importlib.metadata.version("asdbench")
    assert isinstance(recipe, Recipe)
    for kind, part in (("featurizer", recipe.featurizer), ("scorer", recipe.scorer)):
        row = plugins[kind, part.name]
        assert (row.distribution, row.version, row.source_hash) == ("asdbench", version, part.source)
    assert plugins["dataset", "synthetic"] == PluginOrigin(
        kind="dataset", name="synthetic", plugin="datasets", distribution="asdbench", version=version,
        source_hash=registry.source_hash("dataset", "synthetic"),
    )  # fmt: skip
    assert plugins["metrics", record.run.metric_set].source_hash
    # The toy belongs to no distribution.
    assert (plugins["model", "toy"].plugin, plugins["model", "toy"].version) == ("toy", "unknown")
    assert plugins["model", "toy"].libraries == {}
    assert {("method", "toy"), ("ensemble", "toys"), ("method", "toy_by_machine")} <= set(plugins)
    assert ("scorer", "knn") in plugins, "the scorer that a method uses on one unit only"


def test_a_record_has_metrics_seeds_selection_and_the_settings_of_intervals(record: MethodRecord) -> None:
    about = record.run
    assert about.metric_set == "dcase2020"
    assert (about.resamples, about.bootstrap_seed) == (1000, BOOTSTRAP_SEED)
    assert (about.seeds, record.method.selection) == ([42], "last")
    assert {row.metric for row in record.results} >= {"auc", "pauc"}
    assert all(row.per_seed for row in record.results)


def test_a_record_has_the_cost_of_the_method_and_of_each_job(record: MethodRecord) -> None:
    cost = record.method.cost
    assert cost is not None
    assert min(cost.fit_s, cost.parameters, cost.flops, cost.peak_memory_bytes) > 0
    [model], [scores] = record.models.values(), record.scores.values()
    assert model.usage.seconds > 0
    assert scores.usage.peak_memory_bytes > 0
    assert scores.ms_per_item > 0
    assert scores.ms_alone is not None
    assert (cost.score_ms, cost.score_alone_ms) == (scores.ms_per_item, scores.ms_alone), (
        "there is one job only"
    )


def test_a_record_has_commit_versions_and_hardware_of_the_run_and_of_each_job(record: MethodRecord) -> None:
    here = record.run.environment
    assert here == environment()
    [model], [scores] = record.models.values(), record.scores.values()
    for key in (model.environment, scores.environment):
        there = record.environments[key]
        assert there.libraries == here.libraries
        assert (there.processor, there.commit) == (here.processor, here.commit)
    assert len(record.environments) == 1
    # Libraries that the project needs according to its own metadata, without the developers' tools.
    assert {"asdbench", "torch", "pyarrow", "threadpoolctl", "safetensors"} <= set(here.libraries)
    assert {"pytest", "ruff"}.isdisjoint(here.libraries)
    assert "not installed" not in here.libraries.values()


def test_a_record_has_the_scores_of_every_item_by_official_name(finished: Path) -> None:
    items = pd.read_parquet(folder_of(finished, "toy") / "items.parquet")
    assert len(items) == 32
    assert {"source", "start", "length", "sha256", "label", "score_42"} <= set(items.columns)


def test_the_record_of_an_ensemble_has_all_members(finished: Path) -> None:
    record = record_of(finished, "toys")
    assert len(record.models) == len(record.scores) == 4
    assert {scores.model_id for scores in record.scores.values()} == set(record.models)
    assert isinstance(record.method.recipe, EnsembleRecipe)
    assert len(record.method.recipe.members) == 2


# Results of different environments.


def change_environment(folder: Path, kind: type[FitRecord] | type[ScoreRecord], **changes: Any) -> None:
    """Change the environment in the record of one job of a store."""
    pattern = "models/*/fit.json" if kind is FitRecord else "scores/*/score.json"
    path = min(folder.glob(pattern))
    job = msgspec.json.decode(path.read_bytes(), type=kind)
    write_json(path, replaced(job, environment=replaced(job.environment, **changes)))


def differences_in(document: RunDocument, label: str) -> list[str]:
    start = "models and scores were computed in different environments: "
    rules = document.methods[label].rules
    return [rule.removeprefix(start) for rule in rules if rule.startswith(start)]


def test_averages_over_other_versions_or_hardware_are_marked(copied: Path, cache: Path) -> None:
    assert differences_in(go(copied, ENSEMBLE, cache=cache), "toys") == []
    here = environment()
    libraries = here.libraries | {"torch": "0.1", "strange": "7"}
    change_environment(copied, FitRecord, libraries=libraries, processor="an abacus")
    document = go(copied, TOY, ENSEMBLE, cache=cache)
    assert not any(job.new for job in document.jobs)
    found = [line for label in ("toy", "toys") for line in differences_in(document, label)]
    processors = " and ".join(sorted(["an abacus", here.processor]))
    assert found == [
        f"processor {processors}; torch 0.1 and {here.libraries['torch']}"
    ]  # one lacked ``strange``


def test_an_unused_gpu_makes_no_difference(copied: Path, cache: Path) -> None:
    change_environment(copied, ScoreRecord, gpus=["a card"], platform="another kernel", cores=64)
    document = go(copied, TOY, ENSEMBLE, cache=cache)
    assert differences_in(document, "toy") == differences_in(document, "toys") == []


def test_differences_have_a_name_and_values() -> None:
    one = Environment(
        python="3.11", platform="here", processor="a core", cores=1, memory_bytes=1, gpus=["A", "A"],
        libraries={"torch": "2.13"}, commit="a",
    )  # fmt: skip
    other = replaced(one, python="3.12", gpus=[], commit="b")
    assert differences([one, other, one]) == ["python 3.11 and 3.12", "gpus A, A and none"]
    assert differences([one]) == differences([]) == []
    # A library that was not there computed nothing, and so makes no difference.
    installed = replaced(one, libraries={"torch": "2.13", "timm": "1.0.31"})
    absent = replaced(one, libraries={"torch": "2.14", "timm": "not installed"})
    assert differences([one, installed, absent]) == ["torch 2.13 and 2.14"]


def test_the_libraries_of_a_distribution_that_is_not_installed_are_unknown() -> None:
    assert required_by("no-such-distribution-of-sounds") == {}
    assert "torch" in required_by("asdbench")


def test_the_libraries_of_another_distribution_have_versions_and_leave_out_its_tools(
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
    """A repository with one commit that the environment module appears to be part of."""
    package = tmp_path / "harness" / "asdbench"
    package.mkdir(parents=True)
    (package / "environment.py").write_text("x = 1\n")
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], ["add", "."], [*who, "commit", "-q", "-m", "one"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True, capture_output=True)
    monkeypatch.setattr(environment_module, "__file__", str(package / "environment.py"))
    environment_module.software.cache_clear()
    return tmp_path


def commit_here() -> tuple[str | None, bool | None]:
    here = environment.__wrapped__()
    environment_module.software.cache_clear()
    return here.commit, here.uncommitted_changes


def test_uncommitted_changes_of_the_code_are_recorded(checkout: Path) -> None:
    commit, changed = commit_here()
    assert len(commit or "") == 40
    assert changed is False
    (checkout / "asdbench-runs").mkdir()
    (checkout / "asdbench-runs" / "record.json").write_text("{}")
    assert commit_here() == (commit, False), "results are not code"
    (checkout / "harness" / "asdbench" / "new.py").write_text("")
    assert commit_here() == (commit, True)


def test_an_installed_package_has_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment_module, "__file__", str(tmp_path / "environment.py"))
    environment_module.software.cache_clear()
    assert commit_here() == (None, None)


# Damage and failures.


def test_a_damaged_record_is_named_with_its_file(copied: Path) -> None:
    file = folder_of(copied, "toy") / "items.parquet"
    size = file.stat().st_size
    file.write_bytes(file.read_bytes()[:-10])
    message = (
        rf"items\.parquet in the record of toy has {size - 10} bytes instead of the {size} that were written"
    )
    with pytest.raises(RunError, match=message):
        read_run(copied)


def test_a_record_with_a_missing_table_is_refused(copied: Path) -> None:
    record = record_of(copied, "toy")
    sizes = record.sizes | {"held.parquet": 7}
    write_json(copied / "records" / record.record_id / "record.json", replaced(record, sizes=sizes))
    with pytest.raises(
        RunError, match=r"held\.parquet in the record of toy is missing; run its command again"
    ):
        read_run(copied)


def test_the_cause_of_a_failure_is_shown_when_the_job_is_planned_again(cache: Path, tmp_path: Path) -> None:
    broken = Selector("toy", {"trouble": "raise"})
    go(tmp_path, broken, cache=cache)
    request = tiny.request(tmp_path, broken, cache=cache)
    planned = plan_run(request, tiny.registry(), observer=tiny.Silent())
    note = "last time: error: ValueError: the toy broke"
    known = outcomes(planned.cases, Store(tmp_path))
    assert [(job.kind, job.status, job.message) for job in known] == [
        ("fit", "planned", note),
        ("score", "planned", ""),
    ]
    [row] = estimate(planned)
    assert (row.fit, row.note) == ("planned", note)


def test_a_planned_job_that_never_failed_has_no_note(finished: Path, cache: Path) -> None:
    request = tiny.request(finished, TOY, Selector("toy", {"epochs": "1"}), cache=cache)
    rows = estimate(plan_run(request, tiny.registry(), observer=tiny.Silent()))
    assert [(row.fit, row.note) for row in rows] == [("ok", ""), ("planned", "")]


# Version 1.

GOLDEN = Path(__file__).parent / "golden" / "records_v1"
"""Trimmed outputs of the last version that wrote version 1; ``support/make_records_v1.py`` wrote them."""
OLD_RUNS = ["run_sound", "run_robot", "run_faces"]
OLD_RECORDS = ["record_sound", "record_robot", "record_faces"]


def old_json(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((GOLDEN / f"{name}.json").read_text("utf-8"))
    assert "schema_version" not in document
    return document


def read_old(name: str, kind: type[Any]) -> Any:
    return decode((GOLDEN / f"{name}.json").read_bytes(), kind)


def assert_same(found: Any, old: Mapping[str, Any], *names: str) -> None:
    """Check that attributes are what the old JSON has under the same names."""
    for name in names or old:
        expected = old[name]
        if name == "cost" and expected is not None:  # no old run measured the reference work
            expected = expected | {"fit_work": [], "score_work": []}
        assert msgspec.to_builtins(getattr(found, name)) == expected, name


def assert_same_rows(
    rows: Sequence[ResultRow], old: Sequence[Mapping[str, Any]], *, columns: list[str]
) -> None:
    assert len(rows) == len(old) > 0
    for row, before in zip(rows, old, strict=True):
        assert row.groups == {column: before[column] for column in columns}
        assert_same(row, {name: value for name, value in before.items() if name not in columns})


def assert_same_recipe(recipe: Recipe | EnsembleRecipe, old: Mapping[str, Any]) -> None:
    assert_same(recipe, old, "method", "label", "selection", "approximate", "changed")
    if isinstance(recipe, EnsembleRecipe):
        for member, before in zip(recipe.members, old["members"], strict=True):
            assert_same_recipe(member, before)
        return
    assert_same(
        recipe, old, "featurizer", "model", "scorer", "harness", "auxiliary", "classes", "items", "reduced"
    )
    assert msgspec.to_builtins(recipe.common) == old["knobs"] | {"channel": 0, "unequal": "cut"}  # came later
    assert list(recipe.units) == list(old.get("units", {}))
    for unit in recipe.units:
        assert_same_recipe(recipe.units[unit], old["units"][unit])


def assert_same_method(method: MethodSummary, old: Mapping[str, Any]) -> None:
    cost = old["cost"] and old["cost"] | {"score_alone_ms": None}  # version 1 did not measure it
    assert_same(method, {name: value for name, value in old.items() if name != "recipe"} | {"cost": cost})
    assert_same_recipe(method.recipe, old["recipe"])


@pytest.mark.parametrize("name", OLD_RUNS)
def test_a_run_document_of_version_1_has_the_same_values(name: str) -> None:
    old, document = old_json(name), read_old(name, RunDocument)
    assert document.schema_version == 2
    for origin in old["run"]["plugins"]:
        origin.setdefault("source_hash", None)
    assert_same(document.run, {key: value for key, value in old["run"].items() if key != "plugins"})
    for origin, before in zip(document.run.plugins, old["run"]["plugins"], strict=True):
        assert_same(origin, before)
    for job, before in zip(document.jobs, old["jobs"], strict=True):
        assert_same(job, before)
    assert_same_rows(document.results, old["results"], columns=old["data"]["groups"])
    assert list(document.methods) == list(old["methods"])
    for label, method in document.methods.items():
        assert_same_method(method, old["methods"][label])
    old["data"]["claims"] = []  # version 1 has none
    assert_same(document, old, "data", "reported_only", "records")
    several = len(old["methods"]) > 1
    assert document.summary == (old["summary"] if several else {old["run"]["methods"][0]: old["summary"]})


@pytest.mark.parametrize("name", OLD_RECORDS)
def test_a_method_record_of_version_1_has_the_same_values(name: str) -> None:
    old, record = old_json(name), read_old(name, MethodRecord)
    assert record.schema_version == 2
    old["data"]["claims"] = []  # version 1 has none
    assert_same(record, old, "record_id", "data", "environments", "sizes")
    assert_same(record.run, old["run"], "id", "time", "command", "dataset_options_resolved", "environment")
    assert_same_method(record.method, old["method"])
    assert_same_rows(record.results, old["results"], columns=old["data"]["groups"])
    for found, before in ((record.models, old["models"]), (record.scores, old["scores"])):
        assert list(found) == list(before)
        for job_id, job in found.items():
            usage = before[job_id].pop("cost")
            assert msgspec.to_builtins(job.usage) == usage | {"reference_ms": None}
            assert_same(job, before[job_id])


@pytest.mark.parametrize("name", OLD_RUNS)
def test_a_run_document_of_version_1_is_shown_like_a_new_one(name: str) -> None:
    document = read_old(name, RunDocument)
    table: str = tiny.registry().build("table", "results")(document)
    assert all(f"{label} on {document.run.dataset}" in table for label in document.run.methods)


@pytest.mark.parametrize(("name", "kind"), [("run_robot", RunDocument), ("record_robot", MethodRecord)])
def test_an_unknown_version_is_refused(name: str, kind: type[Any]) -> None:
    newer = json.dumps(old_json(name) | {"schema_version": 3}).encode()
    with pytest.raises(RunError, match=r"schema version 3 is not .* reads 1 and 2"):
        decode(newer, kind)


def test_a_run_of_an_unknown_version_is_named_with_its_file(copied: Path) -> None:
    [file] = (copied / "runs").glob("*.json")
    write_json(file, replaced(read_run(copied).document, schema_version=7))
    with pytest.raises(RunError, match=rf"{file.name} cannot be read: schema version 7 is not"):
        read_run(copied)


# JSON Schemas.


@pytest.mark.parametrize("name", make_schemas.TYPES)
def test_the_committed_schemas_are_those_of_the_types(name: str) -> None:
    kept = make_schemas.file_of(name).read_text("utf-8")
    assert kept == make_schemas.schema_of(name), "python tests/support/make_schemas.py"


def validate(text: str, name: str) -> None:
    schema = json.loads(make_schemas.file_of(name).read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(json.loads(text))


def test_the_json_of_a_run_validates_against_its_schema(
    copied: Path, cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asdbench.cli.run.load_registry", tiny.registry)
    folders = ["--out", str(copied), "--cache", str(cache)]
    words = ["run", "-p", "toy", "-p", "toys", "-d", str(tiny.DATASET), *folders]
    assert status_of([*words, "--device", "cpu", "--threads", "1", "--json"]) == 0
    text = capsys.readouterr().out
    validate(text, "run")
    [file] = (copied / "runs").glob("*.json")
    validate(file.read_text("utf-8"), "run")
    with pytest.raises(jsonschema.ValidationError, match="'surprise' was unexpected"):
        validate(text.replace("{", '{"surprise": 1, ', 1), "run")


@pytest.mark.parametrize("label", ["toy", "toys"])
def test_a_record_validates_against_its_schema(finished: Path, label: str) -> None:
    validate((folder_of(finished, label) / "record.json").read_text("utf-8"), "record")


@pytest.mark.parametrize("name", [*OLD_RUNS, *OLD_RECORDS])
def test_documents_and_records_of_version_1_validate_once_they_are_upgraded(name: str) -> None:
    schema = name.partition("_")[0]
    upgraded = read_old(name, make_schemas.TYPES[schema])
    validate(msgspec.json.encode(upgraded).decode(), schema)
