"""A whole run: a request in, a report out. Prepares the data, plans, executes what is missing, evaluates, records."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import msgspec

from asdbench.atomic import write_json
from asdbench.contracts import Dataset
from asdbench.data.folds import leave_one_out
from asdbench.data.leaks import known_leak
from asdbench.data.prepare import Prepared, prepare
from asdbench.ensemble import combine
from asdbench.environment import DISTRIBUTION, available_memory, environment, required_by
from asdbench.errors import ConfigError, DataError, Interrupted, unknown
from asdbench.evaluate import RESAMPLES, Evaluation, MetricSet, evaluate
from asdbench.execute import Observer, Outcome, execute, outcomes
from asdbench.executors.local import LocalExecutor, cores
from asdbench.metrics.resampling import BOOTSTRAP_SEED
from asdbench.plan import Resources, Task, make_plan
from asdbench.recipe import (
    PARTS,
    Combination,
    Recipe,
    config_of,
    configure,
    identifier,
    resolve,
    resolve_ensemble,
)
from asdbench.registry import RUN, Kind, Registry
from asdbench.report import Report, make_report, write_record
from asdbench.store import Store
from asdbench.values import Selection, Words

logger = logging.getLogger(__name__)
LOSO = "loso"
"""The protocol that any dataset understands."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a user asks for."""

    methods: Sequence[Words]
    dataset: Words
    data_root: Path
    cache: Path
    out: Path
    seeds: Sequence[int] = (42,)
    slots: int = 1
    threads: int | None = None
    """Per job; None: the cores, shared out among the slots."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    timeout_s: float | None = None
    allow_partial: bool = False
    selection: Selection | None = None
    """None: each method's own rule."""
    resume_every_s: float = 10.0
    command: Sequence[str] = field(default_factory=tuple)


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A request with its data prepared and its jobs worked out."""

    request: Request
    prepared: Prepared
    recipes: list[Recipe | Combination]
    """What the report is of, in the order asked for."""
    tasks: list[Task]
    """Of the methods asked for and of the members of ensembles."""
    resources: Resources

    @property
    def run_id(self) -> str:
        """Equal for equal sets of jobs."""
        return identifier(sorted(task.score.job_id for task in self.tasks), self.request.selection)


def plan_run(request: Request, registry: Registry, observer: Observer) -> Planned:
    """Prepare the data and work out every job, without running any.

    Raises:
        AsdbenchError: A word is not understood, data are damaged or incomplete; nothing has been run.
    """
    words, by = division(registry, request.dataset)
    dataset = open_dataset(registry, words)
    recipes = [_resolve(registry, words, dataset.card.name) for words in request.methods]
    _check_labels(recipes)
    resources = _resources(request)
    prepared = prepare(dataset, request.data_root, request.cache, report=observer.preparing)
    if not prepared.completeness.complete and not request.allow_partial:
        raise DataError(
            f"{dataset.card.name} is incomplete, {prepared.completeness.summary()}. `asdbench datasets verify` lists all "
            "gaps; with --allow-partial the run goes on and its numbers are marked as of partial data"
        )
    _check_task(recipes, prepared)
    folds = prepared.dataset.folds(prepared.rows)
    if by is not None:
        if any(fold.validation for fold in folds):
            raise ConfigError(
                f"{prepared.card.name} chooses a threshold on validation items, which models of other folds train on; "
                "protocol=loso is for data without them"
            )
        if by not in prepared.card.columns:
            raise ConfigError(f"by={by}: {unknown('column', by, prepared.card.columns)}")
        folds = leave_one_out(folds, prepared.rows, by=by)
        prepared = _with_card(prepared, published_as="")
    if leak := known_leak(prepared, folds):
        logger.warning("%s: known leak: %s", prepared.card.name, leak)
        prepared = _with_card(prepared, known_leaks=(*prepared.card.known_leaks, leak))
    tasks = make_plan(
        _trained(recipes), prepared, folds, seeds=request.seeds, resources=resources, unseen=by is not None
    )
    return Planned(request=request, prepared=prepared, recipes=recipes, tasks=tasks, resources=resources)


def run(request: Request, registry: Registry, observer: Observer) -> Report:
    """Run a request to its end and return its report.

    Raises:
        Interrupted: The user interrupted; what is finished is kept, and the same request continues.
        AsdbenchError: The request cannot be run at all.
    """
    return run_planned(plan_run(request, registry, observer), registry, observer)


def run_planned(planned: Planned, registry: Registry, observer: Observer) -> Report:
    """Run what was planned to its end and return its report.

    Raises:
        Interrupted: The user interrupted; what is finished is kept, and the same request continues.
        RunError: Another run is using the folder of results.
    """
    store = Store(planned.request.out)
    with store.exclusive():
        ended = _execute(planned, store, observer)
        report = report_on(planned, registry, store, ended)
        document = report.document()
        records = {
            evaluation.recipe.label: write_record(store, document, evaluation)
            for evaluation in report.evaluations
        }
        write_json(store.root / "runs" / f"{planned.run_id}.json", document | {"records": records})
    return report


def report_on(planned: Planned, registry: Registry, store: Store, ended: Sequence[Outcome]) -> Report:
    """Evaluate what the store holds of a plan."""
    metric_set: MetricSet = registry.build("metrics", planned.prepared.card.metrics)
    evaluations = [_evaluate(planned, recipe, store, metric_set) for recipe in planned.recipes]
    return make_report(
        registry,
        planned.prepared,
        evaluations,
        list(ended),
        run={
            "id": planned.run_id,
            "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "command": list(planned.request.command),
            "dataset": planned.prepared.card.name,
            "dataset_options": dict(planned.request.dataset[1]),
            "dataset_options_resolved": _resolved_options(planned, registry),
            "methods": [recipe.label for recipe in planned.recipes],
            "seeds": list(planned.request.seeds),
            "selection": planned.request.selection,
            "device": planned.resources.device,
            "threads": planned.resources.threads,
            "metric_set": planned.prepared.card.metrics,
            "resamples": RESAMPLES,
            "bootstrap_seed": BOOTSTRAP_SEED,
            "plugins": _plugins(planned, registry),
            "environment": environment(),
        },
    )


def _resolved_options(planned: Planned, registry: Registry) -> dict[str, Any]:
    """Return every option of the dataset, its place as it was typed."""
    words, _ = division(registry, planned.request.dataset)
    options: dict[str, Any] = msgspec.to_builtins(open_dataset(registry, words))
    return options


def _plugins(planned: Planned, registry: Registry) -> list[dict[str, Any]]:
    """Return whose plugin, of which version and source, offers each thing that the figures come from."""
    used: dict[tuple[Kind, str], None] = {
        ("dataset", planned.request.dataset[0]): None,
        ("metrics", planned.prepared.card.metrics): None,
    }
    for recipe in planned.recipes:
        if isinstance(recipe, Combination):
            used["ensemble", recipe.method] = None
    for recipe in _trained(planned.recipes):
        used["method", recipe.method] = None
        for one in (recipe, *recipe.units.values()):
            used |= {(part, getattr(one, part).name): None for part in PARTS}
    return [_origin(registry, kind, name) for kind, name in used]


def _origin(registry: Registry, kind: Kind, name: str) -> dict[str, Any]:
    owner = registry.owner(kind, name)
    told = {
        "kind": kind,
        "name": name,
        "plugin": owner.name,
        "distribution": owner.distribution,
        "version": owner.version,
    }
    if kind not in RUN:  # methods and ensembles are values; their recipe stands in the record
        told["source_hash"] = registry.source_hash(kind, name)
    if owner.distribution == DISTRIBUTION:
        return told
    return told | {"libraries": required_by(owner.distribution)}


def known_outcomes(planned: Planned) -> list[Outcome]:
    """Return what the store knows of a plan's jobs."""
    return outcomes(planned.tasks, Store(planned.request.out))


