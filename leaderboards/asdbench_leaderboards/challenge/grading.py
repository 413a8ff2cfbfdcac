"""Grading: the official metrics of a folder of anomaly scores from any system.

Labels and domains come from the dataset, found by the names of the clips; no sound is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import msgspec
import numpy as np

from asdbench import (
    Card,
    Config,
    GradedDataset,
    Registry,
    Row,
    Selector,
    lazy,
    load_registry,
    without_plugins,
)
from asdbench.metrics import DOMAIN, Metric, Result, ScoreTable, harmonic_mean
from asdbench_leaderboards.challenge.coverage import PARTIAL, coverage_of
from asdbench_leaderboards.challenge.evaluators import (
    DECISIONS,
    EvaluatorRow,
    check_decided,
    decision_rows,
    evaluator_rows,
)
from asdbench_leaderboards.challenge.identify import identified, open_graded, renamed
from asdbench_leaderboards.challenge.scorefiles import ClipScore, read_decisions, read_scores

NAMES: Mapping[str, str] = {
    "auc": "AUC",
    "pauc": "pAUC",
    "pauc_domain": "pAUC within",
    "pauc_plain": "plain pAUC",
    "mauc": "mAUC",
    "omega": "Omega",
    "recall_eer": "EER recall",
}
_AVERAGES: Mapping[str, Callable[[Sequence[float]], float]] = {"dcase2021_arithmetic": fmean}
"""By metric set; others average harmonically."""
Place = tuple[str | None, ...]
"""Value of each result column except the domain; None where a row averages over it."""
Line = dict[str, float | None]
"""The values of one place, by column of the official table."""


@dataclass(frozen=True, kw_only=True)
class GradeRequest:
    """What to grade, and against which clips."""

    scores: Path
    dataset: Selector
    data_root: Path
    part: Literal["dev", "eval"] | None = None
    """None: given by the dataset's own option ``test``."""
    allow_partial: bool = False
    resamples: int = 1000
    metrics: Sequence[Metric] = ()
    """Empty: those of the official set."""
    mcclish: bool = True
    """False: report the plain pAUC in place of the standardised one."""


class GradeRow(Config, frozen=True, kw_only=True):
    """One metric of one result group."""

    groups: dict[str, str | None]
    """Value of each result column; None where the row averages over it. All None: all clips."""
    metric: str
    value: float | None
    """In [0, 1]; None: undefined."""
    low: float | None
    """Lower end of the 95 % bootstrap interval."""
    high: float | None
    why: str | None
    """Why it is undefined, or what it leaves out."""
    items: int
    """Clips with a known label that it is computed on."""


class GradeDocument(Config, frozen=True, kw_only=True):
    """What ``asdbench evaluate --json`` prints."""

    scores: str
    dataset: str
    dataset_options: dict[str, Any]
    metric_set: str
    clips: int
    complete: bool | None
    """Whether all clips of the release's part have a score and a label; None: unknown, since neither a list nor a
    count of the clips exists."""
    notes: list[str]
    summary: dict[str, float | None]
    """Values of all clips, by metric."""
    results: list[GradeRow]
    evaluator: list[EvaluatorRow]
    """What the official evaluators print beside these: values of decisions, the AUC of whole sections, plain means."""


@dataclass(frozen=True, kw_only=True)
class Grade:
    """The metrics of a folder of scores."""

    request: GradeRequest
    card: Card
    options: dict[str, Any]
    clips: int
    complete: bool | None
    """None: unknown, since neither a list nor a count of the clips exists."""
    notes: list[str]
    results: list[Result]
    evaluator: list[EvaluatorRow]

    @property
    def summary(self) -> dict[str, float | None]:
        """The values of all clips, by metric."""
        return {result.metric: result.value for result in self.results if not any(result.groups.values())}

    def document(self) -> GradeDocument:
        """Return the grade as it is printed."""
        return GradeDocument(
            scores=str(self.request.scores),
            dataset=self.card.name,
            dataset_options=self.options,
            metric_set=self.card.metrics,
            clips=self.clips,
            complete=self.complete,
            notes=self.notes,
            summary=self.summary,
            results=[self._row(result) for result in self.results],
            evaluator=self.evaluator,
        )

    def _row(self, result: Result) -> GradeRow:
        return GradeRow(
            groups={column: result.groups.get(column) for column in self.card.groups},
            metric=result.metric,
            value=result.value,
            low=result.low,
            high=result.high,
            why=result.why,
            items=result.items,
        )


