"""The table of ``micro_expression``: the clips, the people that they show, and their files.

A table is typed by hand from three releases, so it is read strictly. An error names the line as an editor counts it. One
person under two spellings is an error too: such a person would be both trained on and tested.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from asdbench import DataError, unknown

TARGETS = ("negative", "positive", "surprise")
# In the order of TARGETS, from MEGC 2019: the public log of STSTNet has the same 442 clips.
CLIPS: Mapping[str, tuple[int, int, int]] = {
    "casme2": (88, 32, 25),
    "samm": (92, 26, 15),
    "smic": (70, 51, 43),
}
"""Clips of each class in each database, of 442 in all."""
REQUIRED = ("name", "database", "subject", "class")
PLACES: tuple[tuple[str, ...], ...] = (("flow",), ("onset", "apex"), ("frames",))
"""Columns that together give the place of a clip; a line fills one of these groups."""
CELLS = (*REQUIRED, "flow", "onset", "apex", "frames")
FRAMES = (".bmp", ".jpg", ".jpeg", ".png", ".tif", ".tiff")


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """One line of the table. Either ``flow`` is set, or ``onset`` with ``apex``, or ``frames``."""

    line: int
    """Line of the table, as an editor counts them."""
    name: str
    database: str
    subject: str
    """In Unicode's composed form (NFC)."""
    label: str
    flow: PurePosixPath | None = None
    onset: PurePosixPath | None = None
    apex: PurePosixPath | None = None
    frames: tuple[PurePosixPath, ...] = ()
    """All frames of a sequence without an apex, the onset first."""

    @property
    def source(self) -> PurePosixPath:
        """The file that stands for the clip: its flow, its apex frame or its last frame."""
        last = self.flow or self.apex
        return last if last is not None else self.frames[-1]

    @property
    def others(self) -> tuple[PurePosixPath, ...]:
        """The other files of the clip."""
        return self.frames[:-1] if self.frames else (self.onset,) if self.onset is not None else ()

    @property
    def column(self) -> str:
        """The column that gives its source."""
        return "frames" if self.frames else "flow" if self.flow is not None else "apex"


def table_of(file: Path) -> Sequence[Clip]:
    """Return the clips that a table lists.

    Raises:
        DataError: There is no table, a column is missing, a line is invalid, two lines have the same name or file, or
            one person has two spellings; the message names the lines.
    """
    clips = [_clip(file, line, number=number) for number, line in _lines(file)]
    if not clips:
        raise DataError(f"{file} lists no clip")
    _check_distinct(file, clips)
    _check_spelling(file, clips)
    return clips


def natural(name: str) -> tuple[list[str | int], str]:
    """Return the key by which names are sorted: numbers count as numbers, so ``img9`` comes before ``img10``."""
    words = re.split(r"([0-9]+)", name)  # text and numbers alternate
    return [int(word) if place % 2 else word for place, word in enumerate(words)], name


