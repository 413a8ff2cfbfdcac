"""Convolutions over the features of a window: its rows are the channels, its columns the length axis.

The paper prints the decoder as L(10/1)-16W(4/2)-8W(4/2)-4W(4/2)-2W(7/1). Read as input channels (kernel/stride), the
lengths are 1, 10, 20, 40, 80, 86, which ends at the robot's 86 features. Encoder and discriminator mirror it.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

Output = Literal["tanh", "sigmoid"]
FIRST_KERNEL = 7
HALVINGS = 3
WIDTHS = (2, 4, 8, 16)
"""Channels after each convolution, as multiples of a window's rows."""
SLOPE = 0.2
"""Of LeakyReLU, as in BeatGAN; the paper gives none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Lengths of the feature axis in the strided layers."""

    features: int
    padded: int
    """Features plus the trailing zeros that let the decoder undo the encoder's lengths."""
    last: int
    """Length after the last strided layer; also the kernel of the layer that reduces it to one position."""


def lengths_of(features: int) -> Lengths:
    """Return the smallest padding for which three halvings can be undone exactly.

    The first kernel of 7 removes 6 positions; the rest must be a multiple of 8. So 86 stays 86 (80, 40, 20, 10), and 19
    becomes 22 (16, 8, 4, 2); the smallest padded length is 14 (8, 4, 2, 1).

    Args:
        features: Columns of a window, at least 1.
    """
    step = 2**HALVINGS
    last = max(1, -(-(features - FIRST_KERNEL + 1) // step))
    return Lengths(features=features, padded=last * step + FIRST_KERNEL - 1, last=last)


class Encoder(nn.Module):
    """Windows ``[B, rows, features]`` -> codes ``[B, dims]``; ``body`` ends before the last convolution.

    The discriminator is an encoder with a single output.
    """

    def __init__(
        self, *, rows: int, features: int, dims: int, base: int, bn_first: bool = False, bias: bool = False
    ) -> None:
        super().__init__()
        self.lengths = lengths_of(features)
        widths = [base * width for width in WIDTHS]
        layers: list[nn.Module] = [nn.Conv1d(rows, widths[0], FIRST_KERNEL, bias=bias)]
        # The text has batch norm everywhere, BeatGAN none after the first layer.
        layers += [nn.BatchNorm1d(widths[0])] if bn_first else []
        layers += [nn.LeakyReLU(SLOPE)]
        for narrow, wide in itertools.pairwise(widths):
            layers += [
                nn.Conv1d(narrow, wide, 4, stride=2, padding=1, bias=bias),
                nn.BatchNorm1d(wide),
                nn.LeakyReLU(SLOPE),
            ]
        self.body = nn.Sequential(*layers)
        self.head = nn.Conv1d(widths[-1], dims, self.lengths.last, bias=bias)
        self.apply(_initialise)

    def features(self, windows: Tensor) -> Tensor:
        """Return the activations before the last convolution, ``[B, 16 base, last]``; the paper's f_D."""
        # Zeros are appended after the last column; the decoder cuts them off again.
        padded = F.pad(windows, (0, self.lengths.padded - self.lengths.features))
        found: Tensor = self.body(padded)
        return found

    def forward(self, windows: Tensor) -> Tensor:
        """Return codes ``[B, dims]``."""
        code: Tensor = self.head(self.features(windows))
        return code.squeeze(2)


class Decoder(nn.Module):
    """Codes ``[B, dims]`` -> windows ``[B, rows, features]``; the padding is cut off again."""

    def __init__(
        self, *, rows: int, features: int, dims: int, base: int, output: Output = "tanh", bias: bool = False
    ) -> None:
        super().__init__()
        self.lengths = lengths_of(features)
        widths = [base * width for width in reversed(WIDTHS)]
        layers: list[nn.Module] = [
            nn.ConvTranspose1d(dims, widths[0], self.lengths.last, bias=bias),
            nn.BatchNorm1d(widths[0]),
            nn.ReLU(),
        ]
        for wide, narrow in itertools.pairwise(widths):
            layers += [
                nn.ConvTranspose1d(wide, narrow, 4, stride=2, padding=1, bias=bias),
                nn.BatchNorm1d(narrow),
                nn.ReLU(),
            ]
        layers += [
            nn.ConvTranspose1d(widths[-1], rows, FIRST_KERNEL, bias=bias),
            # The text asks for batch norm and ReLU after every layer and for tanh at the output: tanh alone.
            nn.Tanh() if output == "tanh" else nn.Sigmoid(),
        ]
        self.body = nn.Sequential(*layers)
        self.apply(_initialise)

    def forward(self, codes: Tensor) -> Tensor:
        """Return windows ``[B, rows, features]``."""
        padded: Tensor = self.body(codes.unsqueeze(2))
        return padded[:, :, : self.lengths.features]


class WindowAutoencoder(nn.Module):
    """Encoder and decoder: windows ``[B, rows, features]`` -> the same, reconstructed from ``latent`` values."""

    def __init__(
        self,
        *,
        rows: int,
        features: int,
        latent: int,
        base: int | None = None,
        output: Output = "tanh",
        bn_first: bool = False,
        bias: bool = False,
    ) -> None:
        """Build both halves.

        Args:
            rows: Rows of a window.
            features: Columns of a window.
            latent: Latent size.
            base: The widths are multiples of it; None: the rows of a window, as in the paper.
            output: Activation at the output.
            bn_first: Batch norm after the first convolution too.
            bias: Biases in the convolutions.
        """
        super().__init__()
        base = rows if base is None else base
        self.encoder = Encoder(
            rows=rows, features=features, dims=latent, base=base, bn_first=bn_first, bias=bias
        )
        self.decoder = Decoder(rows=rows, features=features, dims=latent, base=base, output=output, bias=bias)

    def forward(self, windows: Tensor) -> Tensor:
        """Return reconstructed windows ``[B, rows, features]``."""
        rebuilt: Tensor = self.decoder(self.encoder(windows))
        return rebuilt


def _initialise(module: nn.Module) -> None:
    # As in BeatGAN, which the paper builds on; the paper gives no initialisation.
    if isinstance(module, nn.Conv1d | nn.ConvTranspose1d):
        nn.init.xavier_normal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm1d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)
