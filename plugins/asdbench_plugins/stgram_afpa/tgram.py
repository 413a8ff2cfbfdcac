"""TgramNet: learned temporal features of the raw wave, laid out like the log-mel spectrogram beside them."""

from __future__ import annotations

from torch import Tensor, nn

from asdbench.errors import ConfigError


class TgramNet(nn.Module):
    """Wave ``[B, samples]`` -> temporal features ``[B, mels, frames]``.

    A strided convolution as wide as an STFT frame cuts the wave as the STFT does; three layers of norm over
    time, LeakyReLU and convolution follow. torch's default initialisation.
    """

    def __init__(self, *, samples: int, mels: int, frames: int, kernel: int = 1024, hop: int = 512) -> None:
        """Make the network for one shape of features.

        Args:
            samples: Of a wave.
            mels: Rows of the features beside it.
            frames: T of the features beside it; what the convolution gives beyond that is cut off.
            kernel: Samples of the first convolution, the STFT's frame.
            hop: Its stride in samples, the STFT's hop.

        Raises:
            ConfigError: The convolution's frames are not those of the features.
        """
        super().__init__()
        available = 1 + (samples + 2 * (kernel // 2) - kernel) // hop
        if not available - 1 <= frames <= available:
            raise ConfigError(
                f"the features have {frames} frames, but wave_kernel={kernel} and wave_hop={hop} give "
                f"{available} of {samples} samples: set n_fft and hop of the features to the same values"
            )
        self.frames = frames
        self.extract = nn.Conv1d(1, mels, kernel, stride=hop, padding=kernel // 2, bias=False)
        self.encode = nn.Sequential(*(_layer(mels, frames) for _ in range(3)))

    def forward(self, waves: Tensor) -> Tensor:
        """Return temporal features ``[B, mels, frames]`` of waves ``[B, samples]``."""
        extracted = self.extract(waves.unsqueeze(1))[:, :, : self.frames]  # [B, mels, frames]
        encoded: Tensor = self.encode(extracted)
        return encoded


def _layer(mels: int, frames: int) -> nn.Module:
    return nn.Sequential(
        nn.LayerNorm(frames), nn.LeakyReLU(0.2), nn.Conv1d(mels, mels, 3, padding=1, bias=False)
    )
