"""Front ends of two channels: what remains of a near microphone once a far one has explained its share.

The near microphone records the machine and the noise around it, the far one mostly the noise. ``least_squares`` (W1),
``spectral_subtraction`` (SS) and ``noise_mask`` return a wave that any method of mono waves reads; ``residual_view`` and
``residual_key`` do the same with embeddings. Every clip is treated alone, test clips as training clips.

Sources: W1 and SS from kasahart/asd-experiments (docs/02-protocol.md), the residual view and its key from the entry of
UTurtle to DCASE 2026 Task 2, the mask from a technical report of that challenge, which names neither the transform of
its mask nor its frames.
"""

from __future__ import annotations

import torch
from torch import Tensor

from asdbench.dsp.mel import mel_filters
from asdbench.errors import ConfigError

PEAK = 0.9
"""Joint peak of both channels to which W1 scales before it transforms."""
SILENT = 1e-12
"""Joint peak up to which W1 does not scale; also its only regularisation, added to the energy of the far channel."""
KEPT = 0.1
"""Share of the near magnitude that spectral subtraction keeps where the far one is as large."""
LEAST_GAIN = 0.05
"""Smallest gain of the mask."""
QUANTILE = 0.2
"""Of the ratios of near to far power, which the mask takes for those of noise alone."""
TINY = torch.finfo(torch.float32).tiny
"""Keeps quotients finite where numerator and denominator are zero."""
SHARE = 0.5
"""Of the far embedding, which the residual view subtracts."""


def least_squares(near: Tensor, far: Tensor) -> Tensor:
    """Return the near waves without what the far ones explain linearly in each frequency bin (W1).

    ``Y = C - H F`` with ``H[f] = sum_t C conj(F) / (sum_t |F|^2 + 1e-12)`` over all frames of a clip: a periodic Hann
    window of 1024 samples, a hop of 512, centred frames with reflected edges.

    Args:
        near: ``[clips, samples]``, at least 513 samples.
        far: The same shape.

    Returns:
        ``[clips, samples]``. A far channel of zeros gives the near waves, a multiple of the near waves gives silence.

    Raises:
        ConfigError: The waves are too short for one frame.
    """
    peak = torch.maximum(near.abs(), far.abs()).amax(dim=-1, keepdim=True)
    scale = torch.where(peak > SILENT, peak / PEAK, 1.0)
    c, f = (_spectrum(wave / scale, n_fft=1024) for wave in (near, far))  # [clips, bins, T]
    h = (c * f.conj()).sum(dim=-1, keepdim=True) / (f.abs().square().sum(dim=-1, keepdim=True) + SILENT)
    return _wave(c - h * f, n_fft=1024, samples=near.shape[-1]) * scale


def spectral_subtraction(near: Tensor, far: Tensor) -> Tensor:
    """Return the near waves with the far magnitude subtracted from theirs, in their own phase (SS).

    ``|Y| = |C| - |F|`` where that is positive, else ``0.1 |C|``: a periodic Hann window of 512 samples, a hop of 256,
    centred frames with reflected edges (window, centring and edges are choices of the source).

    Args:
        near: ``[clips, samples]``, at least 257 samples.
        far: The same shape.

    Returns:
        ``[clips, samples]``. A far channel of zeros gives the near waves.

    Raises:
        ConfigError: The waves are too short for one frame.
    """
    c, f = (_spectrum(wave, n_fft=512) for wave in (near, far))
    of_near, of_far = c.abs(), f.abs()
    kept = torch.where(of_near > of_far, of_near - of_far, KEPT * of_near)
    # Times the phase of C; where C is zero, so is Y.
    return _wave(c * (kept / of_near.clamp_min(TINY)), n_fft=512, samples=near.shape[-1])


def noise_mask(near: Tensor, far: Tensor, *, sample_rate: int) -> Tensor:
    """Return the near waves under a mask of their mel bands that is small where the far channel is strong.

    ``G = clip(1 - c M2 / M1, 0.05, 1)`` on power mels M1 (near) and M2 (far), with ``c`` the 20th percentile of M1 / M2
    in the clip. The source gives no frames and no way from mels back to bins. Here there are 128 bands in frames of 1024
    samples with a hop of 512, and a bin has the mean gain of the bands that cover it, weighted as they do; a bin that
    none covers keeps its magnitude.

    Args:
        near: ``[clips, samples]``, at least 513 samples.
        far: The same shape.
        sample_rate: In Hz.

    Returns:
        ``[clips, samples]``. A far channel of zeros gives the near waves.

    Raises:
        ConfigError: The waves are too short for one frame.
    """
    filters = mel_filters(sample_rate=sample_rate).to(near)  # [mels, bins]
    c, f = (_spectrum(wave, n_fft=1024) for wave in (near, far))
    gain = mask_gain(filters @ c.abs().square(), filters @ f.abs().square())  # [clips, mels, T]
    covered = filters.sum(dim=0).unsqueeze(-1)  # [bins, 1]
    of_bins = torch.where(covered > 0, filters.T @ gain / covered.clamp_min(TINY), 1.0)
    return _wave(c * of_bins, n_fft=1024, samples=near.shape[-1])


def mask_gain(near: Tensor, far: Tensor) -> Tensor:
    """Return the gains in [0.05, 1] of power mels ``[clips, mels, T]`` of the near and the far channel.

    Cells without near power keep it (gain 1); those without far power do not count in the percentile, and a clip without
    any far power has no other gain than 1.
    """
    heard = far > 0
    ratios = torch.where(heard, near / far.clamp_min(TINY), torch.nan)
    quantile = ratios.flatten(1).nanquantile(QUANTILE, dim=1)[:, None, None].nan_to_num(0.0)
    gain = 1.0 - quantile * far / near.clamp_min(TINY)
    return torch.where(heard & (near > 0), gain.clamp(LEAST_GAIN, 1.0), 1.0)


def residual_view(near: Tensor, far: Tensor, *, share: float = SHARE) -> Tensor:
    """Return the residual view ``near - share * far`` of pooled embeddings ``[..., dims]``."""
    return near - share * far


def residual_key(near: Tensor, far: Tensor) -> Tensor:
    """Return the near embeddings ``[..., dims]`` without their projection on the far ones, by which PRPS selects."""
    along = (near * far).sum(dim=-1, keepdim=True) / (far.square().sum(dim=-1, keepdim=True) + SILENT)
    return near - along * far


def _spectrum(waves: Tensor, *, n_fft: int) -> Tensor:
    if waves.shape[-1] <= n_fft // 2:  # reflected edges need more samples than half a frame
        raise ConfigError(
            f"this front end needs items of more than {n_fft // 2} samples, but they have {waves.shape[-1]}: use longer "
            "items"
        )
    window = torch.hann_window(n_fft, dtype=waves.dtype, device=waves.device)
    return torch.stft(
        waves, n_fft, n_fft // 2, window=window, center=True, pad_mode="reflect", return_complex=True
    )


def _wave(spectra: Tensor, *, n_fft: int, samples: int) -> Tensor:
    window = torch.hann_window(n_fft, dtype=spectra.real.dtype, device=spectra.device)
    return torch.istft(spectra, n_fft, n_fft // 2, window=window, center=True, length=samples)
