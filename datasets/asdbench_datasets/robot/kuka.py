"""``kuka``: recordings of a KUKA arm at its usual speed and slowed down, 86 columns, as windows.

    kuka/KukaNormal.npy         [233792, 86]   32 actions, repeated
    kuka/KukaSlow.npy           [41538, 87]    the same, slower; the last column, ``anomaly``, is 1
    kuka/KukaColumnNames.npy    [87]           names of the columns; optional

Columns: the number of the action, 8 of the power supply, and 11 for each of 7 inertial sensors (3 accelerations, 3
rates of turn, 4 of a quaternion, temperature). The files are not public; they are read without pickle.
"""

from __future__ import annotations

import functools
import logging
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import numpy as np
from msgspec import Meta
from msgspec.structs import replace
from numpy.typing import NDArray

from asdbench import Card, Count, DataError, Fold, Row, read_array
from asdbench_datasets.located import at_place
from asdbench_datasets.robot.windows import (
    Recording,
    Windowed,
    all_windows,
    holdout_fold,
    losses,
    unbroken,
    window_card,
    window_count,
)

FILES = {"normal": "KukaNormal.npy", "slow": "KukaSlow.npy"}
NAMES = "KukaColumnNames.npy"
FEATURES = 86
ROWS = {"normal": 233_792, "slow": 41_538}
WINDOWS = (30, 50, 70, 100)
"""Window lengths with results in the paper."""
SCALING_LEAKS = {
    "train": (),
    "normal": ("columns are scaled by their extrema over all normal rows, including validation rows",),
    "joint": ("columns are scaled by their extrema over all rows, including tested anomalies",),
    "separate": (
        "the anomalous recording is scaled by its own extrema, separately from the normal one: the scale depends on all "
        "test rows and on the label",
    ),
}
CITATION = (
    "KUKA velocity data set of Politecnico di Torino, unpublished; see Zakhireh, Karimi, Lahijaniamiri, Mahdavi: "
    "Detection of anomalous behaviour in industrial robot, course report"
)
logger = logging.getLogger(__name__)


class RobotRecordings(Windowed, frozen=True, kw_only=True):
    """Options of the arm's recordings and of their simulation, and how both are read."""

    bounds: Annotated[
        Literal["recording", "action"],
        Meta(description="cut windows from the whole recording, as in the paper, or within single actions"),
    ] = "recording"
    scaling: Annotated[
        Literal["train", "normal", "joint", "separate"],
        Meta(
            description="train: raw columns, which the method scales by its training windows; others, only for methods "
            "with scale=none: scaled here to 0..1 by the extrema of the normal rows, of all rows, or of each recording"
        ),
    ] = "train"

    def index(self, root: Path) -> Iterator[Row]:
        """List the windows of both recordings.

        Raises:
            DataError: A file is missing or of another shape, its column ``anomaly`` has other values than 0 and 1, or
                no stretch is as long as a window.
        """
        place = self._place(root)
        remedy = "bounds=recording (with bounds=action each action is a stretch)"
        yield from all_windows(
            self._recordings(place), self, place=place, remedy=remedy if self.bounds == "action" else ""
        )

    def read(self, root: Path, source: PurePosixPath) -> NDArray[Any]:
        """Return one recording, float32 ``[rows, 86]``, scaled as the options say.

        Raises:
            DataError: The file is damaged, or a value is not finite.
        """
        place = self._place(root)
        name = next(name for name, file in FILES.items() if file == source.name)
        values = _features(place / source.name)
        if self.scaling == "train":
            return values
        names = {"normal": ["normal"], "joint": list(FILES), "separate": [name]}[self.scaling]
        others = [_features(place / FILES[other]) for other in names]
        low = np.min([other.min(axis=0) for other in others], axis=0)
        high = np.max([other.max(axis=0) for other in others], axis=0)
        # Four temperatures are constant (docs/timeseries.md): dividing by their range of 0 would give NaN.
        return np.asarray((values - low) / np.where(high > low, high - low, 1), dtype=np.float32)

    def folds(self, rows: Sequence[Row]) -> Sequence[Fold]:
        """Return the one fold that the options give."""
        return [holdout_fold(rows, self)]

    def _place(self, root: Path) -> Path:
        """Return the folder of the files."""
        return root

    def _recordings(self, place: Path) -> list[Recording]:
        return [self._recording(place, name) for name in FILES]

    def _recording(self, place: Path, name: str) -> Recording:
        stored = _stored(place / FILES[name])
        anomalous = np.full(len(stored), name == "slow")
        # The 87th column is the label and must never become a feature.
        if stored.shape[1] > FEATURES:
            anomalous = _anomalous(np.asarray(stored[:, FEATURES]), place / FILES[name])
        action = stored[:, _action_column(place)] if self.bounds == "action" else np.zeros(len(stored))
        return recording_of(name, action=np.asarray(action), anomalous=anomalous)

    def _expected(self, rows: Mapping[str, int]) -> tuple[Count, ...]:
        """Return the numbers of windows in recordings with these numbers of rows; none within single actions."""
        if self.bounds == "action":
            return ()
        strides = dict(zip(FILES, self.strides, strict=True))
        return tuple(
            Count(
                columns={"recording": name},
                items=window_count(rows[name], window=self.window, stride=strides[name]),
            )
            for name in FILES
        )

    def _card(
        self,
        *,
        name: str,
        title: str,
        licence: str,
        citation: str,
        rows: Mapping[str, int],
        recordings: Sequence[Recording],
    ) -> Card:
        """Return the card of both recordings.

        Args:
            name: Of the dataset.
            title: Of the dataset.
            licence: Of the data.
            citation: Of the data.
            rows: Number of rows by recording.
            recordings: The recordings if they are known; the card then notes which rows are lost.
        """
        card = window_card(
            self,
            name=name,
            title=title,
            licence=licence,
            citation=citation,
            features=FEATURES,
            known_leaks=(*self.leaks(), *SCALING_LEAKS[self.scaling]),
            notes=(*losses(recordings, self), *self.warnings(recordings)),
            expected=self._expected(rows),
        )
        return replace(card, scaled=self.scaling != "train")


