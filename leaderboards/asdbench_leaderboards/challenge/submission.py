"""Challenge files: the scores of a run in the formats that the official evaluators of DCASE Task 2 read.

    <to>/<method>/seed_<N>/anomaly_score_<machine>_section_<NN>[_<domain>]_test.csv     clip name, score
    <to>/<method>/seed_<N>/decision_result_<machine>_section_<NN>[_<domain>]_test.csv   clip name, 0 or 1
    <to>/<method>/seed_<N>/submission.json                                              their origin

A clip is decided to be an anomaly if its score is above the threshold of its machine type: the 90th percentile of a
gamma distribution fitted to the scores of normal clips that the model was not trained on. The official baselines do the
same with training clips. Test clips are never used.
"""

from __future__ import annotations

import csv
import re
import warnings
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from asdbench import (
    Config,
    ConfigError,
    DataError,
    EnsembleRecipe,
    Recipe,
    RecordedMethod,
    RunDocument,
    RunError,
    Selector,
    find_run,
    load_registry,
    new_folder,
    read_method,
    unknown,
    write_json,
)
from asdbench_leaderboards.challenge.coverage import PARTIAL, some
from asdbench_leaderboards.challenge.identify import open_graded
from asdbench_leaderboards.challenge.scorefiles import ClipScore, clip_key, clip_words, read_scores

FEWEST = 10
"""Fewest scores for fitting a gamma distribution; with fewer the threshold is their empirical percentile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """The file names of a challenge."""

    unit: str = "section"
    """Word for a machine ID in file names."""
    ending: str = "_test"
    by_domain: bool = False
    decisions: bool = True

    def name(self, kind: str, place: Mapping[str, str]) -> str:
        """Return the name of the file of a section (and domain)."""
        domain = f"_{place['domain']}" if self.by_domain else ""
        return f"{kind}_{place['machine']}_{self.unit}_{place['section']}{domain}{self.ending}.csv"


FORMS: Mapping[str, Form] = {
    "dcase2020": Form(unit="id", ending="", decisions=False),
    "dcase2021": Form(by_domain=True),
    **{f"dcase{year}": Form() for year in range(2022, 2027)},
}
"""By dataset; 2020 required no decisions."""


@dataclass(frozen=True, kw_only=True)
class SubmissionRequest:
    """What to write, and where."""

    out: Path
    """Folder of the results."""
    to: Path
    run: str = "latest"
    methods: Sequence[Selector] = ()
    """A name without options means all variants of the method. Empty: all of the run."""
    seeds: Sequence[int] = ()
    """Empty: all of the run."""
    threshold_from: Path | None = None
    """Folder of scores of normal training clips; None: the clips that the run held out."""
    quantile: float = 0.9
    allow_partial: bool = False


class Written(Config, frozen=True, kw_only=True):
    """The challenge files of one method and seed."""

    folder: str
    method: str
    seed: int
    clips: int
    files: list[str]
    thresholds: dict[str, float]
    """By machine type; types without a threshold have no decisions."""
    complete: bool
    """False: the run had only a part of the release, or some of its clips have no score."""
    notes: list[str]


class Submissions(Config, frozen=True, kw_only=True):
    """What ``asdbench submission --json`` prints."""

    written: list[Written]


class Origin(Config, frozen=True, kw_only=True):
    """The run that scores come from."""

    id: str
    time: str
    dataset: str
    dataset_options: dict[str, str]


class SubmissionRecord(Written, frozen=True, kw_only=True):
    """The challenge files with their origin: ``submission.json``."""

    run: Origin
    record: str
    """Identifier of the method's record."""
    quantile: float
    selection: str
    recipe: Recipe | EnsembleRecipe