def grade_apart(request: GradeRequest, registry: Registry) -> Grade:
    """Do what ``grade`` does, in a process that imports no plugin but those of the dataset and the metric set."""
    card = open_graded(registry, request.dataset, part=request.part).card
    owners = [registry.owner("dataset", request.dataset.name), registry.owner("metrics", card.metrics)]
    found: Grade = without_plugins(
        lazy(f"{__name__}:graded"), (vars(request), [owner.name for owner in owners])
    )
    return found


def graded(asked: tuple[Mapping[str, Any], Sequence[str]]) -> Grade:
    """Grade what a request with these fields names, with these plugins alone."""
    fields, plugins = asked
    return grade(GradeRequest(**fields), load_registry(only=plugins))


def grade(request: GradeRequest, registry: Registry) -> Grade:
    """Grade a folder of scores.

    Raises:
        ConfigError: The dataset cannot be graded by names, or has no such option or part.
        DataError: The scores have another form, or belong to other clips than the dataset's, or clips are missing.
    """
    dataset = open_graded(registry, request.dataset, part=request.part)
    card = dataset.card  # computed again at each access
    folder = read_scores(request.scores)
    scores = folder.clips
    rows = identified(scores, dataset=dataset, root=request.data_root)
    coverage = coverage_of(
        rows,
        dataset=dataset,
        root=request.data_root,
        scores=request.scores,
        is_table=folder.is_table,
        allow_partial=request.allow_partial,
    )
    decided, on_decisions = _decided(dataset, rows, request=request)
    options: dict[str, Any] = {"metrics": tuple(request.metrics)} if request.metrics else {}
    if not request.mcclish:
        options["mcclish"] = False
    metric_set = registry.build("metrics", card.metrics)
    results = metric_set(_table(card, rows, scores=scores), resamples=request.resamples, **options)
    return Grade(
        request=request,
        card=card,
        options=msgspec.to_builtins(dataset),
        clips=len(rows),
        complete=coverage.complete,
        notes=[*card.notes, *folder.notes, *renamed(scores, rows), *coverage.notes, *on_decisions],
        results=results,
        evaluator=evaluator_rows(rows, scores=scores, results=results, decided=decided),
    )


def official_table(grade: Grade) -> tuple[list[str], list[list[str]]]:
    """Return headers and rows in the layout of the official evaluators: sections, the means of a type, the mean.

    In percent. If sections have domains, AUC and pAUC have a column for each domain; its means are of the kind that the
    metric set uses, harmonic in the challenges.
    """
    outer = [column for column in grade.card.groups if column != DOMAIN]
    domains = sorted({domain for result in grade.results if (domain := result.groups.get(DOMAIN))})
    by_domain = {name: [f"{name} ({domain})" for domain in domains] for name in NAMES.values()}
    # Omega is the mean over both domains and has no value within one.
    by_domain[NAMES["omega"]] = []
    average = _AVERAGES.get(grade.card.metrics, harmonic_mean)
    lines = _lines(grade.results, outer)
    for place, line in lines.items():
        sections = [section for other, section in lines.items() if _is_within(other, place)]
        for name in (name for names in by_domain.values() for name in names):
            # A mean exists only of defined values; sections without both classes are left out.
            defined = [value for section in sections if (value := section.get(name)) is not None]
            # Values that the metric set itself gives for a place are not averaged again.
            if name not in line and defined:
                line[name] = average(defined)
    every = [name for base, names in by_domain.items() for name in (*names, base)]
    columns = [name for name in every if any(name in line for line in lines.values())]
    rows = [
        [
            *_names(place, mean=_mean_name(place, grade)),
            *(_percent(line[name]) if name in line else "" for name in columns),
        ]
        for place, line in lines.items()
        if not _repeats(place, lines)
    ]
    return [*outer, *(f"{name} %" for name in columns)], rows


