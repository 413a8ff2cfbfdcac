"""Settings: command line > ``ASDBENCH_*`` environment > ``asdbench.toml`` > default; wrong keys are errors."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from asdbench import Entry, Registry, Selector, hookimpl, lazy
from asdbench.cli import status_of
from asdbench.plugin.registry import load_plugin

Capture = pytest.CaptureFixture[str]
VARIABLES = (
    "ASDBENCH_CACHE",
    "ASDBENCH_DATA_ROOT",
    "ASDBENCH_DEVICE",
    "ASDBENCH_DISABLE_PLUGINS",
    "ASDBENCH_JOBS",
    "ASDBENCH_OUT",
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own, without settings and without the user's environment."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(text: str) -> None:
    Path("asdbench.toml").write_text(text, "utf-8")


class Asked(Exception):  # noqa: N818 - nothing has gone wrong
    """Ends ``asdbench run`` as soon as it knows what was asked for."""


@pytest.fixture
def request_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Return what ``asdbench run`` would do with these words, as the fields of its request."""

    def stop(**fields: Any) -> None:
        raise Asked(fields)

    def asked(*words: str) -> dict[str, Any]:
        monkeypatch.setattr("asdbench.runs.request.Request", stop)
        with pytest.raises(Asked, match="methods") as error:
            status_of(["run", *words])
        fields: dict[str, Any] = error.value.args[0]
        return fields

    return asked


RequestOf = Callable[..., dict[str, Any]]
RUN = ("-p", "idnn", "-d", "synthetic")