def write_submissions(request: SubmissionRequest) -> list[Written]:
    """Write the challenge files of a run, one folder for each method and seed.

    Raises:
        ConfigError: The run's dataset has no challenge files, or the run lacks a method or seed.
        RunError: The run or its record is missing, it is of partial data, clips have no score or are not in the
            release, or a folder already exists.
        DataError: The scores that set thresholds cannot be read, or are scores of test clips.
    """
    if not 0 < request.quantile < 1:
        raise ConfigError(f"the quantile must be between 0 and 1, got {request.quantile}")
    document = find_run(request.out, request.run)
    dataset = document.run.dataset
    if dataset not in FORMS:
        raise ConfigError(f"{dataset} has no challenge files (datasets with such files: {', '.join(FORMS)})")
    if (partial := _partial(document)) and not request.allow_partial:
        raise RunError(f"{partial}; use --allow-partial to write files that say so")
    labels = _labels(document, request.methods)
    methods = [read_method(request.out, document, label=label) for label in labels]
    for method in methods:
        _check_names(method, dataset, root=request.to)
    return [
        _write(request, method, form=FORMS[dataset], seed=seed, partial=partial)
        for method in methods
        for seed in _seeds(method, request.seeds)
    ]


def decision_threshold(scores: ArrayLike, *, quantile: float = 0.9) -> tuple[float, str | None]:
    """Return the score above which an item is decided to be an anomaly, and a note if the rule does not apply.

    Args:
        scores: Of normal items that the model was not trained on, shape ``[items]``.
        quantile: Of the gamma distribution fitted to them (shape, location and scale), between 0 and 1.

    Raises:
        DataError: There are no scores.
    """
    from scipy.stats import FitError, gamma  # not needed to list commands

    values = np.asarray(scores, dtype=np.float64)
    if values.size == 0:
        raise DataError("there are no scores of normal items to set a threshold")
    empirical = float(np.quantile(values, quantile))
    # Equal scores have no variance, and the fit would divide by it.
    if values.size < FEWEST or np.ptp(values) == 0:
        return empirical, f"{values.size} normal scores are too few or too alike for a gamma distribution"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # the fit may try parameters without a density
            threshold = float(gamma.ppf(quantile, *gamma.fit(values)))
    except FitError as error:
        return empirical, f"no gamma distribution fits {values.size} normal scores ({error})"
    # A bad fit is far from the scores; a good one has its upper decile among or near them.
    if not values.min() <= threshold <= values.max() + np.ptp(values):
        return empirical, f"the gamma distribution fitted to {values.size} normal scores is far from them"
    return threshold, None


def _labels(document: RunDocument, wanted: Sequence[Selector]) -> list[str]:
    known = document.run.methods
    if not wanted:
        return known
    labels: list[str] = []
    for selector in wanted:
        found = [label for label in known if _selects(selector, label)]
        if not found:
            raise ConfigError(f"run {document.run.id}: {unknown('method', str(selector), known=known)}")
        labels += found
    return list(dict.fromkeys(labels))


def _selects(selector: Selector, label: str) -> bool:
    """Return whether a selector is a label, or the name of its method without options."""
    return label == str(selector) or (not selector.options and label.partition("[")[0] == selector.name)


def _seeds(method: RecordedMethod, wanted: Sequence[int]) -> list[int]:
    for seed in wanted:
        if seed not in method.seeds:
            seeds = ", ".join(map(str, method.seeds))
            raise ConfigError(f"{method.label} has no scores of seed {seed} (its seeds: {seeds})")
    return list(wanted) or method.seeds


def _check_names(method: RecordedMethod, dataset: str, *, root: Path) -> None:
    """Check that tested development clips are of the release: a run of partial data also takes numbers it does not have.

    Args:
        method: Has the clips.
        dataset: Name of the release.
        root: A folder without ground truth, so that names alone count.

    Raises:
        RunError: A clip is not in the release.
    """
    sources = [PurePosixPath(source) for source in method.items["source"]]
    if any("eval_data" in source.parts for source in sources):  # ground truth decides which of them exist
        return
    release = open_graded(load_registry(), Selector(dataset), part="dev")
    names = list(zip(method.items["machine"], (source.name for source in sources), strict=True))
    try:
        release.graded(root, names)
    except DataError as error:
        raise RunError(
            f"{method.label}: {error}; `asdbench evaluate` would refuse files with this clip, so none are written: take "
            "the clip away and run again"
        ) from error


