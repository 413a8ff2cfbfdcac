"""Every block of code in the documentation is checked: commands are understood, programs compile, files can be read.

Tests of single pages run most of them too. A block that cannot be checked has a comment with the reason on the line before
it: ``<!-- not checked: ... -->``.
"""

from __future__ import annotations

import csv
import functools
import io
import json
import re
import subprocess
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

import click
import markdown_text
import pages
import pytest
import yaml

from asdbench import ConfigError, Registry, Selector, load_registry
from asdbench.cli import cli, settings
from asdbench.recipes.resolve import resolve
from asdbench.runs.request import open_dataset, split_protocol

EXCUSED = re.compile(r"<!-- not checked: (?P<reason>.*?) -->$")
Check = Callable[[str, str], None]


def check_python(text: str, page: str) -> None:
    compile(text, page, "exec")


def check_csv(text: str, page: str) -> None:
    rows = [row for row in csv.reader(io.StringIO(text)) if not row[0].startswith("#")]
    assert len({len(row) for row in rows}) == 1


def check_shell(text: str, page: str) -> None:
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)


def check_commands(text: str, page: str) -> None:
    for words in pages.of_asdbench(text):
        understood(words, page)


def check_diff(text: str, page: str) -> None:
    assert re.match(r"--- (\S+)\n\+\+\+ \1\n@@\n", text)
    assert all(line[:1] in "-+ @" for line in text.splitlines())


CHECKS: Mapping[str, Check] = {
    "": check_commands,
    "sh": check_commands,
    "console": check_commands,
    "text": check_commands,
    "bash": check_shell,
    "diff": check_diff,
    "python": check_python,
    "toml": lambda text, page: tomllib.loads(text) and None,
    "json": lambda text, page: json.loads(text) and None,
    "yaml": lambda text, page: list(yaml.safe_load_all(text)) and None,
    "csv": check_csv,
}


def understood(words: list[str], page: str) -> None:
    """Check that the command line reads a command, and that what it names is offered.

    Raises:
        click.UsageError: It has no such command, option or value.
    """
    group, command = click.Context(cli, info_name="asdbench"), cli
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        _, command, words = command.resolve_command(group, words)  # type: ignore[assignment]
        group = click.Context(command, info_name=command.name, parent=group)
    if isinstance(command, click.Group):
        return  # the group alone, or with an option of its own, for example --version
    given = command.make_context(command.name, list(words), parent=group.parent).params
    for values in given.values():
        for value in values if isinstance(values, tuple) else [values]:
            if isinstance(value, Selector):
                assert value.name in known(page), f"{value.name!r} of {page} is offered by no plugin"
                check_options(value)


def check_options(selector: Selector) -> None:
    """Check the options of a shipped method or dataset; what only a page offers is tested with that page.

    Raises:
        ConfigError: An option is unknown, out of range or ambiguous.
    """
    offered = registry()
    if not selector.options or selector.options.get("scorer", "knn") not in offered.names("scorer"):
        return
    if selector.name in offered.names("method"):
        resolved(selector.name, tuple(selector.options.items()))
    elif selector.name in offered.names("dataset"):
        open_dataset(offered, split_protocol(offered, selector)[0])


@functools.cache
def resolved(method: str, options: tuple[tuple[str, str], ...]) -> None:
    """Check the options of a method, once for all pages that use them."""
    try:
        resolve(registry(), Selector(method, dict(options)), dataset="synthetic")
    except ConfigError as error:
        if "is not a file" not in str(error):  # which the reader has to bring
            raise


@functools.cache
def registry() -> Registry:
    return load_registry()


@functools.cache
def known(page: str) -> frozenset[str]:
    """Return the names of what plugins offer, with those that pages of the documentation make."""
    kinds = ("method", "ensemble", "dataset", "featurizer", "scorer", "model", "executor")
    offered = {name for kind in kinds for name in registry().names(kind)}  # type: ignore[arg-type]
    made = re.findall(r'\bname="(\w+)"', pages.read(page)) + re.findall(
        r"asdbench new \w+ (\w+)", pages.read(page)
    )
    return frozenset(offered | set(made) | MADE)


MADE = {"hum", "hum_classifier", "median_distance", "my_method"}
"""What the plugins of the pages about writing one are called."""


@pytest.fixture(autouse=True)
def no_file_is_looked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Files of the examples need not be there, and settings of the user must not matter."""
    monkeypatch.setattr(click.Path, "convert", lambda self, value, param, ctx: Path(value))
    monkeypatch.setattr(settings, "selector_of", lambda text: Selector.parse(text.partition("@")[0]))
    monkeypatch.setattr(click.File, "convert", lambda self, value, param, ctx: value)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("page", pages.ALL)
def test_every_block_is_right(page: str) -> None:
    text = pages.read(page)
    lines = text.splitlines()
    for language, block, line in markdown_text.blocks(text):
        if EXCUSED.match(lines[line - 2]):
            continue
        assert language in CHECKS, f"{page}:{line}: there is no check for blocks of {language}"
        try:
            CHECKS[language](block, page)
        except Exception as error:  # noqa: BLE001 - whatever a check raises, with its place
            message = error.format_message() if isinstance(error, click.ClickException) else str(error)
            pytest.fail(f"{page}:{line}: {type(error).__name__}: {message}")


@pytest.mark.parametrize(
    ("language", "block", "message"),
    [
        ("", "asdbench runn -p idnn", "unknown command 'runn'"),
        ("sh", "asdbench run -p idnn -d synthetic --sed 1 | tee log", "No such option '?--sed'?"),
        ("", "cd x && asdbench run -p idn -d synthetic", "'idn' of README.md is offered by no plugin"),
        ("console", "$ asdbench run -p idnn \\\n  -d synthetik\noutput", "'synthetik' of README.md"),
        ("", "asdbench run -p 'idnn[epoch=3]' -d synthetic", "unknown option 'epoch'"),
        ("", "asdbench run -p idnn -d 'synthetic[difficulty=2]'", "difficulty=2 is not a number"),
        ("python", "def f(:\n", "invalid syntax"),
        ("toml", "a = \n", "Invalid value"),
        ("json", "{", "Expecting property name"),
        ("yaml", "a: [", "expected the node content"),
        ("csv", "a,b\n1\n", "== 1"),
        ("bash", "if x\n", "returned non-zero exit status 2"),
    ],
)
def test_a_wrong_block_is_found(language: str, block: str, message: str) -> None:
    with pytest.raises(Exception, match=message):
        CHECKS[language](block, "README.md")
