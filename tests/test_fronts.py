"""Front ends of two channels: the known answers of W1 and SS, what each leaves alone, and views of embeddings."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import filled
import numpy as np
import pytest
import torch
from torch import Tensor

from asdbench import ConfigError
from asdbench.dsp import (
    least_squares,
    mask_gain,
    noise_mask,
    residual_key,
    residual_view,
    spectral_subtraction,
)

RATE, COUNT = 16000, 8192
Front = Callable[[Tensor, Tensor], Tensor]
MASK = partial(noise_mask, sample_rate=RATE)
FRONTS = {"w1": least_squares, "ss": spectral_subtraction, "mask": MASK}
PLACES = [0, 1, 1000, 4096, 8191]
KNOWN = {
    "w1": ([-0.009038, -0.042758, 0.000430, -0.035060, 0.045317], 0.035306),
    "ss": ([-0.003117, -0.002909, -0.000731, 0.010279, 0.040491], 0.021448),
}


@pytest.fixture(scope="module")
def waves() -> tuple[Tensor, Tensor]:
    """A tone with an echo of the noise that the far microphone records alone, ``[1, samples]`` each."""
    far = filled.uniform(1000, COUNT)
    tone = 0.05 * np.sin(2 * np.pi * 440 * np.arange(COUNT) / RATE)
    near = tone + 0.3 * far + 0.15 * np.concatenate([np.zeros(5), far[:-5]])
    return (
        torch.from_numpy(near.astype(np.float32)).unsqueeze(0),
        torch.from_numpy(far.astype(np.float32)).unsqueeze(0),
    )


def rms(wave: Tensor) -> float:
    return float(wave.square().mean().sqrt())


def test_the_test_signal_is_that_of_the_known_answers(waves: tuple[Tensor, Tensor]) -> None:
    near, _ = waves
    assert near[0, :2].tolist() == pytest.approx([-0.101875, -0.092600], abs=1e-6)
    assert rms(near) == pytest.approx(0.102938, abs=1e-6)


@pytest.mark.parametrize("name", KNOWN)
def test_w1_and_ss_give_the_known_answers(waves: tuple[Tensor, Tensor], name: str) -> None:
    found = FRONTS[name](*waves)
    values, level = KNOWN[name]
    assert found.shape == (1, COUNT)
    assert found[0, PLACES].tolist() == pytest.approx(values, abs=1e-5)
    assert rms(found) == pytest.approx(level, abs=1e-5)


def test_the_transfer_function_of_w1_is_the_known_one(waves: tuple[Tensor, Tensor]) -> None:
    near, far = waves
    # What W1 removes is H F: in each bin the same multiple of the far channel as of all its frames together.
    window = torch.hann_window(1024)
    stft = partial(torch.stft, n_fft=1024, hop_length=512, window=window, return_complex=True)
    scale = float(torch.maximum(near.abs(), far.abs()).max()) / 0.9
    c, f = stft(near / scale)[0], stft(far / scale)[0]
    assert c.shape == (513, 17)
    h = (c * f.conj()).sum(1) / (f.abs().square().sum(1) + 1e-12)
    known = {0: 0.4449, 28: 0.4315 - 0.2103j, 100: 0.1504 - 0.0079j, 512: 0.1531}
    for place, value in known.items():
        assert complex(h[place]) == pytest.approx(value, abs=1e-4)
    removed = torch.istft(h.unsqueeze(1) * f, 1024, 512, window=window, length=COUNT) * scale
    torch.testing.assert_close(near[0] - removed, least_squares(near, far)[0], atol=1e-6, rtol=0)


@pytest.mark.parametrize("front", FRONTS.values(), ids=FRONTS)
def test_a_silent_far_channel_changes_nothing(waves: tuple[Tensor, Tensor], front: Front) -> None:
    near, far = waves
    torch.testing.assert_close(front(near, torch.zeros_like(far)), near, atol=1e-6, rtol=0)
    silent = torch.zeros_like(near)
    assert torch.equal(front(silent, silent), silent)
    assert front(silent, far).abs().max() < 1e-7


@pytest.mark.parametrize("front", FRONTS.values(), ids=FRONTS)
def test_scaling_both_channels_scales_the_result(waves: tuple[Tensor, Tensor], front: Front) -> None:
    near, far = waves
    torch.testing.assert_close(front(5 * near, 5 * far), 5 * front(near, far), atol=2e-6, rtol=1e-4)


@pytest.mark.parametrize("front", FRONTS.values(), ids=FRONTS)
def test_each_clip_is_treated_alone(waves: tuple[Tensor, Tensor], front: Front) -> None:
    near, far = waves
    both = front(torch.cat([near, far]), torch.cat([far, near]))
    torch.testing.assert_close(both[:1], front(near, far), atol=1e-7, rtol=0)


def test_w1_of_a_multiple_of_the_far_channel_is_silent(waves: tuple[Tensor, Tensor]) -> None:
    _, far = waves
    assert least_squares(-0.7 * far, far).abs().max() < 1e-6


def test_ss_keeps_a_tenth_where_the_far_channel_is_as_loud(waves: tuple[Tensor, Tensor]) -> None:
    _, far = waves
    torch.testing.assert_close(spectral_subtraction(far, far), 0.1 * far, atol=1e-6, rtol=0)
    torch.testing.assert_close(spectral_subtraction(far, 0.25 * far), 0.75 * far, atol=1e-6, rtol=0)


def test_the_gain_of_the_mask_is_the_formula() -> None:
    near = torch.tensor([[[1.0, 2.0, 4.0], [8.0, 16.0, 0.0]]])
    far = torch.ones(1, 2, 3)
    # Ratios 0 1 2 4 8 16: their 20th percentile is 1.
    expected = torch.tensor([[[0.05, 0.5, 0.75], [0.875, 0.9375, 1.0]]])
    torch.testing.assert_close(mask_gain(near, far), expected)
    assert torch.equal(mask_gain(near, torch.zeros_like(near)), torch.ones_like(near))


@pytest.mark.parametrize("front", FRONTS.values(), ids=FRONTS)
def test_waves_that_are_shorter_than_half_a_frame_are_refused(front: Front) -> None:
    with pytest.raises(ConfigError, match=r"needs items of more than (256|512) samples, but they have 200"):
        front(torch.zeros(1, 200), torch.zeros(1, 200))


def test_the_residual_view_and_its_key_are_the_known_ones() -> None:
    near, far = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 0.0, 1.0])
    assert residual_view(near, far).tolist() == [0.5, 2.0, 2.5]
    assert residual_key(near, far).tolist() == pytest.approx([-1.0, 2.0, 1.0])
    assert torch.equal(residual_key(near, torch.zeros(3)), near)
    assert float(residual_key(near, far) @ far) == pytest.approx(0, abs=1e-6)
