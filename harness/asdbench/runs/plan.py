"""The plan: a request with its data prepared and its jobs determined, before any of them runs."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from asdbench.core.environment import available_memory, built_for, cores, has_gpu
from asdbench.core.fingerprints import identifier
from asdbench.data.dataset import Card, Fold, TruthDataset
from asdbench.data.folds import leave_one_out
from asdbench.data.kept import EMBEDDINGS
from asdbench.data.leaks import known_leak
from asdbench.data.prepare import calling, prepare
from asdbench.data.prepared import Prepared
from asdbench.errors import ConfigError, DataError, PluginError, unknown
from asdbench.jobs.isolation import check_available
from asdbench.jobs.processes import ask, start_server
from asdbench.messages.jobs import Case
from asdbench.messages.measures import Measure
from asdbench.messages.progress import OnProgress, Progress
from asdbench.plugin.entries import UNIT
from asdbench.plugin.registry import NotOffered, Registry
from asdbench.recipes.recipe import EnsembleRecipe, Recipe
from asdbench.recipes.remembered import resolve_any
from asdbench.recipes.resolve import check_required
from asdbench.results.store import Store, threads_of_models
from asdbench.runs.buildable import checked, measures
from asdbench.runs.cases import Resources, make_cases, model_id_with
from asdbench.runs.observer import Observer
from asdbench.runs.request import LOSO, Request, check_by, open_dataset, split_protocol
from asdbench.runs.units import check_scope

_log = logging.getLogger(__name__)
FEATURE_BYTES = 2 << 30
"""Most that a job on the CPU keeps of its features, so that its memory does not grow with the number of items. Log-mel
that is computed again for each batch takes a hundredth of the time of a training step of the networks on it."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A request with its data prepared and its jobs determined."""

    request: Request
    prepared: Prepared
    recipes: list[Recipe | EnsembleRecipe]
    """The requested methods and ensembles, in order, without those that are refused."""
    refused: Mapping[str, str]
    """Label of a method or an ensemble that cannot be planned because a plugin is broken -> why."""
    cases: list[Case]
    """Cases of all requested methods and of all members of ensembles."""
    resources: Resources
    measures: Mapping[str, Measure]
    """What building the detector of each applicable case found, by the ``job_id`` of its scores."""

    @property
    def run_id(self) -> str:
        """Identifier of the run; equal for equal sets of jobs and the same selection rule."""
        return identifier(sorted(case.score.job_id for case in self.cases), self.request.selection)


def plan_run(request: Request, registry: Registry, *, observer: Observer) -> Planned:
    """Prepare the data and determine every job, without running any.

    Raises:
        ConfigError: A name or an option is wrong, or does not fit the data.
        DataError: The data are missing, damaged, or incomplete without ``allow_partial``.
        PluginError: No plugin offers what is requested, the dataset's is broken, or those of all methods are.
    """
    # Recipes before data: a misspelt option is reported at once, not after minutes of hashing and decoding.
    selector, by = split_protocol(registry, request.dataset)
    dataset = open_dataset(registry, selector)
    with calling(selector.name, to="give its card"):
        name = dataset.card.name
    recipes, refused = _recipes(request, registry, dataset=name)
    _check_labels(recipes)  # results are stored and shown by label
    resources = resources_of(request)
    _check_required(recipes, registry)
    _check_graphs(recipes, device=resources.device)

    def check(card: Card) -> None:
        for recipe in trained(recipes):
            check_scope(recipe, card)
        check_by(by, card)

    prepared = prepare(
        dataset, request.data_root, cache=request.cache, on_progress=_preparing(observer), check=check
    )
    _check_complete(prepared, request)
    _warn_of_missing_truth(prepared, request)
    _check_task(recipes, prepared)
    folds, prepared = _folds(prepared, by=by)
    cases = make_cases(
        trained(recipes),
        prepared,
        folds=folds,
        seeds=request.seeds,
        resources=resources,
        rows=(request.cache / "rows" / prepared.pack.name).resolve(),
        unseen=by is not None,
    )
    _check_units(recipes, cases)
    known = measures(cases, cache=request.cache)
    cases, broken = checked(cases, known)
    recipes, refused = _without(recipes, broken, refused=refused)
    _warn_of_other_threads(cases, store=Store(request.out))
    labels = {recipe.label for recipe in trained(recipes)}
    return Planned(
        request=request,
        prepared=prepared,
        recipes=recipes,
        refused=refused,
        cases=[case for case in cases if case.recipe.label in labels],
        resources=resources,
        measures=known,
    )


def _preparing(observer: Observer) -> OnProgress:
    """Return what reports how data are prepared; at the first sign of new data it starts the server of workers."""
    start = functools.cache(start_server)

    def report(progress: Progress) -> None:
        if progress.stage != "hashing":  # files that are only hashed may be those of a finished run
            start()  # it loads torch while data are generated or decoded, and new data need jobs
        observer.preparing(progress)

    return report


