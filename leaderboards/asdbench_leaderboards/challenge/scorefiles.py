"""Reads folders of anomaly scores and decisions as they are submitted to a challenge.

A folder contains the official files of a challenge, with lines of clip name and score and no header,

    anomaly_score_<machine>_id_<NN>.csv                             2020
    anomaly_score_<machine>_section_<NN>_<source|target>_test.csv   2021
    anomaly_score_<machine>_section_<NN>_test.csv                   2022 on

or one table ``scores.csv`` with the columns machine, section, clip and score. Files of decisions have the same names
with ``decision_result`` in front. The names that the official baselines give their files are read too, with a note:

    anomaly_score_DCASE2023T2ToyDrone_section_00_test_seed13711_Eval.csv
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from asdbench import DataError

Kind = Literal["anomaly_score", "decision_result"]
TABLE = "scores.csv"
HEADER = ("machine", "section", "clip", "score")
FORMS = (
    "anomaly_score_<machine>_section_<NN>_<source or target>_test.csv, anomaly_score_<machine>_section_<NN>_test.csv "
    "or, for 2020, anomaly_score_<machine>_id_<NN>.csv"
)
# Digits are ASCII digits: `\d` alone would take those of other scripts.
_FILE = re.compile(
    # Any machine type: one that the release lacks is reported with its clip, not as a bad file name.
    r"(?:anomaly_score|decision_result)_(?:DCASE(?P<year>\d{4})T2)?(?P<machine>.+)_"
    r"(?:section_(?P<section>\d{2})(?:_(?P<domain>source|target))?(?P<test>_test)?|id_(?P<id>\d{2}))"
    r"(?P<baseline>(?:_seed\d+[^/]*?)?(?:_Eval)?)\.csv",
    re.ASCII,
)
_FINITE = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII)
_NOT_FINITE = re.compile(r"[-+]?(?:nan|inf|infinity)", re.ASCII | re.IGNORECASE)
_CLIP_NUMBER = re.compile(r"\d{4,}", re.ASCII)
"""Number of a clip within its section; attributes follow it."""
_LONGEST_NAME = 255
_SHOWN = 60
"""Most characters of a line that a message shows: a quote that is not closed takes in all that follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipScore:
    """One line of a folder of scores."""

    where: str
    """File and line, for messages."""
    machine: str
    section: str
    clip: str
    score: float
    """In a file of decisions: 0 or 1."""
    domain: str | None = None
    """From the name of its file; None: the name has none."""
    release: str = ""
    """From the name of its file, for example ``dcase2023``; empty: the name has none."""
    is_anomaly: str = ""
    """From the column of that name in its table; empty: it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreFolder:
    """The scores, or the decisions, in a folder."""

    clips: Sequence[ClipScore]
    is_table: bool = False
    """Whether they are in one table."""
    notes: Sequence[str] = ()
    """How file names that are not official were read."""


def read_scores(folder: Path) -> ScoreFolder:
    """Return the scores in a folder.

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
    if files:
        return _of_files(files)
    clips = list(_of_table(table))
    _check_once(clips, what="score")
    return ScoreFolder(clips=clips, is_table=True)


def read_decisions(folder: Path) -> ScoreFolder:
    """Return the decisions in a folder; it may have none.

    Raises:
        DataError: A file is malformed, or a decision is neither 0 nor 1; the message names the file and line.
    """
    found = _of_files(sorted(folder.glob("decision_result*.csv")))
    for clip in found.clips:
        if clip.score not in (0, 1):
            raise DataError(f"{clip.where}: a decision must be 0 (normal) or 1 (anomaly), got {clip.score:g}")
    return found


def clip_words(name: str) -> tuple[str, ...]:
    """Return the words of a clip's name before its attributes: ``section, 03, source, test, normal, 0001``.

    Folders and the case of letters are ignored.
    """
    words = PurePosixPath(name.strip().lower()).stem.split("_")
    numbers = (place for place, word in enumerate(words) if _CLIP_NUMBER.fullmatch(word))
    return tuple(words[: next(numbers, len(words)) + 1])


def clip_key(name: str) -> tuple[str, ...]:
    """Return a key that all spellings of a clip's name share.

    For example, ``section_03_test_0000.wav`` in the evaluators' manuals is ``section_03_0000.wav`` in their ground truth.
    """
    return tuple(word for word in clip_words(name) if word != "test")


