"""Options that several releases of recordings share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from asdbench.errors import ConfigError, unknown

Machines = Annotated[
    tuple[str, ...] | str, Meta(description="machine types joined by +, such as fan+pump; empty: all")
]
SampleRate = Annotated[int, Meta(description="Hz; clips at another rate are resampled", ge=1000, le=192_000)]
Channel = Annotated[int, Meta(description="which channel of clips with several", ge=0)]


def chosen_machines(machines: Sequence[str] | str, known: Sequence[str]) -> tuple[str, ...]:
    """Return the wanted machine types in the order of ``known``, so that equal selections are equal.

    Raises:
        ConfigError: A machine type is unknown.
    """
    chosen = machines.split("+") if isinstance(machines, str) else machines
    for machine in filter(None, chosen):
        if machine not in known:
            raise ConfigError(unknown("machine type", machine, known))
    return tuple(name for name in known if name in chosen)
