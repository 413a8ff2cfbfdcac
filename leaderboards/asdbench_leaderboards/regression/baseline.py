"""What a baseline keeps of a run: the values of each seed, how much other items would change them, and exact costs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from asdbench import Config, ConfigError, ResultRow, RunDocument, RunError, from_json, write_json

VERSION = 1
NORMAL_WIDTH = 2 * 1.959964
"""Width of a 95 % interval of a normal distribution, in standard errors."""


class Value(Config, frozen=True, kw_only=True):
    """One metric of one method on a machine type, or on the whole dataset."""

    machine: str
    """Value of the outermost result column; empty: the whole dataset."""
    metric: str
    per_seed: list[float]
    """In the order of the method's seeds, within [0, 1]."""
    items_error: float | None
    """Standard error over other items of the same kind, from the 95 % interval; None: there is none."""

    @property
    def mean(self) -> float:
        """The mean over seeds."""
        return sum(self.per_seed) / len(self.per_seed)


class MethodBaseline(Config, frozen=True, kw_only=True):
    """The values of one method."""

    method: str
    seeds: list[int]
    values: list[Value]
    parameters: int | None = None
    """Trainable parameters of the largest model; None: nothing finished."""
    flops: int | None = None
    """Floating-point operations per item of the largest model."""
    fit_work: list[float] = []
    """Training time of each seed as a multiple of a fixed piece of work; empty: not measured."""
    score_work: list[float] = []
    """Time per test item of each seed as a multiple of the same work; empty: not measured."""


class Baseline(Config, frozen=True, kw_only=True):
    """A run to compare later ones with: the file of ``asdbench check --baseline``."""

    schema_version: int = VERSION
    run: str
    """Identifier of the run."""
    time: str
    dataset: str
    """With the options that the user typed."""
    manifest: str
    """Hash of all contents, columns and labels of the data."""
    metric_set: str
    methods: list[MethodBaseline]


def baseline_of(document: RunDocument) -> Baseline:
    """Return the baseline that a run makes.

    Raises:
        RunError: A method was refused or has no results, or a job failed: a baseline must be whole.
    """
    for label, why in document.refused.items():
        raise RunError(f"run {document.run.id} is no baseline, since it refused {label}: {why}")
    if document.failed:
        raise RunError(
            f"run {document.run.id} is no baseline, since {len(document.failed)} of its {len(document.jobs)} jobs have no "
            "result; `asdbench runs show --failures` says why"
        )
    return Baseline(
        run=document.run.id,
        time=document.run.time,
        dataset=document.run.selector,
        manifest=document.data.manifest,
        metric_set=document.run.metric_set,
        methods=[method_of(document, label) for label in document.run.methods],
    )


def method_of(document: RunDocument, label: str) -> MethodBaseline:
    """Return the values of one method of a run.

    Raises:
        RunError: It has no results.
    """
    summary = document.methods[label]
    if summary.ungraded:
        raise RunError(f"run {document.run.id}: {label} has no results: {summary.ungraded}")
    cost = summary.cost
    return MethodBaseline(
        method=label,
        seeds=summary.seeds,
        values=list(_values(document.results_of(label))),
        parameters=None if cost is None else cost.parameters,
        flops=None if cost is None else cost.flops,
        fit_work=[] if cost is None else cost.fit_work,
        score_work=[] if cost is None else cost.score_work,
    )


def write_baseline(file: Path, baseline: Baseline) -> None:
    """Write a baseline as JSON."""
    write_json(file, baseline)


def read_baseline(file: Path) -> Baseline:
    """Return a baseline from its file.

    Raises:
        ConfigError: The file is missing, damaged or of another version.
    """
    if not file.is_file():
        raise ConfigError(
            f"there is no baseline {file}; `asdbench check --baseline {file} --update` writes one"
        )
    try:
        found = from_json(file.read_bytes(), Baseline)
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigError(f"the baseline {file} cannot be read: {error}") from error
    if found.schema_version != VERSION:
        raise ConfigError(
            f"the baseline {file} has schema version {found.schema_version}, this version of asdbench reads {VERSION}"
        )
    return found


def _values(rows: Iterable[ResultRow]) -> Iterator[Value]:
    for row in rows:
        names = list(row.groups.values())
        outermost = not any(names[1:])  # machine types and the whole dataset, no sections
        values = [value for value in row.per_seed if value is not None]
        if not outermost or not values or len(values) < len(row.per_seed):
            continue
        error = None if row.low is None or row.high is None else (row.high - row.low) / NORMAL_WIDTH
        yield Value(
            machine=(names[0] if names else None) or "", metric=row.metric, per_seed=values, items_error=error
        )
