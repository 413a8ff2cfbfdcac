from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from numpy.typing import NDArray
from torch import Tensor

from asdbench.core.info import Info
from asdbench.detector.items import Items
from asdbench.detector.trainer import Trainer, TrainerSettings
from asdbench.dsp import ModulationConfig, ModulationSpectrum
from asdbench.errors import ConfigError
from asdbench.plugin.entries import Selector
from asdbench.runs.run import run
from asdbench.testing import make_items
from asdbench_plugins.baselines.statistics import Statistics, StatisticsConfig
from asdbench_plugins.features.featurizers import ModSpec, ModSpecConfig

RATE = 16000
SHAPE = (3, 7)
FEATURES = np.random.default_rng(0).normal(size=(12, *SHAPE)).astype(np.float32) * np.arange(1, 8)


def items_of(values: NDArray[Any], folder: Path, claim: Sequence[int], *, classes: int = 2) -> Items:
    info = Info(
        item_shape=values.shape[1:],
        sample_rate=None,
        classes=tuple(f"fan/{index:02d}" for index in range(classes)),
        feature_shape=values.shape[1:],
    )
    return make_items(values.astype(np.float32), info, folder=folder, claim=claim, featurizer=lambda raw: raw)


def fitted(items: Items, folder: Path, **options: Any) -> tuple[Statistics, Trainer]:
    model = Statistics(StatisticsConfig(**options), items.info)
    trainer = Trainer(model, TrainerSettings(seed=0, folder=folder / "trainer"))
    model.fit(items, items[:0], trainer)
    return model, trainer


@pytest.mark.parametrize(
    ("take", "expected"),
    [
        ("mean", [FEATURES.mean(axis=2)]),
        ("mean_std", [FEATURES.mean(axis=2), FEATURES.std(axis=2)]),
        ("mean_std_max", [FEATURES.mean(axis=2), FEATURES.std(axis=2), FEATURES.max(axis=2)]),
        ("flat", [FEATURES.reshape(12, -1)]),
    ],
)
def test_statistics_are_those_along_the_last_axis(
    tmp_path: Path, take: Any, expected: list[NDArray[Any]]
) -> None:
    items = items_of(FEATURES, tmp_path / "pack", [0] * 12)
    model, _ = fitted(items, tmp_path, take=take, standardise="none")
    embedding = model.outputs(items)["embedding"]
    np.testing.assert_allclose(embedding[:, 0], np.concatenate(expected, axis=1), rtol=1e-5, atol=1e-5)


def test_statistics_are_standardised_within_each_class_or_over_all(tmp_path: Path) -> None:
    values = FEATURES + 5 * (np.arange(12) % 2)[:, np.newaxis, np.newaxis]
    items = items_of(values, tmp_path / "pack", [0, 1] * 6)
    by_class = fitted(items, tmp_path, take="flat")[0].outputs(items)["embedding"][:, 0]
    pooled = fitted(items, tmp_path, take="flat", standardise="pool")[0].outputs(items)["embedding"][:, 0]
    for index in (0, 1):
        torch.testing.assert_close(by_class[index::2].mean(dim=0), torch.zeros(21), atol=1e-5, rtol=0)
        torch.testing.assert_close(by_class[index::2].std(dim=0, correction=0), torch.ones(21))
    torch.testing.assert_close(pooled.mean(dim=0), torch.zeros(21), atol=1e-5, rtol=0)
    assert float(pooled[1::2].mean()) > 0.5


def test_tiny_features_are_standardised_as_large_ones_are(tmp_path: Path) -> None:
    large = items_of(FEATURES, tmp_path / "large", [0] * 12)
    tiny = items_of(FEATURES * 1e-9, tmp_path / "tiny", [0] * 12)
    of_large = fitted(large, tmp_path, take="flat")[0].outputs(large)["embedding"]
    of_tiny = fitted(tiny, tmp_path, take="flat")[0].outputs(tiny)["embedding"]
    torch.testing.assert_close(of_tiny, of_large, rtol=1e-3, atol=1e-4)


def test_a_class_of_one_item_takes_the_deviations_of_all_and_says_so(tmp_path: Path) -> None:
    items = items_of(FEATURES, tmp_path / "pack", [0] * 11 + [1])
    model, trainer = fitted(items, tmp_path, take="flat")
    assert trainer.rules == ["classes of one item use the standard deviations of all classes: fan/01"]
    own = model.outputs(items)["embedding"][11, 0]
    assert torch.equal(own, torch.zeros(21))
    deviations = torch.from_numpy(FEATURES.reshape(12, -1).std(axis=0)).float()
    torch.testing.assert_close(model.spread[1], deviations)


def test_a_single_item_and_one_that_stands_still_have_finite_statistics(tmp_path: Path) -> None:
    one = items_of(FEATURES[:1], tmp_path / "one", [0], classes=1)
    still = items_of(np.ones((4, *SHAPE)), tmp_path / "still", [0] * 4, classes=1)
    for items in (one, still):
        model, _ = fitted(items, tmp_path)
        assert torch.equal(model.outputs(items)["embedding"], torch.zeros(len(items), 1, 6))


