"""Centres of classes whose number is known only once the training items are counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class CountedCentres(nn.Module):
    """Centres on the sphere, ``sub_clusters`` for each class: the part that heads for counted classes share.

    A new head has no class: ``resize`` gives it some once they are counted, and a saved head brings its own.
    """

    def __init__(self, dims: int, *, sub_clusters: int = 1, trainable: bool = True) -> None:
        """Build a head without classes.

        Args:
            dims: Size of the embedding.
            sub_clusters: Centres per class.
            trainable: False: the centres stay where they were drawn.
        """
        super().__init__()
        self.sub_clusters = sub_clusters
        self.weight = nn.Parameter(torch.empty(0, dims), requires_grad=trainable)

    @property
    def classes(self) -> int:
        """Number of classes; 0 before ``resize``."""
        return len(self.weight) // self.sub_clusters

    @torch.no_grad()
    def resize(self, classes: int) -> None:
        """Draw Xavier-uniform centres for so many classes; a head that has as many, for a fit resumes, keeps its own."""
        if classes == self.classes:
            return
        centres = torch.empty(classes * self.sub_clusters, self.weight.shape[1])
        # On the CPU, so that every device starts from the same centres.
        self._replace(nn.init.xavier_uniform_(centres).to(self.weight.device, non_blocking=True))

    def cosines(self, embedding: Tensor) -> Tensor:
        """Return the cosine of each embedding ``[B, dims]`` and each centre, float32 ``[B, classes * sub_clusters]``."""
        with torch.autocast(embedding.device.type, enabled=False):
            return F.linear(F.normalize(embedding.float()), F.normalize(self.weight.float()))

    def _replace(self, centres: Tensor) -> None:
        self.weight = nn.Parameter(centres, requires_grad=self.weight.requires_grad)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        saved = state_dict.get(f"{prefix}weight")
        if saved is not None and saved.shape[1:] == self.weight.shape[1:]:
            # A saved head has the classes of its training items, which a new one cannot know.
            self._replace(self.weight.new_empty(saved.shape))
        super()._load_from_state_dict(state_dict, prefix, *args)
