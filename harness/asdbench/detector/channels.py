"""Recordings of several channels: which of them a method reads, or what it makes of two, its option ``channel``.

Items are stored with all their channels, ``[samples, channels]``; a method gets the waves ``[samples]`` that this
module makes of them, so that no featurizer and no model needs to know of channels. Only ``channel=all`` hands them on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import msgspec
from torch import Tensor

from asdbench.core.info import Info
from asdbench.dsp.fronts import least_squares, noise_mask, spectral_subtraction
from asdbench.errors import ConfigError
from asdbench.recipes.recipe import Channel

NEAR, FAR = 0, 1
"""Order of the channels of two microphones."""
OF_TWO = ("w1", "ss", "mask")


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """What makes waves of items with several channels."""

    channels: int
    of_whole: bool
    """Whether it must see a whole item, because what it subtracts is estimated from all of it."""
    make: Callable[[Tensor], Tensor]

    def __call__(self, raw: Tensor) -> Tensor:
        """Return waves ``[n, samples]`` of raw items ``[n, samples, channels]``."""
        return self.make(raw)


def front_of(channel: Channel, info: Info) -> Front | None:
    """Return what makes waves of the items; None: these are handed on as they are.

    Args:
        channel: The option of the method.
        info: Shape and sample rate of the items as they are stored.

    Raises:
        ConfigError: The items have no such channel, or not the two that a front end reads.
    """
    several = info.sample_rate is not None and len(info.item_shape) == 2
    channels = info.item_shape[1] if several else 1
    if isinstance(channel, int) and channel >= channels:
        raise ConfigError(
            f"channel={channel} does not exist: {_counted(channels)}, so the last is channel {channels - 1}"
        )
    if channel in OF_TWO and channels != 2:
        raise ConfigError(
            f"channel={channel} subtracts the far channel from the near one and needs items of two channels, but "
            f"{_counted(channels)}: use a dataset that reads two (for example dcase2026, or an option of the dataset "
            "for all channels), or choose one with channel=0"
        )
    if not several or channel == "all":
        return None
    make = _makers(int(info.sample_rate or 0)).get(str(channel)) or partial(_chosen, channel=int(channel))
    return Front(channels=channels, of_whole=channel in OF_TWO, make=make)


def heard(info: Info, front: Front | None) -> Info:
    """Return the shape of the items as a method gets them."""
    return info if front is None else msgspec.structs.replace(info, item_shape=info.item_shape[:1])


def _makers(sample_rate: int) -> Mapping[str, Callable[[Tensor], Tensor]]:
    return {
        "mean": lambda raw: raw.mean(dim=-1),
        "w1": lambda raw: least_squares(raw[..., NEAR], raw[..., FAR]),
        "ss": lambda raw: spectral_subtraction(raw[..., NEAR], raw[..., FAR]),
        "mask": lambda raw: noise_mask(raw[..., NEAR], raw[..., FAR], sample_rate=sample_rate),
    }


def _chosen(raw: Tensor, *, channel: int) -> Tensor:
    return raw[..., channel].contiguous()


def _counted(channels: int) -> str:
    return "the items have one channel" if channels == 1 else f"the items have {channels} channels"
