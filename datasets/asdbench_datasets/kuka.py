"""``kuka``: recordings of a KUKA arm at its usual speed and slowed down, 86 columns, as windows.

    kuka/KukaNormal.npy         [233792, 86]   32 actions over and over
    kuka/KukaSlow.npy           [41538, 87]    the same slower; the last column, ``anomaly``, is 1
    kuka/KukaColumnNames.npy    [87]           names of the columns; optional

Columns: the number of the action, 8 of the power supply, and 7 inertial sensors of 11 each (3 accelerations, 3 rates
of turn, 4 of a quaternion, temperature). The files are not public; they are read without pickle.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from asdbench.errors import DataError
from asdbench.values import Card, Count, Fold, Row
from asdbench_datasets.windows import (
    COLUMNS,
    Recording,
    Windowed,
    holdout_fold,
    rows_or_error,
    unbroken,
    window_count,
    windows_of,
)

FILES = {"normal": "KukaNormal.npy", "slow": "KukaSlow.npy"}
NAMES = "KukaColumnNames.npy"
FEATURES = 86
ROWS = {"normal": 233_792, "slow": 41_538}
WINDOWS = (30, 50, 70, 100)
"""Windows that the paper prints results of."""
SCALING_LEAKS = {
    "train": (),
    "normal": ("columns are scaled by their extrema over all normal rows, validation rows included",),
    "joint": ("columns are scaled by their extrema over all rows, tested anomalies included",),
    "separate": (
        "the anomalous recording is scaled by its own extrema, apart from the normal one: test rows are looked at "
        "together, and the label decides the scale",
    ),
}
CITATION = (
    "KUKA velocity data set of Politecnico di Torino, not published; see Zakhireh, Karimi, Lahijaniamiri, Mahdavi: "
    "Detection of anomalous behaviour in industrial robot, course report"
)
logger = logging.getLogger(__name__)


class RobotRecordings(Windowed, frozen=True, kw_only=True):
    """Options and reading that the arm's recordings and their imitation share."""

    folder: ClassVar[PurePosixPath] = PurePosixPath()

    bounds: Annotated[
        Literal["recording", "action"],
        Meta(description="windows run over the whole recording, as in the paper, or stay within one action"),
    ] = "recording"
    scaling: Annotated[
        Literal["train", "normal", "joint", "separate"],
        Meta(
            description="train: raw columns, which the method scales by its training windows; others: scaled to 0..1 "
            "here, for methods with scale=none, by the extrema of the normal rows, of all rows, or of each recording"
        ),
    ] = "train"

    def index(self, root: Path) -> Iterator[Row]:
        """List the windows of both recordings.

        Raises:
            DataError: A file is missing or of another shape.
        """
        rows = (row for name in FILES for row in windows_of(self._recording(root, name), self))
        yield from rows_or_error(rows, self, place=root / self.folder)

    def read(self, root: Path, source: PurePosixPath) -> NDArray[Any]:
        """Return one recording, float32 ``[rows, 86]``, scaled if the options say so.

        Raises:
            DataError: The file is damaged, or a value is not finite.
        """
        name = next(name for name, file in FILES.items() if file == source.name)
        values = _features(root / source)
        if not np.isfinite(values).all():
            raise DataError(f"{root / source} holds values that are not finite")
        if self.scaling == "train":
            return values
        names = {"normal": ["normal"], "joint": list(FILES), "separate": [name]}[self.scaling]
        others = [_features(root / self.folder / FILES[other]) for other in names]
        low = np.min([other.min(axis=0) for other in others], axis=0)
        high = np.max([other.max(axis=0) for other in others], axis=0)
        return np.asarray((values - low) / np.where(high > low, high - low, 1), dtype=np.float32)

    def folds(self, rows: Sequence[Row]) -> Sequence[Fold]:
        """Return the one division that the options make."""
        return [holdout_fold(rows, self)]

    def _recording(self, root: Path, name: str) -> Recording:
        source = self.folder / FILES[name]
        stored = _stored(root / source)
        anomalous = np.full(len(stored), name == "slow")
        if stored.shape[1] > FEATURES:
            anomalous = np.asarray(stored[:, FEATURES] != 0)
        breaks = np.zeros(len(stored), dtype=bool)
        if self.bounds == "action":
            action = stored[:, _action_column(root / self.folder)]
            breaks[1:] = action[1:] != action[:-1]
        return Recording(
            source=source,
            name=name,
            anomalous=anomalous,
            stretches=unbroken(np.ones(len(stored), dtype=bool), breaks),
        )

    def _expected(self, rows: dict[str, int]) -> tuple[Count, ...]:
        """Return the numbers of windows of recordings of so many rows; none where actions bound them."""
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

    def _card(self, *, rows: dict[str, int], **fields: Any) -> Card:
        """Return the card of recordings of so many rows."""
        return Card(
            task="detection",
            modality="time series",
            expected=self._expected(rows),
            columns=COLUMNS,
            claims=(),
            scopes={"all": ()},
            groups=("recording",),
            metrics="holdout",
            item_shape=(self.window, FEATURES),
            resample_by="block",
            known_leaks=(*self.leaks(), *SCALING_LEAKS[self.scaling]),
            notes=self.warnings(),
            **fields,
        )


