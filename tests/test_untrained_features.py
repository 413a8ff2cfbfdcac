"""Spectral covariance and fixed random convolutions: values by their definitions, and the methods with them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
import torch

from asdbench import ConfigError, Info
from asdbench.testing import MethodContract
from asdbench_plugins.features.covariance import CovarianceConfig, SpectralCovariance
from asdbench_plugins.features.random_convolutions import RandomConvolutionConfig, RandomConvolutions

INFO = Info(item_shape=(16000,), sample_rate=16000)


@pytest.fixture(scope="module")
def waves() -> torch.Tensor:
    return torch.randn(3, 16000, generator=torch.Generator().manual_seed(0))


def test_spectral_covariance_is_the_matrix_logarithm_of_the_covariance_of_the_bands(
    waves: torch.Tensor,
) -> None:
    featurizer = SpectralCovariance(CovarianceConfig(n_mels=4, shrink=0.1), INFO)
    found = featurizer(waves)
    assert found.shape == (3, 4 * 5 // 2 + 4)
    bands = featurizer.spectrogram(waves)[1].double().numpy()
    covariance = np.cov(bands, bias=True)
    expected = scipy.linalg.logm(covariance + (0.1 * np.trace(covariance) / 4 + 1e-6) * np.eye(4))
    # The upper triangle, row by row; its Euclidean length is the Frobenius norm of the matrix.
    np.testing.assert_allclose(found[1, 0], expected[0, 0], atol=1e-4)
    np.testing.assert_allclose(found[1, 1], math.sqrt(2) * expected[0, 1], atol=1e-4)
    np.testing.assert_allclose(float(found[1, :10].norm()), np.linalg.norm(expected), rtol=1e-4)
    np.testing.assert_allclose(found[1, 10:], bands.mean(axis=1), atol=1e-4)


def test_a_louder_clip_has_the_same_covariance_and_other_means(waves: torch.Tensor) -> None:
    featurizer = SpectralCovariance(CovarianceConfig(n_mels=4), INFO)
    quiet, loud = featurizer(waves), featurizer(10 * waves)
    torch.testing.assert_close(loud[:, :10], quiet[:, :10], atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(loud[:, 10:], quiet[:, 10:] + 20, atol=1e-3, rtol=0)
    assert SpectralCovariance(CovarianceConfig(n_mels=4, means=False), INFO)(waves).shape == (3, 10)
    assert torch.isfinite(featurizer(torch.zeros(1, 16000))).all()


def test_random_convolutions_are_those_of_the_seed_and_do_not_see_the_level(waves: torch.Tensor) -> None:
    config = RandomConvolutionConfig(kernels=8, bands=2, n_mels=16)
    featurizer = RandomConvolutions(config, INFO)
    found = featurizer(waves)
    assert found.shape == (3, 16, 32)
    assert float(found.min()) >= 0
    torch.testing.assert_close(RandomConvolutions(config, INFO)(waves), found)
    torch.testing.assert_close(featurizer(10 * waves), found, atol=1e-3, rtol=1e-3)
    other = RandomConvolutionConfig(kernels=8, bands=2, n_mels=16, kernel_seed=1)
    assert not torch.allclose(RandomConvolutions(other, INFO)(waves), found)


def test_a_response_is_the_rectified_product_of_kernel_and_patch_averaged_in_its_band(
    waves: torch.Tensor,
) -> None:
    config = RandomConvolutionConfig(kernels=4, bands=2, n_mels=6, size=3)
    featurizer = RandomConvolutions(config, INFO)
    energies = featurizer.spectrogram(waves)[0]  # [6, frames]
    kernel = featurizer.kernels[1, 0]  # dilated by 2 frames
    assert float(kernel.sum()) == pytest.approx(0, abs=1e-5)
    assert float(kernel.norm()) == pytest.approx(1, abs=1e-5)
    responses = []
    for mel in (3, 4, 5):  # the upper band, at frame 10; the last mel is repeated beyond the edge
        rows = [min(5, mel + step) for step in (-1, 0, 1)]
        responses.append(max(0.0, float((energies[rows][:, [8, 10, 12]] * kernel).sum())))
    assert float(featurizer(waves)[0, 1 * 2 + 1, 10]) == pytest.approx(sum(responses) / 3, rel=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernels": 6}, "kernels=6 must be a multiple of 4"),
        ({"size": 4}, "size=4 has no centre: use an odd number"),
        ({"bands": 65}, "bands=65 is more than the 64 mels"),
    ],
)
def test_options_that_do_not_fit_are_named(options: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RandomConvolutions(RandomConvolutionConfig(**options), INFO)


class TestCovariance(MethodContract):
    @pytest.fixture
    def method(self) -> str:
        return "covariance_knn"


class TestRandomConvolutions(MethodContract):
    @pytest.fixture
    def method(self) -> str:
        return "randconv_knn"
