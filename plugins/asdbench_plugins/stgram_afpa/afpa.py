"""ASD-AFPA's attention over the frequency axis: every mel bin attends to all others."""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor, nn

from asdbench import ConfigError

ScaleBy = Literal["head", "time"]


class FrequencyAttention(nn.Module):
    """Self-attention with mel bins as tokens and time as embedding: ``[B, M, T]`` -> ``[B, M, T]``.

    Eqs. 3-8 of the paper: the time axis is cut into ``heads`` segments; in each, the rows of
    ``D_i = softmax(Q_i K_i^T / sqrt(T / heads))`` weigh the values, and the input features are added to the
    result. No layer norm, no positional encoding, no dropout.
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
        """Build the block; each matrix is initialised Xavier-uniform on its own.

        Args:
            frames: T of the features.
            heads: Segments of the time axis; must divide ``frames``.
            bias: Add biases to the projections; the equations have none.
            out_proj: Project the joined heads once more; the equations do not.
            scale_by: Divide the products by the square root of a head's frames, or of all frames (``time``).

        Raises:
            ConfigError: ``heads`` does not divide ``frames``.
        """
        super().__init__()
        if frames % heads:
            raise ConfigError(
                f"heads={heads} does not divide the {frames} frames of the features; set heads to one of "
                f"{_divisors(frames)}, or change length_s or drop_last_frame"
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
        # D_i = softmax(Q_i K_i^T / sqrt(n)), eq. 6, with Q and K from eq. 4.
        query, key = self._segments(self.query(features)), self._segments(self.key(features))
        return (query * self.scale @ key.transpose(2, 3)).softmax(dim=-1)

    def _apply_weights(self, weights: Tensor, features: Tensor) -> Tensor:
        # A(X_F(i)) = D_i V_i, eq. 5.
        attended = weights @ self._segments(self.value(features))  # [B, heads, M, T / heads]
        # The heads are concatenated over time, eq. 7.
        joined = attended.transpose(1, 2).flatten(2)  # [B, M, T]
        # The residual of eq. 8.
        result: Tensor = self.out(joined) + features
        return result

    def _segments(self, projected: Tensor) -> Tensor:
        # Eq. 3: segments of the time axis, [B, heads, M, T / heads].
        return projected.view(*projected.shape[:2], self.heads, -1).transpose(1, 2)


def _projection(frames: int, *, bias: bool) -> nn.Linear:
    # A matrix of its own for each projection: torch's packed initialisation would give a smaller bound.
    linear = nn.Linear(frames, frames, bias=bias)
    nn.init.xavier_uniform_(linear.weight)
    if bias:
        nn.init.zeros_(linear.bias)
    return linear


def _divisors(number: int) -> str:
    return ", ".join(str(divisor) for divisor in range(1, number + 1) if number % divisor == 0)
