"""What datasets of machine recordings share: options, fields of their cards, and how their folders are read."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta

from asdbench import ConfigError, DataError, unknown

if TYPE_CHECKING:
    from numpy.typing import NDArray

Machines = Annotated[
    tuple[str, ...] | str, Meta(description="machine types joined by +, for example fan+pump; empty: all")
]
SampleRate = Annotated[
    int, Meta(description="sample rate in Hz; clips at another rate are resampled", ge=1000, le=192_000)
]
Channel = Annotated[
    Annotated[int, Meta(ge=0)] | Literal["all"],
    Meta(
        description="channel to read from clips with several channels, from 0; all: items [samples, channels], of which "
        "a method's own option channel chooses"
    ),
]

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


def item_shape(samples: int, *, channel: int | str, channels: int) -> tuple[int, ...]:
    """Return the shape of an item that ``read_item`` gives, of clips with so many channels."""
    return (samples, channels) if channel == "all" else (samples,)


def read_item(path: Path, *, sample_rate: int, channel: int | Literal["all"], channels: int) -> NDArray[Any]:
    """Decode one clip: int16 as stored at its own rate, float32 if resampled.

    Args:
        path: The file.
        sample_rate: In Hz, of the returned samples.
        channel: Channel to read, or ``all``.
        channels: Number of channels that the clips of the release have.

    Returns:
        ``[samples]``, or ``[samples, channels]`` for all.

    Raises:
        DataError: The file is damaged, or has no such channel or not all of them; the message names it.
    """
    import numpy as np

    from asdbench import read_wave

    waves = read_wave(path, sample_rate=sample_rate, channel=channel)
    if channel != "all":
        return waves
    if len(waves) != channels:
        raise DataError(
            f"{path} has {len(waves)} channel{'s' * (len(waves) != 1)}, but the clips of this release have {channels}: "
            "copy the original file, or read one channel with the dataset's option channel=0"
        )
    return np.ascontiguousarray(waves.T)


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
