"""ASD-AFPA's attention over the frequency axis: every mel bin looks at all others."""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor, nn

from asdbench.errors import ConfigError

ScaleBy = Literal["head", "time"]


class FrequencyAttention(nn.Module):
    """Self-attention with mel bins as tokens and time as embedding: ``[B, M, T]`` -> ``[B, M, T]``.

    The paper's eqs. 4-7: the time axis is cut into ``heads`` segments; in each, the rows of
    ``D_i = softmax(Q_i K_i^T / sqrt(T / heads))`` weigh the values, and the features themselves are added to
    the result. No layer norm, no positional encoding, no dropout.
    """

    def __init__(
        self,
        frames: int,
        *,
        heads: int = 6,
        bias: bool = False,
        out_proj: bool = False,
        scale_by: ScaleBy = "head",
    ) -> None:
        """Make the block with Xavier-uniform weights on each matrix by itself.

        Args:
            frames: T of the features.
            heads: Segments of the time axis; a divisor of ``frames``.
            bias: Add biases to the projections; the equations have none.
            out_proj: Project the joined heads once more; the equations do not.
            scale_by: Divide the products by the root of a head's frames, or of all frames (``time``).

        Raises:
            ConfigError: ``heads`` does not divide ``frames``.
        """
        super().__init__()
        if frames % heads:
            raise ConfigError(
                f"heads={heads} does not divide the {frames} frames of the features, which can have "
                f"{_divisors(frames)} heads: choose one of these, or another length_s or drop_last_frame"
            )
        self.heads = heads
        self.scale = 1 / math.sqrt(frames / heads if scale_by == "head" else frames)
        self.query = _projection(frames, bias=bias)
        self.key = _projection(frames, bias=bias)
        self.value = _projection(frames, bias=bias)
        self.out = _projection(frames, bias=bias) if out_proj else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        """Return attended features X^_F ``[B, M, T]`` of log-mel features X_F."""
        return self._apply_weights(self.weights(features), features)

    def explain(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return the attention D ``[B, heads, M, M]``, whose rows sum to 1, and X^_F ``[B, M, T]``."""
        weights = self.weights(features)
        return weights, self._apply_weights(weights, features)

    def weights(self, features: Tensor) -> Tensor:
        """Return the attention D of every head, ``[B, heads, M, M]``."""
        query, key = self._segments(self.query(features)), self._segments(self.key(features))
        return (query * self.scale @ key.transpose(2, 3)).softmax(dim=-1)

    def _apply_weights(self, weights: Tensor, features: Tensor) -> Tensor:
        attended = weights @ self._segments(self.value(features))  # [B, heads, M, T / heads]
        joined = attended.transpose(1, 2).flatten(2)  # [B, M, T]
        result: Tensor = self.out(joined) + features
        return result

    def _segments(self, projected: Tensor) -> Tensor:
        return projected.view(*projected.shape[:2], self.heads, -1).transpose(
            1, 2
        )  # [B, heads, M, T / heads]


def _projection(frames: int, *, bias: bool) -> nn.Linear:
    linear = nn.Linear(frames, frames, bias=bias)
    nn.init.xavier_uniform_(linear.weight)
    if bias:
        nn.init.zeros_(linear.bias)
    return linear


def _divisors(number: int) -> str:
    return ", ".join(str(divisor) for divisor in range(1, number + 1) if number % divisor == 0)
