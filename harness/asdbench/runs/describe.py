"""Describes a method without data: paper, options, shapes, parameters and FLOPs; or the options of any other part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import msgspec

from asdbench.core.config import Config, config_of, configure
from asdbench.core.info import Info
from asdbench.core.options import OptionDescription, options_of
from asdbench.data.dataset import Card, Count, Dataset, LocatedDataset
from asdbench.errors import ConfigError, DataError, blamed_on, unknown
from asdbench.plugin.entries import Method, Selector
from asdbench.plugin.registry import NotOffered, Registry
from asdbench.recipes.recipe import PARTS, CommonOptions, Part, Recipe
from asdbench.recipes.resolve import resolve, resolve_ensemble
from asdbench.runs.request import check_by, open_dataset, protocol_options, split_protocol
from asdbench.runs.units import check_scope

DescribedKind = Literal["method", "dataset", "featurizer", "scorer", "model"]
"""What can be described; where several share a name, the first of these is."""


class PartDescription(Config, frozen=True, kw_only=True):
    """A dataset, featurizer, scorer or model: where it comes from, and its options."""

    kind: DescribedKind
    name: str
    summary: str
    plugin: str
    licence: str
    """Licence of the plugin's distribution; ``asdbench datasets info`` shows that of the data."""
    cites: str
    """The paper it comes from; empty: none."""
    options: list[OptionDescription]


class MethodDescription(Config, frozen=True, kw_only=True):
    """A method on a dataset: where it comes from, its shapes, its size and its options."""

    method: str
    title: str
    paper: str
    licence: str
    plugin: str
    dataset: str
    reduced: bool
    """True: a smaller training budget than the paper's on this dataset."""
    classes: int
    """Classes that the items of a unit claim; of the first unit by name if there are several."""
    targets: list[str]
    """Classes to tell apart in a classification task."""
    item_shape: list[int]
    feature_shape: list[int]
    output_shapes: dict[str, list[int]]
    """Shape of each output for one item, ``[segments, ...]``."""
    parameters: int
    """Trainable parameters."""
    parameters_with_buffers: int
    """All floating-point numbers of the state, including running statistics."""
    flops_per_item: int
    """Floating-point operations for the outputs of one item, without its features."""
    approximate: str
    """What public sources do not state about the method; empty: nothing."""
    cites: dict[str, str]
    """Part -> the paper it comes from."""
    weights: dict[str, str]
    """Option of the model that names a file -> which published file it is, its licence, and what it was trained on."""
    units: dict[str, dict[str, Any]]
    """Unit -> options there."""
    presets: dict[str, dict[str, Any]]
    """Preset -> its options."""
    options: list[OptionDescription]
    """Every option with its value on this dataset."""
    dataset_options: list[OptionDescription]
    """Options that choose the protocol of any dataset; ``asdbench describe`` of the dataset lists the others."""


class EnsembleDescription(Config, frozen=True, kw_only=True):
    """An ensemble on a dataset, with a description of each member."""

    method: str
    ensemble_of: str
    """Labels of the members, joined by commas."""
    title: str
    paper: str
    licence: str
    plugin: str
    dataset: str
    reduced: bool
    approximate: str
    members: list[MethodDescription]


def describe(
    registry: Registry,
    selector: Selector,
    *,
    dataset: Selector | None = None,
    kind: DescribedKind | None = None,
) -> MethodDescription | EnsembleDescription | PartDescription:
    """Describe a method or an ensemble, or else a dataset, featurizer, scorer or model, with its options.

    Args:
        registry: The loaded plugins.
        selector: Its name with the user's options.
        dataset: Where to describe a method; None: on the dataset of its paper.
        kind: What it is; None: the first of ``DescribedKind`` that has the name.

    Raises:
        PluginError: No plugin offers it, or the dataset; or a method cannot be built or run.
        ConfigError: An option is unknown, out of range or ambiguous, or a dataset is given for something else than a
            method.
        DataError: The dataset's card states its classes or the shape of its items only once the data are read.
    """
    if kind in (None, "method") and registry.ensemble(selector.name) is not None:
        return _describe_ensemble(registry, selector, dataset=dataset)
    kinds: tuple[DescribedKind, ...] = get_args(DescribedKind)
    named: list[DescribedKind] = [one for one in kinds if selector.name in registry.names(one)]
    found = kind or (named[0] if named else "method")
    if found == "method":
        return _describe_method(registry, selector, dataset=dataset)
    if dataset is not None:
        raise ConfigError(f"{selector.name} is a {found}, which is described without a dataset; leave out -d")
    return _describe_part(registry, selector, kind=found)


