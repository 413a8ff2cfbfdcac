"""EfficientNet-B0: sizes, TensorFlow's padding, and weights as timm names them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from asdbench.errors import ConfigError
from asdbench_plugins.serial_oe.efficientnet import EfficientNet, SameConv2d
from asdbench_plugins.serial_oe.pretrained import load_weights, timm_name

KNOWN = {
    "conv_stem.weight": (32, 3, 3, 3),
    "bn1.running_var": (32,),
    "blocks.0.0.conv_dw.weight": (32, 1, 3, 3),
    "blocks.0.0.bn1.weight": (32,),
    "blocks.0.0.se.conv_reduce.weight": (8, 32, 1, 1),
    "blocks.0.0.se.conv_expand.bias": (32,),
    "blocks.0.0.conv_pw.weight": (16, 32, 1, 1),
    "blocks.0.0.bn2.bias": (16,),
    "blocks.1.0.conv_pw.weight": (96, 16, 1, 1),
    "blocks.1.0.bn1.weight": (96,),
    "blocks.1.1.se.conv_reduce.bias": (6,),
    "blocks.2.0.conv_dw.weight": (144, 1, 5, 5),
    "blocks.2.0.bn2.running_mean": (144,),
    "blocks.3.2.conv_pwl.weight": (80, 480, 1, 1),
    "blocks.4.0.se.conv_expand.weight": (480, 20, 1, 1),
    "blocks.5.3.bn3.weight": (192,),
    "blocks.6.0.conv_dw.weight": (1152, 1, 3, 3),
    "conv_head.weight": (1280, 320, 1, 1),
    "bn2.num_batches_tracked": (),
}
"""Tensors of timm's ``tf_efficientnet_b0_ns`` by name and shape, from all kinds of places."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Two threads on cores that others use too wait for each other more than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def b0() -> EfficientNet:
    torch.manual_seed(0)
    return EfficientNet(channels=3).eval()


@pytest.fixture(scope="module")
def timm_tensors(b0: EfficientNet) -> dict[str, Tensor]:
    """Return what a file of timm holds, classifier included, with statistics that are not the default ones."""
    generator = torch.Generator().manual_seed(3)
    tensors = {timm_name(name): value.clone() for name, value in b0.state_dict().items()}
    for name, value in tensors.items():
        if "running" in name or ".bn" in name or name.startswith("bn"):
            tensors[name] = value if value.ndim == 0 else torch.rand(value.shape, generator=generator) + 0.5
    return tensors | {"classifier.weight": torch.zeros(1000, 1280), "classifier.bias": torch.zeros(1000)}


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_network_has_the_parameters_of_the_specification(b0: EfficientNet) -> None:
    assert parameters(b0) == 4_007_548
    assert parameters(EfficientNet(channels=1)) == 4_006_972
    assert parameters(b0) + parameters(nn.Linear(b0.features, 1000)) == 5_288_548


@torch.no_grad()
def test_two_seconds_become_maps_of_7_by_4(b0: EfficientNet) -> None:
    assert b0(torch.zeros(1, 3, 224, 126)).shape == (1, 1280, 7, 4)


def test_every_batch_norm_has_the_epsilon_of_tensorflow(b0: EfficientNet) -> None:
    assert {module.eps for module in b0.modules() if isinstance(module, nn.BatchNorm2d)} == {1e-3}


@torch.no_grad()
@pytest.mark.parametrize(
    ("size", "kernel", "stride", "before"),
    [(6, 3, 2, 0), (7, 3, 2, 1), (6, 5, 2, 1), (7, 5, 2, 2), (6, 3, 1, 1), (7, 5, 1, 2)],
)
def test_the_padding_is_that_of_tensorflow(size: int, kernel: int, stride: int, before: int) -> None:
    layer = SameConv2d(1, 1, kernel, stride=stride, bias=False)
    layer.weight.zero_()
    layer.weight[0, 0, before, before] = 1.0  # then it reads the first pixel where ``before`` are added
    picture = torch.rand(1, 1, size, size)
    assert torch.equal(layer(picture), picture[:, :, ::stride, ::stride])


def test_a_narrow_and_flat_network_keeps_channels_in_eights() -> None:
    network = EfficientNet(channels=1, width=0.25, depth=0.3).eval()
    stages, maps = [], network.stem(torch.zeros(1, 1, 32, 32))
    for stage in network.stages:
        maps = stage(maps)
        stages.append(maps.shape[1])
    assert stages == [8, 8, 16, 24, 32, 48, 80]
    assert network.features == 320
    assert parameters(network) == 166_776


def test_layers_are_named_as_timm_names_them(timm_tensors: dict[str, Tensor]) -> None:
    assert {name: tuple(timm_tensors[name].shape) for name in KNOWN} == KNOWN
    assert len(timm_tensors) == 358 + 2
    assert len({name.split(".")[1] for name in timm_tensors if name.startswith("blocks")}) == 7


@torch.no_grad()
def test_weights_come_from_a_file_of_timm(tmp_path: Path, timm_tensors: dict[str, Tensor]) -> None:
    save_file(timm_tensors, tmp_path / "model.safetensors")
    network = EfficientNet(channels=3).eval()
    load_weights(network, tmp_path / "model.safetensors")
    for name, value in network.state_dict().items():
        assert torch.equal(value, timm_tensors[timm_name(name)]), name


@torch.no_grad()
def test_one_channel_sees_what_three_equal_ones_would(
    tmp_path: Path, timm_tensors: dict[str, Tensor]
) -> None:
    save_file(
        {name: value for name, value in timm_tensors.items() if not name.endswith("num_batches_tracked")},
        tmp_path / "model.safetensors",
    )
    networks = [EfficientNet(channels=channels).eval() for channels in (1, 3)]
    for network in networks:
        load_weights(network, tmp_path / "model.safetensors")
    picture = torch.randn(1, 1, 64, 32)
    single, triple = networks[0](picture), networks[1](picture.expand(-1, 3, -1, -1))
    torch.testing.assert_close(single, triple, atol=1e-4, rtol=1e-3)


def test_a_file_that_is_not_of_this_network_is_told(tmp_path: Path, timm_tensors: dict[str, Tensor]) -> None:
    network, file = EfficientNet(channels=3), tmp_path / "model.safetensors"
    with pytest.raises(
        ConfigError, match=r"weights=.*model.safetensors cannot be read: .*give the model.safetens"
    ):
        load_weights(network, file)
    file.write_bytes(b"no weights")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_weights(network, file)
    renamed = {name.replace("conv_head", "head.conv"): value for name, value in timm_tensors.items()}
    save_file(renamed, file)
    with pytest.raises(
        ConfigError,
        match=r"lacks 1 tensor \(first: conv_head.weight\); has unknown 1 tensor \(first: head.conv.weight\)",
    ):
        load_weights(network, file)
    save_file(timm_tensors, file)
    narrow = EfficientNet(channels=3, width=0.5)
    before = {name: value.clone() for name, value in narrow.state_dict().items()}
    with pytest.raises(
        ConfigError, match=r"bn1.bias has shape \[32\], the network's is \[16\]; weights fit width=1, depth=1"
    ):
        load_weights(narrow, file)
    assert all(torch.equal(value, before[name]) for name, value in narrow.state_dict().items())
