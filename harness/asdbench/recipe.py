"""The recipe: what a method is with a user's options on a dataset, down to the last default.

Two equal recipes give equal results; the identifiers of models and scores are hashes of them.
"""

from __future__ import annotations

import functools
import hashlib
import re
import typing
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, inspect

from asdbench.errors import ConfigError, PluginError, unknown
from asdbench.registry import Registry
from asdbench.sources import file_hash_of
from asdbench.values import Aggregate, Config, Ensemble, Method, Selection, Setting

Parts = Literal["featurizer", "model", "scorer"]
COMPUTING = ("asdbench.dsp", "asdbench.blocks")
"""Packages of the harness that what is computed depends on."""
COMPUTING_FILES = (
    "asdbench.data.items",
    "asdbench.data.pack",
    "asdbench.detector",
    "asdbench.job",
    "asdbench.resume",
    "asdbench.seeding",
    "asdbench.training",
)
"""Single modules of it."""
PARTS: tuple[Parts, ...] = ("featurizer", "model", "scorer")


class Knobs(Config, frozen=True, kw_only=True):
    """Options that every method has."""

    scorer: Annotated[str, Meta(description="what turns the model's outputs into anomaly scores")]
    scorer_on: Annotated[Literal["train", "held"], Meta(description="which items the scorer learns from")]
    scope: Annotated[str, Meta(description="what is trained together, such as all, machine or section")]
    held: Annotated[float, Meta(ge=0, lt=1, description="share of the training items kept from the gradient")]
    aggregate: Annotated[Aggregate, Meta(description="how the scores of an item's segments become one")]
    length_s: Annotated[
        float | None, Meta(description="seconds of each item from its start; none: the shortest item")
    ]
    precision: Annotated[
        Literal["fp32", "bf16"],
        Meta(description="fp32: no TF32 on a GPU either; bf16: autocast where that is safe"),
    ] = "fp32"
    compile: Annotated[bool, Meta(description="compile the training step; pays for long trainings")] = False


class Part(Config, frozen=True, kw_only=True):
    """One entry with all its options."""

    name: str
    path: str
    """Where its class is imported from, ``package.module:Name``."""
    options: dict[str, Any]
    source: str
    """Hash of the Python files that it comes from."""


class Recipe(Config, frozen=True, kw_only=True):
    """A method with every option resolved."""

    method: str
    label: str
    """As a user would type it: the method and what was changed."""
    featurizer: Part
    model: Part
    scorer: Part
    knobs: Knobs
    harness: str
    """Hash of the harness's own code that computes: features, layers, training."""
    auxiliary: bool
    classes: int
    items: int
    reduced: bool
    selection: Selection
    """The method's own rule for the checkpoint that counts."""
    approximate: str
    changed: dict[str, Any]
    """What the user set."""
    units: dict[str, Recipe] = {}
    """What it is on single units, where its method sets options for them."""

    def on_unit(self, unit: str) -> Recipe:
        """Return the recipe of a unit such as ``fan`` or ``fan/00``, which takes what is set for ``fan``."""
        return self.units.get(unit) or self.units.get(unit.partition("/")[0]) or self

    def trained(self) -> dict[str, Any]:
        """Return all that a trained model depends on: the recipe without scorer and aggregation."""
        keep = ("scope", "held", "length_s", "precision", "compile")
        return {
            "harness": self.harness,
            "featurizer": msgspec.to_builtins(self.featurizer),
            "model": msgspec.to_builtins(self.model),
            "auxiliary": self.auxiliary,
        } | {name: getattr(self.knobs, name) for name in keep}

    def scored(self) -> dict[str, Any]:
        """Return what scores depend on beyond the model."""
        return {
            "scorer": msgspec.to_builtins(self.scorer),
            "scorer_on": self.knobs.scorer_on,
            "aggregate": self.knobs.aggregate,
        }


class Combination(Config, frozen=True, kw_only=True):
    """An ensemble with its members resolved."""

    method: str
    label: str
    members: list[Recipe]
    selection: Selection | Literal["members"]
    """What its members have in common, or that each keeps its own rule."""
    approximate: str
    changed: dict[str, Any]

    @property
    def reduced(self) -> bool:
        """True when a member has a smaller budget than its paper's."""
        return any(member.reduced for member in self.members)


def resolve_ensemble(
    registry: Registry, ensemble: Ensemble, options: Mapping[str, str], *, dataset: str
) -> Combination:
    """Resolve an ensemble's members on a dataset; the option ``members`` names others, joined by ``+``.

    Raises:
        PluginError: Nobody offers a member.
        ConfigError: Another option is given, there are fewer than two members, or one keeps nothing held out.
    """
    for key in options:
        if key != "members":
            raise ConfigError(f"{ensemble.name}: {unknown('option', key, ['members'])}")
    named = [(name, {}) for name in options["members"].split("+")] if options else ensemble.members
    if len(named) < 2:
        raise ConfigError(
            f"{ensemble.name} combines at least two methods, got {len(named)}; join them by +, such as idnn+autoencoder"
        )
    members = [resolve(registry, name, words, dataset=dataset) for name, words in named]
    for member in members:
        if member.knobs.held == 0:
            raise ConfigError(
                f"{ensemble.name} standardises scores by those of held-out items, but {member.label} keeps none; "
                "choose members with held > 0"
            )
    return Combination(
        method=ensemble.name,
        label=as_typed(ensemble.name, options),
        members=members,
        selection=rules.pop() if len(rules := {member.selection for member in members}) == 1 else "members",
        approximate=ensemble.approximate,
        changed=dict(options),
    )


