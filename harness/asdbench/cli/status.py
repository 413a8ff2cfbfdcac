"""``asdbench status``: how far a run is, asked from another terminal or after the fact; reads files only."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import click

from asdbench.cli.output import print_json
from asdbench.cli.settings import json_option, out_option
from asdbench.core.gpus import GpuUse
from asdbench.runs.status import LATEST, RunningJob, RunStatus, read_shards, read_status


@click.command(epilog="Example: asdbench status --out asdbench-runs")
@click.argument("run", default=LATEST)
@out_option("Folder of the results.")
@json_option
def status(*, run: str, out: Path, as_json: bool) -> None:
    """Show how far RUN is: its jobs by state, the time left, what runs now, and the last failure.

    RUN is an identifier, or `latest`: the run that reported something last. Of a run in shards it is the shard that did,
    with the state of the others; RUN-shard-I-of-N is a certain one. A run whose command is gone before its last job
    has ended is `interrupted`; the same command continues it.
    """
    found = read_status(out, run)
    if as_json:
        print_json(found)
        return
    for line in _lines(found, now=datetime.now(UTC)):
        click.echo(line)
    others = [each for each in read_shards(out, found.run) if each.shard != found.shard]
    if found.shard and others:
        click.echo(f"other shards: {', '.join(map(_share, others))}")


def _lines(found: RunStatus, *, now: datetime) -> Iterator[str]:
    jobs = found.jobs
    seeds = f"seed{'s' if len(found.seeds) > 1 else ''} {_listed(found.seeds)}"
    shard = f", shard {found.shard}" if found.shard else ""
    what = "run" if found.trials is None else "study"
    yield f"{what} {found.run}{shard}: {found.state}"
    yield f"{', '.join(found.methods)} on {found.dataset}, {seeds}"
    counts = [f"{jobs.done} of {jobs.total} jobs done", f"{jobs.running} running", f"{jobs.failed} failed"]
    counts += [f"{jobs.inapplicable} inapplicable"] if jobs.inapplicable else []
    yield ", ".join([*counts, f"{jobs.left} left"])
    if found.trials is not None:
        best = "none complete" if found.trials.best is None else f"best {found.trials.best:.4f}"
        yield f"{found.trials.done} of {found.trials.total} trials, {best}"
    if found.state == "running":
        age = (now - datetime.fromisoformat(found.updated)).total_seconds()
        left = "unknown" if found.left_s is None else clock_text(max(0.0, found.left_s - age))
        yield f"time left: {left}; last report {clock_text(age)} ago"
        yield from map(_running, found.running)
        yield from map(_gpu, found.gpus)
    if found.last_error is not None:
        error = found.last_error
        yield f"last failure: {error.title}: {error.status}: {error.message}"


def clock_text(seconds: float) -> str:
    """Return hours, minutes and seconds."""
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def _running(job: RunningJob) -> str:
    progress = job.progress
    epoch = f" epoch {min(progress.epoch + 1, progress.epochs)}/{progress.epochs}" if progress.epochs else ""
    step = f" {progress.step}/{progress.steps}" if progress.steps and not progress.epochs else ""
    return f"running: {job.title}: {progress.stage}{epoch}{step}"


def _share(found: RunStatus) -> str:
    return f"{found.shard} {found.state} ({found.jobs.done} of {found.jobs.total} jobs done)"


def _gpu(gpu: GpuUse) -> str:
    used, total = (size / 1e9 for size in (gpu.used_bytes, gpu.memory_bytes))
    return f"GPU {gpu.index} ({gpu.name}): {gpu.busy_percent} % busy, {used:.1f} of {total:.1f} GB used"


def _listed(seeds: list[int]) -> str:
    if len(seeds) <= 5:
        return ", ".join(map(str, seeds))
    return f"{', '.join(map(str, seeds[:3]))} ... {seeds[-1]} ({len(seeds)} of them)"
