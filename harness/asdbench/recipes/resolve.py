"""Resolves a method and a user's options to a recipe: layers of options, each checked by the part it belongs to."""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from asdbench.core.config import Config, convert
from asdbench.core.environment import DISTRIBUTION, required_by
from asdbench.core.fingerprints import file_hash_of, identifier
from asdbench.errors import ConfigError, PluginError, unknown
from asdbench.plugin.entries import UNIT, Ensemble, Method, Selector, Setting
from asdbench.plugin.registry import Registry
from asdbench.recipes.parts import check_offered, part_config
from asdbench.recipes.recipe import PARTS, CommonOptions, EnsembleRecipe, Part, PartName, Recipe

COMPUTING = (
    "asdbench.blocks",
    "asdbench.core.parts",
    "asdbench.core.seeding",
    "asdbench.data.pack",
    "asdbench.detector",
    "asdbench.dsp",
    "asdbench.jobs.job",
    "asdbench.jobs.probe",
    "asdbench.jobs.pseudo",
)
"""The harness code that computes results; a change of it makes results stale."""
PLANNING = (
    "asdbench.core.config",
    "asdbench.core.info",
    "asdbench.jobs.measure",
    "asdbench.messages",
    "asdbench.plugin.entries",
    "asdbench.recipes",
)
"""The harness code that plans with options and measures; a change of it makes what was remembered stale."""
COMMON = frozenset(CommonOptions.__struct_fields__)
Layers = Sequence[Mapping[str, Any]]
"""Options from several sources; later ones override earlier ones."""


def resolve_ensemble(
    registry: Registry, selector: Selector, *, dataset: str, one: Callable[[Selector], Recipe] | None = None
) -> EnsembleRecipe:
    """Resolve an ensemble's members on a dataset; the option ``members`` replaces them, for example ``idnn+autoencoder``.

    Args:
        registry: Offers the ensemble and its members.
        selector: The ensemble.
        dataset: Name of the dataset.
        one: Resolves a member; None: ``resolve``.

    Raises:
        PluginError: No plugin offers the ensemble or a member, or its own members do not fit.
        ConfigError: There is another option, or the user's members are fewer than two, or one holds nothing out.
    """
    ensemble, options = registry.ensemble(selector.name), selector.options
    if ensemble is None:
        raise PluginError(f"{selector.name!r} is not an ensemble")
    for key in options:
        if key != "members":
            raise ConfigError(f"{ensemble.name}: {unknown('option', key, known=['members'])}")
    named = [Selector(name) for name in options["members"].split("+")] if options else ensemble.members
    for own in ensemble.members if not options else ():
        check_offered(registry, ensemble, kind="method", name=own.name)
    try:
        members = _members(ensemble, named, one=one or functools.partial(resolve, registry, dataset=dataset))
    except ConfigError as error:
        if options:
            raise
        owner = registry.owner("ensemble", ensemble.name)
        raise PluginError(f"ensemble {ensemble.name!r} of plugin {owner} is wrong: {error}") from error
    return EnsembleRecipe(
        method=ensemble.name,
        label=str(selector),
        members=members,
        selection=rules.pop() if len(rules := {member.selection for member in members}) == 1 else "members",
        approximate=ensemble.approximate,
        changed=dict(options),
    )


def _members(
    ensemble: Ensemble, named: Sequence[Selector], *, one: Callable[[Selector], Recipe]
) -> list[Recipe]:
    if len(named) < 2:
        raise ConfigError(
            f"{ensemble.name} needs at least two members, got {len(named)}; join them with +, for example "
            "members=idnn+autoencoder"
        )
    members = [one(member) for member in named]
    for member in members:
        if member.common.held == 0:
            raise ConfigError(
                f"{ensemble.name} standardises scores with those of held-out items, but {member.label} has held=0; "
                "choose members with held > 0"
            )
    return members


def resolve(registry: Registry, selector: Selector, *, dataset: str) -> Recipe:
    """Resolve a method's options on a dataset.

    Later layers win: method, unit, the method's setting for the dataset, preset, the user's options.

    Raises:
        PluginError: No plugin offers the method or one of its parts, a part does not define what it must, or the method
            sets an option wrongly.
        ConfigError: An option of the user's is unknown, out of range or ambiguous; the message lists what would be right.
    """
    method = registry.method(selector.name)
    parts_of(registry, selector, dataset=dataset)  # raises for one that is not offered
    try:
        # Units are resolved like the whole, with one more layer, so that a preset or the user still overrides them.
        whole, *units = (
            _resolve(registry, selector, dataset=dataset, layers=layers)
            for layers in layers_of(registry, selector, dataset=dataset)
        )
    except ConfigError as error:
        if fault := _own_fault(registry, selector, dataset=dataset):
            owner = registry.owner("method", method.name)
            raise PluginError(f"method {method.name!r} of plugin {owner} is wrong in its {fault}") from error
        raise
    return msgspec.structs.replace(whole, units=dict(zip(_units(method, selector), units, strict=True)))


