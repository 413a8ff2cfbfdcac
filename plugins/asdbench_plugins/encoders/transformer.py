"""The layers that EAT, SSLAM, CED and Dasheng share: those of a vision transformer, normalised before or after.

Names of modules are those of the published checkpoints. ``d`` is the width, ``N`` the number of tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EPS = 1e-6
"""Of every layer norm."""
HEAD = 64
"""Width of a head of attention in most of these networks."""


class Attention(nn.Module):
    """Self-attention of ``heads`` heads: ``[B, N, d]`` -> ``[B, N, d]``."""

    def __init__(self, width: int, *, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the attended values."""
        split = self.qkv(tokens).unflatten(-1, (3, self.heads, -1))  # [B, N, 3, H, d / H]
        query, key, value = split.permute(2, 0, 3, 1, 4)  # each [B, H, N, d / H]
        attended = F.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.proj(attended.transpose(1, 2).flatten(2))
        return out


class FeedForward(nn.Module):
    """Two layers with GELU, four times as wide in between: ``[B, N, d]`` -> ``[B, N, d]``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the outputs."""
        out: Tensor = self.fc2(F.gelu(self.fc1(tokens)))
        return out


class Block(nn.Module):
    """Attention and a feed-forward network, each with a residual sum: ``[B, N, d]`` -> ``[B, N, d]``.

    Args:
        width: d.
        heads: Heads of the attention.
        norm_first: True: what goes into each is normalised, as in CED and Dasheng; False: each sum is, as in EAT.
    """

    def __init__(self, width: int, *, heads: int, norm_first: bool) -> None:
        super().__init__()
        self.norm_first = norm_first
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=EPS), nn.LayerNorm(width, eps=EPS)
        self.attn, self.mlp = Attention(width, heads=heads), FeedForward(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the tokens after this block."""
        if self.norm_first:
            tokens = tokens + self.attn(self.norm1(tokens))
            return torch.add(tokens, self.mlp(self.norm2(tokens)))
        tokens = self.norm1(tokens + self.attn(tokens))
        out: Tensor = self.norm2(tokens + self.mlp(tokens))
        return out
