"""What datasets of machine recordings share: options, fields of their cards, and how their folders are read."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from asdbench import ConfigError, unknown

Machines = Annotated[
    tuple[str, ...] | str, Meta(description="machine types joined by +, for example fan+pump; empty: all")
]
SampleRate = Annotated[
    int, Meta(description="sample rate in Hz; clips at another rate are resampled", ge=1000, le=192_000)
]
Channel = Annotated[int, Meta(description="channel to read from clips with several channels", ge=0)]

COLUMNS: Mapping[str, str] = {
    "machine": "machine type",
    "section": "machine ID",
    "part": "train or test",
}
CLAIMS = ("machine", "section")
SCOPES: Mapping[str, tuple[str, ...]] = {
    "all": (),
    "machine": ("machine",),
    "section": ("machine", "section"),
}
GROUPS = ("machine", "section", "domain")
NO_VALIDATION = "no validation part: anything chosen on the test clips is biased towards them"
"""Known leak of releases whose only labelled clips are their test clips."""


def ordered_machines(machines: Sequence[str] | str, known: Sequence[str]) -> tuple[str, ...]:
    """Return the chosen machine types in the order of ``known``, so that equal selections are equal configurations.

    Raises:
        ConfigError: A machine type is unknown.
    """
    chosen = machines.split("+") if isinstance(machines, str) else machines
    for machine in filter(None, chosen):
        if machine not in known:
            raise ConfigError(unknown("machine type", machine, known=known))
    return tuple(name for name in known if name in chosen)


def visible_names(folder: Path) -> list[str]:
    """Return the sorted names in a folder, without the hidden files of desktops and downloads; none if it is missing."""
    if not folder.is_dir():
        return []
    return sorted(name for name in os.listdir(folder) if not name.startswith("."))  # noqa: PTH208 - names alone
