"""Checks what a plugin offers under a name, in a process of its own, and reports what every check found."""

from __future__ import annotations

import contextlib
import tempfile
import time
from pathlib import Path
from typing import get_args

import msgspec

from asdbench.conformance.findings import Kind, Report
from asdbench.conformance.tasks import (
    Answer,
    DatasetTask,
    FeaturizerTask,
    Message,
    MethodTask,
    ScorerTask,
    Task,
)
from asdbench.core.info import Info
from asdbench.errors import AsdbenchError, ConfigError, PluginError, RunError, unknown
from asdbench.jobs.isolation import check_available
from asdbench.jobs.processes import ask
from asdbench.messages.isolation import Isolation
from asdbench.plugin.entries import Selector
from asdbench.plugin.hookspecs import API_VERSION
from asdbench.plugin.registry import NotOffered, Registry
from asdbench.recipes.resolve import check_required, resolve
from asdbench.runs.describe import expected_info
from asdbench.runs.request import open_dataset

CHECK = "asdbench.conformance.process:check"
FIRST = "synthetic"
"""The generated dataset whose shapes come first."""


def conformance(
    registry: Registry,
    selector: Selector,
    *,
    dataset: Selector | None = None,
    kind: Kind | None = None,
    isolation: Isolation = "auto",
) -> Report:
    """Check a method, dataset, featurizer or scorer.

    Args:
        registry: The loaded plugins.
        selector: Its name with options.
        dataset: Where a method's shapes and options come from; None: the first generated one that it has settings for.
        kind: What it is; None: the first of ``Kind`` that has the name.
        isolation: How the process that checks it is shut in.

    Raises:
        NotOffered: No plugin offers it.
        ConfigError: It is an ensemble, an option is wrong, or the isolation that is required is not to be had.
        PluginError: It ended the process that checked it.
    """
    started = time.monotonic()
    check_available(isolation)
    found = kind or kind_of(registry, selector.name)
    if dataset is not None and found != "method":
        raise ConfigError(f"{selector.name} is a {found}, which is checked without a dataset; leave out -d")
    owner = registry.owner(found, selector.name)
    where = (dataset or dataset_for(registry, selector.name)) if found == "method" else None
    task = _method(registry, selector, dataset=where) if where else _part(registry, selector, kind=found)
    with tempfile.TemporaryDirectory(prefix="asdbench-conformance-") as folder:
        named = [value for value in selector.options.values() if Path(value).is_file()]
        message = Message(task=task, folder=folder, readable=named, isolation=isolation)
        try:
            answered = ask(CHECK, msgspec.msgpack.encode(message))
        except RunError as error:
            raise PluginError(
                f"{found} {selector} of plugin {owner} ended the process that checked it: {error}"
            ) from error
    answer = msgspec.msgpack.decode(answered, type=Answer)
    return Report(
        kind=found,
        name=str(selector),
        plugin=owner.name,
        distribution=owner.distribution,
        version=owner.version,
        api=API_VERSION,
        dataset=str(where or ""),
        seconds=time.monotonic() - started,
        **{name: getattr(answer, name) for name in Answer.__struct_fields__},
    )


def kind_of(registry: Registry, name: str) -> Kind:
    """Return what a name is, the first of ``Kind``.

    Raises:
        ConfigError: It is an ensemble.
        NotOffered: It is nothing that can be checked.
    """
    if (ensemble := registry.ensemble(name)) is not None:
        members = ", ".join(map(str, ensemble.members))
        raise ConfigError(
            f"{name} is an ensemble, which has no code of its own; check its members: {members}"
        )
    kinds: tuple[Kind, ...] = get_args(Kind)
    for kind in kinds:
        if name in registry.names(kind):
            return kind
    known = [known for kind in kinds for known in registry.names(kind)]
    raise NotOffered(unknown("method, dataset, featurizer or scorer", name, known=known))


def dataset_for(registry: Registry, method: str) -> Selector:
    """Return the first generated dataset that a method has settings for, or ``synthetic``."""
    known = map(Selector, registry.method(method).on)
    return next((each for each in known if open_dataset(registry, each).card.generated), Selector(FIRST))


def _method(registry: Registry, selector: Selector, *, dataset: Selector) -> MethodTask:
    data = open_dataset(registry, dataset)
    recipe = resolve(registry, selector, dataset=data.card.name)
    check_required(registry, recipe)
    info = expected_info(recipe, data)
    few = info.classes[: max(recipe.classes, 2)]
    return MethodTask(
        recipe=recipe,
        info=msgspec.structs.replace(info, classes=few),
        deterministic=registry.method(selector.name).deterministic,
    )


def _part(registry: Registry, selector: Selector, *, kind: Kind) -> Task:
    path, options = registry.entry(kind, selector.name).build.path, dict(selector.options)
    registry.build(kind, selector.name)  # an error of its import names the plugin
    if kind == "scorer":
        return ScorerTask(path=path, options=options)
    if kind == "featurizer":
        return FeaturizerTask(path=path, options=options, infos=_generated(registry))
    return DatasetTask(path=path, options=options, metrics=registry.names("metrics"))


def _generated(registry: Registry) -> list[Info]:
    """Return the shapes of the items of all generated datasets."""
    infos = []
    for name in sorted(registry.names("dataset"), key=lambda name: (name != FIRST, name)):
        with contextlib.suppress(AsdbenchError):  # one that has no card without options
            card = open_dataset(registry, Selector(name)).card
            if card.generated and card.item_shape and 0 not in card.item_shape:
                infos.append(Info(item_shape=card.item_shape, sample_rate=card.sample_rate, classes=("one",)))
    return infos
