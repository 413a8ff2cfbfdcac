"""What a record claims, compared with what follows from its item scores and the labels of the public dataset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from asdbench import (
    DataError,
    MethodRecord,
    RecordedMethod,
    Registry,
    ResultRow,
    Row,
    Selector,
    labelled_rows,
    open_dataset,
    split_protocol,
)
from asdbench.metrics import Result
from asdbench_leaderboards.board.recompute import recomputed
from asdbench_leaderboards.board.sources import SAME, place_of

SHOWN = 3
"""How many problems of one kind in one record are named; the others are counted."""
Place = tuple[str, int]
"""Official name of an item, and its first position in it."""
WITHDRAWN = "no scores for"
"""Begins the reason of a result that was withdrawn because a job failed."""


@dataclass(frozen=True, kw_only=True)
class Public:
    """What a dataset publishes of its items."""

    manifest: str
    """Hash of all data."""
    rows: Mapping[Place, Row]
    tested: frozenset[Place]
    """Items that its protocol tests."""


class Labels:
    """The public labels of datasets, read once each.

    Args:
        registry: Offers the datasets.
        data_root: Folder of datasets.
        cache: Gets generated data and hashes.
    """

    def __init__(self, registry: Registry, *, data_root: Path, cache: Path) -> None:
        self._registry = registry
        self._data_root = data_root
        self._cache = cache
        self._known: dict[tuple[str, str], Public] = {}

    @property
    def registry(self) -> Registry:
        """Where the datasets come from."""
        return self._registry

    def of(self, record: MethodRecord) -> Public:
        """Return the items of a record's dataset under its options.

        Raises:
            DataError: Its data are not here, or not as its release lays them out.
            AsdbenchError: There is no such dataset.
        """
        run = record.run
        key = (run.dataset, str(sorted(run.dataset_options.items())))
        if key not in self._known:
            selector, _ = split_protocol(self._registry, Selector(run.dataset, run.dataset_options))
            dataset = open_dataset(self._registry, selector)
            found = labelled_rows(dataset, self._data_root, cache=self._cache)
            tested = {number for fold in dataset.folds(found.rows) for number in fold.test}
            self._known[key] = Public(
                manifest=found.manifest,
                rows={(str(row.source), row.start): row for row in found.rows},
                tested=frozenset(
                    (str(row.source), row.start) for number, row in enumerate(found.rows) if number in tested
                ),
            )
        return self._known[key]

    def found(self, record: MethodRecord) -> tuple[Public | None, str]:
        """Return the items of a record's dataset, or why they cannot be had here: most datasets must be downloaded first.

        Raises:
            AsdbenchError: There is no such dataset.
        """
        try:
            return self.of(record), ""
        except DataError as error:
            return None, f"{record.data.dataset}: {error}"


def record_problems(method: RecordedMethod, folder: Path, *, labels: Labels) -> Iterator[str]:
    """Yield what is wrong with a record: figures against the scores, items against the public dataset if it is here.

    Raises:
        AsdbenchError: There is no such dataset or metric set, or the scores cannot be graded.
    """
    public, _ = labels.found(method.record)
    if public is not None:
        yield from _limited(_label_problems(method, folder, public=public))
    yield from _limited(_figure_problems(method, folder, registry=labels.registry))


def _label_problems(method: RecordedMethod, folder: Path, *, public: Public) -> Iterator[str]:
    file, data = folder / "items.parquet", method.record.data
    if data.complete and public.manifest != data.manifest:
        yield (
            f"{folder / 'record.json'}: data.manifest is {data.manifest}, but {data.dataset} here has {public.manifest}"
        )
    places: dict[Place, int] = {}
    for number, item in enumerate(method.items.to_dict("records")):
        where = f"{file}, item {number} ({item['source']})"
        key = (str(item["source"]), int(item["start"]))
        if (first := places.setdefault(key, number)) != number:
            yield f"{where}: it is item {first} already"
        row = public.rows.get(key)
        if row is None:
            yield f"{where}: {data.dataset} has no such item"
            continue
        if row.sha256 != item["sha256"]:
            yield f"{where}: sha256 is {item['sha256']}, but the public item has {row.sha256}"
        label = None if pd.isna(item["label"]) else item["label"]
        if row.label is None and label is not None:
            yield f"{where}: label is {label!r}, but the ground truth of {data.dataset} is missing here"
        elif row.label != label:
            yield f"{where}: label is {label!r}, but the public label is {row.label!r}"
        for column in data.groups:
            if column in item and column in row.columns and item[column] != row.columns[column]:
                yield f"{where}: {column} is {item[column]!r}, but the public one is {row.columns[column]!r}"

    # Without hard items, the figures of the others would be right and the method too good.
    missing = sorted(public.tested - places.keys())
    graded = any(row.is_whole and row.value is not None for row in method.record.results)
    if missing and data.complete and graded:
        yield f"{file}: {len(missing)} of the items that {data.dataset} tests are missing, first {missing[0][0]}"


def _figure_problems(method: RecordedMethod, folder: Path, *, registry: Registry) -> Iterator[str]:
    file = folder / "record.json"
    again = {_key(result, method): result for result in recomputed(method, registry)}
    claimed: dict[tuple[str, tuple[str | None, ...]], tuple[int, ResultRow]] = {}
    for number, row in enumerate(method.record.results):
        first, _ = claimed.setdefault(_key(row, method), (number, row))
        if first != number:
            yield f"{file}: results[{number}] ({row.metric} of {place_of(row)}) is in results[{first}] already"
    for key, (number, row) in claimed.items():
        where = f"{file}: results[{number}] ({row.metric} of {place_of(row)})"
        if row.why is not None and row.why.startswith(WITHDRAWN) and row.value is None:
            continue
        if key not in again:
            yield f"{where} does not follow from the scores"
            continue
        found = again[key]
        for field in ("value", "low", "high", "items"):
            if not _same(value := getattr(row, field), expected := getattr(found, field)):
                yield f"{where}.{field} is {value}, but the scores give {expected}"
        for seed, (value, expected) in enumerate(zip(row.per_seed, found.per_seed, strict=False)):
            if not _same(value, expected):
                yield f"{where}.per_seed[{seed}] is {value}, but the scores give {expected}"
    yield from (
        f"{file}: results lacks {found.metric} of {dict(found.groups)}, which the scores give"
        for key, found in again.items()
        if key not in claimed
    )


def _key(row: ResultRow | Result, method: RecordedMethod) -> tuple[str, tuple[str | None, ...]]:
    return row.metric, tuple(row.groups.get(column) for column in method.record.data.groups)


def _same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) <= SAME


def _limited(problems: Iterator[str]) -> Iterator[str]:
    """Yield the first problems, and how many more there are."""
    more = 0
    for number, problem in enumerate(problems):
        if number < SHOWN:
            yield problem
        else:
            more += 1
            last = problem
    if more:
        yield f"{last.partition(':')[0]}: and {more} more problems of this kind"
