"""Which training items are held out: a share of each class, and whatever belongs together as a whole."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from asdbench.core.seeding import seed_for
from asdbench.recipes.recipe import CommonOptions
from asdbench.runs.units import Data


def held_out(
    rows: Sequence[int], data: Data, *, common: CommonOptions, seed: int
) -> tuple[list[int], list[str]]:
    """Choose the held-out rows of each class; every class keeps at least one item to train on.

    Args:
        rows: Training rows.
        data: The data; its card names what is held out together.
        common: ``held`` is the share of each class; of two or more items (or groups) at least one is held out, unless the
            scorer learns from the held-out items.
        seed: Seed of the case.

    Returns:
        The held-out rows, sorted, and the rule by which classes hold nothing out.
    """
    if common.held == 0:
        return [], []
    held: list[int] = []
    spared: list[str] = []
    for name, members in data.by_class(rows).items():
        groups = data.together(members)
        count = _count(len(groups), common)
        if count == 0:
            spared.append(f"{name} ({len(groups)})")
        # Seeded by class, so that adding or removing a class does not change what others hold out.
        generator = np.random.default_rng(seed_for(seed, "held", name))
        held += [k for i in generator.permutation(len(groups))[:count] for k in groups[i]]
    return sorted(held), _too_few(spared, common, by=data.card.held_by)


def _count(groups: int, common: CommonOptions) -> int:
    # A single held-out item is worth having to compare scores with, but not as all that a scorer learns from.
    least = 1 if groups > 1 and common.scorer_on == "train" else 0
    return max(least, int(common.held * groups))


def _too_few(spared: Sequence[str], common: CommonOptions, *, by: str) -> list[str]:
    """Return the rule by which classes hold nothing out; ``spared`` gives each with its number of groups."""
    if not spared:
        return []
    needed = 2 if common.scorer_on == "train" else math.ceil(1 / common.held)
    each = f" (those of one {'file' if by == 'source' else by} count once)" if by else ""
    return [
        f"held={common.held:g} needs {needed} training items of a class{each} and holds none out of those with fewer: "
        f"{', '.join(spared)}"
    ]
