"""Reads folders of anomaly scores as they are submitted to a challenge.

A folder contains the official files of a challenge, with lines of clip name and score and no header,

    anomaly_score_<machine>_id_<NN>.csv                             2020
    anomaly_score_<machine>_section_<NN>_<source|target>_test.csv   2021
    anomaly_score_<machine>_section_<NN>_test.csv                   2022 on

or one table ``scores.csv`` with the columns machine, section, clip and score.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from asdbench import DataError

TABLE = "scores.csv"
HEADER = ("machine", "section", "clip", "score")
FORMS = (
    "anomaly_score_<machine>_section_<NN>_<source or target>_test.csv, anomaly_score_<machine>_section_<NN>_test.csv "
    "or, for 2020, anomaly_score_<machine>_id_<NN>.csv"
)
_FILE = re.compile(
    # Any machine type: one that the release lacks is reported with its clip, not as a bad file name.
    r"anomaly_score_(?P<machine>.+)_(?:section_(?P<section>\d{2})(?:_(?P<domain>source|target))?_test|id_(?P<id>\d{2}))\.csv"
)
_NUMBER = re.compile(r"\d{4,}")
"""Number of a clip within its section; attributes follow it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipScore:
    """One line of a folder of scores."""

    where: str
    """File and line, for messages."""
    machine: str
    section: str
    clip: str
    score: float
    domain: str | None = None
    """From the name of its file; None: the name has none."""
    is_anomaly: str = ""
    """From the column of that name in its table; empty: it has none."""


def read_scores(folder: Path) -> tuple[list[ClipScore], bool]:
    """Return the scores in a folder, and whether they are in one table.

    Raises:
        DataError: It has no scores or both formats, or a file is malformed; the message names the file and line.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; give the folder of the score files with --scores")
    files = sorted(folder.glob("anomaly_score*.csv"))
    table = folder / TABLE
    if not files and not table.is_file():
        raise DataError(f"{folder} contains no scores: expected {TABLE}, or files {FORMS}")
    if files and table.is_file():
        raise DataError(f"{folder} contains both {TABLE} and {files[0].name}; keep the one to grade")
    scores = list(_of_table(table)) if not files else [clip for file in files for clip in _of_file(file)]
    first: dict[tuple[str, str], ClipScore] = {}
    for clip in scores:
        other = first.setdefault((clip.machine, clip.clip), clip)
        if other is not clip:
            raise DataError(f"{clip.where}: {clip.machine}/{clip.clip} already has a score, in {other.where}")
    return scores, not files


def clip_words(name: str) -> tuple[str, ...]:
    """Return the words of a clip's name before its attributes: ``section, 03, source, test, normal, 0001``.

    Folders and the case of letters are ignored.
    """
    words = PurePosixPath(name.strip().lower()).stem.split("_")
    numbers = (place for place, word in enumerate(words) if _NUMBER.fullmatch(word))
    return tuple(words[: next(numbers, len(words)) + 1])


def clip_key(name: str) -> tuple[str, ...]:
    """Return a key that all spellings of a clip's name share.

    For example, ``section_03_test_0000.wav`` in the evaluators' manuals is ``section_03_0000.wav`` in their ground truth.
    """
    return tuple(word for word in clip_words(name) if word != "test")


def _of_file(file: Path) -> Iterator[ClipScore]:
    match = _FILE.fullmatch(file.name)
    if match is None:
        raise DataError(f"{file} does not have the name of a challenge file: {FORMS}")
    lines = _lines(file)
    if not lines:
        raise DataError(f"{file} is empty: expected a line 'clip name,score' for each test clip")
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
    if wrong := [name for name in HEADER if header.count(name) != 1]:
        raise DataError(
            f"{file}: expected a header with each of {', '.join(HEADER)} once, got {','.join(header)!r} "
            f"(missing or repeated: {', '.join(wrong)})"
        )
    if len(lines) == 1:
        raise DataError(f"{file} contains no scores below its header")
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
    """Return the number and the fields of each line that is not empty."""
    try:
        # Spreadsheets write a byte order mark, which would become part of the first name.
        lines = list(csv.reader(file.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file} cannot be read: {error}") from error
    rows = ([field.strip() for field in line] for line in lines)
    # Numbered before empty lines are dropped, so that errors name the line that an editor shows.
    return [(number, row) for number, row in enumerate(rows, 1) if any(row)]


def _score(text: str, where: str, *, hint: str = "") -> float:
    try:
        score = float(text)
    except ValueError as error:
        raise DataError(f"{where}: the score {text!r} is not a number{hint}") from error
    # float() accepts nan and inf, which no metric can rank.
    if not math.isfinite(score):
        raise DataError(f"{where}: the score {text} is not finite")
    return score