def division(registry: Registry, words: Words) -> tuple[Words, str | None]:
    """Return a dataset's words without ``protocol=loso,by=COLUMN``, which any dataset understands, and the column.

    Raises:
        PluginError: Nobody offers the dataset.
        ConfigError: ``protocol=loso`` does not say by which column, ``by`` stands without it, or another option or
            protocol is unknown.
    """
    name, options = words
    own = set(config_of(registry.build("dataset", name)).__struct_fields__)
    left = dict(options)
    by = None
    if left.get("protocol") == LOSO:
        del left["protocol"]
        by = left.pop("by", None)
        if by is None:
            raise ConfigError(
                f"{name}[protocol=loso] leaves one out at a time, but of which column? Say by=section, for one"
            )
    for key, value in left.items():
        if key in own:
            continue
        if key == "protocol":
            raise ConfigError(f"{name}: {unknown('protocol', value, [LOSO])}")
        if key == "by":
            raise ConfigError(
                f"{name}[by={value}] belongs to protocol={LOSO}: say protocol={LOSO},by={value}"
            )
        raise ConfigError(f"{name}: {unknown('option', key, own | {'protocol', 'by'})}")
    return (name, left), by


def open_dataset(registry: Registry, words: Words) -> Dataset:
    """Return a dataset with its options.

    Raises:
        PluginError: Nobody offers it.
        ConfigError: An option is unknown or does not fit.
    """
    name, options = words
    built = registry.build("dataset", name)
    dataset: Dataset = configure(config_of(built), options, of=name)
    return dataset