def _lines(file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield each line that is not blank with its number, cells by column."""
    records = _records(file)
    _, header = next(records, (1, []))
    columns = [cell.strip().casefold() for cell in header]
    _check_header(file, columns)
    for number, cells in records:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) > len(columns):
            raise DataError(
                f"{file}, line {number} has {len(cells)} cells, the header {len(columns)}: quote cells that contain a comma"
            )
        found = dict(zip(columns, cells, strict=False))  # a spreadsheet may omit empty cells at the end
        yield number, {name: found.get(name, "").strip() for name in CELLS}


def _records(file: Path) -> Iterator[tuple[int, list[str]]]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as handle:  # spreadsheets write a byte order mark
            reader = csv.reader(handle)
            try:
                for cells in reader:
                    yield reader.line_num, cells
            except csv.Error as error:
                raise DataError(f"{file}, line {reader.line_num}: {error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8: {error}; save it as UTF-8") from error
    except OSError as error:
        raise DataError(
            f"{file} cannot be read ({error.strerror or error}): it should list your clips of CASME II, SAMM and SMIC; "
            "docs/faces.md says how to get them and describes the columns"
        ) from error


def _check_header(file: Path, columns: Sequence[str]) -> None:
    for mark in (";", "\t"):
        if len(columns) == 1 and mark in columns[0]:
            raise DataError(f"{file}: its columns are separated by {mark!r}; separate them by ','")
    for name in CELLS:
        if columns.count(name) > 1:
            raise DataError(f"{file}: two columns are named {name}")
    missing = ", ".join(name for name in REQUIRED if name not in columns)
    if not missing and not any(set(place) <= set(columns) for place in PLACES):
        missing = "flow, nor onset and apex, nor frames"
    if missing:
        raise DataError(
            f"{file} has no column {missing}; its columns are {', '.join(filter(None, columns)) or 'none'}"
        )


def _clip(file: Path, cells: Mapping[str, str], *, number: int) -> Clip:
    where = f"{file}, line {number}"
    _check_cells(where, cells)
    database, label = (
        _known(where, kind=kind, value=cells[kind], known=known)
        for kind, known in (("database", CLIPS), ("class", TARGETS))
    )
    frames = cells["frames"]
    return Clip(
        line=number,
        name=unicodedata.normalize("NFC", cells["name"]),
        database=database,
        subject=unicodedata.normalize("NFC", cells["subject"]),
        label=label,
        flow=_inside(cells["flow"], where),
        onset=_inside(cells["onset"], where),
        apex=_inside(cells["apex"], where),
        frames=_sequence(file.parent, frames, where=where) if frames else (),
    )


def _check_cells(where: str, cells: Mapping[str, str]) -> None:
    for column, value in cells.items():
        # Two subjects that look alike would be two folds; a path with a NUL cannot be opened.
        hidden = next((mark for mark in value if unicodedata.category(mark) in {"Cc", "Cf"}), None)
        if hidden is not None:
            raise DataError(
                f"{where}: {column} {value!r} contains the invisible character U+{ord(hidden):04X}"
            )
    for column in ("subject", "name"):
        if not cells[column]:
            raise DataError(f"{where}: the clip has no {column}")
    if "+" in cells["name"]:
        raise DataError(f"{where}: the name {cells['name']!r} contains a +, which separates names in exclude")
    # In the order of PLACES, so a valid line equals one of its groups.
    given = tuple(name for place in PLACES for name in place if cells[name])
    if given not in PLACES:
        found = " and ".join(given) if len(given) != 1 else f"only {given[0]}"
        raise DataError(f"{where}: give either flow, or onset and apex, or frames; found {found or 'none'}")


def _known(where: str, *, kind: str, value: str, known: Collection[str]) -> str:
    plain = value.casefold()
    if plain not in known:
        raise DataError(f"{where}: {unknown(kind, plain, known=known)}")
    return plain


def _inside(path: str, where: str) -> PurePosixPath | None:
    if not path:
        return None
    inside = PurePosixPath(path)
    if inside.is_absolute() or ".." in inside.parts:
        raise DataError(f"{where}: {path} must be relative to the folder of the table, and inside it")
    return inside


def _sequence(folder: Path, frames: str, *, where: str) -> tuple[PurePosixPath, ...]:
    """Return the images in a folder in the order of their numbers, without hidden files such as ``._img1.jpg``."""
    inside = _inside(frames, where) or PurePosixPath()
    place = folder / inside
    found = [file.name for file in place.iterdir()] if place.is_dir() else []
    names = [name for name in found if Path(name).suffix.lower() in FRAMES and not name.startswith(".")]
    if len(names) < 2:
        raise DataError(f"{where}: {frames} has {len(names)} frames; a sequence needs at least two")
    return tuple(inside / name for name in sorted(names, key=natural))


def _check_distinct(file: Path, clips: Sequence[Clip]) -> None:
    names: dict[str, Clip] = {}
    sources: dict[PurePosixPath, Clip] = {}
    for clip in clips:
        first = names.setdefault(clip.name, clip)
        if first is not clip:
            raise DataError(
                f"{file}, line {clip.line}: the name {clip.name} is already used in line {first.line}"
            )
        first = sources.setdefault(clip.source, clip)
        if first is not clip:
            verb = "ends with" if clip.frames else "is"
            raise DataError(
                f"{file}, line {clip.line}: {clip.column} {verb} {clip.source}, as {first.column} "
                f"{'does' if first.frames else 'is'} in line {first.line}"
            )


def _check_spelling(file: Path, clips: Sequence[Clip]) -> None:
    """Refuse one person under two spellings, for example ``sub1`` and ``Sub01``: each fold would train on that person."""
    people: dict[tuple[str, str], Clip] = {}
    for clip in clips:
        first = people.setdefault((clip.database, _person(clip.subject)), clip)
        if first.subject != clip.subject:
            raise DataError(
                f"{file}, line {clip.line}: subject {clip.subject!r} of {clip.database} is spelled {first.subject!r} in "
                f"line {first.line}; use one spelling per person, or names that differ in more than capitals and zeros"
            )


def _person(subject: str) -> str:
    """Return a subject without capitals and leading zeros."""
    return re.sub(r"(?<![0-9])0+(?=[0-9])", "", unicodedata.normalize("NFC", subject.casefold()))
