"""Two channels as two embeddings: what BEATs hears near the machine, less a share of what it hears far from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta
from torch import Tensor

from asdbench import ConfigError, Info, ItemView
from asdbench.dsp import residual_key, residual_view
from asdbench_plugins.encoders.frozen import BeatsConfig, FrozenBeats

CHANNELS = 2


class ResidualConfig(BeatsConfig, frozen=True, kw_only=True):
    """Options of the residual view."""

    share: Annotated[float, Meta(ge=0, description="share of the far embedding that is subtracted")] = 0.5


class ResidualBeats(FrozenBeats):
    """The residual view of BEATs: waves ``[n, samples, 2]`` at 16 kHz -> ``[n, 1, dims]``.

    Near and far channel are embedded one after the other, each flattened to one vector.

    Outputs: ``embedding`` ``[n, 1, dims]``, near less ``share`` times far; ``key`` ``[n, 1, dims]``, near without its
    projection on far, by which PRPS selects prototypes.
    """

    Config = ResidualConfig

    def __init__(self, config: ResidualConfig, info: Info) -> None:
        """Load the network.

        Raises:
            ConfigError: The items do not have two channels, or as for BEATs.
        """
        if info.sample_rate is None or info.item_shape[1:] != (CHANNELS,):
            raise ConfigError(
                f"the residual view embeds two channels (near and far), but items have shape {list(info.item_shape)}: use "
                "a dataset that reads both, for example dcase2026, and channel=all"
            )
        super().__init__(config, msgspec.structs.replace(info, item_shape=info.item_shape[:1]))

    def outputs(self, items: ItemView) -> Mapping[str, Tensor]:
        """Return ``embedding`` and ``key``, ``[n, 1, dims]``."""
        near, far = (
            super(ResidualBeats, self)
            .outputs(_Channel(items, number, info=self.info))["embedding"]
            .flatten(1)
            .unsqueeze(1)
            for number in range(CHANNELS)
        )
        return {
            "embedding": residual_view(near, far, share=self.config.share),
            "key": residual_key(near, far),
        }


class _Channel:
    """One channel of some items, as mono items."""

    def __init__(self, items: ItemView, number: int, *, info: Info) -> None:
        self._items, self._number, self.info = items, number, info
        self.claim = items.claim

    def __len__(self) -> int:
        return len(self._items)

    def raw(self, *, offset: int | Tensor = 0, length: int | None = None) -> Tensor:
        return self._items.raw(offset=offset, length=length)[..., self._number].contiguous()

    def features(self) -> Tensor:
        return self._items.features()[..., self._number].contiguous()

    def featurize(self, raw: Tensor) -> Tensor:
        return self._items.featurize(raw)