def _with_card(prepared: Prepared, **changed: Any) -> Prepared:
    return replace(prepared, card=msgspec.structs.replace(prepared.card, **changed))


def _execute(planned: Planned, store: Store, observer: Observer) -> list[Outcome]:
    executor = LocalExecutor(
        slots=planned.request.slots, threads=planned.resources.threads, timeout_s=planned.request.timeout_s
    )
    try:
        return execute(planned.tasks, executor, store, observer)
    except KeyboardInterrupt as interrupt:
        raise Interrupted(
            "interrupted; what is finished is kept, the same command goes on from here"
        ) from interrupt
    finally:
        executor.close()


def _resolve(registry: Registry, words: Words, dataset: str) -> Recipe | Combination:
    name, options = words
    ensemble = registry.ensemble(name)
    if ensemble is None:
        return resolve(registry, name, options, dataset=dataset)
    return resolve_ensemble(registry, ensemble, options, dataset=dataset)


def _trained(recipes: Sequence[Recipe | Combination]) -> list[Recipe]:
    """Return the methods asked for and the members of ensembles, each once."""
    methods = [recipe for recipe in recipes if isinstance(recipe, Recipe)]
    members = [member for recipe in recipes if isinstance(recipe, Combination) for member in recipe.members]
    return list({recipe.label: recipe for recipe in [*methods, *members]}.values())


def _evaluate(
    planned: Planned, recipe: Recipe | Combination, store: Store, metric_set: MetricSet
) -> Evaluation:
    wanted = planned.request.selection
    if isinstance(recipe, Combination):
        labels = {member.label for member in recipe.members}
        tasks = [task for task in planned.tasks if task.recipe.label in labels]
        return combine(recipe, tasks, planned.prepared, store, metric_set, selection=wanted)
    tasks = [task for task in planned.tasks if task.recipe.label == recipe.label]
    if wanted is None:
        return evaluate(tasks, planned.prepared, store, metric_set, selection=recipe.selection, strict=False)
    return evaluate(tasks, planned.prepared, store, metric_set, selection=wanted)


def _check_task(recipes: Sequence[Recipe | Combination], prepared: Prepared) -> None:
    for recipe in recipes:
        if isinstance(recipe, Combination) and prepared.card.targets:
            raise ConfigError(
                f"{recipe.label} averages anomaly scores, but {prepared.card.name} is a task of classification"
            )


def _check_labels(recipes: Sequence[Recipe | Combination]) -> None:
    labels = [recipe.label for recipe in recipes]
    for label in labels:
        if labels.count(label) > 1:
            raise ConfigError(f"{label} is asked for twice; repeat a run with several --seed instead")


def _resources(request: Request) -> Resources:
    threads = request.threads or max(1, len(cores()) // request.slots)
    return Resources(
        device=_device(request.device),
        threads=threads,
        store=str(request.out.resolve()),
        resume_every_s=request.resume_every_s,
        feature_bytes=int(available_memory() / 4 / request.slots),
    )


def _device(wanted: str) -> str:
    if wanted == "cpu":
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if wanted == "cuda":
        raise ConfigError("--device cuda: torch finds no CUDA device here; use --device cpu or auto")
    return "cpu"