def _own_fault(registry: Registry, selector: Selector, *, dataset: str) -> str | None:
    """Return what is wrong with the options that a method sets itself; None: only the user's can be."""
    method = registry.method(selector.name)
    own = Selector(selector.name, {key: value for key, value in selector.options.items() if key == "preset"})
    for unit, each in zip(["", *_units(method, own)], layers_of(registry, own, dataset=dataset), strict=True):
        *layers, _ = each
        faults = [
            _fault(registry, own, dataset=dataset, layers=layers[:count]) for count in range(len(layers) + 1)
        ]
        if faults[-1] is None:
            continue
        preset = own.options.get("preset")
        names = ["fields", "defaults", f"units[{unit!r}]", f"on[{dataset!r}]", f"presets[{preset!r}]"]
        return next(f"{name}: {fault}" for name, fault in zip(names, faults, strict=True) if fault)
    return None


def check_required(registry: Registry, recipe: Recipe) -> None:
    """Check that a recipe has the options without which its method cannot be used.

    Raises:
        ConfigError: One is not set.
    """
    for name, hint in registry.method(recipe.method).requires.items():
        if not any(getattr(recipe, part).options.get(name) for part in PARTS):
            raise ConfigError(f"{recipe.label} needs {name}: {hint}")


def _fault(registry: Registry, selector: Selector, *, dataset: str, layers: Layers) -> str | None:
    method = registry.method(selector.name)
    try:
        # One that requires options of the user's is not complete, so only its names are checked.
        if method.requires:
            _placed(registry, method, layers=layers)
        else:
            _resolve(registry, selector, dataset=dataset, layers=layers)
    except ConfigError as error:
        return str(error)
    return None


def _resolve(registry: Registry, selector: Selector, *, dataset: str, layers: Layers) -> Recipe:
    method = registry.method(selector.name)
    setting = method.on.get(dataset, Setting(options={}))
    names, configs, common, options = _placed(registry, method, layers=layers)
    label = str(selector)
    parts = {
        part: Part(
            name=name,
            path=registry.entry(part, name).build.path,
            options=_complete(options[part], configs[part], of=f"{label}, {part} {name}"),
            source=registry.source_hash(part, name),
        )
        for part, name in names.items()
    }
    return Recipe(
        method=method.name,
        label=label,
        common=_common(method, common | {"scorer": names["scorer"]}, label=label),
        harness=harness_hash(),
        auxiliary=method.auxiliary,
        classes=method.classes,
        items=method.items,
        reduced=setting.reduced or selector.options.get("preset") in method.reduced_presets,
        selection=setting.selection or method.selection,
        approximate=method.approximate,
        changed=dict(selector.options),
        tuned=selector.tuned,
        units={},
        **parts,
    )


def _placed(
    registry: Registry, method: Method, *, layers: Layers
) -> tuple[dict[PartName, str], dict[PartName, type[Config]], dict[str, Any], dict[PartName, dict[str, Any]]]:
    """Return the names and configurations of the parts, the common options and those of each part."""
    # The scorer first: which options exist depends on it, and any layer may replace it.
    scorer, layers = _one_scorer(method.scorer, layers)
    names: dict[PartName, str] = {"featurizer": method.featurizer, "model": method.model, "scorer": scorer}
    configs = {part: part_config(registry, part, name=names[part]) for part in PARTS}
    return names, configs, *_divided(method, configs, layers=layers)


def parts_of(registry: Registry, selector: Selector, *, dataset: str) -> list[tuple[PartName, str]]:
    """Return the parts that a method has on a dataset, including those of single units, without importing any.

    Raises:
        PluginError: No plugin offers the method or one of its parts.
        ConfigError: The preset is unknown.
    """
    method = registry.method(selector.name)
    layers = layers_of(registry, selector, dataset=dataset)
    scorers = dict.fromkeys(_one_scorer(method.scorer, each)[0] for each in layers)
    parts: list[tuple[PartName, str]] = [("featurizer", method.featurizer), ("model", method.model)]
    parts += [("scorer", scorer) for scorer in scorers]
    for part, name in parts:
        if selector.options.get(part) != name:  # what the user chose is not the plugin's mistake
            check_offered(registry, method, kind=part, name=name)
    return parts


def layers_of(registry: Registry, selector: Selector, *, dataset: str) -> list[Layers]:
    """Return the layers of options of a method on the whole dataset, then those on each of its units.

    Raises:
        PluginError: No plugin offers the method.
        ConfigError: The preset is unknown.
    """
    method = registry.method(selector.name)
    return [_layers(method, selector, dataset=dataset, unit=unit) for unit in ("", *_units(method, selector))]


