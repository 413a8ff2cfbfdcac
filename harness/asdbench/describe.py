"""What a method is and costs, told without data: paper, options, shapes, parameters, FLOPs."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Any

import msgspec

from asdbench.contracts import Dataset, LocatedDataset
from asdbench.detector import Detector, size_of
from asdbench.errors import DataError
from asdbench.recipe import PARTS, Knobs, Recipe, config_of, resolve, resolve_ensemble
from asdbench.registry import Registry
from asdbench.runner import open_dataset
from asdbench.values import Card, Config, Ensemble, Info, Words


def describe(registry: Registry, words: Words, dataset_words: Words | None = None) -> dict[str, Any]:
    """Describe a method with its options on a dataset, by default the one of its paper; of an ensemble its members.

    Raises:
        PluginError: Nobody offers the method or the dataset.
        ConfigError: An option is not understood.
        DataError: The dataset's card does not say how many classes it has, or how large its items are.
    """
    name, options = words
    if (ensemble := registry.ensemble(name)) is not None:
        return _ensemble(registry, ensemble, options, dataset_words or (ensemble.home, {}))
    method = registry.method(name)
    dataset = open_dataset(registry, dataset_words or (method.home, {}))
    recipe = resolve(registry, name, options, dataset=dataset.card.name)
    info = expected_info(recipe, dataset)
    detector = Detector(recipe, info)
    size = size_of(detector)
    return {
        "method": name,
        "title": method.title,
        "paper": method.paper,
        "licence": method.licence,
        "plugin": registry.owner("method", name).name,
        "dataset": dataset.card.name,
        "reduced": recipe.reduced,
        "classes": len(info.classes),
        "targets": list(info.targets),
        "item_shape": list(info.item_shape),
        "feature_shape": list(size.feature_shape),
        "output_shapes": {output: list(shape) for output, shape in size.output_shapes.items()},
        "parameters": size.parameters,
        "parameters_with_buffers": size.stored,
        "flops_per_item": size.flops,
        "approximate": method.approximate,
        "cites": _cites(registry, recipe),
        "units": {unit: dict(values) for unit, values in method.units.items()},
        "presets": {preset: dict(values) for preset, values in method.presets.items()},
        "options": _options(registry, recipe),
    }


def _ensemble(
    registry: Registry, ensemble: Ensemble, options: Mapping[str, str], dataset_words: Words
) -> dict[str, Any]:
    dataset = open_dataset(registry, dataset_words)
    combination = resolve_ensemble(registry, ensemble, options, dataset=dataset.card.name)
    members = combination.members
    return {
        "method": ensemble.name,
        "ensemble_of": ", ".join(member.label for member in members),
        "title": ensemble.title,
        "paper": ensemble.paper,
        "licence": ensemble.licence,
        "plugin": registry.owner("ensemble", ensemble.name).name,
        "dataset": dataset.card.name,
        "reduced": combination.reduced,
        "approximate": ensemble.approximate,
        "members": [describe(registry, (member.method, member.changed), dataset_words) for member in members],
    }


def _cites(registry: Registry, recipe: Recipe) -> dict[str, str]:
    """Return the papers that the parts of a method come from, by part; nothing of those that have none."""
    told = {part: registry.entry(part, getattr(recipe, part).name).cites for part in PARTS}
    return {part: paper for part, paper in told.items() if paper}


def expected_info(recipe: Recipe, dataset: Dataset) -> Info:
    """Return what a model is built for, from the card alone; of several units the first by name.

    Raises:
        DataError: Without data the classes are not known, as the card states no counts, or the shape of the items.
    """
    card = dataset.card
    classes = _classes(recipe, card)
    if not card.item_shape or 0 in card.item_shape:
        place = "give its place as an absolute path, " if isinstance(dataset, LocatedDataset) else ""
        raise DataError(
            f"{card.name} does not say which shape its items have (known so far: {list(card.item_shape)}) before its "
            f"data are read; {place or 'describe the method on another dataset, '}or leave -d out for the one of the "
            "method's paper"
        )
    return Info(
        item_shape=(_length(recipe, card), *card.item_shape[1:]),
        sample_rate=card.sample_rate,
        classes=classes,
        targets=card.targets,
        scaled=card.scaled,
    )


def _classes(recipe: Recipe, card: Card) -> tuple[str, ...]:
    if not card.claims:  # items that claim nothing are all of one class, in every unit
        return (card.claim_of({}),)
    if not card.expected:
        raise DataError(
            f"{card.name} does not say which classes it has before its data are read; "
            "describe the method on another dataset, such as -d synthetic"
        )
    columns = card.scopes.get(recipe.knobs.scope, ())
    units: dict[tuple[str, ...], set[str]] = {}
    for count in card.expected:
        unit = tuple(count.columns[column] for column in columns)
        units.setdefault(unit, set()).add(card.claim_of(count.columns))
    return tuple(sorted(units[min(units)]))


def _length(recipe: Recipe, card: Card) -> int:
    if recipe.knobs.length_s is None or card.sample_rate is None:
        return card.item_shape[0]
    return min(round(recipe.knobs.length_s * card.sample_rate), card.item_shape[0])


def _options(registry: Registry, recipe: Recipe) -> list[dict[str, Any]]:
    rows = _rows("method", Knobs, msgspec.to_builtins(recipe.knobs))
    for part in PARTS:
        chosen = getattr(recipe, part)
        rows += _rows(part, config_of(registry.build(part, chosen.name)), chosen.options)
    return rows


def _rows(part: str, config: type[Config], values: Mapping[str, Any]) -> list[dict[str, Any]]:
    hints = typing.get_type_hints(config, include_extras=True)
    return [
        {
            "part": part,
            "option": field.name,
            "value": values[field.name],
            "kind": _kind(hints[field.name]),
            "meaning": _meaning(hints[field.name]),
        }
        for field in msgspec.structs.fields(config)
    ]


def _kind(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Annotated:
        return _kind(typing.get_args(hint)[0])
    if typing.get_origin(hint) is typing.Literal:
        return " | ".join(str(value) for value in typing.get_args(hint))
    if typing.get_args(hint):
        return " | ".join(_kind(part) for part in typing.get_args(hint))
    return "none" if hint is type(None) else getattr(hint, "__name__", str(hint))


def _meaning(hint: Any) -> str:
    if typing.get_origin(hint) is not typing.Annotated:
        return ""
    metas = [meta for meta in typing.get_args(hint)[1:] if isinstance(meta, msgspec.Meta)]
    return " ".join(meta.description for meta in metas if meta.description)
