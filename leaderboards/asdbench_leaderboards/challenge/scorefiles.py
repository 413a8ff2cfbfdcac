"""Folders of anomaly scores: what anyone hands in to a challenge, read line by line.

A folder holds the official files of a challenge, lines of clip name and score without a header,

    anomaly_score_<machine>_id_<NN>.csv                             2020
    anomaly_score_<machine>_section_<NN>_<source|target>_test.csv   2021
    anomaly_score_<machine>_section_<NN>_test.csv                   2022 on

or one table ``scores.csv`` whose header names machine, section, clip and score.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from asdbench.errors import DataError

TABLE = "scores.csv"
HEADER = ("machine", "section", "clip", "score")
FORMS = (
    "anomaly_score_<machine>_section_<NN>_<source or target>_test.csv, anomaly_score_<machine>_section_<NN>_test.csv "
    "or, for 2020, anomaly_score_<machine>_id_<NN>.csv"
)
_FILE = re.compile(
    r"anomaly_score_(?P<machine>.+)_(?:section_(?P<section>\d{2})(?:_(?P<domain>source|target))?_test|id_(?P<id>\d{2}))\.csv"
)


_NUMBER = re.compile(r"\d{4,}")
"""Of a clip within its section; attributes follow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipScore:
    """One line of somebody's scores."""

    where: str
    """File and line, for messages."""
    machine: str
    section: str
    clip: str
    score: float
    domain: str | None = None
    """What the name of its file says; None: nothing."""
    is_anomaly: str = ""
    """What its table says besides."""


def read_scores(folder: Path) -> tuple[list[ClipScore], bool]:
    """Return the scores in a folder, and whether they stand in one table.

    Raises:
        DataError: There are none, or both forms; or a file is not as it should be, which the message names with the
            line.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder of scores")
    files = sorted(folder.glob("anomaly_score*.csv"))
    table = folder / TABLE
    if not files and not table.is_file():
        raise DataError(f"{folder} holds no scores: expected {TABLE}, or files {FORMS}")
    if files and table.is_file():
        raise DataError(f"{folder} holds {TABLE} and {files[0].name}; keep the one that is to be graded")
    scores = list(_of_table(table)) if not files else [clip for file in files for clip in _of_file(file)]
    first: dict[tuple[str, str], ClipScore] = {}
    for clip in scores:
        other = first.setdefault((clip.machine, clip.clip), clip)
        if other is not clip:
            raise DataError(f"{clip.where}: {clip.machine}/{clip.clip} has a score already, in {other.where}")
    return scores, not files


def clip_words(name: str) -> tuple[str, ...]:
    """Return what a clip's name says before its attributes: ``section, 03, source, test, normal, 0001``.

    Folders and the case of letters are left out.
    """
    words = PurePosixPath(name.strip().lower()).stem.split("_")
    numbers = (place for place, word in enumerate(words) if _NUMBER.fullmatch(word))
    return tuple(words[: next(numbers, len(words)) + 1])


def clip_key(name: str) -> tuple[str, ...]:
    """Return what is the same for all spellings of a clip's name.

    ``section_03_test_0000.wav`` of the evaluators' manuals is ``section_03_0000.wav`` of their ground truth.
    """
    return tuple(word for word in clip_words(name) if word != "test")


def _of_file(file: Path) -> Iterator[ClipScore]:
    match = _FILE.fullmatch(file.name)
    if match is None:
        raise DataError(f"{file} is not named as the challenges name their files: {FORMS}")
    lines = _lines(file)
    if not lines:
        raise DataError(f"{file} is empty: expected a line 'clip name,score' for every test clip")
    for number, fields in lines:
        where = f"{file.name}, line {number}"
        if len(fields) != 2:
            raise DataError(f"{where}: expected 'clip name,score', got {','.join(fields)!r}")
        yield ClipScore(
            where=where,
            machine=match["machine"],
            section=match["section"] or match["id"],
            domain=match["domain"],
            clip=fields[0],
            score=_score(fields[1], where, hint="; the official files have no header" if number == 1 else ""),
        )


def _of_table(file: Path) -> Iterator[ClipScore]:
    lines = _lines(file)
    header = lines[0][1] if lines else []
    if missing := [name for name in HEADER if header.count(name) != 1]:
        raise DataError(
            f"{file}: expected a header with each of {', '.join(HEADER)} once, got {','.join(header)!r} "
            f"(wrong: {', '.join(missing)})"
        )
    if len(lines) == 1:
        raise DataError(f"{file} holds no scores below its header")
    for number, fields in lines[1:]:
        where = f"{file.name}, line {number}"
        if len(fields) != len(header):
            raise DataError(f"{where}: expected {len(header)} fields as in the header, got {len(fields)}")
        named = dict(zip(header, fields, strict=True))
        yield ClipScore(
            where=where,
            machine=named["machine"],
            section=named["section"],
            clip=named["clip"],
            score=_score(named["score"], where),
            is_anomaly=named.get("is_anomaly", ""),
        )


def _lines(file: Path) -> list[tuple[int, list[str]]]:
    """Return (line number, fields) of all lines that are not empty."""
    try:
        lines = list(csv.reader(file.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file} cannot be read: {error}") from error
    rows = ([field.strip() for field in line] for line in lines)
    return [(number, row) for number, row in enumerate(rows, 1) if any(row)]


def _score(text: str, where: str, *, hint: str = "") -> float:
    try:
        score = float(text)
    except ValueError as error:
        raise DataError(f"{where}: the score {text!r} is not a number{hint}") from error
    if not math.isfinite(score):
        raise DataError(f"{where}: the score {text} is not finite")
    return score
