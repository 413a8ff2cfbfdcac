"""Tables of rows x features as files: csv, parquet or npy, what their columns are, and which rows are whole."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from asdbench.errors import ConfigError, DataError, unknown
from asdbench_datasets.windows import Recording, unbroken

SUFFIXES = (".csv", ".parquet", ".npy")
SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t"}
LIMIT = float(np.finfo(np.float32).max) / 2
"""Largest value that is read: windows are float32, and the span of a column must fit too."""
_WORDS = {
    "normal": False, "false": False, "no": False, "0": False, "0.0": False,
    "anomaly": True, "anomalous": True, "abnormal": True, "true": True, "yes": True, "1": True, "1.0": True,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the options say of the columns."""

    label: str
    segment: str
    columns: str
    separator: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """What one file holds, without the rows that miss anything; not the values, which may be large."""

    recording: Recording
    features: tuple[str, ...]
    others: tuple[str, ...]
    """Columns that are left out because they are no numbers."""
    lost: int

    def named(self, name: str, source: Path) -> Table:
        """Return the same as the recording ``name`` from ``source``."""
        place = PurePosixPath(source.as_posix()) if source.name else PurePosixPath()
        return replace(self, recording=replace(self.recording, name=name, source=place))


def state_of(file: Path) -> tuple[int, int]:
    """Return what tells that a file changed: its time of change and its size."""
    stat = file.stat()
    return stat.st_mtime_ns, stat.st_size


@functools.cache
def facts_of(file: Path, state: tuple[int, int], wanted: Wanted) -> Table:
    """Return what one table holds; small, so that a card that is looked at often reads no folder twice."""
    return read_table(file, state, wanted)[0]


@functools.lru_cache(maxsize=8)
def read_table(file: Path, state: tuple[int, int], wanted: Wanted) -> tuple[Table, NDArray[np.float32]]:
    """Read one table and the features ``[rows, features]`` of its kept rows.

    Remembered as long as its time of change and size (``state``) stay the same.

    Raises:
        ConfigError: An option names no column, or one twice.
        DataError: The file cannot be read, names a column twice or none, or holds a value that float32 does not.
    """
    frame = _frame(file, wanted.separator)
    _check_names(frame, file, wanted)
    # A table that pandas wrote with its index names that column so; the place in a recording is no feature.
    index = [] if wanted.columns else [name for name in frame.columns if name.startswith("Unnamed:")]
    taken = {wanted.label, wanted.segment, *index}
    others = [name for name in frame.columns if name not in taken]
    numbers = [name for name in others if _is_number(frame[name].dtype)]
    features = wanted.columns.split("+") if wanted.columns else numbers
    for name in features:
        if name not in numbers:
            raise ConfigError(f"{file}: columns={name}: {unknown('numeric column', name, numbers)}")
    if not features:
        raise DataError(f"{file} has no numeric column")
    values = _values(frame, features, file)
    whole = np.asarray(np.isfinite(values).all(axis=1))
    for name in filter(None, (wanted.label, wanted.segment)):
        whole &= frame[name].notna().to_numpy()
    breaks = np.zeros(len(frame), dtype=bool)
    if wanted.segment:
        codes = pd.factorize(frame[wanted.segment])[0]
        breaks[1:] = codes[1:] != codes[:-1]
    recording = Recording(
        source=PurePosixPath(file.name),
        name=file.stem,
        anomalous=_anomalous(frame[wanted.label], file)[whole] if wanted.label else None,
        stretches=unbroken(whole, breaks),
    )
    left_out = () if wanted.columns else (*index, *(name for name in others if name not in numbers))
    lost = int((~whole).sum())
    return Table(recording=recording, features=tuple(features), others=left_out, lost=lost), values[whole]


def _check_names(frame: pd.DataFrame, file: Path, wanted: Wanted) -> None:
    """See that every option names one column and no column has the name of another."""
    if repeated := _repeated(frame.columns):
        raise DataError(f"{file} names columns twice: {', '.join(repeated)}; give each its own name")
    for option, name in (("label", wanted.label), ("segment", wanted.segment)):
        if name and name not in frame.columns:
            raise ConfigError(f"{file}: {option}={name}: {unknown('column', name, frame.columns)}")
    if repeated := _repeated(wanted.columns.split("+")):
        raise ConfigError(f"columns={wanted.columns} names {', '.join(repeated)} twice")


