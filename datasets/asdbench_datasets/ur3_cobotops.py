"""``ur3_cobotops``: a UR3 cobot at work, about one row a second, with protective stops and grip losses, as windows.

    ur3_cobotops/dataset_02052023.xlsx    one sheet, 7409 rows

The repository serves it in one archive, which holds the sheet and no folder. The archive's checksum is not known, the
sheet's is: by it ``verify`` and every run tell whether a sheet is the published one.

A row holds 6 joint currents, 6 temperatures, 6 speeds and the tool's current, which are the 19 features, and the number
of the cycle, which only counts. A window is anomalous when any of its rows has a protective stop or a grip loss. Rows
with missing values are left out, and no window runs over them or over a gap in time; the card says how many there are.

Traps of the sheet: ``Temperature_T0`` is joint 0's, ``cycle`` has a trailing space, some time stamps are in quotes, and
where values are missing the protective stop is missing too.

Verified: columns and rows from the sheet; the archive's address and what it holds from public programs that read it,
and the sheet's SHA-256, which one of them states too. Not verified: the archive itself.
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

from asdbench.errors import DataError
from asdbench.values import ANOMALY, NORMAL, Card, Count, Fold, Remote, Row
from asdbench_datasets.windows import (
    COLUMNS,
    Recording,
    Windowed,
    all_windows,
    holdout_fold,
    lost_rows,
    unbroken,
)

FILE = PurePosixPath("dataset_02052023.xlsx")
SHA256 = "f0f10917de9056908a82cec1aa459ddf9da2d2db70d269b128f99241c8796091"
WINDOWS = {NORMAL: 1652, ANOMALY: 181}
"""Windows that the published sheet gives under the default options; the release itself counts rows alone."""
ARCHIVE = Remote(url="https://archive.ics.uci.edu/static/public/963/ur3+cobotops.zip", md5="", part="all")
FEATURES = 19
LABELS = ("Robot_ProtectiveStop", "grip_lost")
TIME = "Timestamp"
_FEATURE = re.compile(r"Current_J[0-5]|Temperature_[JT][0-5]|Speed_J[0-5]|Tool_current")
CITATION = "Tyrovolas, Aliev, Antonelli, Stylios: UR3 CobotOps, UCI Machine Learning Repository, 2024, doi 10.24432/C5J891"


class Ur3Cobotops(Windowed, frozen=True, kw_only=True):
    """UR3 CobotOps as windows of ten rows; three tenths validate, since anomalies are few."""

    folder: Annotated[str, Meta(description="folder of the sheet, absolute or relative to the data root")] = (
        "ur3_cobotops"
    )
    window: Annotated[int, Meta(ge=1, description="rows of a window, about one a second")] = 10
    validation: Annotated[
        float, Meta(gt=0, lt=1, description="share of the normal and of the anomalous windows that validates")
    ] = 0.3
    max_gap_s: Annotated[float, Meta(gt=0, description="seconds between rows that break the recording")] = 1.5

    @property
    def card(self) -> Card:
        """What the release says; with the place of the sheet known (see ``located``), also what was lost of it."""
        return Card(
            name="ur3_cobotops",
            title="UR3 CobotOps: protective stops and grip losses of a cobot",
            task="detection",
            modality="time series",
            licence="CC BY 4.0",
            citation=CITATION,
            homepage="https://doi.org/10.24432/C5J891",
            remotes=(ARCHIVE,),
            expected=self._expected(),
            contents={str(FILE): SHA256},
            columns=COLUMNS,
            claims=(),
            scopes={"all": ()},
            groups=("recording",),
            metrics="holdout",
            item_shape=(self.window, FEATURES),
            resample_by="block",
            known_leaks=self.leaks(),
            notes=(*self._losses(), *self.warnings()),
        )

    def located(self, root: Path) -> tuple[Ur3Cobotops, Path]:
        """Return the same dataset with an absolute folder, so that its card knows the sheet, and that folder."""
        place = (root / self.folder).resolve()
        return replace(self, folder=str(place)), place

    def index(self, root: Path) -> Iterator[Row]:
        """List the windows of the sheet.

        Raises:
            DataError: The sheet is missing, damaged or without its columns.
        """
        place = root / self.folder
        recordings = [self._recording(place)]
        yield from all_windows(recordings, self, place=place / FILE, remedy="a larger max_gap_s")

    def read(self, root: Path, source: PurePosixPath) -> NDArray[Any]:
        """Return the features of the rows that are kept, float32 ``[rows, 19]``."""
        return sheet_of(root / self.folder / source).kept_values

    def folds(self, rows: Sequence[Row]) -> Sequence[Fold]:
        """Return the one division that the options make."""
        return [holdout_fold(rows, self)]

    def archive_target(self, remote: Remote) -> PurePosixPath:
        """Return the folder of the sheet, since the archive holds none."""
        return PurePosixPath(self.folder)

    def _expected(self) -> tuple[Count, ...]:
        """Return the numbers of windows where the options that they depend on are the defaults."""
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
        if not place.is_absolute() or not (place / FILE).exists():  # before it is fetched there
            return ()
        sheet, recording = sheet_of(place / FILE), self._recording(place)
        missing, gaps = int((~sheet.whole).sum()), int(sheet.gaps(self.max_gap_s).sum())
        return (
            f"{missing} of {len(sheet.whole)} rows are left out for missing values; they and {gaps} gaps of more than "
            f"{self.max_gap_s} s leave {len(recording.stretches)} stretches, and {lost_rows(recording, self)} rows lie in "
            f"stretches shorter than a window",
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sheet:
    """What the sheet holds, one row after the other."""

    seconds: NDArray[np.float64]
    """Time of each row."""
    values: NDArray[np.float32]
    """Features ``[rows, 19]``; NaN where they are missing."""
    anomalous: NDArray[np.bool_]
    """Rows with a protective stop or a grip loss."""
    whole: NDArray[np.bool_]
    """Rows without a missing value."""

    @property
    def kept_values(self) -> NDArray[np.float32]:
        """Features of the whole rows."""
        return self.values[self.whole]

    def gaps(self, most_s: float) -> NDArray[np.bool_]:
        """Tell which rows come more than ``most_s`` seconds after the one before, or before it."""
        step = np.diff(self.seconds, prepend=self.seconds[:1])
        return np.asarray((step > most_s) | (step < 0))


def sheet_of(path: Path) -> Sheet:
    """Read the sheet; remembered as long as it does not change, since it takes a second.

    Raises:
        DataError: The sheet is missing, damaged or without its columns, or the extra ``robot`` is not installed.
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
            f"{path}: {len(features)} of {FEATURES} features found, columns without: {', '.join(missing) or 'none'}; "
            f"its columns are {', '.join(filter(None, names))}"
        )
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
        raise DataError(f"{path} holds a value that is no number or no time: {error}") from error


