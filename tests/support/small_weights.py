"""Small files of weights for the methods that need one, filled by the rule of the known answers."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import filled
import torch
from torch import Tensor, nn

from asdbench_plugins.encoders.beats import Beats, BeatsShape
from asdbench_plugins.encoders.decibels import MelShape, MelTransformer
from asdbench_plugins.encoders.eat import Eat, EatShape
from asdbench_plugins.encoders.frozen import FrozenTokens
from asdbench_plugins.encoders.vits import FrozenCed, FrozenDasheng

SMALL_BEATS = {
    "encoder_layers": 10, "embed_dim": 12, "encoder_embed_dim": 16, "encoder_ffn_embed_dim": 24,
    "encoder_attention_heads": 4, "conv_pos": 8, "conv_pos_groups": 4,
}  # fmt: skip


class Encoder(nn.Module):
    """What a user may give as a TorchScript encoder."""

    def forward(self, waves: Tensor) -> Tensor:
        """Return the log energy of frames, ``[n, frames]``."""
        return waves.unfold(1, 400, 400).square().mean(dim=2).add(1e-6).log()


def encoder(file: Path) -> None:
    with warnings.catch_warnings():  # TorchScript is deprecated, and still what an encoder is given as
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.trace(Encoder(), torch.zeros(2, 32000)), str(file))  # type: ignore[no-untyped-call]


def beats(file: Path) -> None:
    torch.save(filled.checkpoint(filled.fill(Beats(BeatsShape(**SMALL_BEATS))), SMALL_BEATS), file)


def eat(file: Path, *, depth: int = 2) -> None:
    torch.save(filled.fill(Eat(EatShape(width=64, depth=depth))).state_dict(), file)


def of_mels(model: type[FrozenTokens] | Any) -> Callable[[Path], None]:
    def save(file: Path) -> None:
        shape = MelShape(width=64, depth=2, patch=model.patch, frames=model.frames)
        torch.save(filled.fill(MelTransformer(shape)).state_dict(), file)

    return save


FILES: Mapping[str, Callable[[Path], None]] = {
    "beats_beam": beats,
    "beats_full": beats,
    "beats_lora": beats,
    "beats_residual": beats,
    "ced_knn": of_mels(FrozenCed),
    "dasheng_knn": of_mels(FrozenDasheng),
    "eat_full": functools.partial(eat, depth=12),
    "eat_knn": eat,
    "eat_lora": eat,
    "encoder_knn": encoder,
    "genrep": beats,
}
"""What writes a small file for methods that need one."""
