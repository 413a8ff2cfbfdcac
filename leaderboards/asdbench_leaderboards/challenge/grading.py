"""Grading: the official figures of a folder of anomaly scores, whoever made it.

Labels and domains come from the dataset by the names of the clips; no sound is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

import msgspec
import numpy as np

from asdbench.contracts import GradedDataset
from asdbench.data.completeness import completeness
from asdbench.errors import ConfigError, DataError
from asdbench.metrics import DOMAIN, Metric, Result, ScoreTable, harmonic_mean
from asdbench.recipe import config_of, configure
from asdbench.registry import Registry
from asdbench.values import ANOMALY, NORMAL, Card, Row
from asdbench_leaderboards.challenge.scorefiles import ClipScore, read_scores

NAMES: Mapping[Metric, str] = {
    "auc": "AUC",
    "pauc": "pAUC",
    "pauc_domain": "pAUC within",
    "mauc": "mAUC",
    "omega": "Omega",
}
SHOWN = 5
"""How many clips a message names."""


@dataclass(frozen=True, kw_only=True)
class GradeRequest:
    """What is to be graded, and against what."""

    scores: Path
    dataset: str
    options: Mapping[str, str]
    data_root: Path
    part: Literal["dev", "eval"] | None = None
    """None: what the dataset's own option ``test`` says."""
    allow_partial: bool = False
    resamples: int = 1000
    metrics: Sequence[Metric] = ()
    """Empty: those of the official set."""


@dataclass(frozen=True, kw_only=True)
class Grade:
    """The figures of a folder of scores."""

    request: GradeRequest
    card: Card
    options: dict[str, Any]
    clips: int
    complete: bool | None
    """None: nothing says how many clips there should be."""
    notes: list[str]
    results: list[Result]

    @property
    def summary(self) -> dict[str, float | None]:
        """The figures over everything, by metric."""
        return {result.metric: result.value for result in self.results if not any(result.groups.values())}

    def document(self) -> dict[str, Any]:
        """Return the grade as plain JSON values."""
        return {
            "scores": str(self.request.scores),
            "dataset": self.card.name,
            "dataset_options": self.options,
            "metric_set": self.card.metrics,
            "clips": self.clips,
            "complete": self.complete,
            "notes": self.notes,
            "summary": self.summary,
            "results": [
                {
                    **{group: result.groups.get(group) for group in self.card.groups},
                    **{
                        name: getattr(result, name)
                        for name in ("metric", "value", "low", "high", "why", "items")
                    },
                }
                for result in self.results
            ],
        }


def grade(request: GradeRequest, registry: Registry) -> Grade:
    """Grade a folder of scores.

    Raises:
        ConfigError: The dataset cannot be graded by names, or has no such option or part.
        DataError: The scores are not of the announced form, or not of the dataset's clips, or clips are missing.
    """
    dataset = open_graded(registry, request)
    card = dataset.card  # worked out anew whenever it is asked for
    scores, is_table = read_scores(request.scores)
    rows = _rows(dataset, request.data_root, scores)
    for clip, row in zip(scores, rows, strict=True):
        _check(clip, row, of=card.name)
    _check_once(scores, rows)
    complete, notes = _completeness(dataset, request, rows, is_table=is_table)
    secret = sum(row.label is None for row in rows)
    if secret:
        notes.append(
            f"{secret:,} of {len(rows):,} clips have no known label: no ground truth of theirs lies under "
            f"{request.data_root}"
        )
    options = {"metrics": tuple(request.metrics)} if request.metrics else {}
    metric_set = registry.build("metrics", card.metrics)
    return Grade(
        request=request,
        card=card,
        options=msgspec.to_builtins(dataset),
        clips=len(rows),
        complete=complete,
        notes=[*card.notes, *notes],
        results=metric_set(_table(card, rows, scores), resamples=request.resamples, **options),
    )


