"""Labels of a user's recordings: from a table, from patterns, or else from their names."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from asdbench import ANOMALY, NORMAL, DataError, unknown
from asdbench_datasets.recordings.layout import Recording

WORDS: Mapping[str, str | None] = {
    "normal": NORMAL,
    "0": NORMAL,
    "anomaly": ANOMALY,
    "abnormal": ANOMALY,
    "anomalous": ANOMALY,
    "1": ANOMALY,
    "": None,
    "unknown": None,
}
"""Labels in a table, in lower case."""
COLUMNS = ("file", "label")
_LABEL = re.compile(r"(?P<normal>normal)|anomaly|abnormal|anomalous", re.IGNORECASE)
# The lookahead keeps words such as `normalised_01` from being labels.
_NAME_LABEL = re.compile(rf"(?:{_LABEL.pattern})(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelling:
    """How recordings get their labels; a table wins over patterns, and patterns over names."""

    normal: Sequence[str] = ()
    """Patterns of normal test recordings; see ``matches``."""
    anomaly: Sequence[str] = ()
    table: str = ""
    """Name of the table, for messages."""
    listed: Mapping[PurePosixPath, str | None] = field(default_factory=dict)
    """Label by source, from the table."""

    def of(self, recording: Recording) -> str | None:
        """Return the label of a recording; None: unknown. Training recordings are normal.

        Raises:
            DataError: A training recording is anomalous, or patterns of both kinds match a test recording.
        """
        found, origin = self._found(recording)
        if recording.part == "test":
            return found
        if found == ANOMALY:
            is_flat = recording.source == recording.inner
            # In a flat folder, a folder test alone would be refused.
            remedy = " and the normal ones to a folder train beside it" if is_flat else ""
            raise DataError(
                f"{recording.file} {origin}, but training recordings must be normal; move it to "
                f"{'a folder test' if is_flat else 'test'}{remedy}"
            )
        return NORMAL

    def unmatched(self, recordings: Sequence[Recording]) -> list[str]:
        """Return the patterns that match no test recording, as options."""
        tested = [recording.source for recording in recordings if recording.part == "test"]
        return [
            f"{option}={pattern}"
            for option, patterns in (("normal", self.normal), ("anomaly", self.anomaly))
            for pattern in patterns
            if not any(matches(source, pattern) for source in tested)
        ]

    def _found(self, recording: Recording) -> tuple[str | None, str]:
        """Return the label of a recording and, in words, where it comes from."""
        source = recording.source
        if source in self.listed:
            return self.listed[source], f"is an anomaly in {self.table}"
        normal = next((each for each in self.normal if matches(source, each)), None)
        anomaly = next((each for each in self.anomaly if matches(source, each)), None)
        if normal and anomaly and recording.part == "test":
            raise DataError(
                f"{source} matches both normal={normal} and anomaly={anomaly}; use patterns that no recording shares"
            )
        if anomaly:
            return ANOMALY, f"matches anomaly={anomaly}"
        return NORMAL if normal else _named(recording.inner), "has the name of an anomaly"


def patterns_of(option: str) -> tuple[str, ...]:
    """Return the patterns that an option joins by ``+``."""
    return tuple(filter(None, option.split("+")))


def matches(source: PurePosixPath, pattern: str) -> bool:
    """Return whether a pattern with ``*``, ``?`` and ``[...]`` fits a file's name, with or without suffix, or path.

    Upper and lower case are equal; a pattern with ``/`` is compared with the whole path, in which ``*`` also fits ``/``.
    """
    texts = [str(source)] if "/" in pattern else [source.name, source.stem]
    return any(fnmatch(text.lower(), pattern.lower()) for text in texts)


def read_labels(table: Path, recordings: Sequence[Recording]) -> dict[PurePosixPath, str | None]:
    """Return the labels of a CSV with the columns ``file`` and ``label``, separated by commas, semicolons or tabs.

    Upper and lower case and blanks around the names of columns do not matter, and other columns are ignored.

    ``file`` is a path relative to the folder of the recordings, or a name that only one of them has; ``label`` is one of
    ``WORDS``, empty or ``unknown`` for an unknown label.

    Raises:
        DataError: The table cannot be read or lacks a column, or a line names no recording, several ones, one with two
            labels, or no label; the message names the line and the value.
    """
    by_name: dict[str, list[PurePosixPath]] = {}
    for recording in recordings:
        for name in {recording.source.name, str(recording.source)}:
            by_name.setdefault(name, []).append(recording.source)
    found: dict[PurePosixPath, str | None] = {}
    for number, file, word in _lines(table):
        source = _source(file, by_name, place=f"{table}, line {number}")
        if word.lower() not in WORDS:
            raise DataError(f"{table}, line {number}: {unknown('label', word, known=filter(None, WORDS))}")
        label = WORDS[word.lower()]
        if found.setdefault(source, label) != label:
            raise DataError(
                f"{table}, line {number}: {file} has the label {word!r}, but another one in a line before; keep one"
            )
    return found


def _lines(table: Path) -> Iterator[tuple[int, str, str]]:
    """Yield line number, file and label of every line."""
    try:
        text = table.read_text("utf-8-sig")  # spreadsheets begin a CSV with a byte order mark
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the labels {table} cannot be read: {error}") from error
    lines = text.splitlines()
    head = lines[0] if lines else ""
    reader = csv.DictReader(lines, delimiter=_separator(head))
    reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or ()]
    for name in COLUMNS:
        if (found := reader.fieldnames.count(name)) != 1:
            raise DataError(
                f"{table} has {'no column' if found == 0 else 'several columns'} {name!r}; its first line must name the "
                f"columns file and label, in any case, separated by commas, semicolons or tabs; found {head!r}"
            )
    for line in reader:
        file, label = ((line[name] or "").strip() for name in COLUMNS)
        yield reader.line_num, file.replace("\\", "/"), label


def _separator(head: str) -> str:
    """Return the separator that the heading has most of."""
    return max(",;\t", key=head.count)


def _source(file: str, by_name: Mapping[str, Sequence[PurePosixPath]], *, place: str) -> PurePosixPath:
    sources = by_name.get(file, ())
    if not sources:
        raise DataError(f"{place}: {unknown_file(file, by_name)}")
    if len(sources) > 1:
        raise DataError(
            f"{place}: {len(sources)} recordings are named {file} ({sources[0]}, {sources[1]}); give the path of one"
        )
    return sources[0]


def unknown_file(file: str, known: Mapping[str, object]) -> str:
    """Return the message for a file that is not among the recordings, with the nearest of them."""
    # Without the list of all known names: it may be thousands.
    message, _, _ = unknown("recording", file, known=known).partition(" (known:")
    return f"{message}; give names or paths relative to the folder, for example {next(iter(known))}"


def _named(inner: PurePosixPath) -> str | None:
    """Return the label in a name or in the nearest folder around it; ``inner`` starts below the part."""
    named = _NAME_LABEL.match(inner.stem)
    folders = (_LABEL.fullmatch(name) for name in reversed(inner.parts[:-1]))
    match = named or next(filter(None, folders), None)
    if match is None:
        return None
    return NORMAL if match["normal"] else ANOMALY