def resolve(registry: Registry, name: str, options: Mapping[str, str], *, dataset: str) -> Recipe:
    """Resolve a method's options on a dataset: method < unit < dataset's setting < preset < the user's words.

    Raises:
        PluginError: Nobody offers the method or one of its parts.
        ConfigError: An option is unknown, out of range or ambiguous; the message lists what would be right.
    """
    method = registry.method(name)
    whole = _resolve(registry, method, options, dataset=dataset, unit={})
    units = {
        unit: _resolve(registry, method, options, dataset=dataset, unit=unit_options)
        for unit, unit_options in method.units.items()
    }
    return msgspec.structs.replace(whole, units=units)


def _resolve(
    registry: Registry, method: Method, options: Mapping[str, str], *, dataset: str, unit: Mapping[str, Any]
) -> Recipe:
    user = dict(options)
    preset = _preset(method, user.pop("preset", None))
    setting = method.on.get(dataset, Setting(options={}))
    layers: Sequence[Mapping[str, Any]] = [method.defaults, unit, setting.options, preset, user]
    scorer, layers = _one_scorer(method.scorer, layers)
    names: dict[Parts, str] = {"featurizer": method.featurizer, "model": method.model, "scorer": scorer}
    places = {part: _config_of(registry, part, names[part]) for part in PARTS}
    values = _sort(method, places, layers)
    label = as_typed(method.name, options)
    parts = {
        part: _part(registry, part, names[part], values[part], places[part], label=label) for part in PARTS
    }
    return Recipe(
        method=method.name,
        label=label,
        knobs=_knobs(method, values["knobs"], scorer, label=label),
        harness=_harness(),
        auxiliary=method.auxiliary,
        classes=method.classes,
        items=method.items,
        reduced=setting.reduced,
        selection=method.selection,
        approximate=method.approximate,
        changed=dict(options),
        units={},
        **parts,
    )


@functools.cache
def _harness() -> str:
    return identifier([file_hash_of(module) for module in (*COMPUTING, *COMPUTING_FILES)])


def as_typed(name: str, options: Mapping[str, str]) -> str:
    """Return a name with its options as a user would type them, in one order."""
    if not options:
        return name
    words = (
        f'{key}="{value}"' if set(value) & set(",[]") else f"{key}={value}"
        for key, value in sorted(options.items())
    )
    return f"{name}[{','.join(words)}]"


def identifier(*pieces: object) -> str:
    """Return sixteen hex digits that two things share if and only if they are equal."""
    return hashlib.sha256(msgspec.json.encode(pieces, order="sorted")).hexdigest()[:16]


def config_of(built: Any) -> type[Config]:
    """Return the configuration type of a featurizer or model class; a dataset or scorer is its own."""
    config = (
        built if isinstance(built, type) and issubclass(built, Config) else getattr(built, "Config", None)
    )
    if not (isinstance(config, type) and issubclass(config, Config)):
        raise PluginError(f"{built!r} has no Config that inherits from asdbench.Config")
    return config


def configure(config: type[Config], options: Mapping[str, Any], *, of: str) -> Any:
    """Return ``config`` with the options, given as text or values.

    Raises:
        ConfigError: An option is unknown or its value does not fit.
        PluginError: ``config`` has a field of a type that cannot be read.
    """
    known = {field.name for field in msgspec.structs.fields(config)}
    for key in options:
        if key not in known:
            raise ConfigError(f"{of}: {unknown('option', key, known)}")
    return _convert(options, config, of)


def _knobs(method: Method, values: Mapping[str, Any], scorer: str, *, label: str) -> Knobs:
    knobs: Knobs = _convert({**_knob_defaults(method), **values, "scorer": scorer}, Knobs, label)
    if knobs.scorer_on == "held" and knobs.held == 0:
        raise ConfigError(
            f"{method.name}: scorer_on=held, but held=0 keeps nothing for it; say held=0.1, for one"
        )
    return knobs


def _preset(method: Method, name: str | None) -> Mapping[str, Any]:
    if name is None:
        return {}
    if name not in method.presets:
        raise ConfigError(f"{method.name}: {unknown('preset', name, method.presets)}")
    return method.presets[name]


def _one_scorer(scorer: str, layers: Sequence[Mapping[str, Any]]) -> tuple[str, Sequence[Mapping[str, Any]]]:
    """Return the scorer that the layers end with, and the layers without what they say of an earlier one."""
    meant: list[str] = []
    for layer in layers:
        scorer = str(layer.get("scorer", scorer))
        meant.append(scorer)
    kept = [
        layer if name == scorer else _without(layer, "scorer.")
        for name, layer in zip(meant, layers, strict=True)
    ]
    return scorer, kept


