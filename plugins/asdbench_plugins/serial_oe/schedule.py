"""Schedules over the steps: learning rate and momentum of OneCycle, and how often waves are mixed.

Smith and Topin, "Super-convergence", 2019, with the defaults of ``torch.optim.lr_scheduler.OneCycleLR``.
"""

from __future__ import annotations

import math
from typing import Literal

MixupSchedule = Literal["cosine", "constant"]

RISE = 0.3
"""Share of the steps during which the rate rises."""
START, END = 1 / 25, 1 / 25 / 1e4
"""First and last rate as multiples of the highest."""
SLOW, FAST = 0.95, 0.85
"""Momentum (AdamW's first beta) at the lowest and at the highest rate."""


def one_cycle_rate(step: int, *, total: int) -> float:
    """Return the multiple of the highest learning rate at ``step`` of ``total``."""
    rising, part = _phase(step, total)
    return _between(START, 1.0, part=part) if rising else _between(1.0, END, part=part)


def one_cycle_momentum(step: int, *, total: int) -> float:
    """Return AdamW's first beta at ``step`` of ``total``; it falls while the rate rises."""
    rising, part = _phase(step, total)
    return _between(SLOW, FAST, part=part) if rising else _between(FAST, SLOW, part=part)


def mixup_rate(schedule: MixupSchedule, step: int, *, total: int) -> float:
    """Return the probability that a step's waves are mixed.

    ``cosine``: 0 at the start, 1/2 after a quarter of the steps, 1 from the middle on, as in the author's recipes.
    """
    if schedule == "constant":
        return 1.0
    return (1 - math.cos(min(math.pi, 2 * math.pi * step / total))) / 2


def _phase(step: int, total: int) -> tuple[bool, float]:
    """Return whether the rate rises at ``step``, and the share of that phase that is over."""
    # Subtracting 1 makes the phases end where OneCycleLR's do.
    top, last = RISE * total - 1, total - 1
    if step <= top:
        return True, step / top
    return False, min(1.0, (step - top) / (last - top)) if last > top else 1.0


def _between(first: float, last: float, *, part: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * part)) / 2
