"""``asdbench new``: what it writes is whole, clean and loads; what it cannot write is refused."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import jsonschema
import make_schemas
import pytest
import tiny
import yaml
from board_runs import content_of

from asdbench import load_registry
from asdbench.cli import status_of
from asdbench.cli.new import KINDS
from asdbench.plugin.registry import Plugin
from asdbench.plugin.scaffold import BLUEPRINTS, LONGEST

Capture = pytest.CaptureFixture[str]
LONG = "n" * LONGEST
OFFERED = {
    "method": {("model", "fresh_method"), ("method", "fresh_method")},
    "dataset": {("dataset", "fresh_dataset")},
    "scorer": {("scorer", "fresh_scorer")},
    "featurizer": {("featurizer", "fresh_featurizer"), ("method", "fresh_featurizer_knn")},
}


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write into a folder of the test."""
    monkeypatch.chdir(tmp_path)


def made(kind: str, name: str) -> Path:
    """Return the folder of a new distribution."""
    assert status_of(["new", kind, name]) == 0
    return Path(f"asdbench-{name.replace('_', '-')}").resolve()


def test_the_command_knows_every_blueprint() -> None:
    assert tuple(BLUEPRINTS) == KINDS


def test_the_distribution_in_tests_is_what_the_command_writes_today() -> None:
    """If this fails: remove the folder and write it again with `asdbench new method third_party --out ...`."""
    kept = content_of(tiny.ROOT / "tests/thirdparty/asdbench-third-party")
    new = content_of(made("method", "third_party"))
    assert {name: kept.get(name) for name in new} == new


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_is_whole_and_loads(kind: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    name = f"fresh_{kind}"
    assert status_of(["new", kind, name, "--out", "new", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert make_schemas.file_of("new").read_text("utf-8") == make_schemas.schema_of("new")
    jsonschema.validate(printed, json.loads(make_schemas.schema_of("new")))
    assert printed["files"] == sorted(content_of(Path("new")))
    assert {"pyproject.toml", "README.md", "tests/test_contract.py", ".github/workflows/tests.yml"} <= set(
        printed["files"]
    )
    texts = [content.decode() for content in content_of(Path("new")).values()]
    assert not [text for text in texts if "<<" in text or "NAME" in text]
    monkeypatch.syspath_prepend(Path("new/src").resolve())
    registry = load_registry()
    registry.add(Plugin(name=name), importlib.import_module(name))
    offers = registry.plugins[-1].offers
    assert set(offers) == OFFERED[kind]
    built = [registry.build(each, known) for each, known in offers if each != "method"]
    assert [part.__module__ for part in built] == [f"{name}.{BLUEPRINTS[kind].module}"]


def test_the_workflow_is_yaml_that_runs_the_checks_on_every_supported_python() -> None:
    workflow = yaml.safe_load((made("scorer", "fresh") / ".github/workflows/tests.yml").read_text("utf-8"))
    job = workflow["jobs"]["tests"]
    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    assert job["steps"][1]["with"] == {"python-version": "${{ matrix.python }}"}
    assert [step["run"] for step in job["steps"] if "run" in step][-3:] == [
        "ruff check",
        "ruff format --check",
        "pytest",
    ]


@pytest.mark.parametrize("name", ["z", LONG])
def test_what_is_written_is_clean(name: str) -> None:
    ruff = shutil.which("ruff") or shutil.which("ruff", path=str(Path(sys.executable).parent))
    if ruff is None:
        pytest.skip("ruff is not installed: pip install 'asdbench[dev]'")
    for kind in KINDS:
        assert status_of(["new", kind, name, "--out", kind]) == 0
        for words in (["check", "--no-cache"], ["format", "--check", "--no-cache"]):
            done = subprocess.run([ruff, *words], cwd=kind, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new virtual environment, with the packages of this one behind its own."""
    place = tmp_path_factory.mktemp("venv")
    venv.create(place)
    own = Path(sysconfig.get_path("purelib", "venv", {"base": str(place), "platbase": str(place)}))
    roots = tiny.environment()["PYTHONPATH"].split(os.pathsep)
    (own / "behind.pth").write_text("\n".join([*roots, sysconfig.get_path("purelib")]))
    return place


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_passes_its_own_tests_and_conforms_in_a_new_environment(
    kind: str, environment: Path
) -> None:
    folder = made(kind, f"tested_{kind}")
    outside = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    python = str(environment / "bin/python")
    for words in (
        f"{sys.executable} -m pip --python {python} install --no-index --no-deps --no-build-isolation .",
        f"{python} -m pytest -q",
        f"{python} -m asdbench conformance tested_{kind} --kind {kind}",
    ):
        done = subprocess.run(
            words.split(),
            cwd=folder,
            env=outside,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"
    assert "it conforms" in done.stdout


# What is refused.


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("My_method", "is no name of a Python package"),
        ("1st", "is no name of a Python package"),
        ("a-b", "is no name of a Python package"),
        ("class", "is no name of a Python package"),
        (LONG + "n", "has 31 characters; use at most 30"),
        ("idnn", "method 'idnn' is already offered by baselines"),
        ("baselines", "there is a plugin baselines"),
        ("json", "there is a Python module 'json' already"),
        ("numpy", "there is a Python module 'numpy' already"),
    ],
)
def test_a_name_that_cannot_be_used_is_refused(name: str, message: str, capsys: Capture) -> None:
    assert status_of(["new", "method", name]) == 2
    assert message in capsys.readouterr().err
    assert list(Path().iterdir()) == []


def test_a_name_of_another_kind_is_free() -> None:
    assert made("scorer", "synthetic").is_dir()
    assert status_of(["new", "dataset", "synthetic", "--out", "other"]) == 2


def test_a_folder_that_is_not_empty_is_refused_and_an_empty_one_filled(capsys: Capture) -> None:
    Path("full").mkdir()
    Path("full/notes.txt").write_text("mine")
    assert status_of(["new", "scorer", "fresh", "--out", "full"]) == 2
    assert "full exists and is not an empty folder" in capsys.readouterr().err
    assert content_of(Path()) == {"full/notes.txt": b"mine"}
    Path("empty").mkdir()
    assert status_of(["new", "scorer", "fresh", "--out", "empty"]) == 0
    assert Path("empty/pyproject.toml").is_file()


def test_a_folder_that_cannot_be_written_is_named(capsys: Capture) -> None:
    Path("file").write_text("")
    assert status_of(["new", "scorer", "fresh", "--out", "file/inside"]) == 2
    assert "cannot write file/inside" in capsys.readouterr().err