def _partial(document: RunDocument) -> str:
    """Return what the data of a run lack; empty: nothing, or the release states no counts."""
    data = document.data
    if data.complete:
        return ""
    gaps = [f"{gap.name} {gap.found:,} of {gap.expected:,}" for gap in data.missing]
    return f"run {document.run.id} is of partial data, {data.size}" + (f": {some(gaps)}" if gaps else "")


def _write(
    request: SubmissionRequest, method: RecordedMethod, *, form: Form, seed: int, partial: str
) -> Written:
    # Labels have brackets and commas, which shells would read as patterns.
    folder = request.to / re.sub(r"[^\w.=-]+", "_", method.label).strip("_") / f"seed_{seed}"
    if folder.exists():
        raise RunError(f"{folder} already exists; choose another folder with --to")
    items, notes = _scored(method, seed, allow_partial=request.allow_partial)
    if partial:
        notes.insert(0, f"{PARTIAL}: {partial}")
    thresholds: dict[str, float] = {}
    if form.decisions:
        thresholds, more = _thresholds(request, method, items=items, seed=seed)
        notes += more
    with new_folder(folder) as temporary:
        files = _write_files(temporary, items, form=form, thresholds=thresholds)
        written = Written(
            folder=str(folder),
            method=method.label,
            seed=seed,
            clips=len(items),
            files=files,
            thresholds=thresholds,
            complete=not any(note.startswith(PARTIAL) for note in notes),
            notes=notes,
        )
        write_json(temporary / "submission.json", _record_of(written, method, quantile=request.quantile))
    return written


def _write_files(
    folder: Path, items: pd.DataFrame, *, form: Form, thresholds: Mapping[str, float]
) -> list[str]:
    """Write the scores of each section, and the decisions of the machine types with a threshold; return the names."""
    columns = ["machine", "section", *(["domain"] if form.by_domain else [])]
    files: list[str] = []
    for values, clips in items.groupby(columns, sort=True):
        place = dict(zip(columns, map(str, values), strict=True))
        scores = list(zip(clips["clip"], clips["score"], strict=True))
        files.append(form.name("anomaly_score", place))
        # repr keeps every digit: rounded scores could tie and change the AUC.
        _write_lines(folder / files[-1], [(clip, repr(float(score))) for clip, score in scores])
        threshold = thresholds.get(place["machine"])
        if threshold is not None:
            files.append(form.name("decision_result", place))
            _write_lines(folder / files[-1], [(clip, str(int(score > threshold))) for clip, score in scores])
    return files


def _record_of(written: Written, method: RecordedMethod, *, quantile: float) -> SubmissionRecord:
    record = method.record
    return SubmissionRecord(
        **msgspec.structs.asdict(written),
        run=Origin(
            id=record.run.id,
            time=record.run.time,
            dataset=record.run.dataset,
            dataset_options=record.run.dataset_options,
        ),
        record=record.record_id,
        quantile=quantile,
        selection=record.method.selection,
        recipe=record.method.recipe,
    )


def _scored(method: RecordedMethod, seed: int, *, allow_partial: bool) -> tuple[pd.DataFrame, list[str]]:
    """Return the test clips with their official names and scores, sorted by name, and notes."""
    items = method.items.assign(
        clip=[PurePosixPath(source).name for source in method.items["source"]],
        score=method.items[f"score_{seed}"],
    )
    missing = items[items["score"].isna()]
    notes = _notes(method)
    if len(missing):
        first = missing.iloc[0]
        message = (
            f"{len(missing):,} of {len(items):,} clips have no score of seed {seed} "
            f"(first: {first['machine']}/{first['clip']})"
        )
        if not allow_partial:
            raise RunError(f"{method.label}: {message}; use --allow-partial to write the others")
        notes.insert(0, f"{PARTIAL}: {message}")
    return items[items["score"].notna()].sort_values(["machine", "clip"]), notes


