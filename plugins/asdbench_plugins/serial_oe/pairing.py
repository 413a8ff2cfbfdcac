"""Batches of targets and as many negatives, determined by the step number and the seed alone."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from asdbench import DataError, Items, seed_for


class Negatives:
    """An endless walk through shuffled lists of all negatives; a used-up list is shuffled again.

    A step takes as many negatives as it has targets, so its position in the walk follows from its number. No state
    carries over from step to step, so a resumed fit has nothing to restore.
    """

    def __init__(self, count: int, *, targets: int, batch: int, steps: int, seed: int) -> None:
        """Describe the walk.

        Args:
            count: Negatives in the list.
            targets: Targets per epoch.
            batch: Targets per step; the last step of an epoch may have fewer.
            steps: Steps per epoch.
            seed: Seed of the shuffling, combined with the number of the list.
        """
        self.count = count
        self.targets = targets
        self.batch = batch
        self.steps = steps
        self.seed = seed
        self._lists: dict[int, Tensor] = {}

    def of_step(self, step: int, *, size: int) -> Tensor:
        """Return positions of ``size`` negatives, ``[size]``, for a step counted from 0 over all epochs."""
        epoch, number = divmod(step, self.steps)
        first = epoch * self.targets + number * self.batch
        draws = torch.arange(first, first + size)
        chosen = torch.empty(size, dtype=torch.int64)
        # A step may end one list and continue in the next.
        for turn in range(first // self.count, (first + size - 1) // self.count + 1):
            inside = draws // self.count == turn
            chosen[inside] = self._list(turn)[draws[inside] % self.count]
        return chosen

    def _list(self, turn: int) -> Tensor:
        if turn not in self._lists:
            generator = torch.Generator().manual_seed(seed_for(self.seed, "negatives", turn))
            # Only the current list is kept; an earlier one is derived again from its seed.
            self._lists = {turn: torch.randperm(self.count, generator=generator)}
        return self._lists[turn]


class Pairing:
    """The batches of a training set: an epoch is one pass over the targets, with as many negatives."""

    def __init__(self, train: Items, *, batch_size: int, against_negatives: bool, seed: int) -> None:
        """Count the batches.

        Args:
            train: Targets and, if there are any, negatives (``own`` is False).
            batch_size: Items per step, both kinds together.
            against_negatives: Whether half of them are negatives; otherwise all are targets.
            seed: Seed for the order of the negatives.

        Raises:
            DataError: There are no negatives, or too few targets for batch norm.
        """
        self.train = train
        self.claim = train.claim.cpu()
        """The claims of the training set, on the CPU."""
        own = train.own.cpu()
        self._targets, self._foreign = own.nonzero().flatten(), (~own).nonzero().flatten()
        self.count = len(self._targets)
        self._check(against_negatives)
        self._wanted = batch_size // 2 if against_negatives else batch_size
        self.size = min(self._wanted, self.count)
        # With negatives, a lone target still forms a batch of two.
        self._alone = not against_negatives and self.count % self.size == 1
        self.steps = -(-self.count // self.size) - self._alone
        self._negatives = (
            Negatives(len(self._foreign), targets=self.count, batch=self.size, steps=self.steps, seed=seed)
            if against_negatives
            else None
        )

    @property
    def rules(self) -> list[str]:
        """Adjustments of the batches that small data made necessary."""
        rules = []
        if self.size < self._wanted:
            rules.append(f"each step has all {self.size} targets instead of {self._wanted}")
        if self._alone:
            rules.append("a last batch of one item is dropped: batch norm needs at least two")
        return rules

    def targets(self, generator: torch.Generator) -> Iterator[Tensor]:
        """Yield the shuffled targets of each step of an epoch, as rows of the training set."""
        order = self._targets[torch.randperm(self.count, generator=generator)]
        return iter(torch.split(order, self.size)[: self.steps])

    def batch(self, targets: Tensor, step: int) -> Items:
        """Return the items of a step: its targets and as many negatives."""
        return self.train[self.rows(targets, step)]

    def rows(self, targets: Tensor, step: int) -> Tensor:
        """Return the rows of a step's items in the training set, on the CPU."""
        if self._negatives is None:
            return targets
        negatives = self._foreign[self._negatives.of_step(step, size=len(targets))]
        return torch.cat([targets, negatives])

    def _check(self, against_negatives: bool) -> None:
        if against_negatives and not len(self._foreign):
            raise DataError(
                "the method needs items of other units as negatives, found 0: use a dataset with more units, "
                "or the method serial_oe_only_product, which needs none"
            )
        needed = 1 if against_negatives else 2
        if self.count < needed:
            raise DataError(
                f"batch norm needs at least {needed} training items of the unit, found {self.count}"
            )
