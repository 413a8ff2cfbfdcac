"""What a report shows of each method: its results by machine and domain, beside printed values, and its failures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from asdbench import MethodSummary, RecordedRun, ResultRow, RunDocument
from asdbench.metrics import DOMAIN, main_metric
from asdbench_leaderboards.board.rows import hardware_of
from asdbench_leaderboards.cells import percent, shown_metrics, whole_name
from asdbench_leaderboards.table import SELECTION, Line, group_lines, used_columns

TAIL = 12
"""Lines of a traceback that are shown, the last ones."""
MOST_TRACEBACKS = 5
"""Different tracebacks of a method that are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traceback:
    """The end of a traceback, and the jobs that failed with it."""

    jobs: Sequence[str]
    tail: str
    left_out: int
    """Lines before it that are not shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodPart:
    """A method as the report shows it."""

    label: str
    anchor: str
    summary: MethodSummary
    columns: Sequence[str]
    """The shown result columns: the outermost one, and the domain."""
    metrics: Sequence[str]
    lines: Sequence[tuple[Sequence[str], Line]]
    """Names of a group in these columns, and its results by metric."""
    whole: Line
    """Results of the whole dataset by metric."""
    results: Sequence[ResultRow]
    """All results."""
    failures: Sequence[str]
    tracebacks: Sequence[Traceback]
    hardware: Sequence[str]
    record: str

    @property
    def printed(self) -> list[ResultRow]:
        """The results for which a paper prints a value."""
        return [row for row in self.results if row.printed is not None]


def parts_of(run: RecordedRun) -> list[MethodPart]:
    """Return the methods of a run, best first, those without a result last."""
    document = run.document
    main = main_of(document)

    def goodness(part: MethodPart) -> float:
        value = part.whole[main].value if main in part.whole else None
        return -1.0 if value is None else value  # below every metric, which are all in [0, 1]

    parts = [_part(run, number) for number in range(len(run.methods))]
    return sorted(parts, key=goodness, reverse=True)


def main_of(document: RunDocument) -> str:
    """Return the metric that ranks the methods of a run; empty: nothing was graded."""
    return main_metric(row.metric for row in document.results) if document.results else ""


def deviations_of(run: RunDocument, summary: MethodSummary) -> Iterator[tuple[str, str]]:
    """Yield what is not as in the paper or as it should be, as short name and explanation."""
    if summary.reduced:
        yield "reduced", "a smaller training budget than the paper's"
    if summary.approximate:
        yield "approximate", summary.approximate
    if summary.changed:
        yield "options set", ", ".join(f"{name}={value}" for name, value in summary.changed.items())
    if tuned := summary.tuned:
        yield (
            "tuned",
            (
                f"options chosen from {tuned.trials} trials on {tuned.dataset}, selection={tuned.selection}, "
                f"objective {tuned.objective} {tuned.value:.4f}"
            ),
        )
    if summary.selection == "test":
        yield "checkpoint", SELECTION["test"]
    if summary.batch_dependent:
        yield "batch-dependent", "an item scores differently alone than in its batch"
    if summary.recognises:
        yield "fingerprint-suspect", "items score differently when nothing that can be heard changes"
    if summary.partial_data:
        yield "partial data", run.data.size
    if summary.unlabelled:
        yield "unlabelled", f"{summary.unlabelled:,} scored test items have no known label"
    yield from (
        ("failed seed", f"seed {seed} is left out: jobs of it failed") for seed in summary.failed_seeds
    )
    yield from (("rule", rule) for rule in summary.rules)
    for source in summary.printed:
        yield (
            "printed",
            f"{source.paper}, {source.table}, {source.method!r}" + (source.why and f": {source.why}"),
        )
        yield from (("note on printed", note) for note in source.notes)


def difference(row: ResultRow) -> str:
    """Return the measured value minus the printed one in percentage points; empty: one of them is missing."""
    if row.value is None or row.printed is None:
        return ""
    return f"{100 * (row.value - row.printed):+.2f}"


def agreement(row: ResultRow) -> str:
    """Return whether the printed value lies in the interval of the measured one; empty: there is no interval."""
    if row.printed is None or row.low is None or row.high is None:
        return ""
    return "inside" if row.low <= row.printed <= row.high else "outside"


def place_of(row: ResultRow) -> str:
    """Return the group of a result for people."""
    return "/".join(value for value in row.groups.values() if value is not None) or whole_name(row.metric)


def per_seed(row: ResultRow) -> str:
    """Return the value of each seed in percent."""
    return ", ".join("-" if value is None else percent(value) for value in row.per_seed)


def _part(run: RecordedRun, number: int) -> MethodPart:
    document, method = run.document, run.methods[number]
    results = document.results_of(method.label)
    columns = _shown(used_columns(document.data.groups, results))
    metrics = shown_metrics(results)
    lines = group_lines(results, columns)
    whole = whole_name(main_metric(metrics)) if metrics else ""
    return MethodPart(
        label=method.label,
        anchor=f"method-{number}",
        summary=method.record.method,
        columns=columns or [""],
        metrics=metrics,
        lines=[(_names(line, columns, whole=whole), line) for line in lines],
        whole={row.metric: row for row in results if row.is_whole},
        results=results,
        failures=document.failure_lines(method.label),
        tracebacks=_tracebacks(document, method.label),
        hardware=hardware_of(method.record),
        record=method.record.record_id,
    )


def _shown(used: Sequence[str]) -> list[str]:
    return [column for column in used if column in (used[0], DOMAIN)]


def _names(line: Line, columns: Sequence[str], *, whole: str) -> list[str]:
    groups = next(iter(line.values())).groups
    names = [groups.get(column) or "" for column in columns]
    return [names[0] or whole, *names[1:]] if names else [whole]


def _tracebacks(document: RunDocument, label: str) -> list[Traceback]:
    """Return the different tracebacks of a method's jobs."""
    alike: dict[str, list[str]] = {}
    for job in document.jobs:
        if job.method == label and job.detail:
            alike.setdefault(job.detail, []).append(f"{job.kind} {job.place} seed {job.seed}")
    return [_traceback(detail, jobs) for detail, jobs in list(alike.items())[:MOST_TRACEBACKS]]


def _traceback(detail: str, jobs: Sequence[str]) -> Traceback:
    lines = detail.rstrip().splitlines()
    return Traceback(jobs=jobs, tail="\n".join(lines[-TAIL:]), left_out=max(0, len(lines) - TAIL))
