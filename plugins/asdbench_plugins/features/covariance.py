"""Spectral covariance: how the mel bands of a clip vary together."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from msgspec import Meta
from torch import Tensor

from asdbench import Featurizer, Info
from asdbench.dsp import LogMelConfig, LogMelSpectrogram, mono_rate

LEAST_VARIANCE = 1e-6
"""dB^2, so that the covariance of silence has a logarithm."""


class CovarianceConfig(LogMelConfig, frozen=True, kw_only=True):
    """Options of the spectral covariance."""

    n_mels: Annotated[int, Meta(ge=1, description="mel filters")] = 32
    shrink: Annotated[
        float,
        Meta(ge=0, description="added to every variance, as a share of their mean, before the logarithm"),
    ] = 0.01
    means: Annotated[bool, Meta(description="append the mean of every band")] = True


class SpectralCovariance(Featurizer):
    """The logarithm of the covariance matrix of the log-mel bands over time: ``[n, samples]`` -> ``[n, dims]``.

    Covariance matrices lie on a curved space; distances of their matrix logarithms are log-Euclidean (Arsigny et al., SIAM
    J. Matrix Anal. Appl. 2007). Entries off the diagonal count twice in such a distance, so they are scaled by the
    root of 2. ``dims`` is ``m (m + 1) / 2`` for m bands, and m more with ``means``.
    """

    no_graph = "ONNX has no eigenvalues, which the logarithm of a matrix takes"
    Config = CovarianceConfig
    rows: Tensor
    columns: Tensor

    def __init__(self, config: CovarianceConfig, info: Info) -> None:
        """Build the featurizer for mono waves.

        Raises:
            ConfigError: The items are not mono waves, or the frequencies do not fit the sample rate.
        """
        super().__init__(config, info)
        self.spectrogram = LogMelSpectrogram(config, sample_rate=mono_rate(info, reader="covariance"))
        rows, columns = torch.triu_indices(config.n_mels, config.n_mels)
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("columns", columns, persistent=False)

    def forward(self, raw: Tensor) -> Tensor:
        """Return the upper triangle of the logarithm, row by row, then the means in dB."""
        bands = self.spectrogram(raw).double()  # [n, m, T]
        means = bands.mean(dim=2)
        centred = bands - means.unsqueeze(2)
        covariance = centred @ centred.mT / bands.shape[2]  # [n, m, m]
        added = self.config.shrink * covariance.diagonal(dim1=1, dim2=2).mean(dim=1) + LEAST_VARIANCE
        identity = torch.eye(bands.shape[1], dtype=bands.dtype, device=bands.device)
        # The covariance is at least 0, so no eigenvalue is below what is added to all.
        values, vectors = torch.linalg.eigh(covariance + added[:, None, None] * identity)
        logarithms = values.clamp_min(LEAST_VARIANCE).log().unsqueeze(1)
        logarithm = (vectors * logarithms) @ vectors.mT
        weight = torch.where(self.rows == self.columns, 1.0, math.sqrt(2))
        triangle = logarithm[:, self.rows, self.columns] * weight
        return torch.cat([triangle, means], dim=1).float() if self.config.means else triangle.float()