def _of_files(files: Sequence[Path]) -> ScoreFolder:
    """Read official files.

    Raises:
        DataError: Two of them are of the same section, or one is malformed.
    """
    matches = [(file, _match(file)) for file in files]
    first: dict[tuple[str, str, str | None], Path] = {}
    for file, match in matches:
        place = match["machine"], match["section"] or match["id"], match["domain"]
        if (other := first.setdefault(place, file)) is not file:
            where = "/".join(filter(None, place))
            raise DataError(f"{other.name} and {file.name} are both of {where}; keep the one to grade")
    clips = [clip for file, match in matches for clip in _of_file(file, match)]
    what = "decision" if files and files[0].name.startswith("decision") else "score"
    _check_once(clips, what=what)
    unofficial = [file.name for file, match in matches if _is_unofficial(match)]
    notes: list[str] = []
    if unofficial:
        notes.append(
            f"{len(unofficial)} of {len(files)} files have other names than the challenge's: {unofficial[0]}",
        )
    return ScoreFolder(clips=clips, notes=notes)


def _check_once(clips: Sequence[ClipScore], *, what: str) -> None:
    first: dict[tuple[str, str], ClipScore] = {}
    for clip in clips:
        other = first.setdefault((clip.machine, clip.clip), clip)
        if other is not clip:
            raise DataError(
                f"{clip.where}: {clip.machine}/{clip.clip} already has a {what}, in {other.where}"
            )


def _match(file: Path) -> re.Match[str]:
    match = _FILE.fullmatch(file.name)
    if match is None:
        raise DataError(f"{file} does not have the name of a challenge file: {FORMS}")
    return match


def _is_unofficial(match: re.Match[str]) -> bool:
    without_test = match["section"] is not None and match["test"] is None
    return bool(match["year"] or match["baseline"] or without_test)


def _of_file(file: Path, match: re.Match[str]) -> Iterator[ClipScore]:
    lines = _lines(file)
    if not lines:
        raise DataError(f"{file} is empty: expected a line 'clip name,score' for each test clip")
    for number, fields in lines:
        where = f"{file.name}, line {number}"
        # A quote that is closed many lines below makes one long name of all between.
        if len(fields) != 2 or len(fields[0]) > _LONGEST_NAME:
            raise DataError(f"{where}: expected 'clip name,score', got {_short(','.join(fields))}")
        yield ClipScore(
            where=where,
            machine=match["machine"],
            section=match["section"] or match["id"],
            domain=match["domain"],
            clip=fields[0],
            score=_score(fields[1], where, hint="; the official files have no header" if number == 1 else ""),
            release=f"dcase{match['year']}" if match["year"] else "",
        )


def _of_table(file: Path) -> Iterator[ClipScore]:
    lines = _lines(file)
    header = lines[0][1] if lines else []
    if wrong := [name for name in HEADER if header.count(name) != 1]:
        raise DataError(
            f"{file}: expected a header with each of {', '.join(HEADER)} once, got {_short(','.join(header))} "
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
    number = 1
    rows: list[tuple[int, list[str]]] = []
    try:
        # Spreadsheets write a byte order mark, which would become part of the first name.
        reader = csv.reader(file.read_text(encoding="utf-8-sig").splitlines(), strict=True)
        for row in reader:
            rows.append((number, [field.strip() for field in row]))
            number = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{file.name}, line {number}: the quotes of a field do not match ({error})"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read: {error}") from error
    # Numbered before empty lines are dropped, so that errors name the line that an editor shows.
    return [(number, row) for number, row in rows if any(row)]


def _score(text: str, where: str, *, hint: str = "") -> float:
    # float() also takes 1_000 and the digits of other scripts, which the evaluators' readers refuse or misread.
    if _NOT_FINITE.fullmatch(text):
        raise DataError(f"{where}: the score {text} is not finite")
    if not _FINITE.fullmatch(text):
        raise DataError(f"{where}: the score {_short(text)} is not a number{hint}")
    score = float(text)
    if not math.isfinite(score):  # 1e999
        raise DataError(f"{where}: the score {text} is not finite")
    return score


def _short(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")
