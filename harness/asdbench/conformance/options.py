"""Checks that every option has a type that can be read, a default and a description."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from asdbench.conformance.findings import Unmet
from asdbench.core.config import Config, configure
from asdbench.core.options import options_of

MISSING = "NODEFAULT"


def options_are_described(configs: Mapping[str, type[Config]]) -> str:
    """Check the options of some parts.

    Args:
        configs: Part -> its configuration.
    """
    found = []
    for part, config in configs.items():
        needed = [field.name for field in msgspec.structs.fields(config) if field.required]
        if not needed:
            configure(
                config, {}, of=part
            )  # msgspec reads the types now, and raises for one that it cannot read
        described = options_of(part, config, values=dict.fromkeys(config.__struct_fields__))
        for option in described:
            if not option.meaning:
                raise Unmet(
                    f"{part} option {option.option!r} has no description",
                    mend='annotate it: Annotated[int, Meta(ge=1, description="what it means")]',
                )
            if option.kind in ("Any", "object"):
                raise Unmet(
                    f"{part} option {option.option!r} is of any type",
                    mend="give it the type of its values, so that asdbench can check them",
                )
        found += [option.option for option in described]
    return f"{len(found)} options, each with a type and a description"
