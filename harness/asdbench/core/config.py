"""Configuration: frozen values whose fields are options, filled from text and checked as they are read."""

from __future__ import annotations

import math
import re
import typing
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import inspect

from asdbench.errors import ConfigError, PluginError, blamed_on, unknown


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every configuration: a frozen value whose fields are the options a user can set.

    Give each field a default and, with ``Annotated[int, msgspec.Meta(description=..., ge=1)]``, a description and a
    range: ``asdbench describe`` prints the description, and reading checks the range.
    """


def config_of(built: Any) -> type[Config]:
    """Return the configuration type of a featurizer or model class; datasets and scorers are their own."""
    config = (
        built if isinstance(built, type) and issubclass(built, Config) else getattr(built, "Config", None)
    )
    if not (isinstance(config, type) and issubclass(config, Config)):
        raise PluginError(
            f"{built!r} has no Config that inherits from asdbench.Config; models inherit one from asdbench.Model, "
            "featurizers from asdbench.Featurizer, and scorers, which inherit from asdbench.Scorer, are one"
        )
    return config


def configure(config: type[Config], options: Mapping[str, Any], *, of: str) -> Any:
    """Return ``config`` with the given options, as text or values.

    Raises:
        ConfigError: An option is unknown or its value does not fit.
        PluginError: ``config`` has a field of a type that cannot be read.
    """
    # msgspec refuses unknown fields too, but its message does not list the known ones.
    known = {field.name for field in msgspec.structs.fields(config)}
    for key in options:
        if key not in known:
            raise ConfigError(f"{of}: {unknown('option', key, known=known)}")
    return convert(options, config, of=of)


def convert(options: Mapping[str, Any], config: type[Any], *, of: str) -> Any:
    """Return ``config`` with options that are known to exist.

    Raises:
        ConfigError: A value does not fit.
        PluginError: ``config`` has a field of a type that cannot be read, or its own checks fail with another error.
    """
    with blamed_on(f"{of}: {config.__name__} failed"):
        converted = _converted(options, config, of=of)
    for name in options:
        value = getattr(converted, name)
        # JSON, by which recipes are identified and kept, has no such numbers: they would become null, which is None.
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{of}: {name}={value} is not a finite number")
    return converted


def _converted(options: Mapping[str, Any], config: type[Any], *, of: str) -> Any:
    try:
        # Not strict: text from a command line becomes the type of its field. "none" means None unless it is a choice.
        values = {
            key: None if value == "none" and not _is_choice(config, key, value=value) else value
            for key, value in options.items()
        }
        return msgspec.convert(values, config, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{of}: {_misfit(str(error), options, config=config)}") from error
    except TypeError as error:  # msgspec raises it for types that it cannot read, not for values
        raise PluginError(f"{of}: {config.__name__} is not a valid Config: {error}") from error


def _misfit(message: str, options: Mapping[str, Any], *, config: type[Any]) -> str:
    """Return msgspec's message in terms of the user: the option, its value, what would be right."""
    # msgspec ends its messages with the field, for example "Expected `int` - at `$.n_mels`".
    place = re.search(r" - at `\$\.(\w+)`$", message)
    # Without a place, the message comes from the configuration's own checks and is already in such terms.
    if place is None or place[1] not in options:
        return message
    name, value = place[1], options[place[1]]
    kind = typing.get_type_hints(config, include_extras=True)[name]
    if choices := _choices(kind):
        others = _beside_choices(inspect.type_info(kind))
        known = [*map(str, choices), *([others] if others else [])]
        return unknown(f"value of {name}", str(value), known=known)
    wanted = _wanted(inspect.type_info(kind))
    return f"{name}={value} is not {wanted}" if wanted else message


def _wanted(kind: inspect.Type) -> str | None:
    """Return a short description of the values of a type; None if there is none."""
    match kind:
        case inspect.Metadata():
            return _wanted(kind.type)
        case inspect.UnionType():
            # "none" comes first: "none or a number > 0" cannot be read as "> 0 or none".
            parts = [_wanted(inner) for inner in sorted(kind.types, key=_is_something)]
            return None if None in parts else " or ".join(filter(None, parts))
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


def _beside_choices(kind: inspect.Type) -> str | None:
    """Return which whole numbers or truth values a type allows beside its choices; None: none."""
    match kind:
        case inspect.Metadata():
            return _beside_choices(kind.type)
        case inspect.UnionType():
            return next(filter(None, map(_beside_choices, kind.types)), None)
        case inspect.IntType() | inspect.BoolType():
            return _wanted(kind)
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
    stated = [f"{sign} {bound:g}" for sign, bound in bounds if bound is not None]
    return f" {' and '.join(stated)}" if stated else ""


def _is_choice(config: type[Any], key: str, *, value: str) -> bool:
    return value in _choices(typing.get_type_hints(config).get(key))


def _choices(hint: Any) -> set[Any]:
    """Return the values of all literals within a type."""
    if typing.get_origin(hint) is Literal:
        return set(typing.get_args(hint))
    return {choice for part in typing.get_args(hint) for choice in _choices(part)}
