"""Min-max scaling of windows by the minimum and maximum of the training windows."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from msgspec import Meta
from torch import Tensor

from asdbench import Config, ConfigError, DataError, Featurizer, Info, Items

BATCH = 256
SCALED_TWICE = (
    "the dataset has already scaled its columns, and scale=train would undo that: use scale=none (for the networks also "
    "preset=scaled_by_dataset), or raw columns, for example kuka[scaling=train]"
)
NOT_SCALED = (
    "scale=none needs columns that the dataset has scaled, but this dataset gives raw ones: use scale=train, or a dataset "
    "that scales, for example kuka[scaling=normal] or timeseries[scaled=true]"
)


class MinMaxConfig(Config, frozen=True, kw_only=True):
    """Options of the scaling."""

    scale: Annotated[
        Literal["train", "row", "none"],
        Meta(
            description="train: each column by its range over the training windows; row: each row of a window by its "
            "own range; none: unchanged, for datasets that scale their columns"
        ),
    ] = "train"


class MinMax(Featurizer):
    """Windows ``[n, rows, features]``, scaled so that the training windows span 0 to 1; nothing is clipped.

    A column that is constant in training is shifted to 0 and not scaled, which avoids a division by 0.
    """

    Config = MinMaxConfig
    low: Tensor
    span: Tensor

    def __init__(self, config: MinMaxConfig, info: Info) -> None:
        """Allocate the minimum and span of each column.

        Raises:
            ConfigError: The items are not windows, or they would be scaled twice or not at all.
        """
        super().__init__(config, info)
        if len(info.item_shape) != 2:
            raise ConfigError(
                f"minmax needs windows [rows, features], but items have shape {list(info.item_shape)}: "
                "use a dataset of windows, for example synthetic_robot"
            )
        if info.scaled and config.scale == "train":
            raise ConfigError(SCALED_TWICE)
        if not info.scaled and config.scale == "none":
            raise ConfigError(NOT_SCALED)
        self.register_buffer("low", torch.zeros(info.item_shape[1]))
        self.register_buffer("span", torch.ones(info.item_shape[1]))

    def fit(self, own: Items) -> None:
        """Measure the minimum and span of each column.

        Raises:
            DataError: A training window has a value that is not finite, or a column's span overflows float32.
        """
        if self.config.scale != "train":
            return
        lows, highs = zip(*(_extrema(batch.raw()) for batch in own.batches(BATCH)), strict=True)
        low, high = torch.stack(lows).amin(dim=0), torch.stack(highs).amax(dim=0)
        if len(bad := (~torch.isfinite(high - low)).nonzero()):
            k = int(bad[0])
            raise DataError(
                f"column {k} (counted from 0) goes from {float(low[k]):g} to {float(high[k]):g} in the training windows, "
                "which float32 cannot scale: use a different unit, or drop the column"
            )
        self.low.copy_(low)
        self.span.copy_(_span(high - low))

    def forward(self, raw: Tensor) -> Tensor:
        """Return scaled windows ``[n, rows, features]``."""
        if self.config.scale == "none":
            return raw
        if self.config.scale == "row":
            low = raw.amin(dim=2, keepdim=True)
            return (raw - low) / _span(raw.amax(dim=2, keepdim=True) - low)
        return (raw - self.low) / self.span


def _extrema(windows: Tensor) -> tuple[Tensor, Tensor]:
    return windows.amin(dim=(0, 1)), windows.amax(dim=(0, 1))


def _span(width: Tensor) -> Tensor:
    # Some temperature columns of the robot are constant.
    return torch.where(width > 0, width, torch.ones_like(width))
