from __future__ import annotations

import copy
import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asdbench.blocks import ArcFace, FrugalSequential
from asdbench.errors import ConfigError

# All values of ArcFace are those of the specification, section 9: scale 30.


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Two threads on cores that others use too wait for each other more than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def logit_at(cosine: float, *, margin: float, easy_margin: bool = False) -> float:
    head = ArcFace(8, 2, margin=margin, easy_margin=easy_margin)
    return float(head.logits(torch.tensor([[cosine, 0.0]]), torch.tensor([0]))[0, 0].detach())


def test_without_margin_the_logits_are_a_scaled_cosine_softmax() -> None:
    head, embedding = ArcFace(8, 5, margin=0.0), torch.randn(4, 8)
    cosines = F.cosine_similarity(embedding.unsqueeze(1), head.weight.unsqueeze(0), dim=2)
    torch.testing.assert_close(head(embedding, torch.arange(4)), 30 * cosines)
    torch.testing.assert_close(head(embedding), 30 * cosines)


@pytest.mark.parametrize(("cosine", "logit"), [(1.0, 16.20907), (0.0, -25.24413)])
def test_a_margin_of_one_radian_lowers_the_logit_of_the_true_class(cosine: float, logit: float) -> None:
    assert logit_at(cosine, margin=1.0) == pytest.approx(logit, abs=1e-5)


def test_past_the_switch_point_the_logit_is_the_cosine_less_an_offset() -> None:
    switch, offset = math.cos(math.pi - 1), math.sin(math.pi - 1)
    assert (switch, offset) == pytest.approx((-0.540302, 0.841471), abs=1e-6)
    below, above = switch - 1e-3, switch + 1e-3
    assert logit_at(below, margin=1.0) == pytest.approx(30 * (below - offset), abs=1e-5)
    assert logit_at(above, margin=1.0) == pytest.approx(30 * math.cos(math.acos(above) + 1), abs=1e-4)


def test_an_easy_margin_leaves_angles_past_a_right_angle_alone() -> None:
    assert logit_at(-0.2, margin=1.0, easy_margin=True) == pytest.approx(-6.0, abs=1e-5)
    assert logit_at(1.0, margin=1.0, easy_margin=True) == pytest.approx(16.20907, abs=1e-5)


def test_all_zero_cosines_of_41_classes_score_as_specified_with_and_without_margin() -> None:
    head, cosines = ArcFace(8, 41, margin=1.0), torch.zeros(1, 41)
    claim = torch.tensor([7])
    assert float(F.cross_entropy(head.logits(cosines, claim), claim)) == pytest.approx(28.93301, abs=1e-5)
    assert float(F.cross_entropy(head.logits(cosines), claim)) == pytest.approx(math.log(41), abs=1e-5)


def test_the_gradient_is_finite_where_embedding_and_weight_coincide() -> None:
    head = ArcFace(8, 3)
    embedding = head.weight.detach()[1:2].clone().requires_grad_()
    F.cross_entropy(head(embedding, torch.tensor([1])), torch.tensor([1])).backward()  # type: ignore[no-untyped-call]
    for tensor in (embedding, head.weight):
        assert tensor.grad is not None
        assert torch.isfinite(tensor.grad).all()


def test_only_the_true_class_bears_the_margin() -> None:
    head, embedding, target = ArcFace(8, 5), torch.randn(4, 8), torch.tensor([0, 1, 2, 3])
    moved = head(embedding, target) != head(embedding)
    assert torch.equal(moved, F.one_hot(target, 5).bool())


def test_the_nearest_of_several_sub_centres_counts() -> None:
    head = ArcFace(8, 3, sub_centers=4)
    cosines = head.cosines(head.weight.detach()[4:8])
    assert head.weight.shape == (12, 8)
    torch.testing.assert_close(cosines[:, 1], torch.ones(4))


def test_autocast_leaves_the_cosines_in_full_precision() -> None:
    head, embedding = ArcFace(8, 5), torch.randn(4, 8)
    expected = head(embedding)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(head(embedding), expected)


