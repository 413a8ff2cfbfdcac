"""Low-rank adaptation (LoRA): a small trained term beside each frozen projection of attention.

Hu et al., "LoRA: Low-rank adaptation of large language models", ICLR 2022.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asdbench_plugins.encoders.beats import Beats

Projection = Literal["q_proj", "k_proj", "v_proj"]


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
    """A frozen linear layer plus its low-rank term, unless ``enabled`` is False."""

    def __init__(self, frozen: nn.Linear, term: LowRank) -> None:
        super().__init__()
        self.frozen, self.term = frozen, term
        self.enabled = True

    def forward(self, values: Tensor) -> Tensor:
        """Return the adapted projection of ``[..., inputs]``."""
        made: Tensor = self.frozen(values)
        return made + self.term(values) if self.enabled else made


def adapt(
    network: Beats, *, projections: Sequence[Projection], rank: int, alpha: float
) -> tuple[list[Adapted], nn.ModuleDict]:
    """Put low-rank terms beside projections of every layer; return the layers that hold them, and the terms to train."""
    layers, terms = [], nn.ModuleDict()
    for number, layer in enumerate(network.encoder.layers):
        attention = layer.self_attn
        assert isinstance(attention, nn.Module)
        for name in projections:
            frozen = getattr(attention, name)
            term = LowRank(frozen.in_features, frozen.out_features, rank=rank, alpha=alpha)
            adapted = Adapted(frozen, term)
            setattr(attention, name, adapted)
            layers.append(adapted)
            terms[f"{number}_{name}"] = term
    return layers, terms
