"""``asdbench tune``."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asdbench.cli import FAILED, OK
from asdbench.cli.output import for_screen, print_json, tables_of
from asdbench.cli.settings import (
    SELECTOR,
    DistinctOption,
    Duration,
    Size,
    WholeNumber,
    data_options,
    isolation_option,
    json_option,
    log_option,
    out_option,
)
from asdbench.core.files import check_writable
from asdbench.jobs.executors.base import executor_options
from asdbench.jobs.pristine import GRADE, PRISTINE
from asdbench.plugin.entries import Selector
from asdbench.plugin.registry import Registry, load_registry

if TYPE_CHECKING:  # they import pandas or optuna, and a wrong option should be reported without that delay
    from asdbench.results.schema import RunDocument
    from asdbench.tuning.document import StudyDocument
    from asdbench.tuning.request import TuningRequest

SHOWN = 10
"""Trials in the table."""


@click.command(epilog="Example: asdbench tune -p serial_oe -d synthetic --trials 20 -j 2")
@click.option("-p", "--plugin", "method", type=SELECTOR, required=True, help="Method to tune.")
@click.option("-d", "--dataset", type=SELECTOR, required=True, help="Dataset to tune on.")
@data_options
@out_option("Folder of the results and, in studies/NAME, of the study.")
@click.option("--trials", type=WholeNumber(1), default=20, show_default=True, help="Number of trials.")
@click.option(
    "--sampler", default="tpe", show_default=True, metavar="NAME", help="tpe, random, cmaes, grid or qmc."
)
@click.option(
    "--pruner",
    default="none",
    show_default=True,
    metavar="NAME",
    help="median, hyperband or none: ends poor trials between their units, folds and seeds.",
)
@click.option(
    "--objective",
    default=None,
    metavar="NAME",
    help="validation, pseudo or faults; none of them reads a test label [default: validation where the protocol has "
    "labelled validation items, else pseudo].",
)
@click.option(
    "--space", default=None, metavar="NAME", help="One of the method's grids instead of its own space."
)
@click.option(
    "--param",
    "parameters",
    multiple=True,
    metavar="NAME[=VALUES]",
    help="Search this option only; repeatable: lr, lr=1e-4..1e-2:log, scorer.k=1..16 or scorer=gmm|lof.",
)
@click.option(
    "--per",
    default="all",
    show_default=True,
    metavar="all|unit",
    help="One study for all units, or one for each, with its own best options.",
)
@click.option("--study", default=None, help="Name of the study [default: METHOD-DATASET].")
@click.option(
    "--round",
    "size",
    type=WholeNumber(1),
    default=4,
    show_default=True,
    help="Trials proposed at once, part of the study: more keep more jobs busy, fewer learn sooner.",
)
@click.option(
    "--sampler-seed", type=WholeNumber(0), default=0, show_default=True, help="Random seed of the sampler."
)
@click.option(
    "--seed",
    "seeds",
    type=WholeNumber(0),
    multiple=True,
    default=(42,),
    cls=DistinctOption,
    show_default=True,
    help="Random seed of the trainings; repeatable, each trial then has one training per seed.",
)
@click.option(
    "--held",
    type=float,
    default=0.2,
    show_default=True,
    help="Share of training items that trials hold out of a method that holds out none itself.",
)
@click.option(
    "-j", "--jobs", type=WholeNumber(1), default=1, envvar="ASDBENCH_JOBS", show_default=True,
    help="Number of jobs to run at the same time; changes no trial.",
)  # fmt: skip
@click.option(
    "--executor", type=SELECTOR, default="local", envvar="ASDBENCH_EXECUTOR", show_default=True,
    help="Where jobs run; changes no trial. `asdbench plugins` lists all.",
)  # fmt: skip
@click.option(
    "--threads",
    type=WholeNumber(1),
    default=1,
    show_default=True,
    help="CPU threads per job, part of the study: they change the last bits of a training.",
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    envvar="ASDBENCH_DEVICE",
    show_default=True,
    help="Where to train; auto uses a GPU if there is one.",
)
@click.option(
    "--timeout",
    type=Duration(positive=True),
    default=None,
    help="No round starts after this time, for example 2h; the same command with more time goes on.",
)
@click.option(
    "--job-timeout",
    type=Duration(positive=True),
    default=None,
    help="Time limit of one job; a trial over it fails.",
)
@click.option("--memory", type=Size(), default=None, help="Memory limit of one job, for example 8GB.")
@isolation_option
@click.option("--allow-partial", is_flag=True, help="Tune on an incomplete dataset.")
@log_option
@click.option("--no-test", is_flag=True, help="Do not run the chosen configuration on the test items.")
@click.option(
    "--dry-run", is_flag=True, help="Show what would be searched and an estimate of its time; run nothing."
)
@json_option
def tune(
    *, method: Selector, dataset: Selector, data_root: Path, cache: Path, out: Path,
    trials: int, sampler: Any, pruner: Any, objective: Any, space: str | None, parameters: tuple[str, ...], per: Any,
    study: str | None, size: int, sampler_seed: int, held: float, timeout: float | None,
    seeds: tuple[int, ...], jobs: int, executor: Selector, threads: int, device: Any, job_timeout: float | None,
    memory: int | None, isolation: Any, allow_partial: bool, log: Path | None, no_test: bool, dry_run: bool,
    as_json: bool,
) -> int:  # fmt: skip
    """Choose a method's options by trials that see no test label, then run the chosen ones.

    After an interruption, or with more --trials, the same command continues the study with the trials that it would have
    had anyway.
    """
    check_writable(out)
    PRISTINE.fork()  # before a plugin is imported
    registry = load_registry()
    executor_options(registry, executor)
    from asdbench.runs.request import Request
    from asdbench.tuning.request import TuningRequest, space_of

    run = Request(
        methods=[method],
        dataset=dataset,
        data_root=data_root,
        cache=cache,
        out=out,
        seeds=seeds,
        slots=jobs,
        executor=executor,
        threads=threads,
        device=device,
        timeout_s=job_timeout,
        memory_bytes=memory,
        isolation=isolation,
        allow_partial=allow_partial,
        command=sys.argv[1:],
    )
    registry.entry("dataset", dataset.name)
    request = TuningRequest(
        run=run,
        study=study or f"{method.name}-{dataset.name}",
        trials=trials,
        space=space_of(registry.method(method.name), name=space, wanted=parameters),
        sampler=sampler,
        pruner=pruner,
        objective=objective,
        per=per,
        round=size,
        seed=sampler_seed,
        held=held,
        timeout_s=timeout,
    )
    if dry_run:
        return _dry_run(registry, request, test=not no_test, as_json=as_json)
    document, tested = _tuned(registry, request, test=not no_test, log=log)
    _show(document, tested, registry=registry, out=out, as_json=as_json)
    return FAILED if tested is not None and tested.failed else OK


def _dry_run(registry: Registry, request: TuningRequest, *, test: bool, as_json: bool) -> int:
    from tabulate import tabulate

    from asdbench.cli.progress import ProgressBars
    from asdbench.tuning.preview import preview

    with ProgressBars() as bars, contextlib.redirect_stdout(sys.stderr):  # standard output is for the plan
        plan = preview(request, registry, observer=bars, test=test)
    if as_json:
        print_json(plan)
        return OK
    state = "continues" if plan.continues else "would start"
    click.echo(
        f"{plan.study} {state}: {plan.method} on {plan.dataset}, objective {plan.objective}, sampler {plan.sampler}, "
        f"pruner {plan.pruner}\n"
    )
    click.echo(tabulate(plan.space.items(), headers=["option", "values"]))
    runs = "the method's own options and the test" if test else "the method's own options"
    click.echo(
        f"\n{plan.trials} trials of {plan.fits} models and {plan.scores} score jobs each; "
        f"with {runs} at most {plan.jobs} jobs"
    )
    known = plan.estimate_s is not None
    time = f"about {(plan.estimate_s or 0.0) / 60:.1f} minutes" if known else "an unknown time"
    click.echo(f"{time} with one job at a time, if a trial takes as long as the method's own options")
    return OK


def _tuned(
    registry: Registry, request: TuningRequest, *, test: bool, log: Path | None
) -> tuple[StudyDocument, RunDocument | None]:
    from asdbench.cli.progress import reporting
    from asdbench.jobs.processes import start_server
    from asdbench.tuning.tune import tune

    PRISTINE.load(GRADE)  # its imports, and those of the server, overlap with those of the controller
    start_server()
    with reporting(log) as (bars, listeners):
        return tune(request, registry, observer=bars, listeners=listeners, test=test)


def _show(
    document: StudyDocument, tested: RunDocument | None, *, registry: Registry, out: Path, as_json: bool
) -> None:
    if as_json:
        print_json(document)
    else:
        click.echo(for_screen(summary_of(document)))
        if tested is not None:
            with contextlib.redirect_stdout(sys.stderr):
                table = tables_of(registry, tested, by="type")
            click.echo(for_screen(f"\nTest figures of the chosen options, computed once:\n\n{table}"))
    for line in _lost(document):
        click.echo(line, err=True)
    if document.stopped:
        click.echo(
            "the time limit ended the study; the same command with a longer --timeout goes on", err=True
        )
    method = document.method.partition("[")[0]
    click.echo(
        f"chosen options: asdbench run -p {method}@{shlex.quote(document.file)} -d '{document.dataset}' --out "
        f"{shlex.quote(str(out))}",
        err=True,
    )


def summary_of(document: StudyDocument) -> str:
    """Return what was chosen, and the best trials, as tables."""
    from tabulate import tabulate

    chosen = [
        {
            "unit": best.unit,
            "chosen": "own options" if best.number is None else f"trial {best.number}",
            "objective": best.value,
            "own options": best.default,
            "options": ", ".join(f"{name}={value}" for name, value in best.options.items()) or "-",
        }
        for best in document.best
    ]
    done = [row for row in document.trials if row.state == "complete"]
    top = sorted(done, key=lambda row: (-(row.value or 0.0), row.number))[:SHOWN]
    names = list(dict.fromkeys(name for row in document.trials for name in row.options))
    rows = [
        {"trial": row.number, "unit": row.unit, "objective": row.value}
        | {name: row.options.get(name, "-") for name in names}
        for row in top
    ]
    if all(best.unit is None for best in document.best):
        for line in [*chosen, *rows]:
            del line["unit"]
    states = Counter(row.state for row in document.trials)
    counts = ", ".join(f"{count} {state}" for state, count in states.items())
    return "\n\n".join(
        [
            f"{document.study}: {len(document.trials)} trials ({counts}), objective {document.objective}, "
            f"selection={document.selection}: no test label was read",
            tabulate(chosen, headers="keys", floatfmt=".4f"),
            *_ties(document),
            # Options stay as they are typed.
            tabulate(
                rows,
                headers="keys",
                floatfmt=".4f",
                disable_numparse=[*range(len(rows[0]) - len(names), len(rows[0]))],
            )
            if rows
            else "no trial is complete",
        ]
    )


def _lost(document: StudyDocument) -> Iterator[str]:
    """Yield what to do about trials that were lost, if there are any."""
    lost = [row for row in document.trials if row.state == "lost"]
    if lost:
        trials = "1 trial was" if len(lost) == 1 else f"{len(lost)} trials were"
        yield f"{trials} lost, the first: {lost[0].why}; the same command runs them again"


def _ties(document: StudyDocument) -> Iterator[str]:
    """Yield a line for each choice that others equal."""
    for best in document.best:
        equal = [row for row in document.trials if row.unit == best.unit and row.value == best.value]
        if best.number is not None and len(equal) > 1:
            unit = "" if best.unit is None else f"{best.unit}: "
            yield (
                f"{unit}{len(equal)} trials reach {best.value:.4f}, between which the objective cannot choose; the first "
                "of them is taken. More held-out items (--held) or another --objective may rank them"
            )
