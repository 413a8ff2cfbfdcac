"""The check that featurizers of waves make of the items."""

from __future__ import annotations

from asdbench.core.info import Info
from asdbench.errors import ConfigError


def mono_rate(info: Info, *, reader: str) -> int:
    """Return the sample rate in Hz of items that are mono waves ``[samples]``.

    Args:
        info: Shape and sample rate of the items.
        reader: Name of the featurizer or method that needs waves, for the message.

    Raises:
        ConfigError: The items are not mono waves.
    """
    if info.sample_rate is None or len(info.item_shape) != 1:
        rate = "no sample rate" if info.sample_rate is None else f"sample rate {info.sample_rate}"
        several = info.sample_rate is not None and len(info.item_shape) == 2
        mend = "choose one with channel=0, or channel=mean" if several else "use a dataset of mono recordings"
        raise ConfigError(
            f"{reader} reads mono waves, but items have shape {list(info.item_shape)} and {rate}: {mend}, or a method with "
            "another featurizer"
        )
    return info.sample_rate
