"""The pages of the reference that the site makes from the code: complete, and in agreement with what the code does."""

from __future__ import annotations

import re

import click
import code_reference
import pages
import pytest
import reference

import asdbench
from asdbench import AsdbenchError, DataError, NothingToDraw, PluginError, load_registry
from asdbench.cli import cli
from asdbench.errors import Interrupted
from asdbench.plugin.registry import HOOKS, NotOffered


def headings(text: str) -> list[str]:
    """Return the headings of the second level."""
    return re.findall(r"^## (.+)$", text, re.MULTILINE)


def test_every_command_has_a_section_with_all_of_its_options() -> None:
    text = reference.command_page()
    found = {
        context.command_path: command
        for command, context in reference.commands(cli, click.Context(cli, info_name="asdbench"))
    }
    assert headings(text) == list(found)
    assert {"asdbench run", "asdbench leaderboard build", "asdbench datasets verify"} <= set(found)
    sections = dict(zip(found, re.split(r"^## .+$", text, flags=re.MULTILINE)[1:], strict=True))
    for name, command in found.items():
        options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
        assert all(option.opts[-1] in sections[name] for option in options), name
    assert (
        "`-p, --plugin NAME[KEY=VALUE,...]` | Method to run; repeatable. `asdbench plugins` lists all."
        in sections["asdbench run"]
    )
    assert "```\nasdbench new method my_method --out asdbench-my-method\n```" in sections["asdbench new"]


def test_every_hook_has_its_signature_and_contract() -> None:
    text = code_reference.hook_page()
    assert set(headings(text)) == {*HOOKS.values(), "asdbench_printed"}
    assert "def asdbench_scorers() -> Iterable[Entry]: ..." in text
    assert "One entry per scorer. `build` is a subclass of `Scorer`; its fields are its options." in text


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (AsdbenchError, 2),
        (DataError, 2),
        (PluginError, 4),
        (NotOffered, 2),
        (NothingToDraw, 2),
        (Interrupted, 130),
    ],
)
def test_each_error_has_the_exit_status_that_the_command_line_gives_it(
    error: type[AsdbenchError], status: int
) -> None:
    assert reference.status_after(error) == status
    assert re.search(rf"`{error.__name__}` \| {status} \| \w", reference.error_page())


def test_the_exit_statuses_are_those_of_the_readme() -> None:
    section = pages.read("README.md").partition("| exit status | meaning |")[2].partition("\n\n")[0]
    assert [int(status) for status in re.findall(r"^\| (\d+) \|", section, re.MULTILINE)] == list(
        reference.STATUSES
    )


def test_scorers_have_their_options_with_values_types_and_meanings() -> None:
    registry = load_registry()
    text = reference.part_page(registry, "scorer", title="Scorers", use="x")
    assert headings(text) == registry.names("scorer")
    assert (
        "| `per` | scorer | `claim` | claim \\| pool | one normal set per claimed class, or a single one |"
        in text
    )


def test_every_public_name_is_there_with_its_fields() -> None:
    text = code_reference.name_page()
    assert set(headings(text)) == {*asdbench.__all__, *code_reference.LIBRARIES}
    assert "| `summary` | `str` | One line for the listing of `asdbench plugins`. |" in text
    assert " at 0x" not in text


def test_a_docstring_becomes_markdown() -> None:
    text = """Return a_b of ``x_y``.

    Args:
        first: What
            it is.
        second: [n, dims].

    Returns:
        A *sum*.

    Example:
        ``f(1)``
    """
    assert code_reference.markdown(text).split("\n\n") == [
        "Return a\\_b of `x_y`.",
        "**Args**",
        "- `first`: What it is.\n- `second`: \\[n, dims\\].",
        "**Returns**",
        "A \\*sum\\*.",
        "**Example**",
        "`f(1)`",
    ]
