"""Learning-rate schedules of STgram-MFN's code, as multiples of the initial rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

Schedule = Literal["cosine", "cosine_old", "constant"]


def factor_of(
    schedule: Schedule, *, epochs: int, steps: int, start_epoch: int, eta_min_factor: float
) -> Callable[[int, int], float]:
    """Return the learning rate's multiple as a function of epoch and step, both counted from 0.

    ``cosine`` falls from 1 to ``eta_min_factor`` over ``epochs`` epochs, counted from ``start_epoch``: a
    training of ``epochs`` epochs in total ends ``start_epoch`` epochs short of the minimum, as in the code.
    ``cosine_old`` falls to 0 over as many epochs as an epoch has steps; the old code confused the two.

    Args:
        schedule: Name of the schedule.
        epochs: Number of training epochs.
        steps: Batches per epoch.
        start_epoch: Epochs at the full rate.
        eta_min_factor: Smallest multiple of ``cosine``.
    """
    if schedule == "constant":
        return lambda epoch, step: 1.0
    least = 0.0 if schedule == "cosine_old" else eta_min_factor
    period = steps if schedule == "cosine_old" else epochs

    def factor(epoch: int, step: int) -> float:
        # The closed form of torch's CosineAnnealingLR, as the code steps it once per epoch.
        phase = math.pi * max(0, epoch - start_epoch) / period
        return least + (1 - least) * (1 + math.cos(phase)) / 2

    return factor