def test_the_head_of_41_classes_has_5248_parameters() -> None:
    assert sum(parameter.numel() for parameter in ArcFace(128, 41).parameters()) == 5248


def test_a_margin_past_half_a_turn_and_a_head_without_classes_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"margin=3\.5 is not an angle within 0\.\.pi"):
        ArcFace(8, 2, margin=3.5)
    with pytest.raises(ConfigError, match="classes=0 and sub_centers=1 must be at least 1"):
        ArcFace(8, 0)


def layers_of(channels: int = 4, *, out: int = 3) -> list[nn.Module]:
    """Both kinds of joined steps: with a convolution behind, and without; slopes of any sign."""
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(2, channels, 1, bias=False),
        nn.BatchNorm2d(channels),
        nn.PReLU(channels),
        nn.Conv2d(channels, channels, 3, stride=2, padding=1, groups=channels, bias=False),
        nn.BatchNorm2d(channels),
        nn.PReLU(channels),
        nn.Conv2d(channels, out, 1, bias=False),
        nn.BatchNorm2d(out),
        nn.PReLU(out),
    ]
    for layer in layers:
        if isinstance(layer, (nn.BatchNorm2d, nn.PReLU)):
            nn.init.normal_(layer.weight)
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.bias)
    return layers


def pair_of(layers: list[nn.Module]) -> tuple[FrugalSequential, nn.Sequential]:
    return FrugalSequential(*copy.deepcopy(layers)), nn.Sequential(*layers)


def gradients(module: nn.Module, maps: Tensor, *, autocast: bool = False) -> tuple[Tensor, list[Tensor]]:
    """What the module makes of maps, and the gradients of maps and parameters."""
    maps = maps.clone(memory_format=torch.preserve_format).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        made = module(maps)
    weights = torch.linspace(-1, 2, made.numel()).view_as(made)
    return made, list(torch.autograd.grad((made.float() * weights).sum(), [maps, *module.parameters()]))