def _cells(path: Path) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Return the names of the columns and the rows of the first sheet."""
    if not path.is_file():
        raise DataError(
            f"{path} is missing; `asdbench datasets fetch ur3_cobotops --accept-licence --trust-remote-checksum` gets "
            "it, or download it from https://doi.org/10.24432/C5J891"
        )
    try:
        load_workbook = importlib.import_module("openpyxl").load_workbook
    except ImportError as error:
        raise DataError(
            f"{path} is a sheet, which openpyxl reads: install it by `pip install 'asdbench[robot]'`"
        ) from error
    try:
        book = load_workbook(path, read_only=True, data_only=True)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} cannot be read as a sheet: {error}") from error
    lines = list(book.worksheets[0].iter_rows(values_only=True))
    book.close()
    if not lines:
        raise DataError(f"{path} is empty")
    names = ["" if cell is None else str(cell).strip() for cell in lines[0]]
    return names, [line for line in lines[1:] if any(cell is not None for cell in line)]


def _seconds(stamp: Any) -> float:
    if isinstance(stamp, datetime.datetime):
        return stamp.replace(tzinfo=stamp.tzinfo or datetime.UTC).timestamp()
    moment = datetime.datetime.fromisoformat(str(stamp).strip().strip('"'))
    return moment.replace(tzinfo=moment.tzinfo or datetime.UTC).timestamp()
