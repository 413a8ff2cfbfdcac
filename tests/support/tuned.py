"""What the tests that adapt encoders share: small checkpoint files, clips with two tones, and a fit."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import filled
import numpy as np
import torch

from asdbench import Info, Items
from asdbench.detector.trainer import Trainer, TrainerSettings
from asdbench.testing import make_items
from asdbench_plugins.encoders.beats import Beats, BeatsShape
from asdbench_plugins.encoders.eat import Eat, EatShape
from asdbench_plugins.encoders.frozen import FrozenTokens

BEATS = {
    "encoder_layers": 2, "embed_dim": 12, "encoder_embed_dim": 16, "encoder_ffn_embed_dim": 24,
    "encoder_attention_heads": 4, "conv_pos": 8, "conv_pos_groups": 4,
}  # fmt: skip
Encoder = TypeVar("Encoder", bound=FrozenTokens)


def beats(path: Path) -> Path:
    """Write a BEATs of 2 layers and width 16."""
    torch.save(filled.checkpoint(filled.fill(Beats(BeatsShape(**BEATS))), BEATS), path)
    return path


def eat(path: Path) -> Path:
    """Write an EAT of 2 layers and width 64."""
    torch.save(filled.fill(Eat(EatShape(width=64, depth=2))).state_dict(), path)
    return path


def info() -> Info:
    """Return the shapes of the clips."""
    return Info(item_shape=(8000,), sample_rate=16000, classes=("fan/00", "fan/01"))


def clips(folder: Path) -> Items:
    """Return half-second tones, of 500 Hz for claim 0 and 3000 Hz for claim 1, in noise."""
    claim, random = [0, 1] * 4, np.random.default_rng(0)
    time = np.arange(8000) / 16000
    tones = np.sin(2 * np.pi * (500 + 2500 * np.array(claim))[:, np.newaxis] * time)
    waves = (0.3 * tones + 0.03 * random.standard_normal(tones.shape)).astype(np.float32)
    return make_items(waves, info(), folder=folder, claim=claim)


def fitted(model: Encoder, items: Items, *, folder: Path) -> tuple[Encoder, Trainer]:
    """Fit a model, or continue the fit in this folder."""
    trainer = Trainer(model, TrainerSettings(seed=0, folder=folder, resume_every_s=0.0))
    model.fit(items, items[:0], trainer)
    return model.eval(), trainer
