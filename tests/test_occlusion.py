"""Where in time and frequency a recording is strange: planted sounds are found in the patch that they are in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from plant_folders import RATE, noise, record

from asdbench import Selector, load_registry
from asdbench.machine.file import OwnDetector
from asdbench.machine.fitting import FitRequest, fit
from asdbench.machine.occlusion import COLUMNS, drops
from asdbench.machine.recordings import Source
from asdbench.machine.spectrum import bins_of, levels_of, mel_bands, spectrum_of, wave_of

BANDS = 8
PITCH_HZ, ITS_BAND = 2000, 5
"""A strange tone, and the band that it is in."""


def hum(*, seconds: float = 1, seed: int = 99) -> np.ndarray:
    time_s = np.arange(round(seconds * RATE)) / RATE
    return 0.3 * np.sin(2 * np.pi * 300 * time_s) + 0.5 * noise(seconds, seed=seed)


def with_tone(wave: np.ndarray, *, start_s: float, end_s: float) -> np.ndarray:
    time_s = np.arange(len(wave)) / RATE
    tone = 0.1 * np.sin(2 * np.pi * PITCH_HZ * time_s)
    return np.float32(wave + np.where((start_s <= time_s) & (time_s < end_s), tone, 0))


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> OwnDetector:
    place = tmp_path_factory.mktemp("press")
    for seed in range(8):
        record(place / f"{seed}.wav", samples=hum(seed=seed))
    request = FitRequest(method=Selector("logmel_knn"), source=Source(path=place), name="press", cache=cache)
    return fit(load_registry(), request).own


def test_a_strange_tone_is_found_in_its_patch(own: OwnDetector) -> None:
    found = drops(own, with_tone(hum(), start_s=10 / 16, end_s=11 / 16), claim=0, bands=BANDS)
    assert found.shape == (1, BANDS, COLUMNS)
    assert np.unravel_index(found.argmax(), found.shape) == (0, ITS_BAND, 10)
    others = np.delete(found[0], ITS_BAND, axis=0)
    assert found.max() > 3 * np.abs(others).max()  # the hum stays a hum


def test_of_a_long_recording_each_segment_has_as_many_patches(own: OwnDetector) -> None:
    wave = with_tone(hum(seconds=5.6), start_s=3.5, end_s=3.75)
    found = drops(own, wave, claim=0, bands=BANDS)
    assert found.shape == (6, BANDS, 3)  # at least COLUMNS in all
    assert np.unravel_index(found.argmax(), found.shape) == (3, ITS_BAND, 1)


def test_without_bands_there_is_no_patch(own: OwnDetector) -> None:
    assert drops(own, np.float32(hum()), claim=0, bands=0).size == 0


def test_levels_are_those_of_normal_recordings(own: OwnDetector) -> None:
    assert own.levels.shape == (1, bins_of(RATE))
    spectrum = spectrum_of(torch.from_numpy(np.float32(hum())), sample_rate=RATE)
    alone = levels_of([torch.from_numpy(np.float32(hum()))], sample_rate=RATE)
    np.testing.assert_allclose(alone, spectrum.abs().square().mean(dim=1).sqrt(), rtol=1e-6)
    assert abs(20 * np.log10(own.levels[0].mean() / alone.mean())) < 1  # dB
    assert own.levels[0].argmax() == round(300 / (RATE / 2) * (bins_of(RATE) - 1))


@pytest.mark.parametrize("samples", [10, 300, 8000])
def test_a_wave_comes_back_from_its_spectrum(samples: int) -> None:
    wave = torch.from_numpy(np.float32(noise(1)[:samples]))
    back = wave_of(spectrum_of(wave, sample_rate=RATE), sample_rate=RATE, samples=samples)
    torch.testing.assert_close(back, wave, atol=1e-6, rtol=0)


def test_bands_are_equally_wide_in_mel() -> None:
    numbers, edges_hz = mel_bands(16000, bands=4)
    np.testing.assert_allclose(np.diff(2595 * np.log10(1 + edges_hz / 700)), 2840.02 / 4, rtol=1e-5)
    assert (edges_hz[0], round(edges_hz[-1])) == (0, 8000)
    frequencies = np.linspace(0, 8000, len(numbers))
    assert [frequencies[numbers == band].min() >= edge for band, edge in enumerate(edges_hz[:-1])] == [
        True
    ] * 4
    assert sorted(set(numbers.tolist())) == [0, 1, 2, 3]
