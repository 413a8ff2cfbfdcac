"""docs/regression.md: its workflow is valid, and its commands are ones that asdbench has."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

import click
import pages
import pytest
import yaml

from asdbench.cli import cli

PAGE = "docs/regression.md"


def workflow_commands() -> list[list[str]]:
    """The words of every command of the workflow."""
    [text] = re.findall(r"^```yaml\n(.*?)^```$", pages.read(PAGE), flags=re.DOTALL | re.MULTILINE)
    workflow = yaml.safe_load(text)
    # YAML 1.1 reads the key `on` as a boolean.
    assert workflow[True] == ["push", "pull_request"]
    [job] = workflow["jobs"].values()
    assert job["runs-on"] == "ubuntu-latest"
    assert all(len(step.keys() & {"run", "uses"}) == 1 for step in job["steps"])
    return [shlex.split(step["run"]) for step in job["steps"] if "run" in step]


def parsed(words: Sequence[str]) -> click.Context:
    """Return a command with its options as the command line reads them."""
    assert words[0] == "asdbench"
    group = click.Context(cli)
    command = cli.get_command(group, words[1])
    assert command is not None
    return command.make_context(words[1], list(words[2:]), parent=group)


def test_the_workflow_runs_a_method_and_checks_that_run() -> None:
    install, *rest = workflow_commands()
    assert install[:2] == ["pip", "install"]
    run, check = map(parsed, rest)
    assert (run.info_name, check.info_name) == ("run", "check")
    assert run.params["out"] == check.params["out"]
    assert (check.params["run"], check.params["update"]) == ("latest", False)
    assert len(run.params["seeds"]) >= 3


@pytest.mark.parametrize("words", pages.commands(pages.read(PAGE)))
def test_a_command_of_the_page_is_one_of_asdbench(words: list[str]) -> None:
    assert parsed(words).params["out"].name == "asdbench-runs"
