"""What the other tests must cover: every error with its message, every hook, every command."""

from __future__ import annotations

import ast
import functools
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import house
import pluggy
import pytest
import tiny

from asdbench import Ensemble, Entry, Method, Preset, Printed, Registry, Selector, hookimpl, lazy
from asdbench.cli import cli, status_of
from asdbench.errors import Interrupted
from asdbench.plugin import hookspecs
from asdbench.plugin.registry import HOOKS, Plugin
from asdbench.runs import run

TESTS = Path(__file__).parent
BASE = "AsdbenchError"
"""Root of the tree of errors."""
CLASS = re.compile(r"^class (\w+)\(([\w, ]+)\):", re.MULTILINE)
EXPECTED = re.compile(r"pytest\.raises\(\s*(\w+),\s*match=")


def test_an_interrupted_run_says_that_finished_jobs_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[bool] = []

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    executor = SimpleNamespace(close=lambda: closed.append(True))
    monkeypatch.setattr(run, "_executor", lambda *_, **__: executor)
    monkeypatch.setattr(run, "KnownNeeds", lambda *_, **__: SimpleNamespace(of=None))
    monkeypatch.setattr(run, "execute", interrupted)
    request = SimpleNamespace(executor=Selector("local"))
    planned: Any = SimpleNamespace(request=request, resources=None, cases=())
    with pytest.raises(
        Interrupted, match="interrupted; finished jobs are kept, run the same command to resume"
    ):
        run.run_jobs(planned, Registry(), store=None, observer=None)  # type: ignore[arg-type]
    assert closed == [True]


@functools.cache
def texts() -> dict[str, str]:
    """Return the text of every source file by its place; parsing all of them would take seconds."""
    files = (file for root in house.ROOTS for file in sorted((house.HOUSE / root).rglob("*.py")))
    return {str(file.relative_to(house.HOUSE)): file.read_text("utf-8") for file in files}


def errors() -> set[str]:
    """Return the names of all our kinds of errors."""
    heads = [found for text in texts().values() for found in CLASS.findall(text)]
    bases = {name: set(re.split(r",\s*", above)) for name, above in heads}
    found = {BASE}
    while more := {name for name, above in bases.items() if above & found} - found:
        found |= more
    return found


def expected() -> set[str]:
    """Return the names of the errors that some test expects with a message."""
    return {name for file in TESTS.glob("test_*.py") for name in EXPECTED.findall(file.read_text("utf-8"))}


def test_every_kind_of_error_is_raised_by_a_test_with_its_message() -> None:
    assert len(errors()) > 10
    assert errors() - {BASE} <= expected()


def test_the_root_of_all_errors_is_never_raised_itself() -> None:
    assert [place for place, text in texts().items() if f"raise {BASE}(" in text] == []


PARTS = {"featurizer": "logmel", "model": "toy", "scorer": "knn"}
ENTRY = Entry(name="hooked", build=lazy("fractions:Fraction"), summary="Do what is hooked.")
OFFERED: dict[str, Any] = {
    "asdbench_datasets": ENTRY,
    "asdbench_featurizers": ENTRY,
    "asdbench_models": ENTRY,
    "asdbench_scorers": ENTRY,
    "asdbench_metrics": ENTRY,
    "asdbench_figures": ENTRY,
    "asdbench_tables": ENTRY,
    "asdbench_executors": ENTRY,
    "asdbench_commands": ENTRY,
    "asdbench_methods": Method(name="hooked", title="a hook", paper="none", **PARTS),
    "asdbench_ensembles": Ensemble(
        name="hooked",
        title="hooks",
        paper="none",
        members=(Selector("toy"), Selector("idnn")),
        approximate="no",
    ),
    "asdbench_presets": Preset(name="toy/hooked", summary="hooked", runs=()),
    "asdbench_printed": lazy("test_safety_net_printed:values"),
}
"""What a plugin offers through each hook."""
VALUE = Printed(paper="p", table="1", dataset="d", method="m", groups={}, metric="auc", value=0.5)


def hooks() -> set[str]:
    """Return the names of all hooks."""
    manager = pluggy.PluginManager("asdbench")
    manager.add_hookspecs(hookspecs)
    return {name for name in vars(hookspecs) if name.startswith("asdbench_") and hasattr(manager.hook, name)}


def with_one(hook: str) -> Registry:
    """Return a registry with a plugin that has one hook."""
    registry = Registry()
    registry.add(Plugin(name="stranger"), SimpleNamespace(**{hook: hookimpl(lambda: [OFFERED[hook]])}))
    return registry


