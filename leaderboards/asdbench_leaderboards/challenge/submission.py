"""Challenge files: what a run scored, as the official evaluators of DCASE Task 2 read it.

    <to>/<method>/seed_<N>/anomaly_score_<machine>_section_<NN>[_<domain>]_test.csv     clip name, score
    <to>/<method>/seed_<N>/decision_result_<machine>_section_<NN>[_<domain>]_test.csv   clip name, 0 or 1
    <to>/<method>/seed_<N>/submission.json                                              where they come from

A clip is decided to be an anomaly when its score is above a threshold of its machine type: the 90th percentile of a
gamma distribution fitted to the scores of normal clips that the model was not trained on, as the official baselines
do with training clips. Test clips never take part in it.
"""

from __future__ import annotations

import csv
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from asdbench.atomic import new_folder, write_json
from asdbench.errors import ConfigError, DataError, RunError, unknown
from asdbench.recipe import as_typed
from asdbench.records import MethodRecord, find_run, read_method
from asdbench_leaderboards.challenge.scorefiles import clip_key, clip_words, read_scores

FEWEST = 10
"""Scores that a gamma distribution is fitted to; of fewer the threshold is their empirical percentile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How a challenge wants its files."""

    unit: str = "section"
    """What a machine ID is called in a file's name."""
    ending: str = "_test"
    by_domain: bool = False
    decisions: bool = True

    def name(self, kind: str, place: Mapping[str, str]) -> str:
        """Return the name of a file of one section (and domain)."""
        domain = f"_{place['domain']}" if self.by_domain else ""
        return f"{kind}_{place['machine']}_{self.unit}_{place['section']}{domain}{self.ending}.csv"


FORMS: Mapping[str, Form] = {
    "dcase2020": Form(unit="id", ending="", decisions=False),
    "dcase2021": Form(by_domain=True),
    **{f"dcase{year}": Form() for year in range(2022, 2026)},
}
"""By dataset; 2020 asked for no decisions."""


@dataclass(frozen=True, kw_only=True)
class SubmissionRequest:
    """What is to be handed in."""

    out: Path
    """Where the run keeps its results."""
    to: Path
    run: str = "latest"
    methods: Sequence[tuple[str, Mapping[str, str]]] = ()
    """Names with options; a name alone is every variant of the method. Empty: all of the run."""
    seeds: Sequence[int] = ()
    """Empty: all of the run."""
    threshold_from: Path | None = None
    """Folder of scores of normal training clips; None: those that the run held out."""
    quantile: float = 0.9
    allow_partial: bool = False


@dataclass(frozen=True, kw_only=True)
class Written:
    """The files of one method and seed."""

    folder: Path
    method: str
    seed: int
    files: tuple[str, ...]
    clips: int
    thresholds: Mapping[str, float]
    """By machine type; those without are not decided."""
    notes: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "folder": str(self.folder),
            "method": self.method,
            "seed": self.seed,
            "clips": self.clips,
            "files": list(self.files),
            "thresholds": dict(self.thresholds),
            "notes": list(self.notes),
        }


def write_submissions(request: SubmissionRequest) -> list[Written]:
    """Write the challenge files of a run, one folder for each method and seed.

    Raises:
        ConfigError: The run is of a dataset without an official form, or a method or seed is not of the run.
        RunError: There is no such run, its record is gone, clips have no score, or files stand there already.
        DataError: The scores to set thresholds by cannot be read, or are those of test clips.
    """
    if not 0 < request.quantile < 1:
        raise ConfigError(f"the quantile must lie between 0 and 1, got {request.quantile}")
    run = find_run(request.out, request.run)
    dataset = run["run"]["dataset"]
    if dataset not in FORMS:
        raise ConfigError(
            f"the challenge files of {dataset} have no official form (known: {', '.join(FORMS)})"
        )
    labels = _labels(run, request.methods)
    records = [read_method(request.out, run, label) for label in labels]
    return [
        _write(request, FORMS[dataset], record, seed)
        for record in records
        for seed in _seeds(record, request.seeds)
    ]


