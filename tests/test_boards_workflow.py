"""What CI runs on the published leaderboards: commands that exist, on files that are there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from asdbench import Selector
from asdbench.cli import cli
from asdbench_leaderboards.regression.baseline import read_baseline

HOUSE = Path(__file__).parents[1]
WORKFLOW = HOUSE / ".github" / "workflows" / "leaderboards.yml"
SCRIPT = HOUSE / ".ci" / "run"


def workflow() -> dict[Any, Any]:
    found: dict[Any, Any] = yaml.safe_load(WORKFLOW.read_text("utf-8"))
    return found


def lines_of(text: str, command: str) -> list[list[str]]:
    joined = text.replace("\\\n", " ")
    return [shlex.split(line)[1:] for line in re.findall(rf"^(?!#).*?({command} .*)$", joined, re.MULTILINE)]


def accepted(words: list[str]) -> str:
    """Return the name of the command that these words give; click refuses unknown options and missing arguments."""
    context = click.Context(cli)
    command: click.Command = cli
    rest, names = words, []
    while isinstance(command, click.Group):
        name, found, rest = command.resolve_command(context, rest)
        assert found is not None
        assert name is not None
        names.append(name)
        command = found
    command.make_context(names[-1], list(rest))
    return " ".join(names)


def test_the_workflow_verifies_the_boards_on_pull_requests_that_change_them() -> None:
    found = workflow()
    # YAML 1.1 reads the key `on` as true.
    assert "leaderboards/**" in found[True]["pull_request"]["paths"]
    assert found["permissions"] == {"contents": "read"}
    [job] = found["jobs"].values()
    commands = [step["run"] for step in job["steps"] if "run" in step]
    [words] = lines_of("\n".join(commands), "asdbench")
    assert accepted(words) == "leaderboard verify"
    assert (HOUSE / words[-1] / "boards.json").is_file()
    [install] = lines_of("\n".join(commands), "pip")
    assert (HOUSE / install[2]).is_file()


def test_the_script_gates_the_same_methods_as_the_committed_baselines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(HOUSE)
    lines = lines_of(SCRIPT.read_text("utf-8"), "asdbench")
    assert [accepted(words) for words in lines] == ["leaderboard verify", "run", "check", "run", "check"]
    for run, check in (lines[1:3], lines[3:5]):
        baseline = read_baseline(HOUSE / check[check.index("--baseline") + 1])
        assert [run[k + 1] for k, word in enumerate(run) if word == "-p"] == [
            each.method for each in baseline.methods
        ]
        assert str(Selector.parse(run[run.index("-d") + 1])) == baseline.dataset
        assert {int(run[k + 1]) for k, word in enumerate(run) if word == "--seed"} == {
            seed for each in baseline.methods for seed in each.seeds
        }
        assert run[run.index("--out") + 1] == check[check.index("--out") + 1]
        assert "--no-times" in check
