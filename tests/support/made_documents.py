"""Run documents of evaluations built by hand: data, results of every metric set, printed values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from made_runs import run_info

from asdbench import Card, Printed, Registry, Row, RunDocument, Selector
from asdbench.data.completeness import Completeness
from asdbench.data.prepared import Prepared
from asdbench.messages.results import Outcome
from asdbench.metrics import ClassTable, Result, ScoreTable, classification, dcase2020, holdout
from asdbench.recipes.resolve import resolve
from asdbench.results.evaluator import Evaluation
from asdbench.results.published import printed_for, published_for
from asdbench.results.report import document_of
from asdbench_datasets.dcase.dcase2020 import MIMII, Dcase2020

GROUPS = ("machine", "section", "domain")
MIMII_ALONE = Dcase2020(train="dev", machines=MIMII)
SERIAL_OE_TYPES = ("fan", "gearbox", "pump", "valve", "slider", "ToyCar", "ToyTrain")


def card_of(
    board: str,
    *,
    metrics: str = "dcase2021",
    groups: tuple[str, ...] = GROUPS,
    claims: tuple[str, ...] = ("machine", "section"),
    **more: Any,
) -> Card:
    """A card of machines with two sections of two domains."""
    return Card(
        name="made", title="Made", task="detection", modality="audio", licence="none", citation="none", columns={},
        claims=claims, scopes={"all": ()}, groups=groups, metrics=metrics, published_as=board, item_shape=(16,), **more,
    )  # fmt: skip


def faces_card(**more: Any) -> Card:
    """The card of the micro-expression databases, as far as results need it."""
    return card_of("micro_expression/loso", groups=("database",), claims=(), **more)


def items_of(machines: Sequence[str], *, domains: Sequence[str] = ("source",)) -> pd.DataFrame:
    """Eight clips of each of two sections and of each domain."""
    return pd.DataFrame(
        [
            {"machine": machine, "section": section, "domain": domain, "label": label}
            for machine in machines
            for section in ("00", "02")
            for domain in domains
            for label in ("normal", "anomaly") * 4
        ]
    )


def faces_items() -> pd.DataFrame:
    """Items of all three databases."""
    return items_of(("face",)).assign(database=["casme2", "samm", "smic", "smic"] * 4)


def prepared_of(
    card: Card, items: pd.DataFrame, *, expected: int | None = 1, complete: bool = True
) -> Prepared:
    """Prepared data with a row for each distinct public column of the items."""
    rows = tuple(
        Row(
            source=PurePosixPath("clip.wav"),
            columns={str(key): value for key, value in columns.items()},
            label=None,
        )
        for columns in items.drop(columns=["label", "domain"]).drop_duplicates().to_dict("records")
    )
    return Prepared(
        dataset=Dcase2020(), card=card, rows=rows, ids=np.arange(len(rows)), decoded=[], pack=Path("pack"),
        vault=Path("vault"), samples="", manifest="",
        completeness=Completeness(complete=complete, items=len(rows), expected=expected),
    )  # fmt: skip


def results_of(items: pd.DataFrame, metric_set: Any, *, resamples: int = 10) -> list[Result]:
    """The results of random scores, higher for anomalies."""
    scores = np.random.default_rng(1).normal(size=len(items)) + (items["label"] == "anomaly").to_numpy()
    table = ScoreTable(
        groups=GROUPS,
        columns={group: items[group].to_numpy(dtype=np.str_) for group in GROUPS},
        label=items["label"].to_numpy(dtype=object),
        scores=scores[None],
    )
    results: list[Result] = metric_set(table, resamples=resamples)
    return results


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Makes documents of evaluations with the printed values of a registry."""

    registry: Registry
    cache: Path

    def evaluation(
        self, method: str, *, results: list[Result], best: list[Result] | None = None
    ) -> Evaluation:
        """An evaluation of a method, given as a user would type it."""
        return Evaluation(
            recipe=resolve(self.registry, Selector.parse(method), dataset="dcase2020"), seeds=(42,), failed_seeds=(),
            selection="last", results=results, best_on_test=best, finished=[], unfinished=[], items=pd.DataFrame(),
        )  # fmt: skip

    def document(
        self, prepared: Prepared, *evaluations: Evaluation, jobs: Sequence[Outcome] = ()
    ) -> RunDocument:
        """The document of a run with these evaluations."""
        recipes = [evaluation.recipe for evaluation in evaluations]
        return document_of(
            prepared,
            evaluations=evaluations,
            published=published_for(self.registry, prepared, recipes=recipes, cache=self.cache),
            jobs=jobs,
            run=run_info(dataset=prepared.card.name),
        )

    def on_mimii(self, *methods: str, card: Card = MIMII_ALONE.card, **state: Any) -> RunDocument:
        """The document of methods on the four machine types of MIMII."""
        items = items_of(MIMII)
        results = results_of(items, dcase2020, resamples=0)
        evaluations = [self.evaluation(method, results=results) for method in methods]
        return self.document(prepared_of(card, items, **state), *evaluations)

    def numbers(self, method: str, *, card: Card) -> Mapping[Any, Printed]:
        """The printed values of a method on MIMII, by group and metric."""
        prepared, evaluation = prepared_of(card, items_of(MIMII)), self.evaluation(method, results=[])
        return printed_for(self.registry, prepared, recipe=evaluation.recipe, cache=self.cache).numbers

    def table(self, document: RunDocument, *, by: str = "type") -> str:
        """The results table of a run."""
        text: str = self.registry.build("table", "results")(document, by=by)
        return text


def of_windows() -> list[Result]:
    """Results of a hold-out protocol: nine windows in ten are told apart."""
    label = np.array(["normal", "anomaly"] * 10, dtype=object)
    scores = (np.arange(20) % 2 + np.random.default_rng(0).normal(scale=0.5, size=20))[np.newaxis]
    validation = ScoreTable(groups=("recording",), columns={}, label=label, scores=scores)
    return holdout(replace(validation, validation=validation), resamples=10)


def of_clips() -> list[Result]:
    """Results of detection, averaged over machine types."""
    return results_of(items_of(("fan", "pump")), dcase2020)


def of_classes() -> list[Result]:
    """Results of a classifier on two databases."""
    table = ClassTable(
        groups=("database",),
        columns={"database": np.array(["casme2", "samm"] * 3)},
        truth=np.array([0, 1, 2, 0, 1, 2]),
        scores=np.eye(3)[np.array([0, 1, 2, 0, 0, 2])][np.newaxis],
    )
    return classification(table, resamples=10)


def of_a_stranger() -> list[Result]:
    """One metric of the whole dataset that asdbench has no name for."""
    nameless: Any = "surprise"
    return [
        Result(groups={}, metric=nameless, value=0.5, low=None, high=None, why=None, per_seed=(0.5,), items=4)
    ]