def decision_threshold(scores: ArrayLike, *, quantile: float = 0.9) -> tuple[float, str | None]:
    """Return the score above which an item is decided to be an anomaly, and a note where the rule had to give way.

    Args:
        scores: Of normal items that the model was not trained on, shape ``[items]``.
        quantile: Of the gamma distribution fitted to them (shape, location and scale), between 0 and 1.

    Raises:
        DataError: There are no scores.
    """
    from scipy.stats import FitError, gamma  # not needed to list commands

    values = np.asarray(scores, dtype=np.float64)
    if values.size == 0:
        raise DataError("there are no scores of normal items to set a threshold by")
    empirical = float(np.quantile(values, quantile))
    if values.size < FEWEST or np.ptp(values) == 0:
        return empirical, f"{values.size} normal scores are too few or too alike for a gamma distribution"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # on its way the fit may try what has no density
            threshold = float(gamma.ppf(quantile, *gamma.fit(values)))
    except FitError as error:
        return empirical, f"no gamma distribution fits {values.size} normal scores ({error})"
    # A fit that went astray lies far from the scores; an honest one has its upper decile among or near them.
    if not values.min() <= threshold <= values.max() + np.ptp(values):
        return empirical, f"the gamma distribution fitted to {values.size} normal scores went astray"
    return threshold, None


def _labels(run: Mapping[str, Any], wanted: Sequence[tuple[str, Mapping[str, str]]]) -> list[str]:
    known: list[str] = run["run"]["methods"]
    if not wanted:
        return known
    labels: list[str] = []
    for name, options in wanted:
        typed = as_typed(name, options)
        found = [
            label for label in known if label == typed or (not options and label.partition("[")[0] == name)
        ]
        if not found:
            raise ConfigError(unknown(f"method of run {run['run']['id']}", typed, known))
        labels += found
    return list(dict.fromkeys(labels))


def _seeds(record: MethodRecord, wanted: Sequence[int]) -> list[int]:
    for seed in wanted:
        if seed not in record.seeds:
            raise ConfigError(
                f"{record.label} has no scores of seed {seed} (its seeds: {', '.join(map(str, record.seeds))})"
            )
    return list(wanted) or record.seeds


def _write(request: SubmissionRequest, form: Form, record: MethodRecord, seed: int) -> Written:
    folder = request.to / re.sub(r"[^\w.=-]+", "_", record.label).strip("_") / f"seed_{seed}"
    if folder.exists():
        raise RunError(f"{folder} is there already; choose another folder with --to")
    items, notes = _scored(record, seed, allow_partial=request.allow_partial)
    thresholds: dict[str, float] = {}
    if form.decisions:
        thresholds, told = _thresholds(request, record, items, seed)
        notes += told
    places = ["machine", "section", *(["domain"] if form.by_domain else [])]
    files: list[str] = []
    with new_folder(folder) as temporary:
        for values, clips in items.groupby(places, sort=True):
            place = dict(zip(places, map(str, values), strict=True))
            scores = list(zip(clips["clip"], clips["score"], strict=True))
            files.append(form.name("anomaly_score", place))
            _write_lines(temporary / files[-1], [(clip, repr(float(score))) for clip, score in scores])
            threshold = thresholds.get(place["machine"])
            if threshold is not None:
                files.append(form.name("decision_result", place))
                _write_lines(
                    temporary / files[-1], [(clip, str(int(score > threshold))) for clip, score in scores]
                )
        written = Written(
            folder=folder,
            method=record.label,
            seed=seed,
            files=tuple(files),
            clips=len(items),
            thresholds=thresholds,
            notes=tuple(notes),
        )
        run = record.document["run"]
        origin = {name: run[name] for name in ("id", "time", "dataset", "dataset_options")}
        method = {name: record.document["method"][name] for name in ("selection", "recipe")}
        write_json(
            temporary / "submission.json",
            written.document()
            | {"run": origin, "record": record.document["record_id"], "quantile": request.quantile}
            | method,
        )
    return written


