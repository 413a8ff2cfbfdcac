"""Tables of rows x features in csv, parquet or npy files: their columns, and which of their rows are complete."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asdbench import ConfigError, DataError, read_array, unknown
from asdbench_datasets.robot.windows import Recording, unbroken

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".csv", ".parquet", ".npy")
SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t"}
LIMIT = float(np.finfo(np.float32).max) / 2
"""Largest value that is accepted: windows are float32, and the span of a column must fit too."""
_LABELS = {
    "normal": False, "false": False, "no": False, "0": False, "0.0": False,
    "anomaly": True, "anomalous": True, "abnormal": True, "true": True, "yes": True, "1": True, "1.0": True,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnChoice:
    """What the options say about the columns."""

    label: str
    segment: str
    columns: str
    separator: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """The content of one file without its incomplete rows; not the values, which may be large."""

    recording: Recording
    features: tuple[str, ...]
    others: tuple[str, ...]
    """Columns that are left out because they hold no numbers."""
    lost: int

    def named(self, name: str, source: Path) -> Table:
        """Return the same as the recording ``name`` from ``source``."""
        # A single table is `.` relative to itself; joining that to its place leaves the place.
        place = PurePosixPath(source.as_posix()) if source.name else PurePosixPath()
        return replace(self, recording=replace(self.recording, name=name, source=place))


State = tuple[int, int]
"""Time of change and size of a file: a file with another state has changed."""


def state_of(file: Path) -> State:
    """Return the state of a file."""
    stat = file.stat()
    return stat.st_mtime_ns, stat.st_size


def files_in(place: Path) -> list[Path]:
    """Return the tables in a folder, without hidden ones, or ``place`` itself if it is a file.

    Raises:
        DataError: There is none.
    """
    if place.is_file():
        return [place]
    found = (path for path in place.glob("*") if path.suffix.lower() in SUFFIXES)
    files = sorted(path for path in found if not path.name.startswith("."))
    if not files:
        raise DataError(f"{place} is neither a table nor a folder with tables ({', '.join(SUFFIXES)})")
    return files


@functools.cache
def facts_of(file: Path, choice: ColumnChoice, *, state: State) -> Table:
    """Return the content of one table without its values; cached, so that a card does not read a folder twice."""
    return read_table(file, choice, state=state)[0]


# `state` is only part of the key: a file that changed is read again.
@functools.lru_cache(maxsize=8)
def read_table(file: Path, choice: ColumnChoice, *, state: State) -> tuple[Table, NDArray[np.float32]]:
    """Read one table, and the features ``[rows, features]`` of its kept rows; cached as long as ``state`` is the same.

    Raises:
        ConfigError: An option names a column that does not exist, or one twice.
        DataError: The file cannot be read, names a column twice, has no numeric column, or has a value that does not
            fit float32.
    """
    frame = _frame(file, choice.separator)
    _check_names(frame, choice, file=file)
    # pandas calls an index that it wrote "Unnamed: 0"; the place in a recording is not a feature.
    index = [] if choice.columns else [name for name in frame.columns if name.startswith("Unnamed:")]
    taken = {choice.label, choice.segment, *index}
    others = [name for name in frame.columns if name not in taken]
    numbers = [name for name in others if _is_number(frame[name].dtype)]
    features = choice.columns.split("+") if choice.columns else numbers
    for name in features:
        if name not in numbers:
            raise ConfigError(f"{file}: columns={name}: {unknown('numeric column', name, known=numbers)}")
    if not features:
        raise DataError(f"{file} has no numeric column")
    values = _values(frame, features, file=file)
    whole = np.asarray(np.isfinite(values).all(axis=1))
    for name in filter(None, (choice.label, choice.segment)):
        whole &= frame[name].notna().to_numpy()
    recording = Recording(
        source=PurePosixPath(file.name),
        name=file.stem,
        anomalous=_anomalous(frame[choice.label], file)[whole] if choice.label else None,
        stretches=unbroken(whole, _breaks(frame, choice.segment)),
    )
    left_out = () if choice.columns else (*index, *(name for name in others if name not in numbers))
    lost = int((~whole).sum())
    return Table(recording=recording, features=tuple(features), others=left_out, lost=lost), values[whole]


def _check_names(frame: pd.DataFrame, choice: ColumnChoice, *, file: Path) -> None:
    """Check that every option names an existing column and that no two columns have the same name."""
    _check_repeated(frame.columns, file)
    for option, name in (("label", choice.label), ("segment", choice.segment)):
        if name and name not in frame.columns:
            raise ConfigError(f"{file}: {option}={name}: {unknown('column', name, known=frame.columns)}")
    if repeated := _repeated(choice.columns.split("+")):
        raise ConfigError(f"columns={choice.columns} names {', '.join(repeated)} twice")


def _check_repeated(names: Iterable[str], file: Path) -> None:
    if repeated := _repeated(names):
        raise DataError(f"{file} names columns twice: {', '.join(repeated)}; give each its own name")


def _repeated(names: Iterable[str]) -> list[str]:
    """Return the names that occur twice, ignoring spaces around them."""
    counted = Counter(str(name).strip() for name in names)
    return [name for name, count in counted.items() if count > 1]


def _breaks(frame: pd.DataFrame, segment: str) -> NDArray[np.bool_]:
    """Return in which rows the column ``segment`` changes, if there is one."""
    breaks = np.zeros(len(frame), dtype=bool)
    if segment:
        import pandas as pd

        # Codes, since NaN != NaN would break at each missing value; factorize gives all of them -1.
        codes = pd.factorize(frame[segment])[0]
        breaks[1:] = codes[1:] != codes[:-1]
    return breaks


def _is_number(dtype: Any) -> bool:
    """Return whether values are real numbers or booleans; a span of time is neither."""
    from pandas.api import types

    return bool(types.is_numeric_dtype(dtype) and not types.is_complex_dtype(dtype))


def _values(frame: pd.DataFrame, features: Sequence[str], *, file: Path) -> NDArray[np.float32]:
    values = np.empty((len(frame), len(features)), dtype=np.float32)
    for k, name in enumerate(features):
        column = frame[name].to_numpy(dtype=np.float64, na_value=np.nan)
        # Checked before the cast, which would make it infinite: its row would be lost as if incomplete.
        if len(large := np.flatnonzero(np.isfinite(column) & (np.abs(column) > LIMIT))):
            raise DataError(
                f"{file}: column {name!r} is {column[large[0]]:g} in row {large[0]}; values beyond {LIMIT:.2g} do not "
                "fit, as windows are float32: use another unit, or leave the column out by columns=a+b"
            )
        values[:, k] = column
    return values


def _frame(file: Path, separator: str) -> pd.DataFrame:
    import pandas as pd

    try:
        if file.suffix.lower() == ".csv":
            return _csv(file, separator)
        if file.suffix.lower() == ".parquet":
            # Parquet keeps names that are numbers; options name columns by text.
            return pd.read_parquet(file).rename(columns=str)
        if file.suffix.lower() == ".npy":
            return _array_frame(read_array(file), file)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{file} cannot be read: {error}") from error
    raise DataError(f"{file} is not a supported kind of table ({', '.join(SUFFIXES)})")


def _csv(file: Path, separator: str) -> pd.DataFrame:
    import pandas as pd

    # Two rows, so that one longer than the header is an error: pandas would take its first field as the row's name.
    first = pd.read_csv(file, sep=separator, header=None, nrows=2, dtype=str, keep_default_na=False)
    names = [name for name in map(str, first.iloc[0]) if name.strip()]
    # The numbers 0, 1, ... are a header too: pandas writes them for an array without names.
    if (
        names
        and all(_is_written_number(name) for name in names)
        and names != [str(k) for k in range(len(names))]
    ):
        raise DataError(
            f"{file} begins with numbers ({', '.join(names[:3])}, ...) instead of column names: add a header"
        )
    # pandas would rename a second `state` to `state.1`, and the label would be a feature.
    _check_repeated(names, file)
    others = [
        word
        for word, sign in SEPARATORS.items()
        if sign != separator and len(names) == 1 and sign in names[0]
    ]
    if others:
        raise DataError(f"{file} has one column, {names[0]!r}: set separator={others[0]}")
    return pd.read_csv(file, sep=separator)


def _is_written_number(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True


def _array_frame(array: NDArray[Any], file: Path) -> pd.DataFrame:
    import pandas as pd

    if array.ndim != 2 or array.dtype.kind not in "fiub":
        raise DataError(
            f"{file} should hold numbers [rows, columns], found {array.dtype} {list(array.shape)}"
        )
    # pandas needs the native byte order.
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    return pd.DataFrame(array, columns=[str(k) for k in range(array.shape[1])])


def _anomalous(column: pd.Series, file: Path) -> NDArray[np.bool_]:
    from pandas.api import types

    if types.is_numeric_dtype(column):
        numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
        wrong = numbers[~np.isin(numbers, (0, 1)) & ~np.isnan(numbers)]
        if wrong.size:
            raise DataError(f"{file}: label {wrong[0]:g} is neither 0 (normal) nor 1 (anomaly)")
        return np.asarray(numbers == 1)
    words = [
        None if missing else str(word).strip().lower()
        for word, missing in zip(column, column.isna(), strict=True)
    ]
    unknown_words = sorted({word for word in words if word is not None} - set(_LABELS))
    if unknown_words:
        raise DataError(
            f"{file}: label {unknown_words[0]!r} is none of {', '.join(_LABELS)}; use 0 and 1, or normal and anomaly"
        )
    # Rows without a label are left out later, so their value here does not count.
    return np.array([_LABELS.get(word or "0", False) for word in words], dtype=bool)
