"""Blocks: heads with the values of their papers, layers that train in less memory, pinned files."""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asdbench import ConfigError
from asdbench.blocks import (
    AdaCos,
    ArcFace,
    FrugalSequential,
    SubclusterAdaCos,
    claim_nll,
    of_claim,
    pinned_file,
    rounded_channels,
)

# The values of ArcFace come from specs/asd_afpa.md, section 9: scale 30.


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Use one thread: on shared cores several threads mostly wait for each other."""
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


def test_beyond_the_switch_point_the_logit_is_the_cosine_minus_an_offset() -> None:
    switch, offset = math.cos(math.pi - 1), math.sin(math.pi - 1)
    assert (switch, offset) == pytest.approx((-0.540302, 0.841471), abs=1e-6)
    below, above = switch - 1e-3, switch + 1e-3
    assert logit_at(below, margin=1.0) == pytest.approx(30 * (below - offset), abs=1e-5)
    assert logit_at(above, margin=1.0) == pytest.approx(30 * math.cos(math.acos(above) + 1), abs=1e-4)


def test_an_easy_margin_does_not_change_angles_beyond_a_right_angle() -> None:
    assert logit_at(-0.2, margin=1.0, easy_margin=True) == pytest.approx(-6.0, abs=1e-5)
    assert logit_at(1.0, margin=1.0, easy_margin=True) == pytest.approx(16.20907, abs=1e-5)


def test_zero_cosines_of_41_classes_score_as_specified_with_and_without_a_margin() -> None:
    head, cosines = ArcFace(8, 41, margin=1.0), torch.zeros(1, 41)
    claim = torch.tensor([7])
    assert float(F.cross_entropy(head.logits(cosines, claim), claim)) == pytest.approx(28.93301, abs=1e-5)
    assert float(F.cross_entropy(head.logits(cosines), claim)) == pytest.approx(math.log(41), abs=1e-5)


def test_the_gradient_is_finite_if_embedding_and_weight_coincide() -> None:
    head = ArcFace(8, 3)
    embedding = head.weight.detach()[1:2].clone().requires_grad_()
    F.cross_entropy(head(embedding, torch.tensor([1])), torch.tensor([1])).backward()  # type: ignore[no-untyped-call]
    for tensor in (embedding, head.weight):
        assert tensor.grad is not None
        assert torch.isfinite(tensor.grad).all()


def test_only_the_true_class_has_the_margin() -> None:
    head, embedding, target = ArcFace(8, 5), torch.randn(4, 8), torch.tensor([0, 1, 2, 3])
    moved = head(embedding, target) != head(embedding)
    assert torch.equal(moved, F.one_hot(target, 5).bool())


def test_the_nearest_of_several_sub_centres_counts() -> None:
    head = ArcFace(8, 3, sub_centers=4)
    cosines = head.cosines(head.weight.detach()[4:8])
    assert head.weight.shape == (12, 8)
    torch.testing.assert_close(cosines[:, 1], torch.ones(4))


def test_autocast_keeps_the_cosines_in_full_precision() -> None:
    head, embedding = ArcFace(8, 5), torch.randn(4, 8)
    expected = head(embedding)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(head(embedding), expected)


def test_the_head_of_41_classes_has_5248_parameters() -> None:
    assert sum(parameter.numel() for parameter in ArcFace(128, 41).parameters()) == 5248


def test_a_margin_above_pi_and_a_head_without_classes_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"margin=3\.5 is not an angle within 0\.\.pi"):
        ArcFace(8, 2, margin=3.5)
    with pytest.raises(ConfigError, match="classes=0 and sub_centers=1 must be at least 1"):
        ArcFace(8, 0)


def with_weights(head: AdaCos, rows: list[list[float]]) -> AdaCos:
    """Return the head with the given centres; with axes as centres, cosines are the coordinates of the embedding."""
    head.weight.data.copy_(torch.tensor(rows))
    return head


AXES = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]


def test_the_fixed_scale_of_adacos_is_root_two_times_the_logarithm_of_the_number_of_other_classes() -> None:
    assert float(AdaCos(8, 41).scale) == pytest.approx(5.216863, abs=1e-6)
    assert float(SubclusterAdaCos(8, 6, sub_clusters=16).scale) == pytest.approx(6.440155, abs=1e-6)
    head, embedding = AdaCos(8, 5), torch.randn(4, 8)
    cosines = F.cosine_similarity(embedding.unsqueeze(1), head.weight.unsqueeze(0), dim=2)
    expected = math.sqrt(2) * math.log(4) * cosines
    torch.testing.assert_close(head(embedding, torch.arange(4)), expected)


def test_the_dynamic_scale_of_adacos_follows_the_paper() -> None:
    head = with_weights(AdaCos(3, 3, dynamic=True, scale=2.0), AXES)
    embedding = torch.tensor([[0.6, 0.8, 0.0], [0.8, 0.0, 0.6], [0.0, 0.6, 0.8]])
    target = torch.tensor([1, 0, 2])  # cosines of the true classes: 0.8 each, angle 0.6435 below pi/4
    # The others: 0.6 and 0, three times: B = exp(1.2) + 1.
    logits = head(embedding, target)
    expected = math.log(math.exp(1.2) + 1) / 0.8
    assert float(head.scale) == pytest.approx(expected, rel=1e-6)
    torch.testing.assert_close(logits, expected * embedding)


def test_the_angle_of_a_dynamic_scale_is_at_most_an_eighth_of_a_turn_and_the_scale_at_least_one() -> None:
    head = with_weights(AdaCos(3, 3, dynamic=True, scale=4.0), AXES)
    head(torch.tensor([[0.0, 0.6, 0.8]]), torch.tensor([0]))
    expected = math.log(math.exp(2.4) + math.exp(3.2)) / math.cos(math.pi / 4)
    assert float(head.scale) == pytest.approx(expected, rel=1e-6)
    head(torch.tensor([[1.0, -1.0, -1.0]]), torch.tensor([0]))  # B below 1: its logarithm is negative
    assert float(head.scale) == 1.0


def test_a_dynamic_scale_is_constant_in_evaluation_and_without_targets_and_part_of_the_state() -> None:
    head, embedding = AdaCos(8, 5, dynamic=True), torch.randn(4, 8)
    before = float(head.scale)
    head(embedding)
    head.eval()(embedding, torch.arange(4))
    assert float(head.scale) == before
    head.train()(embedding, torch.arange(4))
    assert float(head.scale) != before
    assert torch.equal(head.state_dict()["scale"], head.scale)


def test_sub_clusters_share_the_softmax_of_all_centres() -> None:
    head, embedding = SubclusterAdaCos(8, 3, sub_clusters=4), torch.randn(5, 8)
    every_centre = (head.scale * head.cosines(embedding)).softmax(dim=1)
    torch.testing.assert_close(head(embedding).softmax(dim=1), every_centre.view(5, 3, 4).sum(dim=2))
    plain = SubclusterAdaCos(8, 3, sub_clusters=1)
    torch.testing.assert_close(plain(embedding), plain.scale * plain.cosines(embedding))


def test_the_dynamic_scale_of_sub_clusters_sums_all_centres_and_takes_the_nearest_angle() -> None:
    head = with_weights(SubclusterAdaCos(3, 2, sub_clusters=2, dynamic=True, scale=2.0), [*AXES, [-1, 0, 0]])
    head(torch.tensor([[0.6, 0.8, 0.0]]), torch.tensor([0]))  # centres of the class: 0.6 and 0.8
    expected = math.log(math.exp(1.2) + math.exp(1.6) + 1 + math.exp(-1.2)) / 0.8
    assert float(head.scale) == pytest.approx(expected, rel=1e-6)


def test_adacos_trains_in_bfloat16_and_passes_gradients_on() -> None:
    head, embedding = SubclusterAdaCos(8, 4, dynamic=True), torch.randn(6, 8, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        loss = F.cross_entropy(head(embedding, torch.arange(6) % 4), torch.arange(6) % 4)
        head(embedding, torch.arange(6) % 4)  # a second step before the first one's backward pass
    loss.backward()  # type: ignore[no-untyped-call]
    assert head.weight.grad is not None
    assert torch.isfinite(head.weight.grad).all()
    assert float(head.weight.grad.abs().sum()) > 0


def test_adacos_for_two_classes_or_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="no formula for the scale of 2 classes"):
        AdaCos(8, 2)
    with pytest.raises(ConfigError, match="classes=0 must be at least 1"):
        AdaCos(8, 0)
    with pytest.raises(ConfigError, match="sub_clusters=0 must be at least 1"):
        SubclusterAdaCos(8, 3, sub_clusters=0)
    assert float(AdaCos(8, 2, scale=10.0).scale) == 10.0


def layers_of(channels: int = 4, *, out: int = 3) -> list[nn.Module]:
    """Return both kinds of joined steps, with a convolution afterwards and without; slopes of any sign."""
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
    """Return the output of the module for maps, and the gradients of maps and parameters."""
    maps = maps.clone(memory_format=torch.preserve_format).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        made = module(maps)
    weights = torch.linspace(-1, 2, made.numel()).view_as(made)
    return made, list(torch.autograd.grad((made.float() * weights).sum(), [maps, *module.parameters()]))


def kept(module: nn.Module, maps: Tensor) -> int:
    """Return the bytes of maps that the module stores for the backward pass."""
    parameters = {parameter.data_ptr() for parameter in module.parameters()}
    storages: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.ndim == 4 and tensor.data_ptr() not in parameters:
            storages[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        module(maps)
    return sum(tensor.untyped_storage().nbytes() for tensor in storages.values())


def test_the_gradients_of_frugal_layers_equal_finite_differences() -> None:
    frugal = FrugalSequential(*layers_of()).double()
    maps = torch.randn(3, 2, 5, 4, dtype=torch.float64, requires_grad=True)
    names, values = zip(*frugal.named_parameters(), strict=True)

    def result(maps: Tensor, *parameters: Tensor) -> Tensor:
        made: Tensor = torch.func.functional_call(frugal, dict(zip(names, parameters, strict=True)), maps)
        return made

    assert torch.autograd.gradcheck(result, (maps, *values))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_frugal_layers_train_like_plain_ones(layout: torch.memory_format) -> None:
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


@pytest.mark.parametrize(("first", "channels"), [(0, 2), (1, 16)])  # maps in bfloat16, and in float32
def test_frugal_layers_train_in_bfloat16_like_plain_ones(first: int, channels: int) -> None:
    frugal, plain = pair_of(layers_of(16)[first:])
    maps = torch.randn(6, channels, 16, 9)
    made, found = gradients(frugal, maps, autocast=True)
    expected_made, expected = gradients(plain, maps, autocast=True)
    assert made.dtype == torch.bfloat16
    assert torch.equal(made, expected_made)
    for gradient, other in zip(found, expected, strict=True):
        assert gradient.dtype == other.dtype == torch.float32
        assert float((gradient - other).norm()) <= 0.02 * float(other.norm())


def test_frugal_layers_do_not_change_the_incoming_gradient() -> None:
    frugal, maps = FrugalSequential(*layers_of()), torch.randn(2, 2, 5, 4)
    made = frugal(maps)
    gradient = torch.randn_like(made)
    before = gradient.clone()
    made.backward(gradient)
    assert torch.equal(gradient, before)


def test_frugal_layers_evaluate_like_plain_ones() -> None:
    frugal, plain = (layers.eval() for layers in pair_of(layers_of()))
    maps = torch.randn(2, 2, 5, 4)
    assert torch.equal(frugal(maps), plain(maps))
    with torch.no_grad():
        assert torch.equal(frugal(maps), plain(maps))
    assert all(
        torch.equal(*pair)
        for pair in zip(*(gradients(layers, maps)[1] for layers in (frugal, plain)), strict=True)
    )


def test_frugal_layers_store_one_map_per_layer_where_plain_ones_store_three() -> None:
    frugal, plain = pair_of(layers_of(8, out=8))
    maps = torch.randn(2, 2, 16, 16)
    size = 2 * 16 * 16 * 4  # bytes of one channel of both maps
    large, small = 8 * size, 8 * size // 4  # before and after the stride
    assert kept(plain, maps) == 2 * size + 3 * large + 5 * small
    assert kept(frugal, maps) == 2 * size + large + 2 * small


@pytest.mark.parametrize("autocast", [False, True])
def test_large_maps_are_convolved_again_to_the_same_bits(
    monkeypatch: pytest.MonkeyPatch, autocast: bool
) -> None:
    frugal, _ = pair_of(layers_of(8, out=8))
    other, maps = copy.deepcopy(frugal), torch.randn(2, 2, 16, 16)
    stored = kept(copy.deepcopy(frugal), maps)
    expected_made, expected = gradients(frugal, maps, autocast=autocast)
    large = 2 * 16 * 16 * 4 * 8  # bytes of the first convolution's output; the other maps are smaller
    monkeypatch.setattr("asdbench.blocks.frugal.LARGE", large)
    made, found = gradients(other, maps, autocast=autocast)
    assert torch.equal(made, expected_made)
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))
    state, expected_state = other.state_dict(), frugal.state_dict()
    assert all(torch.equal(state[name], expected_state[name]) for name in state)
    assert stored - kept(other, maps) == large


def test_compiled_frugal_layers_are_plain_ones() -> None:
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
def test_layers_with_other_options_are_not_joined(layers: list[nn.Module]) -> None:
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


def test_channels_are_the_nearest_multiple_and_lose_at_most_a_tenth() -> None:
    assert [rounded_channels(width) for width in (5.6, 12, 16, 11.9, 44, 35.6)] == [8, 16, 16, 16, 48, 40]
    assert [rounded_channels(0.25 * width) for width in (32, 16, 24, 112, 320)] == [8, 8, 8, 32, 80]
    assert [rounded_channels(width, step=4) for width in (1, 18, 17.9, 13.9, 13, 13.4)] == [
        4,
        20,
        20,
        16,
        12,
        16,
    ]


def test_of_claim_returns_the_value_of_each_claim_and_nan_for_an_unknown_one() -> None:
    values = torch.arange(12.0).view(2, 2, 3)
    assert of_claim(values, torch.tensor([2, 1])).tolist() == [[2.0, 5.0], [7.0, 10.0]]
    found = of_claim(values, torch.tensor([-1, 0]))
    assert found.isnan().tolist() == [[True, True], [False, False]]


def test_claim_nll_is_the_cross_entropy_of_the_claim() -> None:
    logits, claim = torch.randn(5, 3), torch.tensor([0, 2, 1, 1, -1])
    found = claim_nll(logits, claim)
    assert found.shape == (5, 1)
    expected = F.cross_entropy(logits[:4], claim[:4], reduction="none")
    torch.testing.assert_close(found[:4, 0], expected)
    assert bool(found[4, 0].isnan())


def test_a_pinned_file_is_identified_by_its_absolute_path_and_its_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights").write_bytes(b"numbers")
    digest = hashlib.sha256(b"numbers").hexdigest()
    wanted = (str((tmp_path / "weights").resolve()), digest)
    assert pinned_file("weights", option="weights", hint="any") == wanted
    assert pinned_file("weights", digest.upper(), option="weights", hint="any") == wanted
    with pytest.raises(
        ConfigError, match=f"weights='weights' has SHA-256 {digest}, not 00: give the original file"
    ):
        pinned_file("weights", "00", option="weights", hint="any")
    for path in ("", "nowhere", "."):
        with pytest.raises(ConfigError, match=f"weights='{path}' is not a file; give numbers"):
            pinned_file(path, option="weights", hint="give numbers")
