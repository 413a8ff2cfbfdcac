"""Reference [31]: an ID classifier that learns one machine type after another, with rehearsal.

Stands for incremental learning in Zhou et al. (SAFEPROCESS 2023), whose full text was not read here. Rehearsal of stored
items against forgetting is Rebuffi et al., "iCaRL", CVPR 2017, without its distillation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated

import torch
from msgspec import Meta
from torch import Tensor
from torch.nn import functional as F

from asdbench import Items, Trainer, seed_for, to_device
from asdbench_plugins.contrastive_ensemble.compared.classifier import (
    ClassifierConfig,
    SpectrogramClassifier,
)


class IncrementalConfig(ClassifierConfig, frozen=True, kw_only=True):
    """Options of the incremental classifier and its training."""

    epochs: Annotated[int, Meta(ge=0, description="passes over the items of each task")] = 100
    memory: Annotated[int, Meta(ge=0, description="items of each earlier class that are rehearsed")] = 20


class IncrementalClassifier(SpectrogramClassifier):
    """The classifier of log-mel spectrograms, trained in one stage per machine type, in alphabetical order.

    Where all classes are of one type, every class is a task.
    """

    Config = IncrementalConfig

    @property
    def tasks(self) -> list[list[int]]:
        """Classes of each task, by their index."""
        types: dict[str, list[int]] = {}
        for index, name in enumerate(self.info.classes):
            types.setdefault(name.partition("/")[0], []).append(index)
        if len(types) > 1:
            return list(types.values())
        return [[index] for index in range(len(self.info.classes))]

    def fit(self, train: Items, held: Items, trainer: Trainer) -> None:
        """Train the tasks in turn; each step sees the classes so far, of earlier ones only the rehearsed items."""
        claim = train.claim.cpu()
        known: list[int] = []
        for number, classes in enumerate(self.tasks):
            rows = [torch.isin(claim, torch.tensor(classes)).nonzero().flatten()]
            rows += [self._rehearsed(claim, index, seed=trainer.settings.seed) for index in known]
            known = [*known, *classes]
            some = train[torch.cat(rows).sort().values]
            trainer.run(
                self.stage(f"task-{number + 1}", some, trainer=trainer, losses=self._losses(list(known)))
            )

    def _rehearsed(self, claim: Tensor, index: int, *, seed: int) -> Tensor:
        """Return rows of an earlier class; a resumed fit draws the same."""
        members = (claim == index).nonzero().flatten()
        generator = torch.Generator().manual_seed(seed_for(seed, "rehearsed", index))
        return members[torch.randperm(len(members), generator=generator)[: self.config.memory]]

    def _losses(self, known: list[int]) -> Callable[[Items, int], Iterator[tuple[str, Tensor]]]:
        """Return the loss among the classes seen so far; the others must not be pushed away before they come."""

        def losses(batch: Items, step: int) -> Iterator[tuple[str, Tensor]]:
            logits = self.head(self.embed(batch))
            unseen = torch.tensor([index not in known for index in range(logits.shape[1])])
            seen_only = logits.masked_fill(to_device(unseen, logits.device), -torch.inf)
            yield "cross_entropy", F.cross_entropy(seen_only, batch.claim)

        return losses
