"""``asdbench run``."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asdbench.cli import FAILED, OK, PLUGIN_INVALID
from asdbench.cli.output import for_screen, print_json, tables_of
from asdbench.cli.settings import (
    SELECTOR,
    DistinctOption,
    Duration,
    SingleOption,
    Size,
    WholeNumber,
    data_options,
    isolation_option,
    json_option,
    log_option,
    out_option,
)
from asdbench.cli.shards import refuse_results, run_share, shard_option
from asdbench.core.files import check_writable
from asdbench.core.shard import Shard
from asdbench.errors import ConfigError
from asdbench.jobs.executors.base import executor_options
from asdbench.jobs.pristine import CONCLUDE, PRISTINE
from asdbench.plugin.entries import PresetRun, Selector
from asdbench.plugin.registry import Registry, load_registry
from asdbench.results.plots import check_file, draw_one

if TYPE_CHECKING:  # they import pandas, and a wrong option should be reported without that delay
    from asdbench.results.schema import RunDocument
    from asdbench.runs.estimate import CaseEstimate
    from asdbench.runs.request import Request


@click.command(
    epilog="Example: asdbench run -p 'stgram_afpa[epochs=5]' -p idnn -d synthetic --seed 1 --seed 2"
)
@click.option(
    "-p",
    "--plugin",
    "methods",
    type=SELECTOR,
    multiple=True,
    help="Method to run; repeatable. `asdbench plugins` lists all.",
)
@click.option(
    "-d",
    "--dataset",
    "datasets",
    type=SELECTOR,
    multiple=True,
    help="Dataset to run on; repeatable, one run per dataset. `asdbench datasets list` shows all.",
)
@click.option(
    "--preset",
    cls=SingleOption,
    help="Run a paper's table, instead of -p and -d; `asdbench plugins` lists the presets.",
)
@data_options
@out_option("Folder of the results.")
@click.option(
    "--seed",
    "seeds",
    type=WholeNumber(0),
    multiple=True,
    default=(42,),
    cls=DistinctOption,
    show_default=True,
    help="Random seed; repeatable, one training per seed.",
)
@click.option(
    "-j",
    "--jobs",
    type=WholeNumber(1),
    default=1,
    envvar="ASDBENCH_JOBS",
    show_default=True,
    help="Number of jobs to run at the same time.",
)
@click.option(
    "--executor",
    type=SELECTOR,
    default="local",
    envvar="ASDBENCH_EXECUTOR",
    show_default=True,
    help="Where jobs run; `asdbench plugins` lists all.",
)
@click.option(
    "--threads", type=WholeNumber(1), default=None, help="CPU threads per job [default: cores / jobs]."
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
    help="Time limit of one job, for example 30m or 2h.",
)
@click.option(
    "--memory",
    type=Size(),
    default=None,
    help="Memory limit of one job with all its processes, for example 8GB.",
)
@isolation_option
@click.option(
    "--selection",
    type=click.Choice(["last", "validation", "test"]),
    default=None,
    help="Which checkpoint counts; `test` uses test labels, as some papers did [default: the method's own rule].",
)
@click.option(
    "--by-selection",
    is_flag=True,
    help="Also report the checkpoints that look best on test labels; not for comparison.",
)
@click.option("--allow-partial", is_flag=True, help="Run on an incomplete dataset; its numbers are marked.")
@click.option(
    "--by",
    type=click.Choice(["type", "id"]),
    default="type",
    show_default=True,
    help="Rows of the table: the outermost result groups (type), for example machine types, or all groups (id).",
)
@click.option(
    "--checkpoint-every",
    "resume_every_s",
    type=Duration(),
    default=10.0,
    help="How often training state is saved; a killed run loses at most this much [default: 10s].",
)
@click.option(
    "--figure",
    type=click.Path(dir_okay=False, path_type=Path),
    default=None,
    help="Draw the results to this file (png, svg or pdf); several runs give NAME-1, NAME-2 ... "
    "`asdbench figures` draws all figures.",
)
@click.option(
    "--scores",
    type=click.Path(dir_okay=False, path_type=Path),
    default=None,
    help="Write the score, rank and percentile of every test item to this CSV; several runs give NAME-1, NAME-2 ...",
)
@shard_option
@log_option
@click.option("--dry-run", is_flag=True, help="Show the jobs and an estimate of their time; run nothing.")
@json_option
def run(
    *, methods: tuple[Selector, ...], datasets: tuple[Selector, ...], preset: str | None, data_root: Path, cache: Path,
    out: Path, seeds: tuple[int, ...], jobs: int, executor: Selector, threads: int | None, device: Any,
    timeout: float | None, memory: int | None, isolation: Any, selection: Any, by_selection: bool, allow_partial: bool,
    by: str, resume_every_s: float, figure: Path | None, scores: Path | None, shard: Shard | None, log: Path | None,
    dry_run: bool, as_json: bool,
) -> int:  # fmt: skip
    """Run methods on a dataset and show their results.

    Finished jobs are not run again. After an interruption, or with one more method or seed, the same command runs only
    what is missing.
    """
    PRISTINE.fork()  # before a plugin is imported
    registry = load_registry()
    # Everything that can be wrong with the request is checked before the heavy imports and before any job.
    runs = _runs(registry, methods, datasets=datasets, preset=preset, cache=cache)
    _check_means(registry, executor, out=out, figure=figure, scores=scores, shard=shard)
    from asdbench.runs.request import Request  # imports numpy, which would delay the report of a wrong option

    first = Request(
        methods=runs[0].methods,
        dataset=runs[0].dataset,
        data_root=data_root,
        cache=cache,
        out=out,
        seeds=seeds,
        slots=jobs,
        executor=executor,
        threads=threads,
        device=device,
        timeout_s=timeout,
        memory_bytes=memory,
        isolation=isolation,
        allow_partial=allow_partial,
        selection=selection,
        by_selection=by_selection,
        resume_every_s=resume_every_s,
        command=sys.argv[1:],
    )
    requests = [_with(first, each) for each in runs]
    if dry_run:
        return _dry_run(registry, requests, shard=shard, as_json=as_json)
    if shard is not None:
        return run_share(registry, requests, shard=shard, log=log, as_json=as_json)
    documents = _documents(registry, requests, log=log)
    _write(registry, documents, out=out, figure=figure, scores=scores)
    return _show(registry, documents, by=by, as_json=as_json, preset=preset, out=out)


def _check_means(
    registry: Registry,
    executor: Selector,
    *,
    out: Path,
    figure: Path | None,
    scores: Path | None,
    shard: Shard | None,
) -> None:
    """Check the executor and its options, and that everything can be written that a run is to write."""
    executor_options(registry, executor)
    check_writable(out)
    if shard is not None:
        refuse_results(shard, figure=figure, scores=scores)
    if figure is not None:
        check_file(figure)
    if scores is not None:
        if scores.suffix.lower() != ".csv":
            raise ConfigError(f"--scores {scores}: scores are written as CSV; use a name that ends with .csv")
        check_writable(scores)


def _runs(
    registry: Registry,
    methods: tuple[Selector, ...],
    *,
    datasets: Sequence[Selector],
    preset: str | None,
    cache: Path,
) -> Sequence[PresetRun]:
    """Return the dataset and methods of every requested run."""
    if preset is not None:
        if methods or datasets:
            raise click.UsageError("--preset already names the methods and the dataset; leave out -p and -d")
        return _preset_runs(preset, registry, cache=cache)
    if not methods or not datasets:
        missing = "-p METHOD" if not methods else "-d DATASET"
        raise click.UsageError(f"{missing} is missing; give -p METHOD -d DATASET, or --preset NAME")
    for dataset in datasets:
        registry.entry("dataset", dataset.name)  # an unknown name is reported before the first run
        if datasets.count(dataset) > 1:
            raise ConfigError(f"{dataset} is given twice; to repeat a run, give --seed several times instead")
    return [PresetRun(dataset=dataset, methods=methods) for dataset in datasets]


def _preset_runs(name: str, registry: Registry, *, cache: Path) -> Sequence[PresetRun]:
    runs = registry.preset(name).runs  # an unknown name is reported before the imports
    from asdbench.runs.plan import check_preset

    with contextlib.redirect_stdout(sys.stderr):
        check_preset(name, registry, cache=cache)
    return runs


def _with(first: Request, run: PresetRun) -> Request:
    """Return the request of one run; the rule for checkpoints on the command line wins over that of a preset."""
    selection = first.selection or run.selection
    return replace(first, dataset=run.dataset, methods=run.methods, selection=selection)


def _dry_run(registry: Registry, requests: Sequence[Request], *, shard: Shard | None, as_json: bool) -> int:
    rows, refused = _estimates(registry, requests, shard=shard)
    _show_plan(rows, as_json=as_json)
    for label, why in refused.items():
        click.echo(f"not run: {label}: {why}", err=True)
    return PLUGIN_INVALID if refused else OK


def _status(documents: Sequence[RunDocument]) -> int:
    if any(document.refused for document in documents):
        return PLUGIN_INVALID
    return FAILED if any(document.failed for document in documents) else OK


def _estimates(
    registry: Registry, requests: Sequence[Request], *, shard: Shard | None
) -> tuple[list[CaseEstimate], dict[str, str]]:
    """Return the estimate of every case, and the methods that cannot be planned with the reason."""
    from asdbench.cli.progress import ProgressBars
    from asdbench.runs.estimate import estimate
    from asdbench.runs.plan import plan_run
    from asdbench.runs.shards import divided

    with ProgressBars() as bars, contextlib.redirect_stdout(sys.stderr):  # standard output is for the plan
        plans = [plan_run(request, registry, observer=bars) for request in requests]
        plans = plans if shard is None else divided(plans, shard)
        rows = [row for planned in plans for row in estimate(planned)]
    return rows, {label: why for planned in plans for label, why in planned.refused.items()}


def _documents(registry: Registry, requests: Sequence[Request], *, log: Path | None) -> list[RunDocument]:
    from asdbench.cli.progress import reporting
    from asdbench.jobs.processes import start_server
    from asdbench.runs.run import run_all

    with reporting(log) as (bars, listeners):
        PRISTINE.load(CONCLUDE)
        if not (requests[0].out / "runs").exists():
            start_server()  # a first run needs it for certain; its imports then overlap with the planning
        return run_all(requests, registry, observer=bars, listeners=listeners)


def _write(
    registry: Registry, documents: list[RunDocument], *, out: Path, figure: Path | None, scores: Path | None
) -> None:
    """Write the files that the user asked for."""
    # What plugins print while they draw and tabulate is for people; the answer itself comes last.
    with contextlib.redirect_stdout(sys.stderr):
        if figure is not None:
            _draw(registry, documents, out=out, figure=figure)
        if scores is not None:
            _write_scores(documents, out=out, scores=scores)


def _tables(registry: Registry, documents: list[RunDocument], *, by: str) -> list[str]:
    with contextlib.redirect_stdout(sys.stderr):
        return [tables_of(registry, document, by=by) for document in documents]


def _show(
    registry: Registry,
    documents: list[RunDocument],
    *,
    by: str,
    as_json: bool,
    preset: str | None,
    out: Path,
) -> int:
    """Print the results and return the exit status."""
    if not as_json:
        click.echo(for_screen("\n\n".join(_tables(registry, documents, by=by))))
    elif preset is None and len(documents) == 1:
        print_json(documents[0])
    else:
        from asdbench.results.schema import RunDocuments

        print_json(RunDocuments(preset=preset, runs=documents))
    for document in documents:
        for line in _afterword(document, out=out, as_json=as_json):
            click.echo(line, err=True)
    return _status(documents)


def _afterword(document: RunDocument, *, out: Path, as_json: bool) -> Iterator[str]:
    """Yield what a person reads after the results of a run: where they are, and what tables say themselves."""
    run = document.run.id
    if as_json:
        yield from (f"warning: {note}" for note in document.data.notes)
        yield from (f"not run: {label}: {why}" for label, why in document.refused.items())
        for method in dict.fromkeys(job.method for job in document.failed):
            yield from (f"{method}: {line}" for line in document.failure_lines(method))
    again = f"asdbench runs show {run} --out {shlex.quote(str(out))}"
    yield f"results: {out / 'runs' / f'{run}.json'}; `{again}` shows them again"
    if document.failed:
        yield (
            f"{len(document.failed)} of {len(document.jobs)} jobs failed; tracebacks: {out / 'failures'}, or "
            f"`{again} --failures`"
        )


def _draw(registry: Registry, documents: Sequence[RunDocument], *, out: Path, figure: Path) -> None:
    from asdbench.results.record import read_run

    for document, path in zip(documents, _numbered(figure, len(documents)), strict=True):
        draw_one(registry, read_run(out, document.run.id), name="results", path=path)


def _write_scores(documents: Sequence[RunDocument], *, out: Path, scores: Path) -> None:
    from asdbench.results.ranking import write_scores
    from asdbench.results.record import read_run

    for document, path in zip(documents, _numbered(scores, len(documents)), strict=True):
        count = write_scores(read_run(out, document.run.id), path)
        what = (
            f"{count:,} scores"
            if count
            else "no scores, since the data have no test items or no method scored them"
        )
        click.echo(f"{path}: {what}", err=True)


def _numbered(path: Path, count: int) -> list[Path]:
    """Return the files of several runs, for example auc-1.png, auc-2.png ..."""
    return [path] if count == 1 else [path.with_stem(f"{path.stem}-{k + 1}") for k in range(count)]


def _show_plan(rows: list[CaseEstimate], *, as_json: bool) -> None:
    if as_json:
        from asdbench.runs.estimate import PlanDocument

        print_json(PlanDocument(plan=rows))
        return
    from tabulate import tabulate

    several = len({row.dataset for row in rows}) > 1
    noted = any(row.note for row in rows)
    fields = [
        name
        for name in (rows[0].__struct_fields__ if rows else ())
        if (name != "dataset" or several) and (name != "note" or noted)
    ]
    cells = [[getattr(row, name) for name in fields] for row in rows]
    click.echo(tabulate(cells, headers=fields, floatfmt=".3g"))
    left = [row for row in rows if "planned" in (row.fit, row.score)]
    if not left:
        click.echo("\nno jobs are left to run")
        return
    known = [row.estimate_s for row in left if row.estimate_s is not None]
    without = f", and {len(left) - len(known)} of unknown length" if len(known) < len(left) else ""
    seconds = sum(known)
    time = f"{seconds / 60:.1f} minutes" if seconds >= 60 else f"{seconds:.0f} s"
    click.echo(
        f"\n{len(left)} of {len(rows)} cases have jobs to run: about {time} with one job at a time{without}"
    )
    bases = Counter(row.basis for row in left if row.basis)
    if bases:
        counts = ", ".join(f"{count} from {basis}" for basis, count in sorted(bases.items()))
        click.echo(f"(measured on this machine: {counts})")
