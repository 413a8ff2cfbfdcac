"""Reads and writes run documents, and the record of each method with the tables of its items."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec

from asdbench.core.documents import from_json
from asdbench.core.files import sizes_of, write_json
from asdbench.core.tables import reading_parquet
from asdbench.errors import NothingToDraw, RunError, unknown
from asdbench.messages.insights import Asked
from asdbench.results.schema import SCHEMA_VERSION, MethodRecord, RunDocument
from asdbench.results.store import Store
from asdbench.results.upgrade import UPGRADES

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

LATEST = "latest"
TABLES = ("items", "validation", "held")
T = TypeVar("T", MethodRecord, RunDocument)
_log = logging.getLogger(__name__)


def _no_table() -> pd.DataFrame:
    import pandas as pd  # documents alone are read without it

    return pd.DataFrame()


@dataclass(frozen=True, kw_only=True)
class RecordedMethod:
    """A method's record with the tables of its items.

    Example:
        ``read_run(Path("asdbench-runs")).methods[0].items`` has a row per test item of the latest run's first method.
    """

    label: str
    """The method with its options, as the run names it."""
    record: MethodRecord
    items: pd.DataFrame
    """One row per test item: ``source`` (official name), ``start``, ``length``, ``sha256``, the public columns,
    ``label`` (missing where it is secret) and ``score_<seed>``, or ``score_<seed>_<target>`` for a classifier."""
    validation: pd.DataFrame = field(default_factory=_no_table)
    """Like ``items``, for the protocol's validation items; empty: there are none."""
    held: pd.DataFrame = field(default_factory=_no_table)
    """Like ``items``, for normal items held out from training; empty: there are none."""

    @property
    def seeds(self) -> list[int]:
        """The seeds that have scores."""
        return self.record.method.seeds


class Insights(Protocol):
    """Answers questions to the trained models of a run; ``asdbench.runs.insights`` has the one that there is."""

    def ask(
        self, asked: Asked, method: RecordedMethod, *, items: pd.DataFrame, unit: str
    ) -> Mapping[str, NDArray[Any]]:
        """Return arrays with a row for each item, in their order."""


@dataclass(frozen=True, kw_only=True)
class RecordedRun:
    """A run read from its folder: its document, and the records of its methods in the same order.

    Figures may also ask its trained models about items that they choose from ``RecordedMethod.items``. A process of its
    own loads the models and the samples; it gets neither names nor labels.
    """

    document: RunDocument
    methods: Sequence[RecordedMethod] = ()
    insights: Insights | None = None
    """None: the models cannot be asked."""

    def heading(self, method: RecordedMethod) -> str:
        """Return a title for a figure of one method: its name, flags and dataset, and whether data are missing."""
        flags = "".join(f" ({flag})" for flag in self.document.methods[method.label].flags)
        partial = "" if self.document.data.complete else ", partial data"
        return f"{method.label}{flags} on {self.document.run.selector}{partial}"

    def samples(self, method: RecordedMethod, items: pd.DataFrame) -> NDArray[np.float32]:
        """Return the samples of items as the method's models get them, ``[n, *item_shape]``; see ``outputs``."""
        return self._ask("samples", method, items=items)["samples"]

    def outputs(
        self, method: RecordedMethod, items: pd.DataFrame, *, unit: str = ""
    ) -> Mapping[str, NDArray[np.float32]]:
        """Return the outputs of a method's trained models for items, ``[n, segments, ...]`` by name.

        They are the models of the method's first seed, with the checkpoint that the results are of.

        Args:
            method: The method.
            items: Rows of ``method.items`` or ``method.validation``.
            unit: Ask the model of this unit about all items; empty: that of each item's own unit.

        Raises:
            NothingToDraw: The models, the data or the code are not those of the run, or nobody can ask them.
        """
        return self._ask("outputs", method, items=items, unit=unit)

    def explain(self, method: RecordedMethod, items: pd.DataFrame) -> Mapping[str, NDArray[np.float32]]:
        """Return what ``Model.explain`` of a method's trained models gives for items, ``[n, ...]`` by name.

        See ``outputs``, with a further reason for ``NothingToDraw``: the model defines no ``explain``.
        """
        return self._ask("explain", method, items=items)

    def _ask(
        self, asked: Asked, method: RecordedMethod, *, items: pd.DataFrame, unit: str = ""
    ) -> Mapping[str, NDArray[Any]]:
        if self.insights is None:
            raise NothingToDraw(
                "it asks the trained models, which takes the data and some time; name it with --only"
            )
        return self.insights.ask(asked, method, items=items, unit=unit)