def _recipes(
    request: Request, registry: Registry, *, dataset: str
) -> tuple[list[Recipe | EnsembleRecipe], dict[str, str]]:
    """Return the recipes of the requested methods, and why others have none: a broken plugin costs its methods alone."""
    recipes: list[Recipe | EnsembleRecipe] = []
    refused: dict[str, str] = {}
    for method in request.methods:
        try:
            recipes.append(resolve_any(registry, method, dataset=dataset, cache=request.cache))
        except NotOffered:  # a wrong name in the request
            raise
        except PluginError as error:
            refused[str(method)] = str(error)
    _check_any_left(recipes, refused)
    return recipes, refused


def _without(
    recipes: Sequence[Recipe | EnsembleRecipe], broken: Mapping[str, str], *, refused: Mapping[str, str]
) -> tuple[list[Recipe | EnsembleRecipe], dict[str, str]]:
    """Return the recipes without methods that are broken, or ensembles of them, and why all others are refused."""
    whys = {recipe.label: next(_whys(recipe, broken), None) for recipe in recipes}
    left = [recipe for recipe in recipes if whys[recipe.label] is None]
    both = dict(refused) | {label: why for label, why in whys.items() if why is not None}
    _check_any_left(left, both)
    return left, both


def _whys(recipe: Recipe | EnsembleRecipe, broken: Mapping[str, str]) -> Iterator[str]:
    return (broken[each.label] for each in trained([recipe]) if each.label in broken)


def _check_any_left(recipes: Sequence[Recipe | EnsembleRecipe], refused: Mapping[str, str]) -> None:
    if refused and not recipes:
        raise PluginError("\n".join(dict.fromkeys(refused.values())))


def check_preset(name: str, registry: Registry, *, cache: Path) -> None:
    """Check that the datasets and methods of a preset exist and have the options that it sets.

    Raises:
        PluginError: One does not; a name or an option that the user typed would be a ``ConfigError``.
    """
    for run in registry.preset(name).runs:
        try:
            selector, by = split_protocol(registry, run.dataset)
            card = open_dataset(registry, selector).card
            check_by(by, card)
            for method in run.methods:
                resolve_any(registry, method, dataset=card.name, cache=cache)
        except (ConfigError, NotOffered) as error:
            raise PluginError(
                f"preset {name!r} of plugin {registry.owner('preset', name)} is wrong: {error}"
            ) from error
        except PluginError:
            continue  # planning refuses the broken method and runs the others


def trained(recipes: Sequence[Recipe | EnsembleRecipe]) -> list[Recipe]:
    """Return the requested methods and the members of ensembles, each once."""
    methods = [recipe for recipe in recipes if isinstance(recipe, Recipe)]
    members = [
        member for recipe in recipes if isinstance(recipe, EnsembleRecipe) for member in recipe.members
    ]
    # A member that is also requested by itself is trained once.
    return list({recipe.label: recipe for recipe in [*methods, *members]}.values())


def _folds(prepared: Prepared, *, by: str | None) -> tuple[Sequence[Fold], Prepared]:
    """Return the folds of the protocol, and the data with a card that takes the protocol into account."""
    with calling(prepared.card.name, to="divide its items into folds"):
        folds = prepared.dataset.folds(prepared.rows)
    if by is not None:
        if any(fold.validation for fold in folds):
            raise ConfigError(
                f"protocol={LOSO} needs a dataset without validation items; {prepared.card.name} chooses a threshold on "
                "them, and models of other folds would train on them"
            )
        folds = leave_one_out(folds, prepared.rows, by=by)
        prepared = _with_card(prepared, published_as="")  # papers print values for the official division only
    # Once per run and not per fold, and in the card, so that every table and record repeats it.
    if leak := known_leak(prepared, folds):
        _log.warning("%s: known leak: %s", prepared.card.name, leak)
        prepared = _with_card(prepared, known_leaks=(*prepared.card.known_leaks, leak))
    return folds, prepared


def _with_card(prepared: Prepared, **changed: Any) -> Prepared:
    return replace(prepared, card=msgspec.structs.replace(prepared.card, **changed))


def _check_complete(prepared: Prepared, request: Request) -> None:
    if not prepared.completeness.complete and not request.allow_partial:
        raise DataError(
            f"{prepared.card.name} is incomplete, {prepared.completeness.summary()}. `asdbench datasets verify` lists "
            "all gaps; --allow-partial runs on it anyway and marks the numbers as from partial data"
        )


def _warn_of_missing_truth(prepared: Prepared, request: Request) -> None:
    unlabelled = sum(row.label is None for row in prepared.rows)
    if unlabelled and isinstance(prepared.dataset, TruthDataset):
        from asdbench.data.release import truth_hint  # with all that downloads need

        _log.warning(
            "%s: %s test items have no known label: %s",
            prepared.card.name,
            f"{unlabelled:,}",
            truth_hint(prepared.dataset, request.data_root),
        )