def _units(method: Method, selector: Selector) -> list[str]:
    """Return the units with options of their own, the method's and the user's."""
    users = (key.partition(UNIT)[0] for key in selector.options if UNIT in key)
    return list(dict.fromkeys([*method.units, *users]))


def _layers(method: Method, selector: Selector, *, dataset: str, unit: str) -> Layers:
    user = {key: value for key, value in selector.options.items() if UNIT not in key}
    preset = _preset(method, user.pop("preset", None))
    setting = method.on.get(dataset, Setting(options={}))
    # As ``Recipe.on_unit`` does: ``fan/00`` takes the options of ``fan`` unless it has its own.
    own = method.units.get(unit) or method.units.get(unit.partition("/")[0]) or {}
    of_unit = {
        key.partition(UNIT)[2]: value
        for key, value in selector.options.items()
        if unit and key.partition(UNIT)[0] == unit and UNIT in key
    }
    return [method.defaults, own, setting.options, preset, user | of_unit]


@functools.cache
def harness_hash() -> str:
    """Return a hash of the harness code that computes results."""
    return identifier([file_hash_of(module) for module in COMPUTING])


@functools.cache
def planning_hash() -> str:
    """Return a hash of all code, and all versions of libraries, that a recipe or a measure of a model depends on."""
    code = [file_hash_of(module) for module in PLANNING]
    return identifier(harness_hash(), code, platform.python_version(), required_by(DISTRIBUTION))


def _common(method: Method, values: Mapping[str, Any], *, label: str) -> CommonOptions:
    names = ("scorer_on", "scope", "held", "aggregate", "length_s")
    defaults = {name: getattr(method, name) for name in names}
    common: CommonOptions = convert(defaults | dict(values), CommonOptions, of=label)
    if common.scorer_on == "held" and common.held == 0:
        raise ConfigError(
            f"{method.name}: scorer_on=held needs held-out items, but held=0 keeps none; set a share, for example held=0.1"
        )
    return common


def _preset(method: Method, name: str | None) -> Mapping[str, Any]:
    if name is None:
        return {}
    if name not in method.presets:
        raise ConfigError(f"{method.name}: {unknown('preset', name, known=method.presets)}")
    return method.presets[name]


def _one_scorer(scorer: str, layers: Layers) -> tuple[str, Layers]:
    """Return the scorer that the layers end with, and the layers without options meant for an earlier scorer.

    A method may set ``scorer.k`` for its own scorer; it does not apply once the user chooses a different one.
    """
    meant: list[str] = []  # the scorer that is in force at each layer
    for layer in layers:
        scorer = str(layer.get("scorer", scorer))
        meant.append(scorer)
    kept = [
        layer if name == scorer else {key: layer[key] for key in layer if not key.startswith("scorer.")}
        for name, layer in zip(meant, layers, strict=True)
    ]
    return scorer, kept


def _divided(
    method: Method, configs: Mapping[PartName, type[Config]], *, layers: Layers
) -> tuple[dict[str, Any], dict[PartName, dict[str, Any]]]:
    """Return the common options and those of each part: every option goes to the part that has it, later layers win."""
    known = {part: set(config.__struct_fields__) for part, config in configs.items()}
    common: dict[str, Any] = {}
    options: dict[PartName, dict[str, Any]] = {part: {} for part in PARTS}
    for layer in layers:
        for key, value in layer.items():
            part, option = _place(method, key, known=known)
            (common if part is None else options[part])[option] = value
    return common, options


def _place(method: Method, key: str, *, known: Mapping[PartName, set[str]]) -> tuple[PartName | None, str]:
    """Return the part that an option belongs to (None: it is a common option), and its name there."""
    prefix, dot, option = key.partition(".")
    for part in PARTS:
        if dot and part == prefix:
            if option not in known[part]:
                raise ConfigError(
                    f"{method.name}: {unknown(f'option of the {part}', option, known=known[part])}"
                )
            return part, option
    if key in COMMON:
        return None, key
    owners = [part for part in PARTS if key in known[part]]
    if not owners:
        names = COMMON.union(*known.values(), ["preset"])
        raise ConfigError(f"{method.name}: {unknown('option', key, known=names)}")
    # Several parts may share a name (``on``, ``metric``); guessing would silently change the wrong one.
    if len(owners) > 1:
        ways = " or ".join(f"{part}.{key}" for part in owners)
        raise ConfigError(f"{method.name}: option {key!r} is ambiguous; write {ways}")
    return owners[0], key


def _complete(options: Mapping[str, Any], config: type[Config], *, of: str) -> dict[str, Any]:
    """Return every option of a part, including defaults, checked and converted to its type."""
    # Through JSON, so that a recipe equals the one read back from a file: a tuple becomes a list.
    complete: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(convert(options, config, of=of)))
    try:
        convert(complete, config, of=of)  # msgspec does not check defaults
    except ConfigError as error:
        raise PluginError(
            f"{error}; this is the default in {config.__name__} ({config.__module__})"
        ) from error
    return complete
