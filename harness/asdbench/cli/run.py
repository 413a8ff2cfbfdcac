"""``asdbench run``."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asdbench.atomic import check_writable
from asdbench.cli import FAILED, OK
from asdbench.cli.settings import WORDS, WholeNumber, data_options, json_option, out_option
from asdbench.errors import ConfigError
from asdbench.figures import check_file, draw_one
from asdbench.recipe import as_typed
from asdbench.registry import Registry, load_registry
from asdbench.values import Words

if TYPE_CHECKING:  # they import torch, which a wrong word need not wait for
    from asdbench.report import Report
    from asdbench.runner import Request

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Duration(click.ParamType[float]):
    """Seconds, or a number with s, m, h or d."""

    name = "DURATION"

    def __init__(self, *, positive: bool = False) -> None:
        self.positive = positive

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds."""
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", str(value))
        if match is None:
            self.fail(f"{value!r} is not a duration such as 90, 30s, 15m, 2h or 1d", param, ctx)
        seconds = float(match[1]) * _UNITS[match[2] or "s"]
        if self.positive and seconds == 0:
            self.fail(f"{value!r} is no time at all; say 90, 30s, 15m, 2h or 1d", param, ctx)
        return seconds


@click.command(
    epilog="Example: asdbench run -p 'stgram_afpa[epochs=5]' -p idnn -d synthetic --seed 1 --seed 2"
)
@click.option("-p", "--plugin", "methods", type=WORDS, multiple=True, help="A method; repeatable.")
@click.option(
    "-d",
    "--dataset",
    "datasets",
    type=WORDS,
    multiple=True,
    help="A dataset; repeatable: each is a run of its own. `asdbench datasets list` shows them.",
)
@click.option(
    "--preset", default=None, help="A paper's table in place of -p and -d; `asdbench plugins` lists them."
)
@data_options
@out_option("Where results are kept.")
@click.option(
    "--seed",
    "seeds",
    type=WholeNumber(0),
    multiple=True,
    default=(42,),
    show_default=True,
    help="Repeatable.",
)
@click.option(
    "-j",
    "--jobs",
    type=WholeNumber(1),
    default=1,
    envvar="ASDBENCH_JOBS",
    show_default=True,
    help="Jobs at once.",
)
@click.option(
    "--threads", type=WholeNumber(1), default=None, help="Threads of a job [default: cores / jobs]."
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    envvar="ASDBENCH_DEVICE",
    show_default=True,
    help="Where models are trained.",
)
@click.option(
    "--timeout",
    type=Duration(positive=True),
    default=None,
    help="Time limit of one job, such as 30m or 2h.",
)
@click.option(
    "--selection",
    type=click.Choice(["last", "validation", "test"]),
    default=None,
    help="Which checkpoint counts [default: the method's own rule]; `test` uses test labels, as some papers did.",
)
@click.option("--allow-partial", is_flag=True, help="Run on an incomplete dataset; its numbers are marked.")
@click.option(
    "--by", type=click.Choice(["type", "id"]), default="type", show_default=True, help="Rows of the table."
)
@click.option(
    "--checkpoint-every",
    "resume_every_s",
    type=Duration(),
    default=10.0,
    help="At most so much work is lost by a kill.",
)
@click.option(
    "--figure",
    type=click.Path(dir_okay=False, path_type=Path),
    default=None,
    help="Draw the results to this file (png, svg or pdf), of several runs to NAME-1, NAME-2 ...; "
    "`asdbench figures` draws all there is.",
)
@click.option("--dry-run", is_flag=True, help="Show the jobs and an estimate; run nothing.")
@json_option
def run(
    methods: tuple[tuple[str, dict[str, str]], ...],
    datasets: tuple[tuple[str, dict[str, str]], ...],
    preset: str | None,
    data_root: Path,
    cache: Path,
    out: Path,
    seeds: tuple[int, ...],
    jobs: int,
    threads: int | None,
    device: Any,
    timeout: float | None,
    selection: Any,
    allow_partial: bool,
    by: str,
    resume_every_s: float,
    figure: Path | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Run methods on a dataset and show their results.

    What is finished is not run again: after a kill, or with one more method or seed, the same command runs only what
    is missing.
    """
    registry = load_registry()
    runs = _runs(registry, methods, datasets, preset)
    check_writable(out)
    if figure is not None:
        check_file(figure)
    from asdbench.runner import Request  # imports torch

    first = Request(
        methods=runs[0][1],
        dataset=runs[0][0],
        data_root=data_root,
        cache=cache,
        out=out,
        seeds=tuple(dict.fromkeys(seeds)),
        slots=jobs,
        threads=threads,
        device=device,
        timeout_s=timeout,
        allow_partial=allow_partial,
        selection=selection,
        resume_every_s=resume_every_s,
        command=sys.argv[1:],
    )
    requests = [replace(first, dataset=data, methods=words) for data, words in runs]
    if dry_run:
        _show_plan(_estimates(registry, requests), as_json=as_json)
        return OK
    reports = _reports(registry, requests)
    _show(registry, reports, by=by, as_json=as_json, preset=preset)
    if figure is not None:
        _draw(registry, reports, out=out, figure=figure)
    return FAILED if any(report.failed for report in reports) else OK


def _runs(
    registry: Registry, methods: Sequence[Words], datasets: Sequence[Words], preset: str | None
) -> Sequence[tuple[Words, Sequence[Words]]]:
    """Return dataset and methods of every run that is asked for."""
    if preset is not None:
        if methods or datasets:
            raise click.UsageError("--preset names methods and dataset itself; leave out -p and -d")
        return registry.preset(preset).runs
    if not methods or not datasets:
        missing = "-p METHOD" if not methods else "-d DATASET"
        raise click.UsageError(f"{missing} is missing; say -p METHOD -d DATASET, or --preset NAME")
    for words in datasets:
        registry.entry(
            "dataset", words[0]
        )  # one that nobody offers is told before the first run, not after it
        if datasets.count(words) > 1:
            raise ConfigError(
                f"{as_typed(*words)} is asked for twice; repeat a run with several --seed instead"
            )
    return [(words, methods) for words in datasets]


def _estimates(registry: Registry, requests: Sequence[Request]) -> list[dict[str, Any]]:
    from asdbench.cli.progress import ProgressBars
    from asdbench.estimate import estimate
    from asdbench.runner import plan_run

    with ProgressBars() as bars, contextlib.redirect_stdout(sys.stderr):  # what plugins print is for people
        plans = [(request, estimate(plan_run(request, registry, bars))) for request in requests]
    if len(plans) == 1:
        return plans[0][1]
    return [{"dataset": as_typed(*request.dataset)} | row for request, rows in plans for row in rows]


def _reports(registry: Registry, requests: Sequence[Request]) -> list[Report]:
    from asdbench.cli.progress import ProgressBars
    from asdbench.executors.local import start_server
    from asdbench.runner import plan_run, run_planned

    start_server()  # its imports run beside the planning
    with ProgressBars() as bars, contextlib.redirect_stdout(sys.stderr):
        # All are planned first: what is wrong with the last of them must not come out after the first has run.
        plans = [plan_run(request, registry, bars) for request in requests]
        return [run_planned(planned, registry, bars) for planned in plans]


def _show(
    registry: Registry, reports: Sequence[Report], *, by: str, as_json: bool, preset: str | None
) -> None:
    if as_json:
        documents = [report.document() for report in reports]
        told = documents[0] if preset is None and len(documents) == 1 else {"runs": documents}
        named = {} if preset is None else {"preset": preset}
        click.echo(json.dumps(named | told, indent=2, allow_nan=False))
    else:
        click.echo("\n\n".join(_table(registry, report, by) for report in reports))
    for report in reports:
        for note in report.prepared.card.notes if as_json else ():  # tables have them
            click.echo(f"warning: {note}", err=True)
        for method in dict.fromkeys(job.method for job in report.failed):
            for line in report.troubles(method):
                click.echo(f"{method}: {line}", err=True)


def _draw(registry: Registry, reports: Sequence[Report], *, out: Path, figure: Path) -> None:
    from asdbench.records import read_run

    for number, report in enumerate(reports):
        path = _numbered(figure, number, len(reports))
        draw_one(registry, read_run(out, report.run["id"]), name="results", path=path)


def _numbered(figure: Path, number: int, of: int) -> Path:
    """Return the file of one of several figures: ``auc.png``, or ``auc-1.png``, ``auc-2.png`` ..."""
    return figure if of == 1 else figure.with_stem(f"{figure.stem}-{number + 1}")


def _table(registry: Registry, report: Report, by: str) -> str:
    shown = [registry.build("table", name)(report, by=by) for name in registry.names("table")]
    return "\n\n".join(text for text in shown if text)


def _show_plan(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"plan": rows}, indent=2))
        return
    from tabulate import tabulate

    click.echo(tabulate(rows, headers="keys", floatfmt=".3g"))
    left = [row for row in rows if "planned" in (row["fit"], row["score"])]
    known = [row["estimate_s"] for row in left if row["estimate_s"] is not None]
    without = (
        f", and {len(left) - len(known)} that nothing tells the length of" if len(known) < len(left) else ""
    )
    click.echo(
        f"\n{len(left)} of {len(rows)} tasks have jobs to run; about {sum(known) / 60:.1f} minutes in one slot "
        f"(a rough estimate from floating-point operations){without}"
    )