@pytest.mark.parametrize(
    ("toml", "environment", "words", "jobs"),
    [
        (None, None, [], 1),
        (2, None, [], 2),
        (None, "3", [], 3),
        (2, "3", [], 3),
        (None, None, ["-j", "4"], 4),
        (2, None, ["-j", "4"], 4),
        (None, "3", ["-j", "4"], 4),
        (2, "3", ["-j", "4"], 4),
    ],
)
def test_the_command_line_beats_the_environment_the_environment_the_file_the_file_the_default(
    toml: int | None,
    environment: str | None,
    words: list[str],
    jobs: int,
    request_of: RequestOf,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if toml:
        write(f"[run]\njobs = {toml}\n")
    if environment:
        monkeypatch.setenv("ASDBENCH_JOBS", environment)
    assert request_of(*RUN, *words)["slots"] == jobs


@pytest.mark.parametrize(
    ("variable", "value", "field", "found"),
    [
        ("ASDBENCH_CACHE", "packs", "cache", Path("packs")),
        ("ASDBENCH_DATA_ROOT", "recordings", "data_root", Path("recordings")),
        ("ASDBENCH_OUT", "results", "out", Path("results")),
        ("ASDBENCH_DEVICE", "cpu", "device", "cpu"),
    ],
)
def test_the_environment_beats_the_file_for_every_folder_and_the_device(
    variable: str,
    value: str,
    field: str,
    found: object,
    request_of: RequestOf,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key = variable.removeprefix("ASDBENCH_").lower()
    write(f'[run]\n{key} = "cuda"\n')
    assert str(request_of(*RUN)[field]) == "cuda"
    monkeypatch.setenv(variable, value)
    assert request_of(*RUN)[field] == found


def test_the_file_uses_the_names_of_the_command_line(request_of: RequestOf) -> None:
    write(
        '[run]\nplugin = ["idnn[epochs=3]", "autoencoder"]\ndataset = "synthetic[ids=2]"\nseed = [1, 2]\n'
        'data-root = "recordings"\ntimeout = "2h"\ncheckpoint_every = 30\nallow-partial = true\n'
    )
    asked = request_of()
    assert asked["methods"] == (Selector("idnn", {"epochs": "3"}), Selector("autoencoder"))
    assert asked["dataset"] == Selector("synthetic", {"ids": "2"})
    assert (asked["seeds"], asked["data_root"], asked["allow_partial"]) == ((1, 2), Path("recordings"), True)
    assert (asked["timeout_s"], asked["resume_every_s"]) == (7200.0, 30.0)


def test_one_value_is_enough_for_an_option_that_may_be_repeated(request_of: RequestOf) -> None:
    write('[run]\nplugin = "idnn"\ndataset = "synthetic"\nseed = 7\nallow-partial = false\n')
    asked = request_of()
    assert (asked["methods"], asked["seeds"], asked["allow_partial"]) == ((Selector("idnn"),), (7,), False)
    assert request_of("--seed", "8")["seeds"] == (8,)


def test_several_datasets_in_the_file_are_several_runs(
    request_of: RequestOf, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    write('[run]\nplugin = "idnn"\ndataset = ["synthetic", "synthetic[seed=1]"]\n')
    assert request_of()["dataset"] == Selector("synthetic")
    assert request_of("-d", "synthetic[seed=2]")["dataset"] == Selector("synthetic", {"seed": "2"})


def test_sys_info_shows_the_folders_that_a_run_would_use(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    write('[run]\ndata-root = "recordings"\ncache = "packs"\njobs = 2\n')
    monkeypatch.setenv("ASDBENCH_CACHE", "elsewhere")
    assert status_of(["sys-info", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["data_root"] == str(folder / "recordings")
    assert shown["cache"] == str(folder / "elsewhere")
    assert shown["out"] == str(folder / "asdbench-runs")


def test_a_table_within_a_group_is_for_that_command_alone(capsys: Capture) -> None:
    write("[datasets.list]\njson = true\n[describe]\njson = true\n")
    assert status_of(["datasets", "list"]) == 0
    assert json.loads(capsys.readouterr().out)
    assert status_of(["datasets", "info", "synthetic"]) == 0
    assert capsys.readouterr().out.startswith("name ")


def test_a_plugins_command_reads_its_table(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    @click.command()
    @click.option("--name", default="nobody")
    def greet(name: str) -> None:
        click.echo(f"hello {name}")

    module = types.ModuleType("strange_commands")
    monkeypatch.setitem(sys.modules, "strange_commands", module)
    monkeypatch.setattr(module, "greet", greet, raising=False)
    entry = Entry(name="greet", build=lazy("strange_commands:greet"), summary="Say hello.")
    plugin = types.SimpleNamespace(asdbench_commands=hookimpl(lambda: [entry]))
    registry = Registry()
    load_plugin(registry, "strange", load=lambda: plugin)
    monkeypatch.setattr("asdbench.cli.load_registry", lambda: registry)
    write('[greet]\nname = "fan"\n')
    assert status_of(["greet"]) == 0
    assert capsys.readouterr().out == "hello fan\n"


WRONG = {
    "an unknown key": (
        "[run]\nseeds = 3\n",
        "run -p idnn -d synthetic",
        "asdbench.toml, table [run]: unknown key 'seeds'; did you mean 'seed'? (known: allow-partial, by, ",
    ),
    "an unknown key of a light command": (
        "[describe]\njsn = true\n",
        "describe idnn",
        "table [describe]: unknown key 'jsn'; did you mean 'json'? (known: dataset, json, kind)",
    ),
    "an unknown key of a command in a group": (
        '[datasets.verify]\ndata-rot = "x"\n',
        "datasets verify synthetic",
        "table [datasets.verify]: unknown key 'data-rot'; did you mean 'data-root'?",
    ),
    "an unknown command in a group": (
        "[datasets.verfy]\njson = true\n",
        "datasets list",
        "table [datasets]: unknown key 'verfy'; did you mean 'verify'?",
    ),
    "an unknown table": (
        "[describ]\njson = true\n",
        "plugins",
        "asdbench.toml: unknown table 'describ'; did you mean 'describe'?",
    ),
    "a key outside of any table": ("jobs = 3\n", "plugins", "asdbench.toml: unknown table 'jobs'"),
    "a value where a table belongs": (
        "plugins = 3\n",
        "plugins",
        "asdbench.toml: plugins = 3 is not a table; start one with [plugins]",
    ),
    "a list where one value belongs": (
        "[run]\njobs = [1, 2]\n",
        "run -p idnn -d synthetic",
        "asdbench.toml: run.jobs takes a single value, got [1, 2]",
    ),
    "a value out of range": ("[run]\njobs = 0\n", "run -p idnn -d synthetic", "0 is not in the range x>=1"),
    "a value of another kind": (
        '[run]\njobs = "many"\n',
        "run -p idnn -d synthetic",
        "'many' is not a valid integer.",
    ),
    "a number where a folder belongs": (
        "[run]\ndata-root = 3\n",
        "run -p idnn -d synthetic",
        "asdbench.toml: run.data-root takes a path in quotes, got 3",
    ),
    "a truth value where a file belongs": (
        "[run]\nfigure = true\n",
        "run -p idnn -d synthetic",
        "asdbench.toml: run.figure takes a path in quotes, got True",
    ),
    "words that are none": (
        '[run]\nplugin = "idnn[k]"\n',
        "run -d synthetic",
        "option 'k' is not of the form key=value",
    ),
    "no TOML": ("[run\n", "plugins", "asdbench.toml cannot be read as TOML: "),
}  # fmt: skip


@pytest.mark.parametrize(("toml", "line", "message"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_file_ends_with_2_and_states_what_would_be_right(
    toml: str, line: str, message: str, capsys: Capture
) -> None:
    write(toml)
    assert status_of(line.split()) == 2
    output = capsys.readouterr()
    assert message in output.err
    assert output.out == ""


@pytest.mark.parametrize(
    ("variable", "value", "toml", "line", "message"),
    [
        ("ASDBENCH_JOBS", "many", "", "run -p idnn -d synthetic",
         "Invalid value for '-j' / '--jobs' (from the environment variable ASDBENCH_JOBS): 'many' is not a valid"),
        ("ASDBENCH_DEVICE", "tpu", "", "run -p idnn -d synthetic",
         "Invalid value for '--device' (from the environment variable ASDBENCH_DEVICE): 'tpu' is not one of"),
        ("ASDBENCH_OUT", "", "[run]\njobs = 0\n", "run -p idnn -d synthetic",
         "Invalid value for '-j' / '--jobs' (from asdbench.toml: run.jobs): 0 is not in the range x>=1"),
        ("ASDBENCH_OUT", "", "[run]\ncheckpoint_every = true\n", "run -p idnn -d synthetic",
         "Invalid value for '--checkpoint-every' (from asdbench.toml: run.checkpoint-every): 'True' is not a duration"),
        ("ASDBENCH_OUT", "", "[run]\nseed = [1, 2, 1]\n", "run -p idnn -d synthetic",
         "Invalid value for '--seed' (from asdbench.toml: run.seed): 1 is given more than once; give each value once"),
        ("ASDBENCH_OUT", "", "[cache.prune]\nunused-for = 90\n", "cache prune",
         "Invalid value for '--unused-for' (from asdbench.toml: cache.prune.unused-for): '90' has no unit; use one of "
         "90s, 90m, 90h, 90d"),
        ("ASDBENCH_JOBS", "2", "[run]\njobs = 3\n", "run -p idnn -d synthetic -j many",
         "Invalid value for '-j' / '--jobs': 'many' is not a valid"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_with_the_place_it_comes_from(
    variable: str,
    value: str,
    toml: str,
    line: str,
    message: str,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(variable, value)
    write(toml)
    assert status_of(line.split()) == 2
    assert message in capsys.readouterr().err


def test_a_file_that_is_no_utf8_is_refused(capsys: Capture) -> None:
    Path("asdbench.toml").write_bytes(b'[run]\nout = "\xff"\n')
    assert status_of(["plugins"]) == 2
    assert "asdbench.toml cannot be read as TOML: 'utf-8' codec" in capsys.readouterr().err


def test_help_of_everything_works_beside_a_broken_file(capsys: Capture) -> None:
    write("[run\n")
    assert status_of(["--help"]) == 0
    assert "Commands:" in capsys.readouterr().out