def test_statistics_travel_with_the_state_and_need_no_epoch(tmp_path: Path) -> None:
    items = items_of(FEATURES, tmp_path / "pack", [0, 1] * 6)
    model, trainer = fitted(items, tmp_path)
    assert trainer.log == []
    other = Statistics(StatisticsConfig(), items.info)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.outputs(items)["embedding"], model.outputs(items)["embedding"])


def test_statistics_of_features_without_an_axis_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"take=mean_std needs features \[..., frames\], found \[10\]: use take=flat"
    ):
        Statistics(StatisticsConfig(), Info(item_shape=(10,), sample_rate=None, feature_shape=(10,)))


def wave(seconds: float = 2.0, *, modulation_hz: float, depth: float = 0.8) -> Tensor:
    time_s = torch.arange(int(seconds * RATE)) / RATE
    envelope = 1 + depth * torch.sin(2 * math.pi * modulation_hz * time_s)
    return (0.2 * envelope * torch.sin(2 * math.pi * 1000 * time_s)).unsqueeze(0)


def test_a_modulated_tone_peaks_in_the_bin_of_its_modulation_and_the_band_of_its_pitch() -> None:
    spectrum = ModulationSpectrum(ModulationConfig(), sample_rate=RATE)
    bin_hz = RATE / 256 / 32
    values = spectrum(wave(modulation_hz=4 * bin_hz))[0]
    assert values.shape == (60, 8)
    band = int(values[:, 0].argmax())
    assert band == int(spectrum(wave(modulation_hz=bin_hz))[0, :, 0].argmax())
    assert int(values[band, 2:].argmax()) + 2 == 4
    weaker = spectrum(wave(modulation_hz=4 * bin_hz, depth=0.4))[0, band]
    assert float(values[band, 4] / weaker[4]) == pytest.approx(2, rel=0.05)
    assert float(values[band, 0] / weaker[0]) == pytest.approx(1, rel=0.05)


def test_a_modulation_spectrum_is_the_mean_magnitude_over_windows_of_the_envelope() -> None:
    config = ModulationConfig(bands=5, window=8, bins=3, envelope="level")
    spectrum = ModulationSpectrum(config, sample_rate=RATE)
    noise = torch.randn(2, 8000, generator=torch.Generator().manual_seed(0))
    level = spectrum.spectrogram(noise)  # [2, 5, T]
    starts = range(0, level.shape[2] - 7, 4)
    weights = torch.hann_window(8)
    windows = torch.stack([level[:, :, start : start + 8] * weights for start in starts])
    expected = torch.fft.fft(windows).abs()[..., :3].mean(dim=0) / weights.sum()
    torch.testing.assert_close(spectrum(noise), expected)


def test_bins_that_a_window_does_not_have_and_clips_shorter_than_it_are_refused() -> None:
    with pytest.raises(ConfigError, match="bins=8: a window of 8 frames has only 5 modulation frequencies"):
        ModulationSpectrum(ModulationConfig(window=8), sample_rate=RATE)
    with pytest.raises(ConfigError, match="window=32 exceeds the 7 frames of a clip"):
        ModulationSpectrum(ModulationConfig(), sample_rate=RATE)(torch.zeros(1, 1600))


def test_given_features_pass_through_modspec_but_for_the_logarithm() -> None:
    info = Info(item_shape=(60, 8), sample_rate=None)
    given = torch.rand(4, 60, 8) * 1e-6
    assert torch.equal(ModSpec(ModSpecConfig(log=False), info)(given), given)
    torch.testing.assert_close(ModSpec(ModSpecConfig(), info)(given), given.clamp_min(1e-12).log())
    assert float(ModSpec(ModSpecConfig(floor=1e-3), info)(given).amax()) == pytest.approx(math.log(1e-3))


def test_modspec_of_waves_is_the_logarithm_of_their_modulation_spectrum() -> None:
    clip = wave(modulation_hz=5.0)
    made = ModSpec(ModSpecConfig(bands=20), Info(item_shape=(32000,), sample_rate=RATE))(clip)
    expected = ModulationSpectrum(ModulationConfig(bands=20), sample_rate=RATE)(clip)
    torch.testing.assert_close(made, expected.clamp_min(1e-12).log())
    with pytest.raises(ConfigError, match=r"modspec reads mono waves, but items have shape \[32000, 2\]"):
        ModSpec(ModSpecConfig(), Info(item_shape=(32000, 2), sample_rate=RATE))


def test_scorers_share_the_statistics_of_a_run_and_find_the_faults_of_made_machines(tmp_path: Path) -> None:
    methods = [Selector("modspec_mahalanobis"), Selector("modspec_knn", {"scorer": "kde"})]
    request = tiny.request(tmp_path, *methods, cache=tmp_path / "cache")
    document = run(request, tiny.registry(), observer=tiny.Silent())
    assert {job.status for job in document.jobs} == {"ok"}
    assert len(list((tmp_path / "models").iterdir())) == 2  # one a machine, for both scorers
    averages = [row.value for row in document.results if row.metric == "auc" and row.is_whole]
    assert len(averages) == 2
    assert all(value is not None and value > 0.6 for value in averages)
