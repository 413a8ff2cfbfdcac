"""The networks other than GhostNetV2: embedding head, SimSiam's heads, time CNN, fusion classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from asdbench import ConfigError
from asdbench_plugins.contrastive_ensemble.ghostnet import GhostNetV2

Stem = Literal["stride_128", "stride_64_pool"]
SLOPE = 0.2
"""Slope of the time CNN's LeakyReLU."""
STEM_KERNEL = 256
STEM_CHANNELS = 16
FUSION_ROWS = 16
FUSION_DIMS = 128


class SpectralModel(nn.Module):
    """GhostNetV2, mean over the map, linear layer and batch norm: spectrograms -> embeddings."""

    def __init__(self, *, width: float = 1.0, dims: int = 512) -> None:
        super().__init__()
        self.backbone = GhostNetV2(channels=2, width=width)
        self.head = nn.Sequential(nn.Linear(self.backbone.dims, dims, bias=False), nn.BatchNorm1d(dims))

    def forward(self, pictures: Tensor) -> Tensor:
        """Return embeddings ``[n, dims]`` of spectrograms ``[n, 2, mels, frames]``."""
        embedding: Tensor = self.head(self.pooled(pictures))
        return embedding

    def pooled(self, pictures: Tensor) -> Tensor:
        """Return the mean over the backbone's map, ``[n, backbone.dims]``."""
        maps: Tensor = self.backbone(pictures)
        return maps.mean(dim=(2, 3))


