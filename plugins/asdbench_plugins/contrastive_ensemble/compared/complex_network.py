"""Complex-network: complex convolutions on the spectrogram, gated by the magnitude, classify machine IDs.

Stands for Kim et al., "Complex-valued networks for machine anomaly detection" (EUSIPCO 2021; arXiv:2312.13615), whose full
text was not read here: that phase and magnitude are used together, with attention, is all that is taken from it. The
convolution of complex numbers is Trabelsi et al., "Deep complex networks", ICLR 2018, eq. 4.
"""

from __future__ import annotations

import itertools
from typing import Annotated

import torch
from msgspec import Meta
from torch import Tensor, nn

from asdbench import ConfigError, Info, ItemView
from asdbench_plugins.contrastive_ensemble.compared.classifier import ClaimClassifier, ClassifierConfig


class ComplexConfig(ClassifierConfig, frozen=True, kw_only=True):
    """Options of the complex network and its training."""

    n_fft: Annotated[int, Meta(ge=16, description="STFT window in samples")] = 1024
    hop: Annotated[int, Meta(ge=1, description="samples between STFT frames")] = 512


class ComplexNetwork(ClaimClassifier):
    """Waves -> complex STFT -> complex convolutions with magnitude attention -> mean magnitude of each channel.

    A complex map is two real ones: ``[B, 2, channels, bins, frames]``, real part first.
    """

    Config = ComplexConfig
    window: Tensor

    def __init__(self, config: ComplexConfig, info: Info) -> None:
        """Build the network.

        Raises:
            ConfigError: The items are not mono waves that are at least one window long.
        """
        super().__init__(config, info)
        if len(info.item_shape) != 1 or info.item_shape[0] < config.n_fft:
            raise ConfigError(
                f"a complex spectrogram needs mono waves of at least n_fft={config.n_fft} samples, but items have shape "
                f"{list(info.item_shape)}: use longer clips or a smaller n_fft"
            )
        self.register_buffer("window", torch.hann_window(config.n_fft), persistent=False)
        self.layers = nn.Sequential(
            *(ComplexLayer(*pair) for pair in itertools.pairwise([1, *config.widths]))
        )

    def forward(self, waves: Tensor) -> Tensor:
        """Return embeddings ``[B, dims]`` of waves ``[B, samples]``."""
        config = self.config
        spectrum = torch.stft(waves, config.n_fft, config.hop, window=self.window, return_complex=True)
        # Compressed magnitudes with the phase kept: loud bins would otherwise drown the others.
        magnitude = spectrum.abs().clamp_min(1e-8)
        parts = torch.stack([spectrum.real, spectrum.imag], dim=1) * magnitude.pow(-0.7).unsqueeze(1)
        maps: Tensor = self.layers(parts.unsqueeze(2))  # [B, 2, channels, bins, frames]
        return magnitude_of(maps).mean(dim=(2, 3))

    def embed(self, items: ItemView) -> Tensor:
        """Return embeddings ``[n, dims]``."""
        embedding: Tensor = self(items.raw())
        return embedding


class ComplexLayer(nn.Module):
    """Complex convolution that halves both axes, batch norm and ReLU of both parts, then magnitude attention."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.convolution = ComplexConvolution(inputs, outputs)
        self.norm = nn.BatchNorm2d(2 * outputs)
        self.gate = nn.Linear(outputs, outputs)

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps ``[B, 2, outputs, ...]`` of ``[B, 2, inputs, ...]``."""
        made = self.convolution(maps)
        made = self.norm(made.flatten(1, 2)).relu().unflatten(1, made.shape[1:3])
        # One real factor per channel, from its mean magnitude, so that the phase stays what it is.
        gate = self.gate(magnitude_of(made).mean(dim=(2, 3))).sigmoid()
        attended: Tensor = made * gate[:, None, :, None, None]
        return attended


class ComplexConvolution(nn.Module):
    """A convolution with complex weights: (A + iB) * (x + iy) = (A * x - B * y) + i (B * x + A * y)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.real, self.imaginary = (
            nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False) for _ in range(2)
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Return the convolution ``[B, 2, outputs, ...]`` of ``[B, 2, inputs, ...]``."""
        x, y = maps.unbind(dim=1)
        parts = [self.real(x) - self.imaginary(y), self.imaginary(x) + self.real(y)]
        return torch.stack(parts, dim=1)


def magnitude_of(maps: Tensor) -> Tensor:
    """Return the magnitudes ``[B, channels, ...]`` of complex maps ``[B, 2, channels, ...]``."""
    # The small constant bounds the gradient at 0, where ReLU puts many values.
    return (maps.square().sum(dim=1) + 1e-12).sqrt()