def _notes(method: RecordedMethod) -> list[str]:
    """Return why results of the whole dataset are undefined or incomplete."""
    whole = [row for row in method.record.results if row.is_whole]
    return list(dict.fromkeys(row.why for row in whole if row.why))


def _thresholds(
    request: SubmissionRequest, method: RecordedMethod, *, items: pd.DataFrame, seed: int
) -> tuple[dict[str, float], list[str]]:
    """Return a threshold for each machine type that has scores of normal clips, and notes on them."""
    normals, notes = _held(method, seed)
    if request.threshold_from is not None:
        normals, notes = _given(request.threshold_from, items), []
    thresholds: dict[str, float] = {}
    without: list[str] = []
    for machine in sorted(items["machine"].unique()):
        if not normals.get(machine):
            without.append(machine)
            continue
        thresholds[machine], note = decision_threshold(normals[machine], quantile=request.quantile)
        if note:
            notes.append(f"{machine}: {note}: the threshold is their empirical percentile")
    if without:
        why = (
            "the run held out no normal clips of them to set a threshold; run the method with held=0.1, or give scores "
            "of normal training clips with --threshold-from"
        )
        if request.threshold_from is not None:
            why = f"{request.threshold_from} contains no scores of them"
        notes.append(f"no decision files of {', '.join(without)}: {why}")
    return thresholds, notes


def _held(method: RecordedMethod, seed: int) -> tuple[dict[str, list[float]], list[str]]:
    """Return the scores of held-out clips by machine type, and notes."""
    column = f"score_{seed}"
    if column not in method.held:
        return {}, []
    found: dict[str, list[float]] = {}
    for machine, score in zip(method.held["machine"], method.held[column], strict=True):
        if not np.isnan(score):
            found.setdefault(machine, []).append(float(score))
    recipe = method.record.method.recipe
    if isinstance(recipe, Recipe) and recipe.common.scorer_on == "held":
        return found, [
            "the scorer was fitted on the held-out clips that set the thresholds, which makes the thresholds too low"
        ]
    return found, []


def _given(folder: Path, items: pd.DataFrame) -> dict[str, list[float]]:
    """Return the scores in a folder of normal training clips, by machine type.

    Raises:
        DataError: The run tested a clip, under any spelling of its name, or the name marks it as a test clip or an
            anomaly.
    """
    tested = {
        (machine, clip_key(clip)) for machine, clip in zip(items["machine"], items["clip"], strict=True)
    }
    found: dict[str, list[float]] = {}
    for clip in read_scores(folder).clips:
        if kind := _unfit(clip, tested):
            raise DataError(
                f"{clip.where}: {clip.machine}/{clip.clip} is {kind}; only normal training clips may set thresholds"
            )
        found.setdefault(clip.machine, []).append(clip.score)
    return found


def _unfit(clip: ClipScore, tested: Set[tuple[str, tuple[str, ...]]]) -> str | None:
    """Return what a clip is if it may not set thresholds; None: it may."""
    # Whole words before the attributes, since an attribute may contain `test` or `anomaly`.
    words = clip_words(clip.clip)
    if (clip.machine, clip_key(clip.clip)) in tested:
        return "a test clip of the run"
    if "anomaly" in words or clip.is_anomaly == "1":
        return "an anomaly"
    return "a test clip" if "test" in words else None


def _write_lines(file: Path, lines: Sequence[tuple[str, str]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as handle:
        csv.writer(handle, lineterminator="\n").writerows(lines)
