"""``timeseries``: your own table of rows x features, or a folder of such tables, as windows (csv, parquet, npy).

``label`` names the column that marks anomalous rows, ``segment`` a column whose changes no window crosses. The features
are the columns named by ``columns``, or else all other numeric columns. Columns of an npy are named 0, 1, ... from the
left. Rows with missing or infinite values are left out, and no window crosses them. Without a label column, windows get
scores but no metrics: a tenth of them is tested.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from msgspec import Meta
from msgspec.structs import replace
from numpy.typing import NDArray

from asdbench import Card, ConfigError, DataError, Fold, Row
from asdbench_datasets.located import at_place, own_place
from asdbench_datasets.robot.table_files import (
    SEPARATORS,
    ColumnChoice,
    Table,
    facts_of,
    files_in,
    read_table,
    state_of,
)
from asdbench_datasets.robot.windows import Windowed, all_windows, holdout_fold, lost_rows, window_card

SCALED_BY_OTHERS = (
    "columns were scaled before they were read, possibly by validation or test rows (this is unknown)"
)


class TimeSeries(Windowed, frozen=True, kw_only=True):
    """Tables that no release describes."""

    path: Annotated[
        str,
        Meta(
            description="table, or folder of tables, absolute or relative to the current folder (or, if it does not exist "
            "there, to the data root)"
        ),
    ] = ""
    label: Annotated[
        str,
        Meta(description="column that marks anomalous rows (0 or 1, normal or anomaly); empty: none"),
    ] = ""
    segment: Annotated[
        str,
        Meta(description="column whose changes no window crosses, for example a run's number; empty: none"),
    ] = ""
    columns: Annotated[
        str,
        Meta(description="features, joined by +; empty: all numeric columns except label and segment"),
    ] = ""
    separator: Annotated[
        Literal["comma", "semicolon", "tab"], Meta(description="separator between the columns of a csv")
    ] = "comma"
    scaled: Annotated[
        bool,
        Meta(description="true: the columns are already scaled to about 0..1, for methods with scale=none"),
    ] = False

    @property
    def card(self) -> Card:
        """Describe the tables; features and lost rows are known if ``path`` is absolute (see ``located``).

        Raises:
            DataError: ``path`` is absolute and has no table, or a table cannot be read.
        """
        tables = self._tables(Path(self.path)) if Path(self.path).is_absolute() else []
        features = len(tables[0].features) if tables else 0
        recordings = [table.recording for table in tables]
        card = window_card(
            self,
            name="timeseries",
            title=f"Time series in {self.path}" if self.path else "Your own time series",
            licence="the owner's",
            citation="none: the data belong to their owner",
            features=features,
            known_leaks=(
                *(self.leaks() if self.label else self.leaks()[:-1]),  # without labels there is no threshold
                *([SCALED_BY_OTHERS] if self.scaled else []),
            ),
            notes=(*self._losses(tables), *(self.warnings(recordings) if self.label else ())),
        )
        return replace(card, scaled=self.scaled)

    def located(self, root: Path) -> tuple[TimeSeries, Path]:
        """Return the dataset with an absolute path, so that its card describes the tables, and that path.

        Raises:
            ConfigError: ``path`` is not given.
        """
        return at_place(self, self._place(root), option="path")

    def index(self, root: Path) -> Iterator[Row]:
        """List the windows of all tables.

        Raises:
            ConfigError: ``path`` is not given, or an option names a column that does not exist.
            DataError: There is no table, a table is damaged, or the tables have different features.
        """
        place = self._place(root)
        recordings = [table.recording for table in self._tables(place)]
        remedy = f"another `segment` than {self.segment!r}" if self.segment else ""
        yield from all_windows(recordings, self, place=place, remedy=remedy)

    def read(self, root: Path, source: PurePosixPath) -> NDArray[Any]:
        """Return the features of one table's kept rows, float32 ``[rows, features]``."""
        file = self._place(root) / source
        return read_table(file, self._choice, state=state_of(file))[1]

    def folds(self, rows: Sequence[Row]) -> Sequence[Fold]:
        """Return the one fold that the options give."""
        return [holdout_fold(rows, self)]

    def _place(self, root: Path) -> Path:
        if not self.path:
            raise ConfigError("the dataset `timeseries` needs a path: -d 'timeseries[path=...]'")
        return own_place(self.path, root, option="path").resolve()

    @property
    def _choice(self) -> ColumnChoice:
        return ColumnChoice(
            label=self.label, segment=self.segment, columns=self.columns, separator=SEPARATORS[self.separator]
        )

    def _tables(self, place: Path) -> list[Table]:
        files = files_in(place)
        # a.csv beside a.npy: their stems alone would be one recording.
        stems = [file.stem for file in files]
        tables = [
            facts_of(file, self._choice, state=state_of(file)).named(
                file.stem if stems.count(file.stem) == 1 else file.name, file.relative_to(place)
            )
            for file in files
        ]
        names = {table.features for table in tables}
        if len(names) > 1:
            examples = " and ".join(sorted(", ".join(features) for features in names)[:2])
            raise DataError(
                f"the tables under {place} have different features: {examples}; name the common ones: columns=a+b"
            )
        return tables

    def _losses(self, tables: Sequence[Table]) -> Iterator[str]:
        lost = sum(table.lost for table in tables)
        short = sum(lost_rows(table.recording, self) for table in tables)
        if lost or short:
            yield (
                f"{lost} rows are left out for missing or infinite values, {short} are in stretches shorter than a window"
            )
        for name in dict.fromkeys(name for table in tables for name in table.others):
            yield f"column {name!r} is not a feature: it holds no numbers, or is the index of the table"