def recording_of(name: str, *, action: NDArray[Any], anomalous: NDArray[np.bool_]) -> Recording:
    """Return the recording ``name``; a stretch ends wherever ``action``, ``[rows]``, changes."""
    breaks = np.zeros(len(action), dtype=bool)
    breaks[1:] = action[1:] != action[:-1]
    return Recording(
        source=PurePosixPath(FILES[name]),
        name=name,
        anomalous=anomalous,
        stretches=unbroken(np.ones(len(action), dtype=bool), breaks),
    )


class Kuka(RobotRecordings, frozen=True, kw_only=True):
    """The KUKA recordings as windows; the defaults are those of the paper for windows of 30 rows."""

    folder: Annotated[
        str, Meta(description="folder of the recordings, absolute or relative to the data root")
    ] = "kuka"

    @property
    def card(self) -> Card:
        """Describe the recordings; once their place is known (see ``located``), also which rows are lost.

        Raises:
            DataError: A file exists and cannot be read.
        """
        as_published = self == Kuka(window=self.window, folder=self.folder) and self.window in WINDOWS
        place = Path(self.folder)
        found = place.is_absolute() and all((place / file).exists() for file in FILES.values())
        card = self._card(
            name="kuka",
            title="KUKA arm, usual and reduced speed",
            licence="not published: ask the provider of your files",
            citation=CITATION,
            rows=ROWS,
            recordings=self._recordings(place) if found else (),
        )
        return replace(card, published_as=f"kuka/w{self.window}" if as_published else "")

    def located(self, root: Path) -> tuple[Kuka, Path]:
        """Return the dataset with an absolute folder, so that its card describes the recordings, and that folder."""
        return at_place(self, self._place(root), option="folder")

    def _place(self, root: Path) -> Path:
        return root / self.folder  # an absolute folder replaces the root


def column_names(folder: Path) -> list[str] | None:
    """Return the names of the columns; None if the file is missing or holds pickled objects, which are never loaded.

    Raises:
        DataError: The file is damaged or of another shape.
    """
    file = folder / NAMES
    if not file.exists():
        return None
    try:
        names = read_array(file)
    except DataError as error:
        if "Python objects" not in str(error):  # in numpy's words
            raise
        _warn_of_pickle(file)
        return None
    if names.ndim != 1 or len(names) not in (FEATURES, FEATURES + 1):
        raise DataError(
            f"{file} should hold {FEATURES + 1} names, found an array of shape {list(names.shape)}"
        )
    return [str(name) for name in names]


@functools.cache
def _warn_of_pickle(file: Path) -> None:  # once per file, which is read often
    logger.warning(
        "%s holds pickled objects, which are never loaded: continuing without names, with column 0 as the action "
        "(to use the names, save them as np.array(names, dtype=str))",
        file,
    )


def _action_column(folder: Path) -> int:
    names = column_names(folder) or []
    return next((k for k, name in enumerate(names) if name.lower() == "action"), 0)


def _anomalous(column: NDArray[Any], path: Path) -> NDArray[np.bool_]:
    # NaN differs from both, so it is refused too.
    wrong = np.flatnonzero((column != 0) & (column != 1))
    if wrong.size:
        raise DataError(
            f"{path}: the column `anomaly` (the last) is {column[wrong[0]]} in row {wrong[0]}; it should be 0 or 1"
        )
    return np.asarray(column == 1)


def _features(path: Path) -> NDArray[np.float32]:
    stored = np.asarray(_stored(path)[:, :FEATURES])
    with np.errstate(over="ignore"):  # reported below
        values = np.ascontiguousarray(stored, dtype=np.float32)
    if not (finite := np.isfinite(values)).all():
        row, column = np.argwhere(~finite)[0]
        raise DataError(
            f"{path} has a value that is not finite as float32: {stored[row, column]} in row {row}, column {column}"
        )
    return values


def _stored(path: Path) -> NDArray[Any]:
    """Open the array of one recording without reading it whole."""
    try:
        stored: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise DataError(
            f"{path} is missing; the recordings are not public, so obtain them from their owner and put them there"
        ) from error
    except (
        OSError,
        ValueError,
        TypeError,
        EOFError,
        OverflowError,
        SyntaxError,
        tokenize.TokenError,
    ) as error:
        raise DataError(f"{path} cannot be read as an array without pickle: {error}") from error
    if not isinstance(stored, np.ndarray):
        raise DataError(f"{path} holds several arrays, as an npz file does; a recording should be one array")
    if stored.ndim != 2 or stored.shape[1] not in (FEATURES, FEATURES + 1) or stored.dtype.kind not in "fiu":
        raise DataError(
            f"{path} should hold numbers [rows, {FEATURES} or {FEATURES + 1}], found {stored.dtype} {list(stored.shape)}"
        )
    return stored
