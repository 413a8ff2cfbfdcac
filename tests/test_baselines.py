from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from asdbench.core.info import Info
from asdbench.detector.items import Items
from asdbench.detector.trainer import Trainer, TrainerSettings
from asdbench.errors import ConfigError
from asdbench_plugins.baselines.models import (
    Autoencoder,
    AutoencoderConfig,
    Interpolator,
    InterpolatorConfig,
    WindowModel,
)

FRAMES = 20


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Two threads on cores that others use too wait for each other more than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def info_of(frames: int = FRAMES) -> Info:
    return Info(
        item_shape=(frames * 512,), sample_rate=16000, classes=("fan/00",), feature_shape=(128, frames)
    )


class Features:
    """What the models ask of ``Items``, in memory."""

    def __init__(self, features: Tensor) -> None:
        self.log_mel = features

    def __len__(self) -> int:
        return len(self.log_mel)

    def features(self) -> Tensor:
        return self.log_mel

    def feature_pieces(self) -> Iterator[Tensor]:
        return iter(torch.split(self.log_mel, 3))

    def batches(self, size: int) -> Iterator[Features]:
        return (Features(piece) for piece in torch.split(self.log_mel, size))


def clips(count: int, *, seed: int = 0) -> Items:
    generator = torch.Generator().manual_seed(seed)
    shape = torch.linspace(-1, 1, 128).unsqueeze(1)
    level = torch.randn(count, 1, 1, generator=generator)  # a neighbour tells of a frame
    return cast("Items", Features(shape * level + 0.1 * torch.randn(count, 128, FRAMES, generator=generator)))


def autoencoder(**options: int) -> Autoencoder:
    torch.manual_seed(0)
    return Autoencoder(AutoencoderConfig(**options), info_of())


def interpolator(**options: int) -> Interpolator:
    torch.manual_seed(0)
    return Interpolator(InterpolatorConfig(**options), info_of())


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_autoencoder_has_the_parameters_of_the_keras_baseline() -> None:
    model = autoencoder()
    statistics = sum(
        b.numel() for name, b in model.named_buffers() if name.endswith(("running_mean", "running_var"))
    )
    assert parameters(model) == 267_928
    assert parameters(model) + statistics == 269_992


def test_idnn_has_the_parameters_of_the_specification() -> None:
    assert parameters(interpolator()) == 46_416


def test_idnn_sees_the_frames_around_the_centre_and_must_give_the_centre() -> None:
    windows = torch.arange(2 * 5 * 128, dtype=torch.float32).view(2, 5, 128)
    around, centre = interpolator().split(windows)
    assert torch.equal(centre, windows[:, 2])
    assert torch.equal(around, torch.cat([windows[:, :2].flatten(1), windows[:, 3:].flatten(1)], dim=1))


@torch.no_grad()
@pytest.mark.parametrize(("make", "dims"), [(autoencoder, 8), (interpolator, 16)])
def test_outputs_are_the_mean_window_error_and_the_mean_bottleneck(
    make: Callable[[], WindowModel], dims: int
) -> None:
    model = make().eval()
    items = clips(3)
    outputs = model.outputs(items)
    windows = torch.stack([items.features()[1, :, first : first + 5].T for first in range(FRAMES - 4)])
    inputs, targets = model.split(windows)
    rebuilt, bottleneck = model(inputs)
    expected = (rebuilt - targets).square().mean(dim=1).mean()
    assert outputs["reconstruction_error"].shape == (3, 1)
    assert outputs["embedding"].shape == (3, 1, dims)
    torch.testing.assert_close(outputs["reconstruction_error"][1, 0], expected)
    torch.testing.assert_close(outputs["embedding"][1, 0], bottleneck.mean(dim=0))


@pytest.mark.parametrize("make", [autoencoder, interpolator])
def test_training_lowers_the_error_of_held_out_clips_and_repeats_bit_by_bit(
    tmp_path: Path, make: Callable[..., WindowModel]
) -> None:
    models, errors = [], []
    for name in ("first", "second"):
        model = make(epochs=6, batch_size=32, checkpoint_every=3)
        trainer = Trainer(model, TrainerSettings(seed=0, folder=tmp_path / name))
        model.fit(clips(24), clips(4, seed=1), trainer)
        models.append(model)
        errors.append([epoch.validation for epoch in trainer.log if epoch.validation is not None])
    assert errors[0][1] < errors[0][0] < 0.3
    assert errors[0] == errors[1]
    states = models[0].state_dict(), models[1].state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_an_epoch_sees_every_window_once_but_a_last_one_alone(tmp_path: Path) -> None:
    model = autoencoder(epochs=1, batch_size=7)  # 2 clips of 16 windows: 4 batches of 7 and one of 4
    sizes: list[int] = []
    model.encoder.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))
    model.fit(clips(2), clips(0), Trainer(model, TrainerSettings(seed=0, folder=tmp_path / "whole")))
    assert sizes == [7, 7, 7, 7, 4]
    sizes.clear()
    model = autoencoder(epochs=1, batch_size=31)
    model.encoder.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))
    model.fit(clips(2), clips(0), Trainer(model, TrainerSettings(seed=0, folder=tmp_path / "one_left")))
    assert sizes == [31]


def test_clips_shorter_than_a_window_and_windows_without_a_centre_are_refused() -> None:
    with pytest.raises(ConfigError, match="frames=5 is more than the 4 frames of a clip"):
        Autoencoder(AutoencoderConfig(), info_of(frames=4))
    with pytest.raises(ConfigError, match="frames=4 has no centre frame: use an odd number"):
        Interpolator(InterpolatorConfig(frames=4), info_of())
    with pytest.raises(ConfigError, match=r"needs features \[mels, frames\], found \[10\]"):
        Autoencoder(AutoencoderConfig(), Info(item_shape=(10,), sample_rate=None, feature_shape=(10,)))