def write_document(store: Store, document: RunDocument) -> None:
    """Write the document of a run to ``runs/<id>.json``."""
    write_json(store.root / "runs" / f"{document.run.id}.json", document)


def write_record(store: Store, record: MethodRecord, *, tables: Mapping[str, pd.DataFrame]) -> None:
    """Write a method's record to ``records/<id>`` and fill in the sizes of its files.

    Args:
        store: The store to write to.
        record: The record, without sizes.
        tables: ``items``, ``validation`` and ``held``; the last two are not written if they are empty. Their index, the
            secret item ids, is dropped.
    """
    with store.filling(store.root / "records" / record.record_id) as folder:
        for name in TABLES:
            table = tables[name]
            # Item ids belong to this machine's cache; outside of it, official names and hashes identify items.
            if name == "items" or len(table):
                table.reset_index(drop=True).to_parquet(folder / f"{name}.parquet", index=False)
        write_json(folder / "record.json", msgspec.structs.replace(record, sizes=sizes_of(folder)))


def read_run(out: Path, run: str = LATEST) -> RecordedRun:
    """Return a run with the records of all its methods.

    Args:
        out: Folder of the results.
        run: Identifier of the run, or ``latest``.

    Raises:
        RunError: There is no such run, or one of its records is missing or damaged.
    """
    document = find_run(out, run)
    methods = [read_method(out, document, label=label) for label in document.run.methods]
    return RecordedRun(document=document, methods=methods)


def find_run(out: Path, run: str = LATEST) -> RunDocument:
    """Return the document of a run, given its identifier or ``latest``.

    Raises:
        RunError: There is no such run, or its document is damaged.
    """
    files = {file.stem: file for file in (out / "runs").glob("*.json")}
    if not files:
        raise RunError(no_run(out))
    if run != LATEST:
        if run not in files:
            raise RunError(unknown("run", run, known=files))
        return read_document(files[run])
    times = {file: time for file in files.values() if (time := _time_of(file)) is not None}
    if not times:
        raise RunError(f"none of the {len(files)} runs in {out} can be read")
    # The time in a document has a resolution of one second; the file's time breaks ties.
    latest = max(times, key=lambda file: (times[file], file.stat().st_mtime_ns))
    return read_document(latest)


def no_run(out: Path) -> str:
    """Return what to do about a folder without a finished run; an interrupted one left models or trainings there."""
    if any((out / "models").glob("*/fit.json")) or any((out / "work").glob("*/")):
        return f"no run in {out} has finished; repeat the command of the interrupted run to continue it"
    return f"there is no run in {out}; start one with `asdbench run --out {out}`"


def run_files(out: Path) -> dict[str, Path]:
    """Return the documents of all runs in a folder by identifier, the latest first; unreadable ones come last."""
    files = {file.stem: file for file in (out / "runs").glob("*.json")}
    times = {name: _time_of(file) or "" for name, file in files.items()}

    def age(name: str) -> tuple[str, int]:
        # The time in a document has a resolution of one second; the file's time breaks ties.
        return times[name], files[name].stat().st_mtime_ns

    return {name: files[name] for name in sorted(files, key=age, reverse=True)}


def read_document(file: Path) -> RunDocument:
    """Return the document of a run from its file.

    Raises:
        RunError: The file is damaged, or of a version that is not supported.
    """
    return _read(file, RunDocument)


