"""``timeseries``: your own table of rows x features, or a folder of them, as windows (csv, parquet, npy).

``label`` names the column that says which rows are anomalous, ``segment`` one whose changes no window runs over; all
other numeric columns are features, or those that ``columns`` names. Columns of an npy are named 0, 1, ... from the left.
Rows with missing values are left out, and no window runs over them. Without a label column windows get scores and no
figures: a tenth of them is tested.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import numpy as np
import pandas as pd
from msgspec import Meta
from msgspec.structs import replace
from numpy.typing import NDArray

from asdbench.errors import ConfigError, DataError, unknown
from asdbench.values import Card, Fold, Row
from asdbench_datasets.windows import (
    COLUMNS,
    Recording,
    Windowed,
    holdout_fold,
    lost_rows,
    rows_or_error,
    unbroken,
    windows_of,
)

SUFFIXES = (".csv", ".parquet", ".npy")
_WORDS = {
    "normal": False, "false": False, "no": False, "0": False, "0.0": False,
    "anomaly": True, "anomalous": True, "abnormal": True, "true": True, "yes": True, "1": True, "1.0": True,
}  # fmt: skip


class TimeSeries(Windowed, frozen=True, kw_only=True):
    """Tables that no release describes."""

    path: Annotated[
        str, Meta(description="the table, or a folder of tables, absolute or relative to the data root")
    ] = ""
    label: Annotated[
        str,
        Meta(
            description="column that says which rows are anomalous (0 or 1, normal or anomaly); empty: none"
        ),
    ] = ""
    segment: Annotated[
        str, Meta(description="column whose changes no window runs over, such as a run's number; empty: none")
    ] = ""
    columns: Annotated[
        str,
        Meta(
            description="features, joined by +; empty: all numeric columns that are neither label nor segment"
        ),
    ] = ""

    @property
    def card(self) -> Card:
        """What can be said of the tables; their features and losses where ``path`` is absolute (see ``located``).

        Raises:
            DataError: ``path`` is absolute and holds no table, or one cannot be read.
        """
        tables = self._tables(Path(self.path)) if Path(self.path).is_absolute() else []
        features = tables[0].values.shape[1] if tables else 0
        return Card(
            name="timeseries",
            title=f"Time series in {self.path}" if self.path else "Time series of your own",
            task="detection",
            modality="time series",
            licence="as their owner says",
            citation="none: the data are their owner's",
            columns=COLUMNS,
            claims=(),
            scopes={"all": ()},
            groups=("recording",),
            metrics="holdout",
            item_shape=(self.window, features),
            resample_by="block",
            known_leaks=self.leaks()
            if self.label
            else self.leaks()[:-1],  # without labels there is no threshold
            notes=(*self._losses(tables), *(self.warnings() if self.label else ())),
        )

    def located(self, root: Path) -> tuple[TimeSeries, Path]:
        """Return the same dataset with an absolute path, so that its card knows the tables, and that path.

        Raises:
            ConfigError: ``path`` is not given.
        """
        place = self._place(root)
        return replace(self, path=str(place)), place

    def index(self, root: Path) -> Iterator[Row]:
        """List the windows of all tables.

        Raises:
            ConfigError: ``path`` is not given, or an option names no column.
            DataError: Nothing is there, a table is damaged, or the tables have different features.
        """
        place = self._place(root)
        rows = (row for table in self._tables(place) for row in windows_of(table.recording, self))
        yield from rows_or_error(rows, self, place=place)

    def read(self, root: Path, source: PurePosixPath) -> NDArray[Any]:
        """Return the features of one table's kept rows, float32 ``[rows, features]``."""
        place = self._place(root)
        return self._table(place, place / source).values

    def folds(self, rows: Sequence[Row]) -> Sequence[Fold]:
        """Return the one division that the options make."""
        return [holdout_fold(rows, self)]

    def _place(self, root: Path) -> Path:
        if not self.path:
            raise ConfigError("the dataset `timeseries` needs to know where: -d 'timeseries[path=...]'")
        return (root / self.path).resolve()  # an absolute path stands for itself

    def _tables(self, place: Path) -> list[Table]:
        tables = [self._table(place, file) for file in _files(place)]
        names = {table.features for table in tables}
        if len(names) > 1:
            told = " and ".join(sorted(", ".join(features) for features in names)[:2])
            raise DataError(
                f"the tables under {place} have different features: {told}; name them: columns=a+b"
            )
        return tables

    def _table(self, place: Path, file: Path) -> Table:
        stat = file.stat()
        state = (stat.st_mtime_ns, stat.st_size)
        return _read(file, state, file.relative_to(place), self.label, self.segment, self.columns)

    def _losses(self, tables: Sequence[Table]) -> Iterator[str]:
        lost = sum(table.lost for table in tables)
        short = sum(lost_rows(table.recording, self) for table in tables)
        if lost or short:
            yield (
                f"{lost} rows are left out for missing values, {short} lie in stretches shorter than a window"
            )
        for name in sorted({name for table in tables for name in table.others}):
            yield f"column {name!r} is no feature: it holds no numbers, or the place in the table"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """What one file holds, without the rows that miss anything."""

    recording: Recording
    values: NDArray[np.float32]
    """``[rows, features]``."""
    features: tuple[str, ...]
    others: tuple[str, ...]
    """Columns that are left out because they are no numbers."""
    lost: int


