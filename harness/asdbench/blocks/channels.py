"""Widths of scaled networks: MobileNet and related networks have channels in multiples of eight or four."""

from __future__ import annotations

LEAST_SHARE = 0.9
"""Rounding removes at most a tenth of the channels."""


def rounded_channels(channels: float, *, step: int = 8) -> int:
    """Return the nearest multiple of ``step``, at least one step and at least nine tenths of ``channels``."""
    nearest = max(step, int(channels + step / 2) // step * step)
    return nearest + step if nearest < LEAST_SHARE * channels else nearest
