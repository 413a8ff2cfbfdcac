"""Asks the trained models of a finished run about some of its items, for figures.

The run is planned once more from its record, which finds the job, and so the model, that each item belongs to. The
questions go to a process with torch. They hold secret item ids and what jobs may know; names and labels stay here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from asdbench.core.fingerprints import source_hash_of
from asdbench.data.folds import leave_one_out
from asdbench.data.prepare import calling, prepare
from asdbench.data.prepared import Prepared
from asdbench.errors import DataError, NothingToDraw, PluginError, unknown
from asdbench.jobs.processes import ask
from asdbench.messages.insights import Array, Asked, Insight, Question
from asdbench.messages.isolation import Isolation
from asdbench.messages.jobs import Case
from asdbench.messages.progress import ignore_progress
from asdbench.messages.rows import RowSet, packed, read_table, unpacked
from asdbench.plugin.entries import Selector
from asdbench.plugin.registry import Registry
from asdbench.recipes.recipe import Part, Recipe
from asdbench.recipes.resolve import harness_hash
from asdbench.results.record import RecordedMethod
from asdbench.results.schema import RunDocument
from asdbench.results.store import Store, weights_file
from asdbench.runs.cases import Resources, make_cases
from asdbench.runs.request import open_dataset, split_protocol

AGAIN = "run its command again, and then this one"
Place = tuple[str, int, int]
"""Source, start and length of an item; the length is -1 where the item reaches to the end of its source."""


@dataclass(frozen=True, kw_only=True)
class RunInsights:
    """The trained models of one run; nothing is planned before the first question."""

    document: RunDocument
    out: Path
    """Folder of the results."""
    data_root: Path
    cache: Path
    registry: Registry
    isolation: Isolation = "auto"
    """How the process of the models is shut in."""

    def ask(
        self, asked: Asked, method: RecordedMethod, *, items: pd.DataFrame, unit: str
    ) -> Mapping[str, NDArray[Any]]:
        """Return arrays with a row for each item, in their order; see ``RecordedRun.outputs``.

        Raises:
            NothingToDraw: The models, the data or the code are not those of the run.
            PluginError: The model breaks its contract.
            RunError: The process that was asked died.
        """
        if items.empty:
            raise NothingToDraw(f"{method.label} has no items to ask its models about")
        parts = _parts(self._cases(method), self._ids(items), unit=unit, label=method.label)
        questions = [self._question(asked, case, method=method, rows=rows) for case, rows, _ in parts]
        message = ask(
            "asdbench.jobs.insight:answer",
            msgspec.msgpack.encode(questions),
            first="asdbench.jobs.insight:shut_in",
        )
        answers = [_arrays(found) for found in msgspec.msgpack.decode(message, type=list[Insight])]
        order = np.argsort(np.concatenate([places for _, _, places in parts]))
        return {
            name: _joined([found.get(name) for found in answers], name=name, label=method.label)[order]
            for name in answers[0]
        }

    @cached_property
    def _prepared(self) -> tuple[Prepared, str | None]:
        """The data of the run, and the column that its protocol leaves out, if any."""
        document = self.document
        run = document.run
        selector, by = split_protocol(self.registry, Selector(run.dataset, run.dataset_options))
        dataset = open_dataset(self.registry, selector)
        try:
            prepared = prepare(dataset, self.data_root, cache=self.cache, on_progress=ignore_progress)
        except DataError as error:
            raise NothingToDraw(f"the data of the run are not at hand: {error}") from error
        if prepared.manifest != document.data.manifest:
            raise NothingToDraw(
                f"the items of {run.selector} under {self.data_root} are not those of run {run.id}; name the folder of "
                "its data with --data-root"
            )
        return prepared, by

    def _cases(self, method: RecordedMethod) -> Sequence[Case]:
        """Return the cases of a method with its first seed, which are those of the run."""
        recipe, run = method.record.method.recipe, self.document.run
        if not isinstance(recipe, Recipe):
            raise NothingToDraw(f"{method.label} is an ensemble without a model of its own; run its members")
        _check_code(recipe)
        prepared, by = self._prepared
        with calling(prepared.card.name, to="divide its items into folds"):
            folds = prepared.dataset.folds(prepared.rows)
        return make_cases(
            [recipe],
            prepared,
            folds=folds if by is None else leave_one_out(folds, prepared.rows, by=by),
            seeds=method.seeds[:1],
            resources=Resources(
                device=run.device,
                threads=run.threads,
                store=str(self.out),
                resume_every_s=0.0,
                feature_bytes=0,
                isolation=self.isolation,
                hidden=tuple(str(folder.resolve()) for folder in (self.data_root, self.cache, self.out)),
            ),
            rows=(self.cache / "rows" / prepared.pack.name).resolve(),
            unseen=by is not None,
        )

    def _ids(self, items: pd.DataFrame) -> list[int]:
        """Return the secret id of each item in the pack."""
        prepared, _ = self._prepared
        places = (_place(str(row.source), row.start, length=row.length) for row in prepared.rows)
        ids = dict(zip(places, prepared.ids.tolist(), strict=True))
        columns = (items[name] for name in ("source", "start", "length"))
        # The manifest is that of the run, so it has every item of its tables.
        return [
            ids[_place(source, start, length=length)] for source, start, length in zip(*columns, strict=True)
        ]

    def _question(self, asked: Asked, case: Case, *, method: RecordedMethod, rows: RowSet) -> Question:
        store, score = Store(self.out), case.score
        fitted = store.fit_record(score.model_id)
        if fitted is None:
            raise NothingToDraw(
                f"the model {score.model_id} of {method.label} on {case.place} is not in {self.out}; {AGAIN}"
            )
        chosen = (
            one
            for one in method.record.method.checkpoints
            if (one.place, one.seed) == (case.place, case.seed)
        )
        epoch = next((one.epoch for one in chosen), fitted.checkpoints[-1])
        # On the CPU, so that a figure does not depend on the machine that draws it.
        spec = msgspec.structs.replace(score, device="cpu", test=rows)
        return Question(asked=asked, spec=spec, weights=str(weights_file(store, fitted, epoch=epoch)))


def _check_code(recipe: Recipe) -> None:
    """Check that a model can be built as it was trained.

    Raises:
        NothingToDraw: Code that computes its outputs has changed.
    """
    changed = [part for part in (recipe.featurizer, recipe.model) if part.source != _source_of(part)]
    if changed or recipe.harness != harness_hash():
        what = f"{changed[0].path}, a part of {recipe.label}," if changed else "the code of asdbench"
        raise NothingToDraw(f"{what} has changed since the run; {AGAIN}")


def _source_of(part: Part) -> str:
    return source_hash_of(part.path.partition(":")[0])


def _place(source: str, start: int, *, length: int | None) -> Place:
    return source, int(start), -1 if pd.isna(length) else int(length)


def _parts(
    cases: Sequence[Case], ids: Sequence[int], *, unit: str, label: str
) -> list[tuple[Case, RowSet, NDArray[np.int64]]]:
    """Return which rows each case is asked about, and the places of these rows among the items.

    Raises:
        NothingToDraw: There is no such unit, or an item is scored by none of the cases.
    """
    known = {case.unit for case in cases if case.score.test.count}
    if unit and unit not in known:
        raise NothingToDraw(f"{label}: {unknown('unit', unit, known=known)}")
    parts = []
    for case in (case for case in cases if unit in ("", case.unit) and case.score.test.count):
        rows = _rows_of(case, of_all=bool(unit))
        found = [(place, rows[item]) for place, item in enumerate(ids) if item in rows]
        if found:
            places, chosen = zip(*found, strict=True)
            test = msgspec.structs.replace(case.score.test, places=packed(chosen), count=len(chosen))
            parts.append((case, test, np.array(places, dtype=np.int64)))
    if len(ids) != sum(len(places) for _, _, places in parts):
        raise NothingToDraw(
            f"{label}: some of the items are scored by no model{f' of unit {unit}' if unit else ''}"
        )
    return parts


def _rows_of(case: Case, *, of_all: bool) -> dict[int, int]:
    """Return item id -> place in the table of scored rows, of the case's own items or of all items of its fold."""
    if of_all:
        return {item: place for place, item in enumerate(read_table(case.score.test.table).ids)}
    sets = (case.score.test, case.score.validation)
    return {
        item: place
        for rows in sets
        if rows.count
        for item, place in zip(rows.ids, unpacked(rows.places), strict=True)
    }


def _arrays(found: Insight) -> dict[str, NDArray[Any]]:
    if found.why:
        raise PluginError(found.why) if found.broken else NothingToDraw(found.why)
    return {name: _array(value) for name, value in found.arrays.items()}


def _array(value: Array) -> NDArray[Any]:
    return np.frombuffer(value.data, dtype=value.dtype).reshape(value.shape)


def _joined(pieces: Sequence[NDArray[Any] | None], *, name: str, label: str) -> NDArray[Any]:
    """Return an array of the items of all units."""
    shapes = {None if piece is None else piece.shape[1:] for piece in pieces}
    if None in shapes or len(shapes) > 1:
        raise NothingToDraw(
            f"{label}: the units of the items differ in {name!r}, so they cannot be drawn together"
        )
    return np.concatenate([piece for piece in pieces if piece is not None])
