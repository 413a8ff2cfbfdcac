"""``timeseries``: your own table of rows x features, or a folder of them, as windows (csv, parquet, npy).

``label`` names the column that says which rows are anomalous, ``segment`` one whose changes no window runs over; all
other numeric columns are features, or those that ``columns`` names. Columns of an npy are named 0, 1, ... from the left.
Rows with missing or infinite values are left out, and no window runs over them. Without a label column windows get scores
and no figures: a tenth of them is tested.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from msgspec import Meta
from msgspec.structs import replace
from numpy.typing import NDArray

from asdbench.errors import ConfigError, DataError
from asdbench.values import Card, Fold, Row
from asdbench_datasets.table_files import SEPARATORS, Table, Wanted, facts_of, files_in, read_table, state_of
from asdbench_datasets.windows import (
    COLUMNS,
    Windowed,
    all_windows,
    holdout_fold,
    lost_rows,
)

SCALED_BY_OTHERS = (
    "columns were scaled before they were read: whether by rows that validate or are tested is not known here"
)


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
    separator: Annotated[
        Literal["comma", "semicolon", "tab"], Meta(description="what stands between the columns of a csv")
    ] = "comma"
    scaled: Annotated[
        bool, Meta(description="the columns are scaled to about 0..1 already, for methods with scale=none")
    ] = False

    @property
    def card(self) -> Card:
        """What can be said of the tables; their features and losses where ``path`` is absolute (see ``located``).

        Raises:
            DataError: ``path`` is absolute and holds no table, or one cannot be read.
        """
        tables = self._tables(Path(self.path)) if Path(self.path).is_absolute() else []
        features = len(tables[0].features) if tables else 0
        recordings = [table.recording for table in tables]
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
            known_leaks=(
                *(self.leaks() if self.label else self.leaks()[:-1]),  # without labels there is no threshold
                *([SCALED_BY_OTHERS] if self.scaled else []),
            ),
            notes=(*self._losses(tables), *(self.warnings(recordings) if self.label else ())),
            scaled=self.scaled,
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
        recordings = [table.recording for table in self._tables(place)]
        remedy = f"another `segment` than {self.segment!r}" if self.segment else ""
        yield from all_windows(recordings, self, place=place, remedy=remedy)

    def read(self, root: Path, source: PurePosixPath) -> NDArray[Any]:
        """Return the features of one table's kept rows, float32 ``[rows, features]``."""
        file = self._place(root) / source
        return read_table(file, state_of(file), self._wanted)[1]

    def folds(self, rows: Sequence[Row]) -> Sequence[Fold]:
        """Return the one division that the options make."""
        return [holdout_fold(rows, self)]

    def _place(self, root: Path) -> Path:
        if not self.path:
            raise ConfigError("the dataset `timeseries` needs to know where: -d 'timeseries[path=...]'")
        return (root / self.path).resolve()  # an absolute path stands for itself

    @property
    def _wanted(self) -> Wanted:
        return Wanted(
            label=self.label, segment=self.segment, columns=self.columns, separator=SEPARATORS[self.separator]
        )

    def _tables(self, place: Path) -> list[Table]:
        files = files_in(place)
        stems = [file.stem for file in files]
        tables = [
            facts_of(file, state_of(file), self._wanted).named(
                file.stem if stems.count(file.stem) == 1 else file.name, file.relative_to(place)
            )
            for file in files
        ]
        names = {table.features for table in tables}
        if len(names) > 1:
            told = " and ".join(sorted(", ".join(features) for features in names)[:2])
            raise DataError(
                f"the tables under {place} have different features: {told}; name them: columns=a+b"
            )
        return tables

    def _losses(self, tables: Sequence[Table]) -> Iterator[str]:
        lost = sum(table.lost for table in tables)
        short = sum(lost_rows(table.recording, self) for table in tables)
        if lost or short:
            yield (
                f"{lost} rows are left out for missing or infinite values, {short} lie in stretches shorter than a window"
            )
        for name in dict.fromkeys(name for table in tables for name in table.others):
            yield f"column {name!r} is no feature: it holds no numbers, or the place in the table"