def _check_task(recipes: Sequence[Recipe | EnsembleRecipe], prepared: Prepared) -> None:
    for recipe in recipes:
        if isinstance(recipe, EnsembleRecipe) and prepared.card.targets:
            raise ConfigError(
                f"{recipe.label} averages anomaly scores, but {prepared.card.name} is a classification task; choose a "
                "method that classifies"
            )


def _check_required(recipes: Sequence[Recipe | EnsembleRecipe], registry: Registry) -> None:
    for recipe in trained(recipes):
        check_required(registry, recipe)


def _check_graphs(recipes: Sequence[Recipe | EnsembleRecipe], *, device: str) -> None:
    for recipe in trained(recipes):
        if recipe.common.compile == "graphs" and device == "cpu":
            raise ConfigError(
                f"{recipe.label}: compile=graphs needs a GPU, but the device is cpu: set compile=true, or --device cuda "
                "where there is one"
            )


def _check_labels(recipes: Sequence[Recipe | EnsembleRecipe]) -> None:
    labels = [recipe.label for recipe in recipes]
    for label in labels:
        if labels.count(label) > 1:
            raise ConfigError(f"{label} is given twice; to repeat a run, give --seed several times instead")


def _check_units(recipes: Sequence[Recipe | EnsembleRecipe], cases: Sequence[Case]) -> None:
    """Check that options of single units are of units that the data have."""
    for recipe in recipes:
        units = {case.unit for case in cases if case.recipe.label == recipe.label}
        known = units | {unit.partition("/")[0] for unit in units}
        for key in recipe.changed:
            unit, colon, option = key.partition(UNIT)
            if colon and unit not in known:
                raise ConfigError(
                    f"{recipe.label}: {unknown(f'unit of option {option!r}', unit, known=known)}"
                )


def resources_of(request: Request) -> Resources:
    """Return what each job of a request may use."""
    # Jobs that run elsewhere may have a GPU where this machine, for example a login node, has none.
    here = request.executor.name == "local"
    if here:
        check_available(request.isolation)
    device = _device(request.device) if here or request.device != "cuda" else "cuda"
    # A quarter for the features of all jobs together; the rest is left to models, samples and the page cache.
    share = int(available_memory() / 4 / request.slots)
    return Resources(
        device=device,
        threads=request.threads or max(1, len(cores()) // request.slots),
        store=str(request.out.resolve()),
        resume_every_s=request.resume_every_s,
        feature_bytes=min(share, FEATURE_BYTES) if device == "cpu" else share,
        isolation=request.isolation,
        hidden=tuple(str(folder.resolve()) for folder in (request.data_root, request.cache, request.out)),
        keep=str((request.cache / EMBEDDINGS).resolve()),
    )


def _warn_of_other_threads(cases: Sequence[Case], *, store: Store) -> None:
    """Warn if models are trained again only because jobs have another number of threads, for example through --jobs."""
    present = store.models()
    missing = [case for case in cases if case.inapplicable is None and case.fit.model_id not in present]
    if not missing or missing[0].fit.device != "cpu":  # on a GPU threads make no difference
        return
    threads, known = missing[0].fit.threads, threads_of_models(store)
    finished = {
        other: known.keys() & {model_id_with(case, threads=other) for case in missing}
        for other in sorted(set(known.values()) - {threads})
    }
    kept = max(finished, key=lambda other: len(finished[other]), default=threads)
    if count := len(finished.get(kept, ())):
        _log.warning(
            "%s finished with --threads %d; this run trains %s again with %d, since the number of threads (by default "
            "cores / jobs) changes the last bits of a training; add --threads %d to keep %s",
            f"{count} models are" if count > 1 else "1 model is", kept, "them" if count > 1 else "it", threads,
            kept, "them" if count > 1 else "it",
        )  # fmt: skip


def _device(wanted: str) -> str:
    """Return the device for jobs; asks torch, in another process, only if the machine may have a GPU."""
    # The cheap questions come first: which build of torch is installed, and whether the machine has a GPU at all.
    if wanted == "cpu":
        return "cpu"
    # Asked of a user for a GPU, torch itself decides; else only where there may be one, since asking takes a process.
    if (wanted == "cuda" or ((built_for("cuda") or built_for("hip")) and has_gpu())) and _finds_cuda():
        return "cuda"
    if wanted == "cuda":
        raise ConfigError("--device cuda: torch finds no CUDA device here; use --device cpu or auto")
    return "cpu"


@functools.cache
def _finds_cuda() -> bool:
    return msgspec.msgpack.decode(ask("asdbench.jobs.measure:has_cuda", b""), type=bool)
