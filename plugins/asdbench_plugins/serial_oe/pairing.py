"""Batches of targets beside as many negatives, told by the number of the step alone."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from asdbench.data.items import Items
from asdbench.errors import DataError
from asdbench.seeding import seed_for


class Negatives:
    """An endless walk through shuffled lists of all negatives; a list that is used up is shuffled anew.

    A step takes as many negatives as it has targets, so where it begins in the walk follows from its number:
    nothing is kept from step to step that a resumed fit would have to find again.
    """

    def __init__(self, count: int, *, targets: int, batch: int, steps: int, seed: int) -> None:
        """Describe the walk.

        Args:
            count: Negatives in the list.
            targets: Targets of an epoch.
            batch: Targets of a step; the last of an epoch may have fewer.
            steps: Steps of an epoch.
            seed: What the lists are shuffled by, together with their numbers.
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
        for turn in range(first // self.count, (first + size - 1) // self.count + 1):
            inside = draws // self.count == turn
            chosen[inside] = self._list(turn)[draws[inside] % self.count]
        return chosen

    def _list(self, turn: int) -> Tensor:
        if turn not in self._lists:
            generator = torch.Generator().manual_seed(seed_for(self.seed, "negatives", turn))
            self._lists = {turn: torch.randperm(self.count, generator=generator)}
        return self._lists[turn]


class Pairing:
    """The batches of a training set: an epoch is one pass over the targets, with as many negatives beside them."""

    def __init__(self, train: Items, *, batch_size: int, against_negatives: bool, seed: int) -> None:
        """Count the batches.

        Args:
            train: Targets and, where there are any, negatives (``own`` is False).
            batch_size: Items of a step, both kinds together.
            against_negatives: Whether half of them are negatives; else all are targets.
            seed: Of the order of the negatives.

        Raises:
            DataError: There are no negatives, or too few targets for batch norm.
        """
        self.train = train
        own = train.own.cpu()
        self._targets, self._foreign = own.nonzero().flatten(), (~own).nonzero().flatten()
        self.count = len(self._targets)
        self._check(against_negatives)
        self._wanted = batch_size // 2 if against_negatives else batch_size
        self.size = min(self._wanted, self.count)
        self._alone = not against_negatives and self.count % self.size == 1
        self.steps = -(-self.count // self.size) - self._alone
        self._negatives = (
            Negatives(len(self._foreign), targets=self.count, batch=self.size, steps=self.steps, seed=seed)
            if against_negatives
            else None
        )

    @property
    def rules(self) -> list[str]:
        """What small data force on the batches."""
        rules = []
        if self.size < self._wanted:
            rules.append(f"steps of {self.size} targets, all there are, not of {self._wanted}")
        if self._alone:
            rules.append("a last batch of one item is left out: batch norm has no statistics of it")
        return rules

    def targets(self, generator: torch.Generator) -> Iterator[Tensor]:
        """Yield the targets of each step of an epoch, shuffled, as rows of the training set."""
        order = self._targets[torch.randperm(self.count, generator=generator)]
        return iter(torch.split(order, self.size)[: self.steps])

    def batch(self, targets: Tensor, step: int) -> Items:
        """Return the items of a step: its targets and as many negatives."""
        if self._negatives is None:
            return self.train[targets]
        negatives = self._foreign[self._negatives.of_step(step, size=len(targets))]
        return self.train[torch.cat([targets, negatives])]

    def _check(self, against_negatives: bool) -> None:
        if against_negatives and not len(self._foreign):
            raise DataError(
                "there are no items of other units to learn against: use a dataset with more units, "
                "or the method serial_oe_only_product, which needs none"
            )
        needed = 1 if against_negatives else 2
        if self.count < needed:
            raise DataError(
                f"batch norm needs at least {needed} training items of the unit, got {self.count}"
            )