def _repeated(names: Iterable[str]) -> list[str]:
    """Return the names that stand there twice, whatever blanks are about them."""
    counted = Counter(str(name).strip() for name in names)
    return [name for name, count in counted.items() if count > 1]


def _is_number(dtype: Any) -> bool:
    """Tell whether values are real numbers or booleans; a span of time is neither."""
    kinds = pd.api.types
    return bool(kinds.is_numeric_dtype(dtype) and not kinds.is_complex_dtype(dtype))


def _values(frame: pd.DataFrame, features: Sequence[str], file: Path) -> NDArray[np.float32]:
    values = np.empty((len(frame), len(features)), dtype=np.float32)
    for k, name in enumerate(features):
        column = frame[name].to_numpy(dtype=np.float64, na_value=np.nan)
        if len(large := np.flatnonzero(np.isfinite(column) & (np.abs(column) > LIMIT))):
            raise DataError(
                f"{file}: column {name!r} holds {column[large[0]]:g} in row {large[0]}, and values beyond {LIMIT:.2g} do "
                "not fit (windows are float32): give it in another unit, or leave it out by columns=a+b"
            )
        values[:, k] = column
    return values


def files_in(place: Path) -> list[Path]:
    """Return the tables of a folder, hidden ones aside, or the one that ``place`` is.

    Raises:
        DataError: There is none.
    """
    if place.is_file():
        return [place]
    found = (path for path in place.glob("*") if path.suffix.lower() in SUFFIXES)
    files = sorted(path for path in found if not path.name.startswith("."))
    if not files:
        raise DataError(f"{place} is no table and holds none ({', '.join(SUFFIXES)})")
    return files


def _frame(file: Path, separator: str) -> pd.DataFrame:
    try:
        if file.suffix.lower() == ".csv":
            return _csv(file, separator)
        if file.suffix.lower() == ".parquet":
            return pd.read_parquet(file).rename(columns=str)
        if file.suffix.lower() == ".npy":
            return _columns_of(np.load(file, allow_pickle=False), file)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{file} cannot be read: {error}") from error
    raise DataError(f"{file} is of no kind that is read: {', '.join(SUFFIXES)}")


def _csv(file: Path, separator: str) -> pd.DataFrame:
    # Two rows, so that one longer than the header is an error: pandas would take its first field for the name of the row.
    first = pd.read_csv(file, sep=separator, header=None, nrows=2, dtype=str, keep_default_na=False)
    names = [name for name in map(str, first.iloc[0]) if name.strip()]
    # What pandas writes of an array without names is a header too.
    if (
        names
        and all(_is_written_number(name) for name in names)
        and names != [str(k) for k in range(len(names))]
    ):
        raise DataError(
            f"{file} begins with numbers ({', '.join(names[:3])}, ...) where names of columns should stand: add a header"
        )
    # pandas would rename a second `state` to `state.1`, and the label would be a feature.
    if repeated := _repeated(names):
        raise DataError(f"{file} names columns twice: {', '.join(repeated)}; give each its own name")
    others = [
        word
        for word, sign in SEPARATORS.items()
        if sign != separator and len(names) == 1 and sign in names[0]
    ]
    if others:
        raise DataError(f"{file} has one column, {names[0]!r}: say separator={others[0]}")
    return pd.read_csv(file, sep=separator)


def _is_written_number(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True


def _columns_of(array: NDArray[Any], file: Path) -> pd.DataFrame:
    if not isinstance(array, np.ndarray):
        raise DataError(f"{file} holds several arrays, as an npz file does; save the one of [rows, columns]")
    if array.ndim != 2 or array.dtype.kind not in "fiub":
        raise DataError(f"{file} should hold numbers [rows, columns], got {array.dtype} {list(array.shape)}")
    # pandas wants the machine's own order of bytes.
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
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