def official_table(grade: Grade) -> tuple[list[str], list[list[str]]]:
    """Return headings and rows as the official evaluators lay them out: sections, the means of a type, the mean.

    In percent. Where sections have domains, AUC and pAUC have a column for each domain, whose means are harmonic.
    """
    outer = [group for group in grade.card.groups if group != DOMAIN]
    domains = sorted({domain for result in grade.results if (domain := result.groups.get(DOMAIN))})
    lines: dict[tuple[str | None, ...], dict[str, float | None]] = {}
    for result in grade.results:
        name, domain = NAMES.get(result.metric, result.metric), result.groups.get(DOMAIN)
        line = lines.setdefault(tuple(result.groups.get(group) for group in outer), {})
        line[f"{name} ({domain})" if domain else name] = result.value
    split = {
        name: [f"{name} ({domain})" for domain in domains]
        for name in NAMES.values()
        if name != NAMES["omega"]
    }
    for place, line in lines.items():
        beneath = [below for other, below in lines.items() if _lies_in(other, place)]
        for name in (name for names in split.values() for name in names):
            defined = [value for below in beneath if (value := below.get(name)) is not None]
            if name not in line and defined:
                line[name] = harmonic_mean(defined)
    columns = [
        name
        for base in NAMES.values()
        for name in (*split.get(base, []), base)
        if any(name in line for line in lines.values())
    ]
    rows = [
        [*_names(place), *(_percent(line[name]) if name in line else "" for name in columns)]
        for place, line in lines.items()
        if not _repeats(place, lines)
    ]
    return [*outer, *(f"{name} %" for name in columns)], rows


def totals(grade: Grade) -> list[str]:
    """Return the figures over everything, a line each, and what must be known of them."""
    whole = [result for result in grade.results if not any(result.groups.values())]
    lines = []
    for result in whole:
        interval = ""
        if result.low is not None and result.high is not None:
            interval = f" [{100 * result.low:.2f}, {100 * result.high:.2f}]"
        lines.append(f"{NAMES.get(result.metric, result.metric)} total: {_percent(result.value)}{interval}")
    notes = dict.fromkeys([*grade.notes, *(result.why for result in whole if result.why)])
    return [*lines, *(f"note: {note}" for note in notes)]


def open_graded(registry: Registry, request: GradeRequest) -> GradedDataset:
    """Return the dataset whose ``test`` option is the part asked for.

    Raises:
        ConfigError: Its clips cannot be told by names, or it has no such part.
    """
    built = registry.build("dataset", request.dataset)
    config = config_of(built)
    if not hasattr(config, "graded"):
        names = registry.names("dataset")
        known = [name for name in names if hasattr(config_of(registry.build("dataset", name)), "graded")]
        raise ConfigError(
            f"scores of {request.dataset} cannot be graded: its clips have no official names that tell their section "
            f"(datasets that can be: {', '.join(known) or 'none'})"
        )
    options = dict(request.options)
    if request.part is not None:
        wanted = _test_option(config, request.part, of=request.dataset)
        if options.setdefault("test", wanted) != wanted:
            raise ConfigError(
                f"--part {request.part} is test={wanted}, but the dataset's options say test={options['test']}"
            )
    dataset: GradedDataset = configure(config, options, of=request.dataset)
    return dataset


def _test_option(config: type[Any], part: str, *, of: str) -> str:
    hint = get_type_hints(config).get("test")
    values = [str(value) for value in get_args(hint)]
    found = [value for value in values if value.startswith(part)]
    if len(found) != 1:
        raise ConfigError(
            f"{of} has no part {part!r} to test on (its option test: {', '.join(values) or 'none'})"
        )
    return found[0]


def _rows(dataset: GradedDataset, root: Path, scores: Sequence[ClipScore]) -> list[Row]:
    names = [(clip.machine, clip.clip) for clip in scores]
    try:
        return list(dataset.graded(root, names))
    except DataError:
        start, stop = 0, len(names)  # the first refused name lies in here: halve until it stands alone
        while stop - start > 1:
            middle = (start + stop) // 2
            if _is_graded(dataset, root, names[start:middle]):
                start = middle
            else:
                stop = middle
        try:
            dataset.graded(root, names[start:stop])
        except DataError as error:
            raise DataError(f"{scores[start].where}: {error}") from error
        raise


def _is_graded(dataset: GradedDataset, root: Path, names: Sequence[tuple[str, str]]) -> bool:
    try:
        dataset.graded(root, names)
    except DataError:
        return False
    return True