class SimSiamHeads(nn.Module):
    """A three-layer projector and a predictor with a bottleneck, as in SimSiam's appendix."""

    spread: Tensor

    def __init__(self, inputs: int, *, dims: int = 2048, hidden: int = 512) -> None:
        super().__init__()
        self.projector = nn.Sequential(
            nn.Linear(inputs, inputs, bias=False),
            nn.BatchNorm1d(inputs),
            nn.ReLU(),
            nn.Linear(inputs, inputs, bias=False),
            nn.BatchNorm1d(inputs),
            nn.ReLU(),
            nn.Linear(inputs, dims, bias=False),
            # As in SimSiam's reference code; the hidden layers keep the input's width.
            nn.BatchNorm1d(dims, affine=False),
        )
        self.predictor = nn.Sequential(
            nn.Linear(dims, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, dims),
        )
        self.register_buffer("spread", torch.zeros(()))

    def forward(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Return predictions p and projections z, ``[n, dims]``, of pooled maps ``[n, inputs]``.

        In training ``spread`` holds the standard deviation over the batch of z scaled to length 1, times the square
        root of its dims: near 1 is healthy, near 0 means collapse to one point.
        """
        projected = self.projector(pooled)
        if self.training:
            unit = nn.functional.normalize(projected.detach().float())
            self.spread.copy_(unit.std(dim=0).mean() * unit.shape[1] ** 0.5)
        return self.predictor(projected), projected


class Step(NamedTuple):
    """One block of the time CNN, a row of Table 1."""

    expansion: int
    channels: int
    stride: int


STEPS: Sequence[Step] = (
    Step(3, 32, 1),
    Step(3, 32, 2),
    Step(3, 32, 2),
    Step(2, 64, 3),
    Step(2, 128, 2),
    Step(2, 256, 1),
    Step(2, 256, 2),
    Step(2, 256, 2),
    Step(2, 256, 2),
)
"""All blocks of Table 1 but the last, whose channels are the embedding's."""


class TimeCnn(nn.Module):
    """Waves ``[n, samples]`` -> embeddings ``[n, dims]``: Table 1, with a mean over whatever length remains."""

    def __init__(self, *, dims: int = 512, stem: Stem = "stride_128", bias: bool = False) -> None:
        super().__init__()
        # Table 1 prints a stride of 64 (2,500 steps) but continues with 1,250; both variants give 1,250.
        stride, padding = (128, 64) if stem == "stride_128" else (64, 96)
        self.stem = nn.Sequential(
            nn.Conv1d(1, STEM_CHANNELS, STEM_KERNEL, stride=stride, padding=padding, bias=bias),
            nn.BatchNorm1d(STEM_CHANNELS),
            nn.LeakyReLU(SLOPE),
            *([nn.MaxPool1d(2)] if stem == "stride_64_pool" else []),
        )
        blocks, inputs = [], STEM_CHANNELS
        for step in (*STEPS, Step(2, dims, 1)):
            blocks.append(TimeBlock(inputs, step, bias=bias))
            inputs = step.channels
        self.blocks = nn.Sequential(*blocks)

    def forward(self, waves: Tensor) -> Tensor:
        """Return embeddings ``[n, dims]`` of waves ``[n, samples]``."""
        maps: Tensor = self.blocks(self.stem(waves.unsqueeze(1)))  # [n, dims, length]
        # Table 1 pools 7 positions to 1; the mean also serves shorter waves.
        return maps.mean(dim=2)


class TimeBlock(nn.Module):
    """Expand, filter each channel, project; the input is added if the shapes match."""

    def __init__(self, inputs: int, step: Step, *, bias: bool) -> None:
        super().__init__()
        hidden = inputs * step.expansion
        self.residual = step.stride == 1 and inputs == step.channels
        self.layers = nn.Sequential(
            # Figure 4: batch norm and LeakyReLU after each of the three convolutions.
            nn.Conv1d(inputs, hidden, 1, bias=bias),
            nn.BatchNorm1d(hidden),
            nn.LeakyReLU(SLOPE),
            nn.Conv1d(hidden, hidden, 3, stride=step.stride, padding=1, groups=hidden, bias=bias),
            nn.BatchNorm1d(hidden),
            nn.LeakyReLU(SLOPE),
            nn.Conv1d(hidden, step.channels, 1, bias=bias),
            nn.BatchNorm1d(step.channels),
            nn.LeakyReLU(SLOPE),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps ``[n, channels, ceil(length / stride)]``."""
        filtered: Tensor = self.layers(maps)
        return maps + filtered if self.residual else filtered


class FusionClassifier(nn.Module):
    """Two embeddings, reshaped to maps of 16 rows -> fused embeddings ``[n, 128]``: Table 2, without its FC."""

    def __init__(self, *, dims: int = 512) -> None:
        super().__init__()
        if dims % FUSION_ROWS:
            raise ConfigError(
                f"embedding_dims={dims} must be a multiple of {FUSION_ROWS}, the rows of the fused maps"
            )
        self.layers = nn.Sequential(
            # Table 2 prints no padding: 16 x 32, 16 x 32, 14 x 30, 12 x 28, 7 x 23, 7 x 23.
            *_layer(2, 16, kernel=1),
            nn.PReLU(16),
            SigmoidExcite(16),
            *_layer(16, 64, kernel=3),
            nn.PReLU(64),
            SigmoidExcite(64),
            *_layer(64, 256, kernel=3),
            *_layer(256, 512, kernel=6),
            *_layer(512, FUSION_DIMS, kernel=1),
        )

    def forward(self, spectral: Tensor, temporal: Tensor) -> Tensor:
        """Return fused embeddings ``[n, 128]`` of two embeddings ``[n, dims]``."""
        pair = torch.stack([spectral, temporal], dim=1)
        maps = pair.view(len(pair), 2, FUSION_ROWS, -1)  # [n, 2, 16, dims / 16]
        fused: Tensor = self.layers(maps)
        return fused.mean(dim=(2, 3))


class SigmoidExcite(nn.Module):
    """Squeeze and excitation: channel weights from the channel means, through a sigmoid."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weigh = nn.Sequential(
            nn.Linear(channels, channels // 2),
            nn.ReLU(),
            nn.Linear(channels // 2, channels),
            nn.Sigmoid(),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Return weighted maps of the same shape ``[n, channels, height, width]``."""
        weights: Tensor = self.weigh(maps.mean(dim=(2, 3)))
        return maps * weights[:, :, None, None]


def _layer(inputs: int, outputs: int, *, kernel: int) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(inputs, outputs, kernel, bias=False), nn.BatchNorm2d(outputs)
