"""``ur3_cobotops``: a UR3 cobot at work, about one row per second, with protective stops and grip losses, as windows.

    ur3_cobotops/dataset_02052023.xlsx    one sheet, 7409 rows

The repository serves it in one archive, which holds the sheet and no folder. The archive's checksum is unknown. The
sheet's checksum is known: ``verify`` and every run check it, to see whether the sheet is the published one.

A row holds 6 joint currents, 6 temperatures, 6 speeds and the tool's current, which are the 19 features, and the number
of the cycle, which only counts. A window is anomalous if any of its rows has a protective stop or a grip loss. Rows with
missing values are left out, and no window crosses them or a gap in time; the card gives their numbers.

Traps of the sheet: ``Temperature_T0`` is that of joint 0, ``cycle`` has a trailing space, some time stamps are in quotes,
and rows with missing values lack the protective stop too.

Verified: columns and rows from the sheet; the archive's address and content from public programs that read it; the
sheet's SHA-256, which one of them states too. Not verified: the archive itself.
"""

from __future__ import annotations

import datetime
import functools
import importlib
import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import numpy as np
from msgspec import Meta
from msgspec.structs import replace
from numpy.typing import NDArray

from asdbench import ANOMALY, NORMAL, Card, Count, DataError, Fold, Remote, Row
from asdbench_datasets.located import at_place
from asdbench_datasets.robot.windows import (
    Recording,
    Windowed,
    all_windows,
    holdout_fold,
    lost_rows,
    unbroken,
    window_card,
)

FILE = PurePosixPath("dataset_02052023.xlsx")
SHA256 = "f0f10917de9056908a82cec1aa459ddf9da2d2db70d269b128f99241c8796091"
WINDOWS = {NORMAL: 1652, ANOMALY: 181}
"""Number of windows in the published sheet under the default options; the release itself only counts rows."""
HOMEPAGE = "https://doi.org/10.24432/C5J891"
ARCHIVE = Remote(url="https://archive.ics.uci.edu/static/public/963/ur3+cobotops.zip", md5="", part="all")
FEATURES = 19
LABELS = ("Robot_ProtectiveStop", "grip_lost")
TIME = "Timestamp"
# [JT]: the sheet spells the temperature of joint 0 as Temperature_T0.
_FEATURE = re.compile(r"Current_J[0-5]|Temperature_[JT][0-5]|Speed_J[0-5]|Tool_current")
CITATION = "Tyrovolas, Aliev, Antonelli, Stylios: UR3 CobotOps, UCI Machine Learning Repository, 2024, doi 10.24432/C5J891"


