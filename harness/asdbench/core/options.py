"""Describes the options of a configuration: type, value and meaning."""

from __future__ import annotations

import typing
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from asdbench.core.config import Config


class OptionDescription(Config, frozen=True, kw_only=True):
    """One option of a method, a dataset or a part."""

    part: str
    """``featurizer``, ``model``, ``scorer`` or ``dataset``; ``method`` for the options that every method has."""
    option: str
    value: Any
    kind: str
    """Type, or the possible values: ``int``, ``float | none``, ``mean | max``, ``list of str``."""
    meaning: str


def options_of(part: str, config: type[Config], *, values: Mapping[str, Any]) -> list[OptionDescription]:
    """Return every option of a configuration with its value, type and meaning."""
    hints = typing.get_type_hints(config, include_extras=True)
    return [
        OptionDescription(
            part=part,
            option=field.name,
            value=values[field.name],
            kind=_kind(hints[field.name]),
            meaning=_meaning(hints[field.name]),
        )
        for field in msgspec.structs.fields(config)
    ]


def _kind(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Annotated:
        return _kind(typing.get_args(hint)[0])
    if typing.get_origin(hint) is typing.Literal:
        return " | ".join(str(value) for value in typing.get_args(hint))
    if isinstance(origin := typing.get_origin(hint), type) and issubclass(origin, Collection):
        return _kind_of_many(origin, [_kind(part) for part in typing.get_args(hint) if part is not Ellipsis])
    if typing.get_args(hint):
        return " | ".join(_kind(part) for part in typing.get_args(hint))
    return "none" if hint is type(None) else getattr(hint, "__name__", str(hint))


def _kind_of_many(origin: type, parts: Sequence[str]) -> str:
    if issubclass(origin, Mapping):
        return f"{parts[0]} to {parts[1]}"
    # All of one kind, as in ``tuple[str, ...]`` and ``list[str]``, or each of its own, as in ``tuple[int, float]``.
    return f"list of {parts[0]}" if len(parts) == 1 else f"({', '.join(parts)})"


def _meaning(hint: Any) -> str:
    if typing.get_origin(hint) is not typing.Annotated:
        return ""
    metas = [meta for meta in typing.get_args(hint)[1:] if isinstance(meta, msgspec.Meta)]
    return " ".join(meta.description for meta in metas if meta.description)