def _describe_part(registry: Registry, selector: Selector, *, kind: DescribedKind) -> PartDescription:
    entry, owner = registry.entry(kind, selector.name), registry.owner(kind, selector.name)
    by = None
    if kind == "dataset":
        selector, by = split_protocol(registry, selector)
    config = config_of(registry.build(kind, selector.name))
    configured = configure(config, selector.options, of=selector.name)
    values = msgspec.to_builtins(configured)
    return PartDescription(
        kind=kind,
        name=selector.name,
        summary=entry.summary,
        plugin=owner.name,
        licence=owner.licence,
        cites=entry.cites,
        options=options_of(kind, config, values=values)
        + (protocol_options(configured, by) if kind == "dataset" else []),
    )


def _describe_method(
    registry: Registry, selector: Selector, *, dataset: Selector | None
) -> MethodDescription:
    from asdbench.detector.detector import (
        Detector,  # imports torch, which other users of this module do not need
    )
    from asdbench.detector.size import size_of

    method = registry.method(selector.name)
    division, by = split_protocol(registry, dataset or Selector(method.home))
    data = open_dataset(registry, division)
    recipe = resolve(registry, selector, dataset=data.card.name)
    check_scope(recipe, data.card)
    check_by(by, data.card)
    info = expected_info(recipe, data, by=by)
    owner = registry.owner("method", method.name)
    # Built and run once on silence, so the shapes are measured.
    with blamed_on(f"method {recipe.label!r} of plugin {owner} cannot be built for {data.card.name}"):
        size = size_of(Detector(recipe, info))
    return MethodDescription(
        method=method.name,
        title=method.title,
        paper=method.paper,
        licence=method.licence or owner.licence,
        plugin=owner.name,
        dataset=data.card.name,
        reduced=recipe.reduced,
        classes=len(info.classes),
        targets=list(info.targets),
        item_shape=list(info.item_shape),
        feature_shape=list(size.feature_shape),
        output_shapes={output: list(shape) for output, shape in size.output_shapes.items()},
        parameters=size.parameters,
        parameters_with_buffers=size.stored,
        flops_per_item=size.flops,
        approximate=method.approximate,
        cites=_cites(registry, recipe),
        weights=_weights(registry, recipe.model),
        units={unit: dict(values) for unit, values in method.units.items()},
        presets={preset: dict(values) for preset, values in method.presets.items()},
        options=[*_options(registry, recipe), *_preset_option(method, recipe)],
        dataset_options=protocol_options(data, by),
    )


def _describe_ensemble(
    registry: Registry, selector: Selector, *, dataset: Selector | None
) -> EnsembleDescription:
    ensemble = registry.ensemble(selector.name)
    if ensemble is None:
        raise NotOffered(unknown("ensemble", selector.name, known=registry.names("ensemble")))
    where = dataset or Selector(ensemble.home)
    data = open_dataset(registry, split_protocol(registry, where)[0])
    recipe = resolve_ensemble(registry, selector, dataset=data.card.name)
    members, owner = recipe.members, registry.owner("ensemble", ensemble.name)
    return EnsembleDescription(
        method=ensemble.name,
        ensemble_of=", ".join(member.label for member in members),
        title=ensemble.title,
        paper=ensemble.paper,
        licence=ensemble.licence or owner.licence,
        plugin=owner.name,
        dataset=data.card.name,
        reduced=recipe.reduced,
        approximate=ensemble.approximate,
        members=[
            _describe_method(registry, Selector(member.method, member.changed), dataset=where)
            for member in members
        ],
    )


