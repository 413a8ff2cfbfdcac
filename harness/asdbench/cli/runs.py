"""``asdbench runs list | show | rm``."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asdbench.cli.output import for_screen, print_json, readable, size_text, tables_of
from asdbench.cli.settings import SELECTOR, json_option, out_option
from asdbench.plugin.registry import load_registry

if TYPE_CHECKING:
    from asdbench.plugin.entries import Selector
    from asdbench.results.differences import ResultPair, RunComparison
    from asdbench.results.history import JobFailure

LONGEST = 36
"""Characters of a value in the list of differences; hashes and short options fit."""


@click.group(epilog="Example: asdbench runs list")
def runs() -> None:
    """List past runs, show their tables again, compare two, and remove one."""


@runs.command("list", epilog="Example: asdbench runs list --json")
@out_option("Folder of the results.")
@json_option
def list_runs(*, out: Path, as_json: bool) -> None:
    """List the runs of a folder, the latest first."""
    from asdbench.results.history import list_runs as lines_of
    from asdbench.results.record import no_run

    lines = lines_of(out)
    if as_json:
        print_json(lines)
        return
    if not lines:
        click.echo(no_run(out))
    for line in lines:
        time = line.time.replace("T", " ").removesuffix("+00:00")
        click.echo(f"{line.id}  {f'{time} UTC' if time else '(no time)'}  {line.state}")
        if line.methods:
            seeds = f"seed{'s' if len(line.seeds) > 1 else ''} {', '.join(map(str, line.seeds))}"
            click.echo(f"  {', '.join(line.methods)} on {line.dataset}, {seeds}")


@runs.command(epilog="Example: asdbench runs show latest --failures")
@click.argument("run", default="latest")
@click.argument("other", metavar="[RUN2]", required=False)
@out_option("Folder of the results.")
@click.option(
    "--by",
    type=click.Choice(["type", "id"]),
    default="type",
    show_default=True,
    help="Rows of the table: the outermost result groups (type), for example machine types, or all groups (id).",
)
@click.option("--failures", is_flag=True, help="Show the tracebacks of failed jobs instead of the tables.")
@click.option(
    "--against",
    type=SELECTOR,
    default=None,
    help="Show by how much the other methods of RUN differ from this one, with paired intervals.",
)
@json_option
def show(
    *,
    run: str,
    other: str | None,
    out: Path,
    by: str,
    failures: bool,
    against: Selector | None,
    as_json: bool,
) -> None:
    """Show the tables of RUN again, or what differs between RUN and RUN2.

    RUN is an identifier from `asdbench runs list`, or `latest`. Of two runs, options, seeds, versions, code and data
    are shown where they differ, and the results side by side with 95 % intervals; that of a difference is paired.
    """
    from asdbench.results.record import find_run

    for word, given in (("--failures", failures), ("--against", against)):
        if given and other:
            raise click.UsageError(f"{word} shows one run; leave out RUN2")
    if failures and against:
        raise click.UsageError("--failures and --against show different things; leave out one of them")
    document = find_run(out, run)
    if against:
        from asdbench.results.pairing import compare_methods

        compared = compare_methods(load_registry(), out, run=document, base=against)
        lines = _side_by_side(compared, headers=[str(against), "the other"], by=by)
        print_json(compared) if as_json else click.echo("\n".join(lines))
    elif other:
        from asdbench.results.pairing import compare_paired

        compared = compare_paired(load_registry(), out, first=document, second=find_run(out, other))
        print_json(compared) if as_json else click.echo("\n".join(_compared(compared, by=by)))
    elif failures:
        from asdbench.results.history import failures_of

        found = failures_of(document)
        print_json(found) if as_json else click.echo("\n\n".join(map(_failure, found)) or "no job failed")
    elif as_json:
        print_json(document)
    else:
        with contextlib.redirect_stdout(sys.stderr):  # what plugins print while they make tables
            tables = tables_of(load_registry(), document, by=by)
        click.echo(for_screen(tables))


@runs.command(epilog="Example: asdbench runs rm latest --dry-run")
@click.argument("run")
@out_option("Folder of the results.")
@click.option("--dry-run", is_flag=True, help="Show what would be removed; remove nothing.")
@json_option
def rm(*, run: str, out: Path, dry_run: bool, as_json: bool) -> None:
    """Remove RUN with the models, scores and records that no other run uses.

    RUN is an identifier from `asdbench runs list`, or `latest`. Nothing is asked; --dry-run shows what would go.
    """
    from asdbench.results.history import remove_run

    removal = remove_run(out, run, dry_run=dry_run)
    if as_json:
        print_json(removal)
        return
    kinds = {name: name for name in ("models", "scores", "records", "failures", "figures")}
    counts = [
        f"{count} {words.removesuffix('s') if count == 1 else words}"
        for kind, words in (kinds | {"unfinished": "unfinished trainings"}).items()
        if (count := getattr(removal, kind))
    ]
    done = "would free" if dry_run else "freed"
    click.echo(f"run {removal.run}: {done} {size_text(removal.bytes)} ({', '.join(['1 document', *counts])})")


def _failure(failure: JobFailure) -> str:
    where = f"{failure.kind} {failure.method} {failure.place} seed {failure.seed}: {failure.status}"
    place = f"\nat {failure.file}:{failure.line}" if failure.file else ""
    trace = f"\n{failure.traceback.rstrip()}" if failure.traceback else ""
    return f"{where}: {failure.message}{place}{trace}"


def _compared(compared: RunComparison, *, by: str) -> Iterator[str]:
    from tabulate import tabulate

    headers = [compared.first, compared.second]
    if compared.differences:
        rows = [
            [each.kind, each.name, _short(each.first), _short(each.second)] for each in compared.differences
        ]
        yield tabulate(rows, headers=["differs", "", *headers], disable_numparse=True)
    else:
        yield "the runs share options, versions, code and data"
    yield ""
    yield from _side_by_side(compared, headers=headers, by=by)


def _side_by_side(compared: RunComparison, *, headers: Sequence[str], by: str) -> Iterator[str]:
    from tabulate import tabulate

    shown = [pair for pair in compared.results if by == "id" or len(pair.groups) <= 1]
    if shown:
        cells = [[*_names(pair), *_values(pair)] for pair in shown]
        columns = ["method", "group", "metric %", *headers, "difference"]
        yield tabulate(cells, headers=columns, disable_numparse=True)
        reasons = dict.fromkeys((_methods(pair), pair.why) for pair in shown if pair.why)
        yield from (f"no interval of the difference for {methods}: {why}" for methods, why in reasons)


def _short(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else readable(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def _names(pair: ResultPair) -> Sequence[str]:
    return _methods(pair), "/".join(pair.groups.values()) or "all", pair.metric


def _methods(pair: ResultPair) -> str:
    both = [pair.method] if pair.method == pair.other else filter(None, [pair.method, pair.other])
    return " / ".join(both)


def _values(pair: ResultPair) -> Sequence[str]:
    return (
        _value(pair.first, pair.first_low, high=pair.first_high),
        _value(pair.second, pair.second_low, high=pair.second_high),
        # Two decimals, since the question is whether the interval excludes 0.
        _value(pair.difference, pair.difference_low, high=pair.difference_high, sign="+", decimals=2),
    )


def _value(
    value: float | None, low: float | None, *, high: float | None, sign: str = "", decimals: int = 1
) -> str:
    if value is None:
        return "-"
    text = f"{100 * value:{sign}z.2f}"
    if low is None or high is None:
        return text
    ends = f"{sign}z.{decimals}f"
    return f"{text} [{100 * low:{ends}}, {100 * high:{ends}}]"
