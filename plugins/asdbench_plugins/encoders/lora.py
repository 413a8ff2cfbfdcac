"""Low-rank adaptation (LoRA): a small trained term beside each frozen projection of attention.

Hu et al., "LoRA: Low-rank adaptation of large language models", ICLR 2022.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LowRank(nn.Module):
    """``scale * B A x``: ``[..., inputs]`` -> ``[..., outputs]``; B starts at 0, and so does the term."""

    def __init__(self, inputs: int, outputs: int, *, rank: int, alpha: float) -> None:
        super().__init__()
        self.scale = alpha / rank
        self.down = nn.Parameter(torch.empty(rank, inputs))
        self.up = nn.Parameter(torch.zeros(outputs, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, values: Tensor) -> Tensor:
        """Return the term."""
        return F.linear(F.linear(values, self.down), self.up) * self.scale


class Adapted(nn.Module):
    """A frozen linear layer plus its low-rank term."""

    def __init__(self, frozen: nn.Linear, term: LowRank) -> None:
        super().__init__()
        self.frozen, self.term = frozen, term

    def forward(self, values: Tensor) -> Tensor:
        """Return the adapted projection of ``[..., inputs]``."""
        made: Tensor = self.frozen(values) + self.term(values)
        return made


def adapt(
    attentions: Iterable[nn.Module], *, projections: Sequence[str], rank: int, alpha: float
) -> nn.ModuleDict:
    """Put low-rank terms beside these projections of every attention, by the names of their layers; return the terms."""
    terms = nn.ModuleDict()
    for number, attention in enumerate(attentions):
        for name in projections:
            frozen = getattr(attention, name)
            term = LowRank(frozen.in_features, frozen.out_features, rank=rank, alpha=alpha)
            setattr(attention, name, Adapted(frozen, term))
            terms[f"{number}_{name}"] = term
    return terms