def _without(layer: Mapping[str, Any], prefix: str) -> Mapping[str, Any]:
    return {key: value for key, value in layer.items() if not key.startswith(prefix)}


def _config_of(registry: Registry, part: Parts, name: str) -> type[Config]:
    return config_of(registry.build(part, name))


def _sort(
    method: Method, places: Mapping[Parts, type[Config]], layers: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Give every option to the part that knows it; later layers win."""
    values: dict[str, dict[str, Any]] = {"knobs": {}, "featurizer": {}, "model": {}, "scorer": {}}
    known = {
        part: {field.name for field in msgspec.structs.fields(config)} for part, config in places.items()
    }
    knobs = {field.name for field in msgspec.structs.fields(Knobs)}
    for layer in layers:
        for key, value in layer.items():
            part, option = _place(method, key, known, knobs)
            values[part][option] = value
    return values


def _place(method: Method, key: str, known: Mapping[Parts, set[str]], knobs: set[str]) -> tuple[str, str]:
    part, dot, option = key.partition(".")
    if dot and part in known:
        if option not in known[part]:  # type: ignore[index]
            raise ConfigError(f"{method.name}: {unknown(f'option of the {part}', option, known[part])}")  # type: ignore[index]
        return part, option
    if key in knobs:
        return "knobs", key
    owners = [part for part in PARTS if key in known[part]]
    if not owners:
        raise ConfigError(
            f"{method.name}: {unknown('option', key, knobs.union(*known.values(), ['preset']))}"
        )
    if len(owners) > 1:
        ways = " or ".join(f"{part}.{key}" for part in owners)
        raise ConfigError(f"{method.name}: option {key!r} is ambiguous; say {ways}")
    return owners[0], key


def _knob_defaults(method: Method) -> dict[str, Any]:
    names = ("scorer_on", "scope", "held", "aggregate", "length_s")
    return {name: getattr(method, name) for name in names}


def _part(
    registry: Registry,
    part: Parts,
    name: str,
    options: Mapping[str, Any],
    config: type[Config],
    *,
    label: str,
) -> Part:
    complete = msgspec.to_builtins(_convert(options, config, f"{label}, {part} {name}"))
    path = registry.entry(part, name).build.path
    return Part(name=name, path=path, options=complete, source=registry.source_hash(part, name))


def _convert(options: Mapping[str, Any], config: type[Any], of: str) -> Any:
    try:
        # Text from a command line is converted to the field's type; "none" is the word for None, unless it is a choice.
        words = {
            key: None if value == "none" and not _is_choice(config, key, value) else value
            for key, value in options.items()
        }
        return msgspec.convert(words, config, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{of}: {_misfit(str(error), options, config)}") from error
    except TypeError as error:  # what msgspec says of a type that it cannot read, not of a value
        raise PluginError(f"{of}: {config.__name__} is not a valid Config: {error}") from error


def _misfit(told: str, options: Mapping[str, Any], config: type[Any]) -> str:
    """Return in a user's words what msgspec tells of a value: the option, the value, what would be right."""
    place = re.search(r" - at `\$\.(\w+)`$", told)
    if (
        place is None or place[1] not in options
    ):  # what a configuration itself has checked is told in its own words
        return told
    name, value = place[1], options[place[1]]
    kind = typing.get_type_hints(config, include_extras=True)[name]
    if choices := _choices(kind):
        return unknown(f"value of {name}", str(value), [str(choice) for choice in choices])
    wanted = _wanted(inspect.type_info(kind))
    return f"{name}={value} is not {wanted}" if wanted else told


def _wanted(kind: inspect.Type) -> str | None:
    """Return what values of a type are called; None where there is no short word for them."""
    match kind:
        case inspect.Metadata():
            return _wanted(kind.type)
        case inspect.UnionType():
            words = [_wanted(inner) for inner in sorted(kind.types, key=_is_something)]
            return None if None in words else " or ".join(filter(None, words))
        case inspect.NoneType():
            return "none"
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType():
            return "a whole number" + _range(kind)
        case inspect.FloatType():
            return "a number" + _range(kind)
        case inspect.StrType():
            return f"text of the form {kind.pattern}" if kind.pattern else None
        case _:
            return None


def _is_something(kind: inspect.Type) -> bool:
    return not isinstance(kind, inspect.NoneType)


def _range(kind: inspect.IntType | inspect.FloatType) -> str:
    bounds = (
        (">=", kind.ge),
        (">", kind.gt),
        ("<=", kind.le),
        ("<", kind.lt),
        ("a multiple of", kind.multiple_of),
    )
    told = [f"{sign} {bound:g}" for sign, bound in bounds if bound is not None]
    return f" {' and '.join(told)}" if told else ""


def _is_choice(config: type[Any], key: str, value: str) -> bool:
    return value in _choices(typing.get_type_hints(config).get(key))


def _choices(hint: Any) -> set[Any]:
    """Return the values of the literals in a type."""
    if typing.get_origin(hint) is Literal:
        return set(typing.get_args(hint))
    return {choice for part in typing.get_args(hint) for choice in _choices(part)}
