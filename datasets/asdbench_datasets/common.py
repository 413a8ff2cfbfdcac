"""What the modules of several releases share: their tables, and the choice of machine types."""

from __future__ import annotations

import csv
import functools
import importlib.resources
from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from asdbench.errors import ConfigError, unknown
from asdbench.values import Remote

Machines = Annotated[
    tuple[str, ...] | str, Meta(description="machine types joined by +, such as fan+pump; empty: all")
]
SampleRate = Annotated[int, Meta(description="Hz; clips at another rate are resampled", ge=1000, le=192_000)]
Channel = Annotated[int, Meta(description="which channel of clips with several", ge=0)]
NO_VALIDATION = "no validation part: what was chosen on the test clips is biased towards them"


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


@functools.cache
def table(name: str) -> tuple[dict[str, str], ...]:
    """Return the lines of a table in ``indexes``."""
    place = importlib.resources.files("asdbench_datasets").joinpath("indexes", name)
    return tuple(csv.DictReader(place.read_text(encoding="utf-8").splitlines()))


def zenodo(line: dict[str, str]) -> Remote:
    """Return the archive that a line of a table of remotes names by ``record``, ``file``, ``md5``, ``part``."""
    return Remote(
        url=f"https://zenodo.org/records/{line['record']}/files/{line['file']}",
        md5=line["md5"],
        part=line["part"],
    )
