"""What a run left behind, read back from its folder: its document and, of each method, the scores of every item."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from asdbench.errors import RunError, unknown

LATEST = "latest"


@dataclass(frozen=True, kw_only=True)
class MethodRecord:
    """What a run recorded of one method."""

    label: str
    document: Mapping[str, Any]
    """Flags, figures, costs, models with their training logs: ``record.json``."""
    items: pd.DataFrame
    """The test items: official name, content hash, public columns, ``label`` and ``score_<seed>`` (of a classifier
    ``score_<seed>_<target>``)."""
    validation: pd.DataFrame = field(default_factory=pd.DataFrame)
    """As ``items``, of the protocol's validation items; empty: it has none."""
    held: pd.DataFrame = field(default_factory=pd.DataFrame)
    """As ``items``, of normal items kept from training; empty: none were."""

    @property
    def seeds(self) -> list[int]:
        """Seeds that have scores."""
        seeds: list[int] = self.document["method"]["seeds"]
        return seeds


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What a run came to."""

    document: Mapping[str, Any]
    """What ``asdbench run --json`` printed, and where the records are."""
    methods: Sequence[MethodRecord] = ()


def read_run(out: Path, run: str = LATEST) -> RunRecord:
    """Return a run with the records of all its methods.

    Args:
        out: Where runs keep their results.
        run: Identifier of the run, or ``latest``.

    Raises:
        RunError: There is none of that name, or a record of it is gone or damaged.
    """
    document = find_run(out, run)
    labels: list[str] = document["run"]["methods"]
    return RunRecord(document=document, methods=[read_method(out, document, label) for label in labels])


def find_run(out: Path, run: str = LATEST) -> dict[str, Any]:
    """Return the document of a run, by its identifier or ``latest``.

    Raises:
        RunError: There is none of that name, or it is damaged.
    """
    files = {file.stem: file for file in (out / "runs").glob("*.json")}
    if not files:
        raise RunError(f"there is no run in {out}; `asdbench run --out {out}` makes one")
    if run != LATEST:
        if run not in files:
            raise RunError(unknown("run", run, files))
        return _read(files[run])
    documents = [
        (document["run"]["time"], file.stat().st_mtime_ns, document)
        for file in files.values()
        for document in [_read(file)]
    ]
    return max(documents, key=lambda found: found[:2])[2]


def read_method(out: Path, run: Mapping[str, Any], label: str) -> MethodRecord:
    """Return what a run recorded of one of its methods.

    Args:
        out: Where runs keep their results.
        run: The document of the run.
        label: The method with its options, as the run names it.

    Raises:
        RunError: The run has no record of it, or the record is gone or damaged.
    """
    record_id = run.get("records", {}).get(label)
    if record_id is None:
        raise RunError(
            f"run {run['run']['id']} does not say which record is of {label}; run its command again, nothing is "
            "trained anew"
        )
    folder = out / "records" / record_id
    if not (folder / "record.json").is_file() or not (folder / "items.parquet").is_file():
        raise RunError(
            f"the record {folder} of {label} is gone; run its command again, nothing is trained anew"
        )
    document = _read(folder / "record.json")
    _check_sizes(folder, document.get("sizes", {}), label)
    return MethodRecord(
        label=label,
        document=document,
        items=pd.read_parquet(folder / "items.parquet"),
        validation=_table(folder / "validation.parquet"),
        held=_table(folder / "held.parquet"),
    )


def _check_sizes(folder: Path, sizes: Mapping[str, int], label: str) -> None:
    """Make sure that the files of a record are as large as they were written.

    Raises:
        RunError: One is not.
    """
    for name, size in sizes.items():
        file = folder / name
        if not file.is_file() or file.stat().st_size != size:
            found = (
                f"has {file.stat().st_size} bytes, not the {size} that were written"
                if file.is_file()
                else "is gone"
            )
            raise RunError(
                f"{file} of the record of {label} {found}; run its command again, nothing is trained anew"
            )


def _table(file: Path) -> pd.DataFrame:
    return pd.read_parquet(file) if file.is_file() else pd.DataFrame()


def _read(file: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{file} cannot be read: {error}") from error
    return document