def _scored(record: MethodRecord, seed: int, *, allow_partial: bool) -> tuple[pd.DataFrame, list[str]]:
    """Return the test clips with their official name and score, in the order of their names."""
    items = record.items.assign(
        clip=[PurePosixPath(source).name for source in record.items["source"]],
        score=record.items[f"score_{seed}"],
    )
    missing = items[items["score"].isna()]
    notes = _notes(record)
    if len(missing):
        first = missing.iloc[0]
        told = f"{len(missing):,} of {len(items):,} clips have no score of seed {seed}"
        told += f" (first: {first['machine']}/{first['clip']})"
        if not allow_partial:
            raise RunError(f"{record.label}: {told}; with --allow-partial what is there is written")
        notes.append(f"PARTIAL: {told}")
    return items[items["score"].notna()].sort_values(["machine", "clip"]), notes


def _notes(record: MethodRecord) -> list[str]:
    """Return what must be known of the run's figures over everything."""
    groups = [name for name in ("machine", "section", "domain") if name in record.items]
    whole = [row for row in record.document["results"] if not any(row.get(name) for name in groups)]
    return list(dict.fromkeys(row["why"] for row in whole if row["why"]))


def _thresholds(
    request: SubmissionRequest, record: MethodRecord, items: pd.DataFrame, seed: int
) -> tuple[dict[str, float], list[str]]:
    """Return a threshold for every machine type that has scores of normal clips, and what must be known of them."""
    normals, notes = _normals(request, record, items, seed)
    thresholds: dict[str, float] = {}
    bare: list[str] = []
    for machine in sorted(items["machine"].unique()):
        if not normals.get(machine):
            bare.append(machine)
            continue
        thresholds[machine], note = decision_threshold(normals[machine], quantile=request.quantile)
        if note:
            notes.append(f"{machine}: {note}: its threshold is their percentile itself")
    if bare:
        notes.append(
            f"no decision files of {', '.join(bare)}: the run held out no normal clip of them to set a threshold by; "
            "run the method with held=0.1, or give scores of normal training clips with --threshold-from"
            if request.threshold_from is None
            else f"no decision files of {', '.join(bare)}: {request.threshold_from} holds no scores of them"
        )
    return thresholds, notes


def _normals(
    request: SubmissionRequest, record: MethodRecord, items: pd.DataFrame, seed: int
) -> tuple[dict[str, list[float]], list[str]]:
    """Return scores of normal clips by machine type."""
    found: dict[str, list[float]] = {}
    if request.threshold_from is not None:
        return _given(request.threshold_from, items), []
    column = f"score_{seed}"
    if column not in record.held:
        return {}, []
    for machine, score in zip(record.held["machine"], record.held[column], strict=True):
        if not np.isnan(score):
            found.setdefault(machine, []).append(float(score))
    notes = []
    if record.document["method"]["recipe"].get("knobs", {}).get("scorer_on") == "held":
        notes.append(
            "the scorer learned from the held-out clips that the thresholds are set by, which makes these too low"
        )
    return found, notes


def _given(folder: Path, items: pd.DataFrame) -> dict[str, list[float]]:
    """Return somebody's scores of normal training clips by machine type.

    Raises:
        DataError: A clip is one that the run tested, in whatever spelling, or its name says that it is a test clip or
            an anomaly.
    """
    tested = {
        (machine, clip_key(clip)) for machine, clip in zip(items["machine"], items["clip"], strict=True)
    }
    found: dict[str, list[float]] = {}
    for clip in read_scores(folder)[0]:
        words = clip_words(clip.clip)
        if (clip.machine, clip_key(clip.clip)) in tested:
            what = "a test clip of the run"
        elif "anomaly" in words or clip.is_anomaly == "1":
            what = "an anomaly"
        elif "test" in words:
            what = "a test clip"
        else:
            found.setdefault(clip.machine, []).append(clip.score)
            continue
        raise DataError(
            f"{clip.where}: {clip.machine}/{clip.clip} is {what}; thresholds are set by normal training clips alone"
        )
    return found


def _write_lines(file: Path, lines: Sequence[tuple[str, str]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as handle:
        csv.writer(handle, lineterminator="\n").writerows(lines)