class Ur3Cobotops(Windowed, frozen=True, kw_only=True):
    """UR3 CobotOps as windows of ten rows; three tenths are for validation, as there are few anomalies."""

    folder: Annotated[str, Meta(description="folder of the sheet, absolute or relative to the data root")] = (
        "ur3_cobotops"
    )
    window: Annotated[int, Meta(ge=1, description="rows of a window, about one per second")] = 10
    validation: Annotated[
        float, Meta(gt=0, lt=1, description="share of the normal and of the anomalous windows for validation")
    ] = 0.3
    max_gap_s: Annotated[
        float, Meta(gt=0, description="longest time in s between consecutive rows of a window")
    ] = 1.5

    @property
    def card(self) -> Card:
        """Describe the release; once the place of the sheet is known (see ``located``), also which rows are lost."""
        card = window_card(
            self,
            name="ur3_cobotops",
            title="UR3 CobotOps: protective stops and grip losses of a cobot",
            licence="CC BY 4.0",
            citation=CITATION,
            features=FEATURES,
            known_leaks=self.leaks(),
            notes=(*self._losses(), *self.warnings()),
            expected=self._expected(),
        )
        return replace(card, homepage=HOMEPAGE, remotes=(ARCHIVE,), contents={str(FILE): SHA256})

    def located(self, root: Path) -> tuple[Ur3Cobotops, Path]:
        """Return the dataset with an absolute folder, so that its card describes the sheet, and that folder."""
        return at_place(self, root / self.folder, option="folder")

    def index(self, root: Path) -> Iterator[Row]:
        """List the windows of the sheet.

        Raises:
            DataError: The sheet is missing or damaged, or lacks a column.
        """
        place = root / self.folder
        recordings = [self._recording(place)]
        yield from all_windows(recordings, self, place=place / FILE, remedy="a larger max_gap_s")

    def read(self, root: Path, source: PurePosixPath) -> NDArray[Any]:
        """Return the features of the kept rows, float32 ``[rows, 19]``."""
        return sheet_of(root / self.folder / source).kept_values

    def folds(self, rows: Sequence[Row]) -> Sequence[Fold]:
        """Return the one fold that the options give."""
        return [holdout_fold(rows, self)]

    def archive_target(self, remote: Remote) -> PurePosixPath:
        """Return the folder of the sheet, since the archive has none."""
        return PurePosixPath(self.folder)

    def _expected(self) -> tuple[Count, ...]:
        """Return the numbers of windows if the options that they depend on have their defaults."""
        usual = Ur3Cobotops()
        if (self.window, self.strides, self.max_gap_s) != (usual.window, usual.strides, usual.max_gap_s):
            return ()
        return tuple(
            Count(columns={"recording": "cobot"}, label=label, items=items)
            for label, items in WINDOWS.items()
        )

    def _recording(self, place: Path) -> Recording:
        sheet = sheet_of(place / FILE)
        return Recording(
            source=FILE,
            name="cobot",
            anomalous=sheet.anomalous[sheet.whole],
            stretches=unbroken(sheet.whole, sheet.gaps(self.max_gap_s)),
        )

    def _losses(self) -> tuple[str, ...]:
        place = Path(self.folder)
        if not place.is_absolute() or not (place / FILE).exists():  # not fetched yet
            return ()
        sheet, recording = sheet_of(place / FILE), self._recording(place)
        missing, gaps = int((~sheet.whole).sum()), int(sheet.gaps(self.max_gap_s).sum())
        return (
            f"{missing} of {len(sheet.whole)} rows are left out for missing values; they and {gaps} gaps of more than "
            f"{self.max_gap_s} s leave {len(recording.stretches)} stretches, and {lost_rows(recording, self)} rows are in "
            f"stretches shorter than a window",
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sheet:
    """The content of the sheet, row by row."""

    seconds: NDArray[np.float64]
    """Time of each row."""
    values: NDArray[np.float32]
    """Features ``[rows, 19]``; NaN if missing."""
    anomalous: NDArray[np.bool_]
    """Rows with a protective stop or a grip loss."""
    whole: NDArray[np.bool_]
    """Rows without missing values."""

    @property
    def kept_values(self) -> NDArray[np.float32]:
        """Features of the whole rows."""
        return self.values[self.whole]

    def gaps(self, most_s: float) -> NDArray[np.bool_]:
        """Return which rows are more than ``most_s`` seconds after the row before, or earlier than it."""
        # Prepending the first time gives the first row a step of 0, so it is never after a gap.
        step = np.diff(self.seconds, prepend=self.seconds[:1])
        return np.asarray((step > most_s) | (step < 0))


def sheet_of(path: Path) -> Sheet:
    """Read the sheet; the result is cached until the sheet changes, since reading takes a second.

    Raises:
        DataError: The sheet is missing or damaged or lacks a column, or the extra ``robot`` is not installed.
    """
    stat = path.stat() if path.exists() else None
    return _sheet_of(path, (stat.st_mtime_ns, stat.st_size) if stat else (0, 0))


@functools.lru_cache(maxsize=2)
def _sheet_of(path: Path, state: tuple[int, int]) -> Sheet:
    names, lines = _cells(path)
    features = [k for k, name in enumerate(names) if _FEATURE.fullmatch(name)]
    places = {name: names.index(name) for name in (TIME, *LABELS) if name in names}
    missing = sorted({TIME, *LABELS} - set(places))
    if missing or len(features) != FEATURES:
        raise DataError(
            f"{path}: found {len(features)} of {FEATURES} features; other missing columns: {', '.join(missing) or 'none'}; "
            f"its columns are {', '.join(filter(None, names))}"
        )
    # The labels too: rows with missing values lack the protective stop, which would read as normal.
    needed = [*features, *(places[name] for name in LABELS)]
    try:
        return Sheet(
            seconds=np.array([_seconds(line[places[TIME]]) for line in lines]),
            values=np.array(
                [[np.nan if line[k] is None else line[k] for k in features] for line in lines],
                dtype=np.float32,
            ),
            anomalous=np.array([any(bool(line[places[name]]) for name in LABELS) for line in lines]),
            whole=np.array([all(line[k] is not None for k in needed) for line in lines]),
        )
    except (TypeError, ValueError) as error:
        raise DataError(f"{path} has a value that is not a number or not a time: {error}") from error


def _cells(path: Path) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Return the names of the columns and the rows of the first sheet."""
    if not path.is_file():
        raise DataError(
            f"{path} is missing; fetch it by `asdbench datasets fetch ur3_cobotops --accept-licence "
            f"--trust-remote-checksum`, or download it from {HOMEPAGE}"
        )
    try:
        load_workbook = importlib.import_module("openpyxl").load_workbook
    except ImportError as error:
        raise DataError(
            f"{path} is a spreadsheet, which needs openpyxl: install it by `pip install 'asdbench[robot]'`"
        ) from error
    try:
        book = load_workbook(path, read_only=True, data_only=True)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} cannot be read as a spreadsheet: {error}") from error
    lines = list(book.worksheets[0].iter_rows(values_only=True))
    book.close()
    if not lines:
        raise DataError(f"{path} is empty")
    names = ["" if cell is None else str(cell).strip() for cell in lines[0]]
    return names, [line for line in lines[1:] if any(cell is not None for cell in line)]


def _seconds(stamp: Any) -> float:
    # Without a zone the time would be local, and a change to summer time would be a gap.
    if isinstance(stamp, datetime.datetime):
        return stamp.replace(tzinfo=stamp.tzinfo or datetime.UTC).timestamp()
    # 863 of the time stamps are texts with literal quotes.
    moment = datetime.datetime.fromisoformat(str(stamp).strip().strip('"'))
    return moment.replace(tzinfo=moment.tzinfo or datetime.UTC).timestamp()
