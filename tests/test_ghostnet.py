from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from asdbench_plugins.contrastive_ensemble.ghostnet import (
    ROWS,
    DecoupledAttention,
    GhostBottleneck,
    GhostModule,
    GhostNetV2,
    SqueezeExcite,
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def published(channels: int) -> nn.ModuleList:
    """The network with the two layers that classify images, which the method removes."""
    return nn.ModuleList([GhostNetV2(channels=channels), nn.Conv2d(960, 1280, 1), nn.Linear(1280, 1000)])


def test_the_network_has_the_parameters_of_the_specification() -> None:
    assert parameters(published(3)) == 6_156_908
    assert parameters(published(2)) == 6_156_764
    assert [parameters(part) for part in published(2)] == [3_645_684, 1_230_080, 1_281_000]


@torch.no_grad()
def test_a_clip_of_ten_seconds_becomes_a_map_of_960_x_7_x_10() -> None:
    assert GhostNetV2().eval()(torch.zeros(1, 2, 224, 313)).shape == (1, 960, 7, 10)


@torch.no_grad()
@pytest.mark.parametrize(("height", "width"), [(64, 51), (32, 32), (16, 5)])
def test_small_pictures_pass_and_sides_are_halved_five_times(height: int, width: int) -> None:
    maps = GhostNetV2(width=0.25).eval()(torch.zeros(2, 2, height, width))
    assert maps.shape == (2, 240, -(-height // 32), -(-width // 32))


def test_attention_begins_at_the_third_bottleneck() -> None:
    blocks = [block for block in GhostNetV2(width=0.25).blocks if isinstance(block, GhostBottleneck)]
    assert len(blocks) == len(ROWS) == 16
    assert [block.attend is not None for block in blocks] == [False] * 2 + [True] * 14


def test_squeeze_and_excitation_stands_where_the_table_says() -> None:
    blocks = list(GhostNetV2(width=0.25).blocks)
    found = [any(isinstance(part, SqueezeExcite) for part in block.modules()) for block in blocks]
    assert found == [bool(row.squeeze) for row in ROWS]


@torch.no_grad()
def test_a_ghost_module_makes_half_of_its_maps_from_the_other_half() -> None:
    module = GhostModule(6, 7).eval()
    maps = torch.randn(2, 6, 5, 5)
    result = module(maps)
    first = module.primary(maps)
    assert (result.shape, first.shape) == ((2, 7, 5, 5), (2, 4, 5, 5))
    assert torch.equal(result[:, :4], first)
    assert torch.equal(result[:, 4:], module.cheap(first)[:, :3])


@torch.no_grad()
def test_attention_weighs_at_half_the_resolution_with_numbers_from_0_to_1() -> None:
    weights = DecoupledAttention(3, 8).eval()(torch.randn(2, 3, 6, 8))
    assert weights.shape == (2, 8, 6, 8)
    assert 0 <= float(weights.min()) < float(weights.max()) <= 1
    assert torch.equal(weights, F.interpolate(weights[:, :, ::2, ::2], scale_factor=2.0, mode="nearest"))


@torch.no_grad()
def test_attention_sees_along_rows_and_columns_two_steps_of_half_the_resolution_far() -> None:
    attention = DecoupledAttention(1, 1).eval()
    maps = torch.zeros(1, 1, 20, 20)
    maps[0, 0, 10, 10] = 5.0
    changed = (attention(maps) != attention(torch.zeros_like(maps)))[0, 0]
    rows, columns = changed.any(dim=1).nonzero().flatten(), changed.any(dim=0).nonzero().flatten()
    assert (int(rows[0]), int(rows[-1])) == (int(columns[0]), int(columns[-1])) == (6, 15)


@torch.no_grad()
def test_a_bottleneck_without_stride_adds_its_input() -> None:
    block = GhostBottleneck(40, 40, expanded=72, row=ROWS[4], attended=True).eval()
    for module in block.project.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.zero_()
    maps = torch.randn(1, 40, 6, 6)
    assert torch.equal(block(maps), maps)


def test_every_parameter_gets_a_gradient() -> None:
    network = GhostNetV2(width=0.25)
    network(torch.randn(2, 2, 160, 160)).square().mean().backward()
    silent = [
        name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()
    ]
    assert silent == []