class Kuka(RobotRecordings, frozen=True, kw_only=True):
    """The KUKA recordings as windows; the defaults are the paper's, for windows of 30 rows."""

    folder: ClassVar[PurePosixPath] = PurePosixPath("kuka")

    @property
    def card(self) -> Card:
        """What is known of the data under the current options."""
        as_printed = self == Kuka(window=self.window) and self.window in WINDOWS
        return self._card(
            rows=ROWS,
            name="kuka",
            title="KUKA arm, usual and reduced speed",
            licence="not published: as whoever gave you the files says",
            citation=CITATION,
            published_as=f"kuka/w{self.window}" if as_printed else "",
        )


def column_names(folder: Path) -> list[str] | None:
    """Return the names of the columns; None where the file is absent or holds pickled objects, which are never loaded.

    Raises:
        DataError: The file is damaged or of another shape.
    """
    file = folder / NAMES
    if not file.exists():
        return None
    try:
        names = np.load(file, allow_pickle=False)
    except ValueError as error:
        if "pickle" not in str(error).lower():
            raise DataError(f"{file} cannot be read: {error}") from error
        logger.warning(
            "%s holds pickled objects, which are never loaded: going on without names, column 0 is the action "
            "(store it again as np.array(names, dtype=str) to have them)",
            file,
        )
        return None
    except (OSError, EOFError) as error:
        raise DataError(f"{file} cannot be read: {error}") from error
    if names.ndim != 1 or len(names) not in (FEATURES, FEATURES + 1):
        raise DataError(f"{file} should hold {FEATURES + 1} names, got shape {list(names.shape)}")
    return [str(name) for name in names]


def _action_column(folder: Path) -> int:
    names = column_names(folder) or []
    return next((k for k, name in enumerate(names) if name.lower() == "action"), 0)


def _features(path: Path) -> NDArray[np.float32]:
    return np.ascontiguousarray(_stored(path)[:, :FEATURES], dtype=np.float32)


def _stored(path: Path) -> NDArray[Any]:
    """Open the array of one recording without reading all of it."""
    try:
        stored: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise DataError(
            f"{path} is missing; the recordings are not public, whoever has them puts them there"
        ) from error
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} cannot be read as an array without pickle: {error}") from error
    if not isinstance(stored, np.ndarray):
        raise DataError(f"{path} holds several arrays, as an npz file does; the recording is one array")
    if stored.ndim != 2 or stored.shape[1] not in (FEATURES, FEATURES + 1) or stored.dtype.kind not in "fiu":
        raise DataError(
            f"{path} should hold numbers [rows, {FEATURES} or {FEATURES + 1}], got {stored.dtype} {list(stored.shape)}"
        )
    return stored