def totals(grade: Grade) -> list[str]:
    """Return the values of all clips, a line for each metric, and what readers must know of them.

    A total over a part of the release is marked.
    """
    whole = [result for result in grade.results if not any(result.groups.values())]
    lines = []
    for result in whole:
        interval = ""
        if result.low is not None and result.high is not None:
            interval = f" [{100 * result.low:.2f}, {100 * result.high:.2f}]"
        kind = f"{PARTIAL} total" if grade.complete is False else "total"
        lines.append(f"{NAMES.get(result.metric, result.metric)} {kind}: {_percent(result.value)}{interval}")
    # Without any label the notes say so, and the reasons would only name every section.
    reasons = [result.why for result in whole if result.why] if any(result.items for result in whole) else []
    notes = dict.fromkeys([*grade.notes, *reasons])
    return [*lines, *(f"note: {note}" for note in notes)]


def decision_table(grade: Grade) -> tuple[list[str], list[list[str]]]:
    """Return headers and rows of the decisions, in percent: sections, then both means; no rows: no decisions."""
    rows = [row for row in grade.evaluator if row.metric in DECISIONS]
    lines: dict[tuple[str, str], dict[str, str]] = {}
    for row in rows:
        machine, section, domain = (row.groups[column] for column in ("machine", "section", DOMAIN))
        if row.mean is not None and (machine is not None or domain is None):
            continue  # the means of a type, and over both domains, are in the document
        place = (machine or f"{row.mean} mean", section or "")
        column = f"{row.metric} ({domain}) %" if domain else f"{row.metric} %"
        lines.setdefault(place, {})[column] = _percent(row.value)
    columns = sorted({column for line in lines.values() for column in line}, key=_decision_order)
    table = [[*place, *(line.get(column, "") for column in columns)] for place, line in lines.items()]
    return ["machine", "section", *columns], table


def _decided(
    dataset: GradedDataset, rows: Sequence[Row], *, request: GradeRequest
) -> tuple[list[EvaluatorRow], list[str]]:
    """Return the values of the decisions in the folder, and notes; it may have none."""
    folder = read_decisions(request.scores)
    if not folder.clips:
        return [], []
    decided = identified(folder.clips, dataset=dataset, root=request.data_root)
    notes = check_decided(rows, decided, allow_partial=request.allow_partial)
    return decision_rows(decided, folder.clips), [*folder.notes, *notes]


def _decision_order(column: str) -> tuple[int, str]:
    return DECISIONS.index(column.split()[0]), column


def _lines(results: Sequence[Result], outer: Sequence[str]) -> dict[Place, Line]:
    """Return the results of each place; results of a domain are columns of their section's place."""
    lines: dict[Place, Line] = {}
    for result in results:
        name, domain = NAMES.get(result.metric, result.metric), result.groups.get(DOMAIN)
        line = lines.setdefault(tuple(result.groups.get(column) for column in outer), {})
        line[f"{name} ({domain})" if domain else name] = result.value
    return lines


def _is_within(place: Place, outer: Place) -> bool:
    """Return whether a place is a section within another place."""
    return None not in place and all(
        wanted in (None, value) for value, wanted in zip(place, outer, strict=True)
    )


def _repeats(place: Place, lines: Mapping[Place, object]) -> bool:
    """Return whether a place is a type with a single section and would repeat its values."""
    is_type = None in place and any(place)
    return is_type and sum(_is_within(other, place) for other in lines) == 1


def _mean_name(place: Place, grade: Grade) -> str:
    is_total = not any(place)
    return f"mean ({PARTIAL})" if is_total and grade.complete is False else "mean"


def _names(place: Place, *, mean: str) -> list[str]:
    names = [value or "" for value in place]
    if None in place:
        names[place.index(None)] = mean
    return names


def _percent(value: float | None) -> str:
    return "undefined" if value is None else f"{100 * value:.2f}"


def _table(card: Card, rows: Sequence[Row], *, scores: Sequence[ClipScore]) -> ScoreTable:
    columns = [column for column in card.groups if all(column in row.columns for row in rows)]
    return ScoreTable(
        groups=card.groups,
        columns={name: np.array([row.columns[name] for row in rows], dtype=np.str_) for name in columns},
        label=np.array([row.label for row in rows], dtype=object),
        # `[seeds, items]`: a folder of scores is one seed.
        scores=np.array([[clip.score for clip in scores]], dtype=np.float64),
    )
