"""``asdbench run --shard``: one share of the jobs, for machines without a common scheduler."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asdbench.cli import FAILED, OK, PLUGIN_INVALID
from asdbench.cli.output import print_json
from asdbench.core.shard import Shard
from asdbench.errors import ConfigError
from asdbench.plugin.registry import Registry

if TYPE_CHECKING:
    from asdbench.runs.request import Request
    from asdbench.runs.shards import ShardDocument


class ShardType(click.ParamType[Shard]):
    """``I/N``: the shard I of N, counted from 1."""

    name = "I/N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Shard:
        """Return the shard."""
        if isinstance(value, Shard):
            return value
        try:
            return Shard.parse(value)
        except ConfigError as error:
            self.fail(str(error), param, ctx)


shard_option = click.option(
    "--shard",
    type=ShardType(),
    default=None,
    help="Run only share I of N of the jobs, beside other shards; the same command without it then evaluates.",
)


def refuse_results(shard: Shard, *, figure: Path | None, scores: Path | None) -> None:
    """Refuse options that need results, which a shard has not.

    Raises:
        ConfigError: One of them is given.
    """
    for option, value in (("--figure", figure), ("--scores", scores)):
        if value is not None:
            raise ConfigError(
                f"{option} {value}: shard {shard} evaluates nothing; give {option} to the same command without --shard, "
                "when all shards are done"
            )


def run_share(
    registry: Registry, requests: Sequence[Request], *, shard: Shard, log: Path | None, as_json: bool
) -> int:
    """Run a shard, print the state of its jobs, and return the exit status."""
    from asdbench.cli.progress import reporting
    from asdbench.runs.run import run_shard

    with reporting(log) as (bars, listeners):
        state = run_shard(requests, registry, shard=shard, observer=bars, listeners=listeners)
    if as_json:
        print_json(state)
    for each in state.runs:
        click.echo(f"shard {shard} of {_summary(each)}", err=as_json)
        for line in _faults(each):
            click.echo(line, err=True)
    click.echo("when all shards are done, the same command without --shard evaluates their results", err=True)
    if any(each.refused for each in state.runs):
        return PLUGIN_INVALID
    return FAILED if any(job.status != "ok" for each in state.runs for job in each.jobs) else OK


def _summary(state: ShardDocument) -> str:
    counts = Counter(job.status for job in state.jobs)
    jobs = ", ".join(f"{count} {status}" for status, count in sorted(counts.items())) or "none"
    return f"run {state.run}, {state.dataset}: {state.models} of {state.of} models; jobs: {jobs}"


def _faults(state: ShardDocument) -> Iterator[str]:
    for job in state.jobs:
        if job.status not in ("ok", "blocked"):
            yield f"{job.kind} {job.method} {job.place} seed {job.seed}: {job.status}: {job.message}"
    for label, why in state.refused.items():
        yield f"not run: {label}: {why}"