def kept(module: nn.Module, maps: Tensor) -> int:
    """Count the bytes of maps that the module keeps for the backward pass."""
    parameters = {parameter.data_ptr() for parameter in module.parameters()}
    storages: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.ndim == 4 and tensor.data_ptr() not in parameters:
            storages[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        module(maps)
    return sum(tensor.untyped_storage().nbytes() for tensor in storages.values())


def test_the_gradients_of_frugal_layers_are_those_of_finite_differences() -> None:
    frugal = FrugalSequential(*layers_of()).double()
    maps = torch.randn(3, 2, 5, 4, dtype=torch.float64, requires_grad=True)
    names, values = zip(*frugal.named_parameters(), strict=True)

    def result(maps: Tensor, *parameters: Tensor) -> Tensor:
        made: Tensor = torch.func.functional_call(frugal, dict(zip(names, parameters, strict=True)), maps)
        return made

    assert torch.autograd.gradcheck(result, (maps, *values))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_frugal_layers_train_as_plain_ones_do(layout: torch.memory_format) -> None:
    frugal, plain = (layers.to(memory_format=layout) for layers in pair_of(layers_of(16)))  # type: ignore[call-overload]
    maps = torch.randn(6, 2, 16, 9).contiguous(memory_format=layout)
    made, found = gradients(frugal, maps)
    expected_made, expected = gradients(plain, maps)
    assert torch.equal(made, expected_made)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    state, expected_state = frugal.state_dict(), plain.state_dict()
    assert list(state) == list(expected_state)
    assert all(torch.equal(state[name], expected_state[name]) for name in state)
    assert int(state["1.num_batches_tracked"]) == 1


@pytest.mark.parametrize(("first", "channels"), [(0, 2), (1, 16)])  # maps come in bfloat16, and in float32
def test_frugal_layers_train_in_bfloat16_as_plain_ones_do(first: int, channels: int) -> None:
    frugal, plain = pair_of(layers_of(16)[first:])
    maps = torch.randn(6, channels, 16, 9)
    made, found = gradients(frugal, maps, autocast=True)
    expected_made, expected = gradients(plain, maps, autocast=True)
    assert made.dtype == torch.bfloat16
    assert torch.equal(made, expected_made)
    for gradient, other in zip(found, expected, strict=True):
        assert gradient.dtype == other.dtype == torch.float32
        assert float((gradient - other).norm()) <= 0.02 * float(other.norm())


def test_a_gradient_that_frugal_layers_are_given_is_left_as_it_is() -> None:
    frugal, maps = FrugalSequential(*layers_of()), torch.randn(2, 2, 5, 4)
    made = frugal(maps)
    gradient = torch.randn_like(made)
    before = gradient.clone()
    made.backward(gradient)
    assert torch.equal(gradient, before)


def test_frugal_layers_evaluate_as_plain_ones_do() -> None:
    frugal, plain = (layers.eval() for layers in pair_of(layers_of()))
    maps = torch.randn(2, 2, 5, 4)
    assert torch.equal(frugal(maps), plain(maps))
    with torch.no_grad():
        assert torch.equal(frugal(maps), plain(maps))
    assert all(
        torch.equal(*pair)
        for pair in zip(*(gradients(layers, maps)[1] for layers in (frugal, plain)), strict=True)
    )


def test_frugal_layers_keep_one_map_a_layer_where_plain_ones_keep_three() -> None:
    frugal, plain = pair_of(layers_of(8, out=8))
    maps = torch.randn(2, 2, 16, 16)
    size = 2 * 16 * 16 * 4  # bytes of one channel of both maps
    large, small = 8 * size, 8 * size // 4  # before and behind the stride
    assert kept(plain, maps) == 2 * size + 3 * large + 5 * small
    assert kept(frugal, maps) == 2 * size + large + 2 * small


def test_compiled_frugal_layers_are_the_plain_ones() -> None:
    frugal, plain = pair_of(layers_of())
    maps = torch.randn(2, 2, 5, 4)
    compiled = torch.compile(frugal, backend="eager", fullgraph=True)
    made, expected = compiled(maps), plain(maps)
    assert torch.equal(made, expected)
    assert type(made.grad_fn) is type(expected.grad_fn)


@pytest.mark.parametrize(
    "layers",
    [
        [nn.BatchNorm2d(2, affine=False), nn.PReLU(2)],
        [nn.BatchNorm2d(2, track_running_stats=False), nn.PReLU(2)],
        [nn.BatchNorm2d(2, momentum=None), nn.PReLU(2)],
        [nn.BatchNorm2d(2), nn.PReLU()],
        [nn.BatchNorm2d(2), nn.PReLU(2), nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect", bias=False)],
        [nn.BatchNorm2d(2), nn.PReLU(2), nn.Conv2d(2, 3, 3, padding="same", bias=False)],
        [nn.BatchNorm2d(2), nn.PReLU(2), nn.Conv2d(2, 3, 1)],
    ],
)
def test_layers_with_other_options_are_left_as_they_are(layers: list[nn.Module]) -> None:
    frugal, plain = pair_of(layers)
    maps = torch.randn(3, 2, 6, 5)
    made, found = gradients(frugal, maps)
    expected_made, expected = gradients(plain, maps)
    assert torch.equal(made, expected_made)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert frugal.state_dict().keys() == plain.state_dict().keys()


def test_frugal_layers_have_no_gradients_of_gradients() -> None:
    frugal, maps = (
        FrugalSequential(nn.BatchNorm2d(2), nn.PReLU(2)),
        torch.randn(3, 2, 6, 5, requires_grad=True),
    )
    (gradient,) = torch.autograd.grad(frugal(maps).square().sum(), maps, create_graph=True)
    with pytest.raises(RuntimeError, match="marked with @once_differentiable"):
        gradient.sum().backward()  # type: ignore[no-untyped-call]
