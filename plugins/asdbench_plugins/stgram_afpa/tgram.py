"""TgramNet: learned temporal features of the raw wave, in the shape of the log-mel spectrogram."""

from __future__ import annotations

from torch import Tensor, nn

from asdbench import ConfigError


class TgramNet(nn.Module):
    """Wave ``[B, samples]`` -> temporal features ``[B, mels, frames]``.

    A strided convolution as wide as an STFT frame splits the wave as the STFT does. Three layers follow, each
    layer norm over time, LeakyReLU and convolution. Initialisation is torch's default.
    """

    def __init__(self, *, samples: int, mels: int, frames: int, kernel: int = 1024, hop: int = 512) -> None:
        """Build the network for one feature shape.

        Args:
            samples: Samples of a wave.
            mels: Mel bands of the log-mel features.
            frames: Frames T of the log-mel features; surplus convolution outputs are dropped.
            kernel: Kernel of the first convolution in samples, the STFT's frame.
            hop: Its stride in samples, the STFT's hop.

        Raises:
            ConfigError: The convolution does not give as many frames as the features have.
        """
        super().__init__()
        available = 1 + (samples + 2 * (kernel // 2) - kernel) // hop
        if not available - 1 <= frames <= available:  # the features may lack the last frame (drop_last_frame)
            raise ConfigError(
                f"the features have {frames} frames, but wave_kernel={kernel} and wave_hop={hop} give "
                f"{available} from {samples} samples: set n_fft and hop of the features to the same values"
            )
        self.frames = frames
        # Padding by half a kernel gives 1 + samples / hop frames, as a centred STFT does.
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