def _check(clip: ClipScore, row: Row, *, of: str) -> None:
    told = {"section": clip.section, "domain": clip.domain}
    for name, value in told.items():
        known = row.columns.get(name)
        if value is not None and known is not None and value != known and known != "unknown":
            raise DataError(
                f"{clip.where}: {clip.machine}/{clip.clip} stands under {name} {value}, but is of {name} {known}"
            )
    label = {"": row.label, "0": NORMAL, "1": ANOMALY}.get(clip.is_anomaly)
    if label is None and clip.is_anomaly:
        raise DataError(f"{clip.where}: is_anomaly must be 0 or 1, got {clip.is_anomaly!r}")
    if row.label is not None and label != row.label:
        raise DataError(
            f"{clip.where}: is_anomaly is {clip.is_anomaly}, but {of} says that {clip.machine}/{clip.clip} is "
            f"{'an anomaly' if row.label == ANOMALY else 'normal'}"
        )


def _check_once(scores: Sequence[ClipScore], rows: Sequence[Row]) -> None:
    """Refuse a clip that stands under two spellings of its name."""
    first: dict[str, ClipScore] = {}
    for clip, row in zip(scores, rows, strict=True):
        other = first.setdefault(str(row.source), clip)
        if other is not clip:
            raise DataError(
                f"{clip.where}: {clip.machine}/{clip.clip} is the clip {other.clip} of {other.where}"
            )


def _completeness(
    dataset: GradedDataset, request: GradeRequest, rows: Sequence[Row], *, is_table: bool
) -> tuple[bool | None, list[str]]:
    """Say whether all clips of the part have a score; challenge files must be whole, a table may be of a part."""
    listed = dataset.listed(request.data_root)
    if listed:
        scored = {str(row.source) for row in rows}
        missing = [row for row in listed if str(row.source) not in scored]
        if not missing:
            return True, []
        told = _missing(missing, listed)
        if not request.allow_partial:
            raise DataError(f"{told}; with --allow-partial what is there is scored and marked")
        return False, [f"PARTIAL: {told}"]
    card, parts = dataset.card, {row.columns.get("part") for row in rows}
    counts = tuple(count for count in card.expected if count.columns.get("part") in parts)
    if not counts:
        return None, [
            "completeness is not checked: no ground truth lists the clips, and the release states no counts"
        ]
    found = completeness(msgspec.structs.replace(card, expected=counts), rows)
    if found.complete:
        return True, []
    if not (is_table or request.allow_partial):
        raise DataError(
            f"{request.scores} is not whole, {found.summary()}; with --allow-partial what is there is scored and marked"
        )
    return False, [f"PARTIAL: {found.summary()}"]


def _missing(missing: Sequence[Row], listed: Sequence[Row]) -> str:
    names = [f"{row.columns['machine']}/{row.source.name}" for row in missing]
    there, lacking = Counter(map(_place, listed)), Counter(map(_place, missing))
    whole = [place for place, count in lacking.items() if count == there[place]]
    told = f"{len(missing):,} of {len(listed):,} listed clips have no score: {_some(names)}"
    return told + (f"; nothing at all of {_some(whole)}" if whole else "")


def _place(row: Row) -> str:
    return "/".join(row.columns[name] for name in ("machine", "section", "domain") if name in row.columns)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _lies_in(place: tuple[str | None, ...], outer: tuple[str | None, ...]) -> bool:
    """Tell whether a section lies beneath a group."""
    return None not in place and all(
        wanted in (None, word) for word, wanted in zip(place, outer, strict=True)
    )


def _repeats(place: tuple[str | None, ...], lines: Mapping[tuple[str | None, ...], object]) -> bool:
    """Tell whether a type has one section alone, whose figures are its own."""
    is_type = None in place and any(place)
    return is_type and sum(_lies_in(other, place) for other in lines) == 1


def _names(place: tuple[str | None, ...]) -> list[str]:
    words = [word or "" for word in place]
    if None in place:
        words[place.index(None)] = "mean"
    return words


def _percent(value: float | None) -> str:
    return "undefined" if value is None else f"{100 * value:.2f}"


def _table(card: Card, rows: Sequence[Row], scores: Sequence[ClipScore]) -> ScoreTable:
    groups = [group for group in card.groups if all(group in row.columns for row in rows)]
    return ScoreTable(
        groups=card.groups,
        columns={group: np.array([row.columns[group] for row in rows], dtype=np.str_) for group in groups},
        label=np.array([row.label for row in rows], dtype=object),
        scores=np.array([[clip.score for clip in scores]], dtype=np.float64),
    )