def test_every_hook_is_tested() -> None:
    assert hooks() == set(OFFERED)
    assert set(HOOKS.values()) | {"asdbench_printed"} == hooks()


@pytest.mark.parametrize("kind", HOOKS)
def test_what_a_plugin_offers_through_a_hook_is_found_by_kind_and_name(kind: Any) -> None:
    registry, thing = with_one(HOOKS[kind]), OFFERED[HOOKS[kind]]
    assert registry.names(kind) == [thing.name]
    assert registry.owner(kind, thing.name).name == "stranger"
    assert registry.summary(kind, thing.name)
    if isinstance(thing, Entry):
        assert registry.entry(kind, thing.name) == thing
    else:
        found = {"method": registry.method, "ensemble": registry.ensemble, "preset": registry.preset}[kind]
        assert found(thing.name) == thing
    assert all(not registry.names(other) for other in HOOKS if other != kind)


def test_the_values_that_a_plugin_prints_are_read_when_they_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry = with_one("asdbench_printed")  # before there is anything to import
    module: Any = type(sys)("test_safety_net_printed")
    module.values = lambda: [VALUE]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert list(registry.printed()) == [VALUE]


COMMANDS = {
    "run": "test_run_command.py",
    "tune": "test_tune.py",
    "fit": "test_own_machine.py",
    "score": "test_own_machine.py",
    "best": "test_best_command.py",
    "export": "test_export.py",
    "status": "test_status.py",
    "figures": "test_figures_command.py",
    "runs list": "test_runs_command.py",
    "runs show": "test_runs_command.py",
    "runs rm": "test_runs_command.py",
    "cache info": "test_cache_command.py",
    "cache prune": "test_cache_command.py",
    "plugins": "test_cli.py",
    "describe": "test_cli.py",
    "new": "test_new.py",
    "datasets list": "test_cli.py",
    "datasets info": "test_cli.py",
    "datasets fetch": "test_install.py",
    "datasets verify": "test_verify_command.py",
    "conformance": "test_conformance.py",
    "sys-info": "test_cli.py",
    "check": "test_check_command.py",
    "compare": "test_compare_command.py",
    "evaluate": "test_evaluate_command.py",
    "leaderboard build": "test_boards_build.py",
    "leaderboard export": "test_boards_export.py",
    "leaderboard serve": "test_safety_net.py",
    "leaderboard submit": "test_boards_submit.py",
    "leaderboard verify": "test_boards_verify.py",
    "report": "test_report.py",
    "submission": "test_submission.py",
    "systems": "test_systems.py",
}
"""Where each command is run from end to end."""


def leaves(command: click.Command, *words: str) -> Iterator[str]:
    """Yield the words of every command that does something itself."""
    if not isinstance(command, click.Group):
        yield " ".join(words)
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        if inner := command.get_command(context, name):
            yield from leaves(inner, *words, name)


def words_in(file: str) -> Iterator[list[str]]:
    """Yield the constant texts of every list and of every call's arguments in a test file, in their order."""
    for node in house.parsed((TESTS / file).read_text("utf-8")):
        values = node.elts if isinstance(node, ast.List) else node.args if isinstance(node, ast.Call) else []
        yield [
            each.value for each in values if isinstance(each, ast.Constant) and isinstance(each.value, str)
        ]


def test_every_command_has_a_test_from_end_to_end() -> None:
    assert sorted(COMMANDS) == sorted(leaves(cli))


@pytest.mark.parametrize("command", COMMANDS)
def test_the_test_of_a_command_runs_it(command: str) -> None:
    words = command.split()
    # Some files have a helper that puts the group in front of the words.
    starts = [words] if len(words) == 1 else [words, words[1:]]
    assert any(given[: len(start)] == start for given in words_in(COMMANDS[command]) for start in starts)


def test_a_leaderboard_is_served_until_ctrl_c() -> None:
    boards = house.HOUSE / "leaderboards" / "boards"
    server = subprocess.Popen(
        [sys.executable, "-m", "asdbench", "leaderboard", "serve", str(boards), "--port", "0"],
        stdout=subprocess.PIPE, env=tiny.environment() | {"PYTHONUNBUFFERED": "1"}, text=True,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        address = server.stdout.readline().split()[0]
        with urllib.request.urlopen(f"{address}boards.json") as answer:
            assert answer.read() == (boards / "boards.json").read_bytes()
        server.send_signal(signal.SIGINT)
        assert server.wait(timeout=30) == 130
    finally:
        server.kill()
        server.communicate()


def test_serving_a_folder_that_is_no_leaderboard_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(["leaderboard", "serve", str(tmp_path)]) == 2
    assert "has no boards.json, so it is no leaderboard" in capsys.readouterr().err
