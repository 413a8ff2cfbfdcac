"""Pages of the reference, made from the code: commands, hooks, public names, errors, and the options of what is shipped."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from unittest import mock

import click
import code_reference
import msgspec

from asdbench import AsdbenchError, Method, Registry, Selector, config_of, load_registry
from asdbench.cli import FAILED, INTERRUPTED, OK, PLUGIN_INVALID, USAGE, cli, status_of
from asdbench.core.options import OptionDescription, options_of
from asdbench.plugin.registry import NotOffered
from asdbench.recipes.recipe import PARTS, CommonOptions
from asdbench.recipes.resolve import resolve
from asdbench.runs.request import open_dataset, protocol_options

WORSE = 3
"""Exit status of ``asdbench check``."""
STATUSES: Mapping[int, str] = {
    OK: "success; inapplicable jobs count as success",
    FAILED: "some jobs failed, or what was checked is incomplete or wrong",
    USAGE: "the request cannot be run",
    WORSE: "`asdbench check`: the run is worse than its baseline",
    PLUGIN_INVALID: "a requested plugin part cannot be imported or breaks its contract",
    INTERRUPTED: "interrupted",
}
GENERATED = "Generated from the code of this version."


def pages() -> dict[str, str]:
    """Return the Markdown of every generated page, by its path on the site."""
    registry = load_registry()
    found = {
        "cli": command_page(),
        "errors": error_page(),
        "methods": method_page(registry),
        "datasets": dataset_page(registry),
        "scorers": part_page(registry, "scorer", title="Scorers", use="METHOD[scorer=NAME,option=value]"),
        "featurizers": part_page(registry, "featurizer", title="Featurizers", use="METHOD[option=value]"),
        "executors": part_page(
            registry, "executor", title="Executors", use="--executor 'NAME[option=value]'"
        ),
        "presets": preset_page(registry),
        "metric-sets": metric_page(registry),
        "hooks": code_reference.hook_page(),
        "python": code_reference.name_page(),
    }
    return {f"reference/{name}.md": text for name, text in found.items()}


def page(title: str, *parts: str) -> str:
    """Return a page of paragraphs, tables and headings."""
    return "\n\n".join([f"# {title}", *(part for part in parts if part)]) + "\n"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; empty without rows."""
    lines = [
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in rows
    ]
    if not lines:
        return ""
    return "\n".join(["| " + " | ".join(headings) + " |", "|" + " --- |" * len(headings), *lines])


def code(value: object) -> str:
    """Return a value as code; empty if there is none."""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode().replace("null", "none")
    return f"`{text}`" if text.strip() else ""


# Commands.


def command_page() -> str:
    """Return every command with its arguments, options and example."""
    leaves = list(commands(cli, click.Context(cli, info_name="asdbench")))
    return page(
        "Commands",
        f"{GENERATED} `asdbench COMMAND --help` shows the same.",
        *(part for command, context in leaves for part in command_parts(command, context)),
    )


