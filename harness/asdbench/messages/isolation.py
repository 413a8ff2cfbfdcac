"""How jobs are kept from what they must not know: what a user may ask for, and what a machine did."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

Isolation = Literal["auto", "required", "audit", "none"]
"""``auto``: as far as the machine can; ``required``: by the kernel, or no job runs; ``audit``: by a hook of Python alone;
``none``: jobs may open anything."""
Isolated = Literal["landlock", "audit", "none"]
"""By the kernel, by a hook of Python, or not at all; from the strongest to the weakest."""


def weakest(ways: Iterable[Isolated]) -> Isolated:
    """Return the weakest of some; ``none`` if there are none."""
    return max(ways, key=get_args(Isolated).index, default="none")