def _cites(registry: Registry, recipe: Recipe) -> dict[str, str]:
    """Return the paper of each part that cites one, by part."""
    cited = {part: registry.entry(part, getattr(recipe, part).name).cites for part in PARTS}
    return {part: paper for part, paper in cited.items() if paper}


def _weights(registry: Registry, model: Part) -> dict[str, str]:
    """Return what is known of each file of weights that the options of a model name."""
    known = registry.entry("model", model.name).weights
    return {
        option: f"{file.name}, licence {file.licence}, trained on {file.trained_on}"
        if (file := known.get(digest))
        else "no published file that is known here; licence and training data unknown"
        for option, digest in model.pinned().items()
    }


def expected_info(recipe: Recipe, dataset: Dataset, *, by: str | None = None) -> Info:
    """Return what a model is built for, from the card alone; for the first unit by name if there are several.

    Args:
        recipe: The method.
        dataset: Where it is trained.
        by: The column of a leave-one-out protocol, whose first value is then left out; None: the dataset divides itself.

    Raises:
        DataError: The card states its classes or the shape of its items only once the data are read.
    """
    card = dataset.card
    classes = _classes(recipe, card, by=by)
    if not card.item_shape or 0 in card.item_shape:
        place = "give an absolute path, " if isinstance(dataset, LocatedDataset) else ""
        raise DataError(
            f"the shape of the items of {card.name} (so far {list(card.item_shape)}) is known only once its data are "
            f"read; {place or 'describe the method on another dataset, '}or leave out -d to use the dataset of the "
            "method's paper"
        )
    return Info(
        item_shape=(_length(recipe, card), *card.item_shape[1:]),
        sample_rate=card.sample_rate,
        classes=classes,
        targets=card.targets,
        scaled=card.scaled,
    )


def _classes(recipe: Recipe, card: Card, *, by: str | None) -> tuple[str, ...]:
    if not card.claims:  # items without claims all belong to one class, in every unit
        return (card.claim_of({}),)
    if not card.expected:
        raise DataError(
            f"the classes of {card.name} are known only once its data are read; "
            "describe the method on another dataset, for example -d synthetic"
        )
    # The official counts stand in for the rows: each has the columns of its items, so it has a unit and a class.
    columns = card.scopes.get(recipe.common.scope, ())
    units: dict[tuple[str, ...], set[str]] = {}
    for count in _trained_on(card, by=by):
        unit = tuple(count.columns[column] for column in columns)
        units.setdefault(unit, set()).add(card.claim_of(count.columns))
    return tuple(sorted(units[min(units)]))


def _trained_on(card: Card, *, by: str | None) -> Sequence[Count]:
    """Return the official counts, without those of the first value that a leave-one-out protocol leaves out."""
    if by is None or not all(by in count.columns for count in card.expected):
        return card.expected
    first = min(count.columns[by] for count in card.expected)
    return [count for count in card.expected if count.columns[by] != first] or card.expected


def _length(recipe: Recipe, card: Card) -> int:
    # Without data, the official item stands for the shortest training item, which is what a run would cut to.
    if recipe.common.length_s is None or card.sample_rate is None:
        return card.item_shape[0]
    return min(round(recipe.common.length_s * card.sample_rate), card.item_shape[0])


def _preset_option(method: Method, recipe: Recipe) -> list[OptionDescription]:
    row = OptionDescription(
        part="method",
        option="preset",
        value=recipe.changed.get("preset"),
        kind=" | ".join([*method.presets, "none"]),
        meaning="a named set of options, listed below",
    )
    return [row] if method.presets else []


def _options(registry: Registry, recipe: Recipe) -> list[OptionDescription]:
    rows = options_of("method", CommonOptions, values=msgspec.to_builtins(recipe.common))
    for part in PARTS:
        chosen = getattr(recipe, part)
        rows += options_of(part, config_of(registry.build(part, chosen.name)), values=chosen.options)
    return rows
