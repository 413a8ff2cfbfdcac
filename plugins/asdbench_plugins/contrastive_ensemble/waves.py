"""Augmentations of waves, for SimSiam's views and the positives of fine-tuning.

All random draws use torch's global generators.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from asdbench import to_device


@dataclass(frozen=True, slots=True, kw_only=True)
class Transforms:
    """The four transforms and their strengths."""

    max_shift: int = 56
    """Maximum steps of a time shift."""
    shift_hop: int = 512
    """Samples per step."""
    pitch_semitones: float = -20.0
    grain: int = 2048
    """Samples per grain of the pitch shift."""
    fade_share: float = 0.5
    """Longest fade as a share of the wave."""
    snr_low_db: float = -10.0
    snr_high_db: float = 10.0

    def one_of_each(self, waves: Tensor) -> Tensor:
        """Return ``waves`` ``[n, samples]``, each changed by one of the four transforms at random."""
        transforms = self.shifted, self.pitched, self.faded, self.noisy
        chosen = torch.randint(len(transforms), (len(waves),))
        result = waves.clone()
        for number, transform in enumerate(transforms):
            rows = to_device((chosen == number).nonzero().flatten(), waves.device)
            if len(rows):
                result[rows] = transform(waves[rows])
        return result

    def shifted(self, waves: Tensor) -> Tensor:
        """Return each wave shifted circularly by 0 to ``max_shift`` steps, forward or backward."""
        steps = torch.randint(self.max_shift + 1, (len(waves),)) * _signs(len(waves))
        return rotate(waves, (steps * self.shift_hop).tolist())

    def pitched(self, waves: Tensor) -> Tensor:
        """Return all waves with their pitch shifted by ``pitch_semitones``."""
        return shift_pitch(waves, semitones=self.pitch_semitones, grain=self.grain)

    def faded(self, waves: Tensor) -> Tensor:
        """Return each wave with a fade in and a fade out of random lengths and shapes."""
        longest = self.fade_share * waves.shape[1]
        lengths = to_device(torch.rand(2, len(waves), 1) * longest, waves.device)
        half_sine = to_device(torch.rand(2, len(waves), 1) < 0.5, waves.device)
        position = torch.arange(waves.shape[1], dtype=torch.float32, device=waves.device)  # [samples]
        fade_in = fade_gain(position, length=lengths[0], half_sine=half_sine[0])  # [n, samples]
        fade_out = fade_gain(position.flip(0), length=lengths[1], half_sine=half_sine[1])
        return waves * fade_in * fade_out

    def noisy(self, waves: Tensor) -> Tensor:
        """Return each wave with white Gaussian noise at a random signal-to-noise ratio."""
        span = self.snr_high_db - self.snr_low_db
        # Noise power = signal power * 10^(-SNR / 10).
        snr_db = to_device(self.snr_low_db + span * torch.rand(len(waves), 1), waves.device)
        power = waves.square().mean(dim=1, keepdim=True) * 10 ** (-snr_db / 10)  # noise power, [n, 1]
        return waves + power.sqrt() * torch.randn_like(waves)


def rotate(waves: Tensor, samples: Sequence[int]) -> Tensor:
    """Return each wave ``[n, samples]`` shifted circularly by its number of samples, later if positive."""
    return torch.stack([wave.roll(count) for wave, count in zip(waves, samples, strict=True)])


def shift_pitch(waves: Tensor, *, semitones: float, grain: int = 2048) -> Tensor:
    """Return waves with shifted pitch and unchanged timing.

    Grains that overlap by half are read faster or slower around their centres and blended; there is no phase
    vocoder. With centres c every grain / 2 samples and Hann weights w that add up to 1,
    ``y(t) = sum_c w(t - c) x(c + r (t - c))`` with ``r = 2^(semitones / 12)``.

    Args:
        waves: ``[n, samples]``.
        semitones: Upwards if positive.
        grain: Samples per grain, even.
    """
    samples, half = waves.shape[1], grain // 2
    ratio = 2 ** (semitones / 12)
    time = torch.arange(samples, device=waves.device, dtype=torch.float64)
    before = (time // half) * half  # centre of the earlier of the two grains over each sample
    # The falling half of a Hann window; the next grain's rising half is 1 - weight.
    weight = 0.5 + 0.5 * torch.cos(math.pi * (time - before) / half)
    left = _read(waves, before + ratio * (time - before))
    right = _read(waves, before + half + ratio * (time - before - half))
    return left * weight.to(waves.dtype) + right * (1 - weight).to(waves.dtype)


def fade_gain(position: Tensor, *, length: Tensor, half_sine: Tensor) -> Tensor:
    """Return the gain of a fade-in, 0 at its start and 1 from its end on.

    Args:
        position: Samples from the start, ``[samples]``.
        length: Length of the fade in samples, ``[n, 1]``.
        half_sine: Its shape, bool ``[n, 1]``: half-sine if true, else exponential.
    """
    share = (position / length.clamp_min(1)).clamp_max(1)  # [n, samples]
    # s 2^(s - 1) rises exponentially and still starts at 0 and ends at 1.
    return torch.where(half_sine, 0.5 - 0.5 * torch.cos(math.pi * share), share * 2 ** (share - 1))


def _read(waves: Tensor, at: Tensor) -> Tensor:
    """Return ``waves`` at fractional positions by linear interpolation; positions wrap around the ends."""
    samples = waves.shape[1]
    below = at.floor()
    part = (at - below).to(waves.dtype)
    first = below.long() % samples
    return torch.lerp(waves[:, first], waves[:, (first + 1) % samples], part.expand_as(waves))


def _signs(count: int) -> Tensor:
    return 2 * torch.randint(2, (count,)) - 1