@functools.lru_cache(maxsize=8)
def _read(file: Path, state: tuple[int, int], source: Path, label: str, segment: str, columns: str) -> Table:
    """Read one table; remembered as long as its time of change and size (``state``) stay the same."""
    frame = _frame(file)
    for option, name in (("label", label), ("segment", segment)):
        if name and name not in frame.columns:
            raise ConfigError(f"{file}: {option}={name}: {unknown('column', name, frame.columns)}")
    # A table that pandas wrote with its index names that column so; the place in a recording is no feature.
    index = [] if columns else [name for name in frame.columns if name.startswith("Unnamed:")]
    others = frame.drop(columns=[name for name in (label, segment, *index) if name])
    numbers = others.select_dtypes(include=["number", "bool"])
    features = columns.split("+") if columns else list(numbers.columns)
    for name in features:
        if name not in numbers.columns:
            raise ConfigError(f"{file}: columns={name}: {unknown('numeric column', name, numbers.columns)}")
    if not features:
        raise DataError(f"{file} has no numeric column")
    values = frame[features].to_numpy(dtype=np.float32, na_value=np.nan)
    whole = np.isfinite(values).all(axis=1)
    for name in filter(None, (label, segment)):
        whole &= frame[name].notna().to_numpy()
    breaks = np.zeros(len(frame), dtype=bool)
    if segment:
        codes = pd.factorize(frame[segment])[0]
        breaks[1:] = codes[1:] != codes[:-1]
    return Table(
        recording=Recording(
            source=PurePosixPath(source.as_posix()) if source.name else PurePosixPath(),
            name=file.stem,
            anomalous=_anomalous(frame[label], file)[whole] if label else None,
            stretches=unbroken(whole, breaks),
        ),
        values=values[whole],
        features=tuple(features),
        others=() if columns else (*index, *(name for name in others.columns if name not in numbers.columns)),
        lost=int((~whole).sum()),
    )


def _files(place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    files = sorted(path for path in place.glob("*") if path.suffix.lower() in SUFFIXES)
    if not files:
        raise DataError(f"{place} is no table and holds none ({', '.join(SUFFIXES)})")
    return files


def _frame(file: Path) -> pd.DataFrame:
    try:
        if file.suffix.lower() == ".csv":
            return pd.read_csv(file)
        if file.suffix.lower() == ".parquet":
            return pd.read_parquet(file).rename(columns=str)
        if file.suffix.lower() == ".npy":
            return _columns_of(np.load(file, allow_pickle=False), file)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{file} cannot be read: {error}") from error
    raise DataError(f"{file} is of no kind that is read: {', '.join(SUFFIXES)}")


def _columns_of(array: NDArray[Any], file: Path) -> pd.DataFrame:
    if not isinstance(array, np.ndarray):
        raise DataError(f"{file} holds several arrays, as an npz file does; save the one of [rows, columns]")
    if array.ndim != 2 or array.dtype.kind not in "fiub":
        raise DataError(f"{file} should hold numbers [rows, columns], got {array.dtype} {list(array.shape)}")
    return pd.DataFrame(array, columns=[str(k) for k in range(array.shape[1])])


def _anomalous(column: pd.Series, file: Path) -> NDArray[np.bool_]:
    if pd.api.types.is_numeric_dtype(column):
        numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
        strangers = numbers[~np.isin(numbers, (0, 1)) & ~np.isnan(numbers)]
        if strangers.size:
            raise DataError(f"{file}: label {strangers[0]:g} is neither 0 (normal) nor 1 (anomaly)")
        return np.asarray(numbers == 1)
    words = [
        None if missing else str(word).strip().lower()
        for word, missing in zip(column, column.isna(), strict=True)
    ]
    strange = sorted({word for word in words if word is not None} - set(_WORDS))
    if strange:
        raise DataError(
            f"{file}: label {strange[0]!r} is none of {', '.join(_WORDS)}; use 0 and 1, or normal and anomaly"
        )
    return np.array([_WORDS.get(word or "0", False) for word in words], dtype=bool)