def commands(command: click.Command, context: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    """Yield a command and all below it, each with the context that knows its full name."""
    yield command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None:
                yield from commands(inner, click.Context(inner, info_name=name, parent=context))


def command_parts(command: click.Command, context: click.Context) -> Iterator[str]:
    """Yield the parts of a command's section."""
    text = inspect.cleandoc(command.help or "")
    text, _, example = text.partition("Example: ")
    example = example or (command.epilog or "").partition("Example: ")[2]
    yield f"## {context.command_path}"
    yield prose(text)
    pieces = " ".join(command.collect_usage_pieces(context))
    yield f"```\n{context.command_path} {pieces}\n```"
    rows = [record for parameter in command.params if (record := parameter.get_help_record(context))]
    yield table(("option", "meaning"), ((code(names), escaped(meaning)) for names, meaning in rows))
    if example:
        yield f"Example:\n\n```\n{' '.join(example.split())}\n```"


def prose(text: str) -> str:
    """Return help as Markdown: paragraphs, whose lines are joined unless click keeps them."""
    paragraphs = re.split(r"\n\s*\n", text.strip())
    shown = []
    for paragraph in paragraphs:
        kept = paragraph.startswith("\b")
        shown.append(
            f"```\n{paragraph.lstrip(chr(8)).strip(chr(10))}\n```"
            if kept
            else escaped(" ".join(paragraph.split()))
        )
    return "\n\n".join(shown)


def escaped(text: str) -> str:
    """Return plain text so that Markdown shows it as it is, but for code."""
    return "".join(
        piece if piece.startswith("`") else re.sub(r"([*_<>\[\]\\])", r"\\\1", piece)
        for piece in re.split(r"(`[^`]+`)", text)
    )


# Errors.


def error_page() -> str:
    """Return every class of errors with the exit status that the command line gives it, and all statuses."""
    rows = [
        (
            depth * "&nbsp;&nbsp;&nbsp;" + f"`{error.__name__}`",
            str(status_after(error)),
            code_reference.first_line(error),
        )
        for error, depth in errors()
    ]
    return page(
        "Errors and exit statuses",
        GENERATED,
        "A message states what is wrong, the value found, what would be right, and the remedy if there is one.",
        table(("error", "exit status", "meaning"), rows),
        "An error in a job ends that job alone: the others go on, and the exit status is 1.",
        "## Exit statuses",
        table(("status", "meaning"), ((str(status), meaning) for status, meaning in STATUSES.items())),
    )


def errors(
    of: type[AsdbenchError] = AsdbenchError, *, depth: int = 0
) -> Iterator[tuple[type[AsdbenchError], int]]:
    """Yield the public errors, each before those derived from it, with its depth in the tree."""
    yield of, depth
    for inner in of.__subclasses__():
        if inner.__module__ == "asdbench.errors" or inner is NotOffered:
            yield from errors(inner, depth=depth + 1)


def status_after(error: type[AsdbenchError]) -> int:
    """Return the exit status of a command that raises an error."""
    raised = error.__new__(error)  # some take arguments, which do not matter here
    with mock.patch.object(cli, "main", side_effect=raised), mock.patch.object(click, "echo"):
        return status_of([])


# What plugins offer.


def method_page(registry: Registry) -> str:
    """Return every method and ensemble with its paper and options on the dataset of its paper."""
    methods = [registry.method(name) for name in registry.names("method")]
    ensembles = [each for name in registry.names("ensemble") if (each := registry.ensemble(name))]
    common = options_of("method", CommonOptions, values=usual_options())
    return page(
        "Methods and their options",
        f"{GENERATED} Options are set in brackets: `asdbench run -p 'stgram_afpa[epochs=5]' -d synthetic`. "
        "The values are those on the dataset of the method's paper; `asdbench describe METHOD -d DATASET` shows them on "
        "another one, with shapes and size.",
        "## Options of every method",
        "A method may set another value; its own section then names it.",
        option_table(common),
        *(part for method in methods for part in method_parts(registry, method)),
        *(
            f"## {each.name}\n\n{each.title}. {linked(each.paper)}\n\nAn ensemble of "
            + ", ".join(code(str(member)) for member in each.members)
            for each in ensembles
        ),
    )


def method_parts(registry: Registry, method: Method) -> Iterator[str]:
    """Yield the parts of a method's section."""
    yield f"## {method.name}"
    yield f"{method.title}. {linked(method.paper)}".strip()
    if method.approximate:
        yield f"*Approximate:* {escaped(method.approximate)}"
    recipe = resolve(registry, Selector(method.name), dataset=Selector.parse(method.home).name)
    parts = {part: getattr(recipe, part) for part in PARTS}
    yield (
        f"On `{method.home}`: " + ", ".join(f"{part} `{chosen.name}`" for part, chosen in parts.items()) + "."
    )
    own = msgspec.to_builtins(recipe.common)
    usual = usual_options()
    changed = [
        row for row in options_of("method", CommonOptions, values=own) if own[row.option] != usual[row.option]
    ]
    rows = [
        row
        for part, chosen in parts.items()
        for row in options_of(part, config_of(registry.build(part, chosen.name)), values=chosen.options)
    ]
    yield option_table([*changed, *rows])
    presets = (
        (code(name), code(", ".join(f"{key}={value}" for key, value in values.items())))
        for name, values in method.presets.items()
    )
    yield table(("preset", "options"), presets)


def usual_options() -> dict[str, Any]:
    """Return the options that every method has, with their defaults; that of the scorer is each method's own."""
    method = Method(name="", title="", paper="", featurizer="", model="", scorer="")
    own = {
        field: getattr(method, field) for field in CommonOptions.__struct_fields__ if hasattr(method, field)
    }
    return msgspec.to_builtins(CommonOptions(**own))  # type: ignore[no-any-return]


def linked(paper: str) -> str:
    """Return where a paper is found."""
    found = re.fullmatch(r"doi:(\S+)", paper)
    return f"[{paper}](https://doi.org/{found[1]})" if found else ("" if paper == "none" else escaped(paper))


def option_table(rows: Sequence[OptionDescription]) -> str:
    """Return options with value, type and meaning."""
    return table(
        ("option", "of", "value", "type", "meaning"),
        (
            (code(row.option), row.part, code(row.value), escaped(row.kind), escaped(row.meaning))
            for row in rows
        ),
    )


def dataset_page(registry: Registry) -> str:
    """Return every dataset with its licence and options."""
    parts = []
    for name in registry.names("dataset"):
        data = open_dataset(registry, Selector(name))
        options = options_of("dataset", type(data), values=msgspec.to_builtins(data))  # type: ignore[arg-type]
        parts += [
            f"## {name}",
            f"{registry.summary('dataset', name).rstrip('.')}.",
            f"Licence: {escaped(data.card.licence)}. Metric set: `{data.card.metrics}`.",
            option_table([*options, *protocol_options(data, None)]),
        ]
    return page(
        "Datasets and their options",
        f"{GENERATED} Options are set in brackets: `-d 'synthetic[machines=fan]'`. `asdbench datasets info NAME` shows a "
        "dataset's card.",
        *parts,
    )


def part_page(registry: Registry, kind: Any, *, title: str, use: str) -> str:
    """Return every scorer, featurizer or executor with its options."""
    parts = []
    for name in registry.names(kind):
        config: Any = config_of(registry.build(kind, name))
        options = options_of(kind, config, values=msgspec.to_builtins(config()))
        cites = registry.entry(kind, name).cites
        parts += [
            f"## {name}",
            registry.summary(kind, name) + (f" ({cites})" if cites else ""),
            option_table(options),
        ]
    return page(f"{title} and their options", f"{GENERATED} To set an option: `{use}`.", *parts)


def preset_page(registry: Registry) -> str:
    """Return every preset with the runs that it stands for."""
    parts = []
    for name in registry.names("preset"):
        preset = registry.preset(name)
        rows = [
            (
                code(str(run.dataset)),
                ", ".join(code(str(method)) for method in run.methods),
                run.selection or "",
            )
            for run in preset.runs
        ]
        parts += [f"## {name}", preset.summary, table(("dataset", "methods", "checkpoint"), rows)]
    return page(
        "Presets",
        f"{GENERATED} `asdbench run --preset NAME` runs a whole table of a paper on the paper's data.",
        *parts,
    )


def metric_page(registry: Registry) -> str:
    """Return every metric set with what it says of itself, and the datasets that use it."""
    users: dict[str, list[str]] = {}
    for name in registry.names("dataset"):
        users.setdefault(open_dataset(registry, Selector(name)).card.metrics, []).append(name)
    parts = []
    for name in registry.names("metrics"):
        used = ", ".join(code(each) for each in users.get(name, []))
        text = code_reference.docstring(registry.build("metrics", name))
        parts += [f"## {name}", registry.summary("metrics", name), text, f"Datasets: {used}." if used else ""]
    return page("Metric sets", f"{GENERATED} A dataset's card names the set of its results.", *parts)
