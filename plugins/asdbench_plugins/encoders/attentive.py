"""The layers on which an encoder is fine-tuned, from its tokens to the vector that is classified.

Okabe et al., "Attentive statistics pooling for deep speaker embedding", Interspeech 2018, with the context of ECAPA-TDNN.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

HIDDEN = 48
LEAST_VARIANCE = 1e-4


class AttentiveStatistics(nn.Module):
    """Tokens to one vector by their attended mean and deviation: ``[B, N, d]`` -> ``[B, dims]``."""

    def __init__(self, width: int, *, dims: int) -> None:
        super().__init__()
        self.attend = nn.Sequential(
            nn.Conv1d(3 * width, HIDDEN, 1),
            nn.ReLU(),
            nn.BatchNorm1d(HIDDEN),
            nn.Tanh(),
            nn.Conv1d(HIDDEN, width, 1),
        )
        self.norm = nn.BatchNorm1d(2 * width)
        self.dense = nn.Linear(2 * width, width)
        self.last_norm = nn.BatchNorm1d(width)
        self.project = nn.Linear(width, dims)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the vector of each item."""
        maps = tokens.mT  # [B, d, N]
        even = torch.full_like(maps[:, :1], 1 / maps.shape[2])
        context = [each.unsqueeze(2).expand_as(maps) for each in _statistics(maps, even)]
        weights = self.attend(torch.cat([maps, *context], dim=1)).softmax(dim=2)  # [B, d, N]
        pooled = self.norm(torch.cat(_statistics(maps, weights), dim=1))  # [B, 2 d]
        vector: Tensor = self.project(self.last_norm(self.dense(pooled)))
        return vector


class MeanToken(nn.Module):
    """The mean of the tokens, or the only one, through a linear layer: ``[B, N, d]`` -> ``[B, dims]``."""

    def __init__(self, width: int, *, dims: int, norm: bool) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width) if norm else nn.Identity()
        self.project = nn.Linear(width, dims)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the vector of each item."""
        vector: Tensor = self.project(self.norm(tokens.mean(dim=1)))
        return vector


def _statistics(maps: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weighted mean and deviation over tokens, ``[B, d]`` each."""
    mean = (weights * maps).sum(dim=2)
    variance = (weights * (maps - mean.unsqueeze(2)).square()).sum(dim=2)
    return mean, variance.clamp_min(LEAST_VARIANCE).sqrt()
