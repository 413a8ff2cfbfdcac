"""The conclusion of a run: its results are evaluated, and its records and document written.

``conclude`` runs in a process that has imported no plugin but the metric set of the dataset: what a plugin replaces in the
command, for example the metrics, is as it was there.
"""

from __future__ import annotations

import msgspec

from asdbench.core.fingerprints import file_hash_of
from asdbench.errors import PluginError
from asdbench.plugin.causes import cause_of
from asdbench.plugin.entries import Lazy
from asdbench.recipes.recipe import EnsembleRecipe, Recipe
from asdbench.results.ended import Ended, Grading
from asdbench.results.ensemble import combine
from asdbench.results.evaluator import Evaluation, evaluate
from asdbench.results.graded import MetricSet
from asdbench.results.labelled import LabelledItems, labelled_items
from asdbench.results.record import write_document, write_record
from asdbench.results.report import document_of, record_of
from asdbench.results.schema import RunDocument
from asdbench.results.store import Store


def conclude(ended: Ended) -> RunDocument:
    """Evaluate the results of a run, write its records and its document, and return the document.

    Raises:
        PluginError: The metric set cannot be imported.
        RunError: See ``evaluate``.
    """
    evaluations = evaluations_of(ended.grading)
    document = document_of(
        ended.grading.data,
        evaluations=evaluations,
        published=ended.published,
        jobs=ended.jobs,
        run=msgspec.structs.replace(ended.run, code=code_hashes()),
        refused=ended.refused,
    )
    store = Store(ended.grading.out)
    for evaluation in evaluations:
        tables = {"items": evaluation.items, "validation": evaluation.validation, "held": evaluation.held}
        write_record(store, record_of(document, evaluation), tables=tables)
    write_document(store, document)  # last: a run that can be read has all its records
    return document


def evaluations_of(grading: Grading) -> list[Evaluation]:
    """Evaluate the results that are in the store, method by method."""
    metric_set = _loaded(grading.metrics)
    labelled = labelled_items(grading.data, grading.cases)
    return [
        _evaluation(grading, recipe, labelled=labelled, metric_set=metric_set) for recipe in grading.recipes
    ]


def code_hashes() -> dict[str, str]:
    """Return a hash of the files that planned a run, and of those that evaluated it."""
    return {wing: file_hash_of(f"asdbench.{wing}") for wing in ("runs", "results", "metrics")}


def _loaded(metrics: Lazy) -> MetricSet:
    try:
        found: MetricSet = metrics.load()
    except Exception as error:
        cause = cause_of(error, package=metrics.path.partition(".")[0])
        raise PluginError(f"the metric set cannot be imported from {metrics.path}: {cause}") from error
    return found


def _evaluation(
    grading: Grading, recipe: Recipe | EnsembleRecipe, *, labelled: LabelledItems, metric_set: MetricSet
) -> Evaluation:
    wanted, store = grading.selection, Store(grading.out)
    members = recipe.members if isinstance(recipe, EnsembleRecipe) else [recipe]
    labels = {member.label for member in members}
    cases = [case for case in grading.cases if case.recipe.label in labels]
    if isinstance(recipe, EnsembleRecipe):
        return combine(recipe, cases, labelled=labelled, store=store, metric_set=metric_set, selection=wanted)
    return evaluate(
        cases,
        labelled,
        store=store,
        metric_set=metric_set,
        selection=wanted or recipe.selection,
        # A rule that the user asked for must apply; a method's own may fall back where small data leave it no losses.
        strict=wanted is not None,
        by_selection=grading.by_selection,
    )