def read_method(out: Path, run: RunDocument, *, label: str) -> RecordedMethod:
    """Return the record of one method of a run.

    Args:
        out: Folder of the results.
        run: The document of the run.
        label: The method with its options, as the run names it.

    Raises:
        RunError: The run has no record of the method, or the record is missing or damaged.
    """
    record_id = run.records.get(label)
    if record_id is None:
        raise RunError(
            f"run {run.run.id} names no record of {label}; run its command again, no retraining is needed"
        )
    folder = out / "records" / record_id
    if not (folder / "record.json").is_file() or not (folder / "items.parquet").is_file():
        raise RunError(
            f"the record {folder} of {label} is missing; run its command again, no retraining is needed"
        )
    return read_folder(folder)


def read_folder(folder: Path) -> RecordedMethod:
    """Return the record in a folder with the tables of its items.

    Raises:
        RunError: A file is missing, damaged or of a version that is not supported; the message names it.
    """
    record = read_record(folder)
    items, validation, held = (_table(folder / f"{name}.parquet") for name in TABLES)
    return RecordedMethod(
        label=record.method.recipe.label, record=record, items=items, validation=validation, held=held
    )


def read_record(folder: Path) -> MethodRecord:
    """Return the record in a folder; of the tables of its items, only the sizes are checked.

    Raises:
        RunError: A file is missing, damaged or of a version that is not supported; the message names it.
    """
    record = _read(folder / "record.json", MethodRecord)
    _check_sizes(folder, record.sizes, label=record.method.recipe.label)
    return record


def decode(text: bytes, kind: type[T]) -> T:
    """Decode a document or record from JSON, of this schema version or the previous one.

    Raises:
        msgspec.MsgspecError: The text is not JSON, or does not fit the schema.
        RunError: Its schema version is not supported.
    """
    try:
        found = from_json(text, kind)
    except msgspec.ValidationError:
        # Of another version, or damaged: its version alone decides what is said about it.
        version = from_json(text, _Versioned).schema_version
        if version == SCHEMA_VERSION:
            raise
    else:
        version = found.schema_version
        if version == SCHEMA_VERSION:
            return found
    upgrade = UPGRADES.get((version, kind.__name__))
    if upgrade is None:
        raise RunError(
            f"schema version {version} is not supported; this version of asdbench reads {SCHEMA_VERSION - 1} and "
            f"{SCHEMA_VERSION}"
        )
    older: dict[str, Any] = from_json(text, dict[str, Any])
    try:
        upgraded = upgrade(older)
    except (KeyError, TypeError, AttributeError) as error:
        raise RunError(f"it is not a {kind.__name__} of schema version {version}: {error!r}") from error
    return msgspec.convert(upgraded, kind)


class _Versioned(msgspec.Struct):
    schema_version: int = 1
    """Absent in version 1."""


class _Timed(msgspec.Struct):
    time: str


class _Run(msgspec.Struct):
    """What finding the latest run reads of each document, of whatever version it is."""

    run: _Timed


def _time_of(file: Path) -> str | None:
    try:
        return from_json(file.read_bytes(), _Run).run.time
    except (OSError, msgspec.MsgspecError) as error:
        _log.warning("%s is skipped, since it cannot be read: %s", file, error)
        return None


def _check_sizes(folder: Path, sizes: Mapping[str, int], *, label: str) -> None:
    """Check that the files of a record have the sizes they were written with.

    Raises:
        RunError: A file is missing or has another size.
    """
    for name, size in sizes.items():
        file = folder / name
        written = file.stat().st_size if file.is_file() else None
        if written != size:
            found = (
                "is missing"
                if written is None
                else f"has {written} bytes instead of the {size} that were written"
            )
            raise RunError(
                f"{file} in the record of {label} {found}; run its command again, no retraining is needed"
            )


def _table(file: Path) -> pd.DataFrame:
    import pandas as pd

    if not file.is_file():
        return pd.DataFrame()
    with reading_parquet(file, raising=RunError, remedy="run its command again, no retraining is needed"):
        return pd.read_parquet(file)


def _read(file: Path, kind: type[T]) -> T:
    try:
        return decode(file.read_bytes(), kind)
    except (OSError, msgspec.MsgspecError, RunError) as error:
        raise RunError(f"{file} cannot be read: {error}") from error
