"""WASPP-Net and the networks compared with it: printed sizes, shapes, identities."""

from __future__ import annotations

import msgspec
import pytest
import torch
from torch import Tensor, nn

from asdbench import ConfigError, Info
from asdbench_plugins.waspp import asdbench_methods, asdbench_presets
from asdbench_plugins.waspp.base import BaseCnn
from asdbench_plugins.waspp.compared import AlexNet, OffApexNet, Ststnet, VggM
from asdbench_plugins.waspp.config import WasppConfig
from asdbench_plugins.waspp.model import WasppModel
from asdbench_plugins.waspp.pictures import optical_strain, pictures
from asdbench_plugins.waspp.scales import MultiScale, widths
from asdbench_plugins.waspp.systems import SYSTEMS, Kind, Wiring

TARGETS = ("negative", "positive", "surprise")
KINDS: tuple[Kind, Kind] = ("spp", "aspp")
WIRINGS: tuple[Wiring, Wiring] = ("direct", "waterfall")
DIRECT = {1: 7_305_731, 2: 8_378_659}
WATERFALL = {
    1: {2: 7_284_995, 3: 7_268_867, 4: 7_259_075, 5: 7_253_234},
    2: {2: 8_231_203, 3: 8_117_794, 4: 8_046_883, 5: 8_002_738},
}


def built(**options: object) -> WasppModel:
    info = Info(item_shape=(75, 75, 2), sample_rate=None, targets=TARGETS, feature_shape=(75, 75, 2))
    return WasppModel(msgspec.convert(options, WasppConfig), info)


def counts(module: nn.Module) -> tuple[int, int]:
    """All numbers as Keras counts them (4 a batch norm channel), and those that are trained."""
    trained = sum(value.numel() for value in module.parameters())
    kept = sum(value.numel() for value in module.buffers() if value.is_floating_point())
    return trained + kept, trained


def sizes(**options: object) -> tuple[int, int]:
    with torch.device("meta"):  # shapes alone, no memory
        return counts(built(**options))


@pytest.mark.parametrize(
    ("variant", "total", "trained"),
    [
        ("base", 6_607_907, 6_607_203),
        ("dsppnet", 8_378_659, 8_377_443),
        ("wsppnet", 8_231_203, 8_229_987),
        ("dasppnet", 8_378_659, 8_377_443),
        ("wasppnet", 8_117_794, 8_116_578),
        ("vggm", 25_418_787, 25_418_787),
        ("alexnet", 57_008_387, 57_008_387),
        ("dualinception", 6_449_867, 6_449_867),
        ("ststnet", 1_715, 1_683),
        ("offapexnet", 2_664_475, 2_664_475),
    ],
)
def test_a_system_has_the_printed_number_of_parameters(variant: str, total: int, trained: int) -> None:
    assert sizes(variant=variant) == (total, trained)


def test_vgg_m_and_alexnet_have_their_sizes_with_three_channels_too() -> None:
    with torch.device("meta"):
        assert counts(VggM(inputs=2, targets=3).features) == (6_523_936, 6_523_936)
        assert counts(VggM(inputs=3, targets=3).features) == (6_528_640, 6_528_640)
        assert counts(VggM(inputs=3, targets=3))[1] == 25_423_491
        assert counts(AlexNet(inputs=3, targets=3))[1] == 57_016_131


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("branches", range(2, 6))
def test_all_configurations_of_the_module_have_their_sizes(kind: str, branches: int) -> None:
    for after in (1, 2):
        options = {"variant": "base", "kind": kind, "branches": branches, "after": after}
        assert sizes(**options, wiring="direct")[0] == DIRECT[after]
        assert sizes(**options, wiring="waterfall")[0] == WATERFALL[after][branches]


def test_batch_norm_behind_the_dense_layers_has_the_same_size() -> None:
    assert sizes(variant="wasppnet", trunk_norm="dense") == sizes(variant="wasppnet")
    assert "fc1.1.running_mean" in dict(built(trunk_norm="dense", width=0.05).network.named_buffers())
    assert "fc1.1.running_mean" not in dict(built(width=0.05).network.named_buffers())


def test_feature_maps_have_the_printed_shapes() -> None:
    with torch.device("meta"):
        network = built(variant="wasppnet").network
        early = built(variant="aspp_i").network
        assert isinstance(network, BaseCnn)
        assert isinstance(early, BaseCnn)
        flow = torch.empty(2, 2, 75, 75)
        first = network.conv1(flow)
        second = network.scales2(network.conv2(first))
        third = network.conv3(second)
        fourth = network.conv4(third)
        shapes = [tuple(maps.shape[1:]) for maps in (first, second, third, fourth, network.conv5(fourth))]
        assert shapes == [(96, 69, 69), (512, 65, 65), (512, 32, 32), (512, 16, 16), (512, 8, 8)]
        assert early.scales1(first).shape[1:] == (192, 69, 69)
        assert network(flow).shape == (2, 3)


def test_vgg_m_shrinks_as_its_text_says() -> None:
    with torch.device("meta"):
        maps, sides = torch.empty(1, 2, 75, 75), []
        for layer in VggM(inputs=2, targets=3).features:
            maps = layer(maps)
            if isinstance(layer, nn.Conv2d | nn.MaxPool2d):
                sides.append(maps.shape[-1])
    assert sides == [35, 17, 8, 3, 3, 3, 3, 1]


@pytest.mark.parametrize("variant", ["dualinception", "ststnet", "offapexnet"])
def test_small_networks_see_pictures_of_28_pixels(variant: str) -> None:
    model = built(variant=variant)
    assert model.size == 28
    assert model(torch.zeros(2, SYSTEMS[variant].channels, 28, 28)).shape == (2, 3)


def test_widths_share_the_channels_larger_ones_first() -> None:
    assert list(widths(256, 3)) == [86, 85, 85]
    assert list(widths(256, 5)) == [52, 51, 51, 51, 51]
    assert list(widths(96, 5)) == [20, 19, 19, 19, 19]
    with pytest.raises(ConfigError, match="cannot split 4 channels into 5 branches"):
        widths(4, 5)


@pytest.mark.parametrize("kind", KINDS)
def test_one_branch_is_the_same_direct_or_in_a_waterfall(kind: Kind) -> None:
    maps = torch.randn(2, 6, 11, 11, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(1)
    direct = MultiScale(6, kind=kind, branches=1, wiring="direct")
    torch.manual_seed(1)
    waterfall = MultiScale(6, kind=kind, branches=1, wiring="waterfall")
    torch.testing.assert_close(direct(maps), waterfall(maps), rtol=0, atol=0)


def test_an_atrous_branch_of_rate_one_is_a_plain_convolution() -> None:
    maps = torch.randn(2, 6, 9, 9, generator=torch.Generator().manual_seed(0))
    module = MultiScale(6, kind="aspp", branches=1, wiring="direct").eval()
    plain = nn.Conv2d(6, 6, 3, padding=1)
    plain.load_state_dict(module.branches[0].convolution.state_dict())  # type: ignore[union-attr]
    norm = module.branches[0].norm
    torch.testing.assert_close(module(maps)[:, 6:], norm(plain(maps)).relu())  # type: ignore[operator]


def test_the_input_is_kept_and_a_waterfall_reads_the_branch_before() -> None:
    maps = torch.randn(2, 6, 12, 12, generator=torch.Generator().manual_seed(0))
    for kind in KINDS:
        torch.manual_seed(1)
        module = MultiScale(6, kind=kind, branches=2, wiring="waterfall").eval()
        joined = module(maps)
        assert joined.shape == (2, 12, 12, 12)
        torch.testing.assert_close(joined[:, :6], maps)
        torch.testing.assert_close(joined[:, 9:], module.branches[1](joined[:, 6:9]))


def test_dilation_reaches_as_far_as_its_rate() -> None:
    module = MultiScale(3, kind="aspp", branches=3, wiring="direct").eval()
    impulse = torch.zeros(1, 3, 15, 15)
    impulse[:, :, 7, 7] = 1
    for rate, branch in enumerate(module.branches, start=1):
        answer = branch.convolution(impulse) - branch.convolution(torch.zeros_like(impulse))  # type: ignore[operator]
        places = {tuple(place) for place in answer[0, 0].abs().gt(1e-7).nonzero().tolist()}
        assert places == {(7 + rate * y, 7 + rate * x) for y in (-1, 0, 1) for x in (-1, 0, 1)}


def test_pooled_branches_see_means_and_keep_the_size() -> None:
    module = MultiScale(4, kind="spp", branches=2, wiring="direct").eval()
    maps = torch.randn(1, 4, 13, 13)
    assert [branch.window for branch in module.branches] == [2, 4]
    assert module(maps).shape == (1, 8, 13, 13)


def test_options_reach_every_configuration_and_a_module_that_is_not_there_has_none() -> None:
    model = built(variant="base", kind="spp", branches=5, after=1, wiring="waterfall", width=0.1)
    assert isinstance(model.network, BaseCnn)
    assert isinstance(model.network.scales1, MultiScale)
    assert isinstance(model.network.scales2, nn.Identity)
    assert len(model.network.scales1.branches) == 5
    with pytest.raises(ConfigError, match="variant=base has no multi-scale module, so remove branches"):
        built(variant="base", branches=3)
    with pytest.raises(ConfigError, match="variant=ststnet has no multi-scale module, so remove kind"):
        built(variant="ststnet", kind="spp")


def test_width_and_input_size_shrink_the_base_network_alone() -> None:
    reduced = {"width": 0.0625, "input_size": 24}
    model = built(variant="wasppnet", **reduced)
    assert model.size == 24
    assert model(torch.zeros(2, 2, 24, 24)).shape == (2, 3)
    assert counts(model)[1] < 50_000
    assert counts(built(variant="ststnet", **reduced))[1] == 1_683
    assert built(variant="alexnet", **reduced).size == 75


def test_a_picture_that_is_too_small_is_refused() -> None:
    with pytest.raises(
        ConfigError, match="images of 18x18 are too small for this network, which needs 20x20"
    ):
        built(variant="spp_viii", input_size=18, width=0.1)


def test_items_that_are_no_flow_or_have_no_classes_are_refused() -> None:
    sound = Info(item_shape=(16000,), sample_rate=16000, feature_shape=(16000,))
    with pytest.raises(ConfigError, match=r"items have shape \[16000\]"):
        WasppModel(WasppConfig(), sound)
    flow = Info(item_shape=(75, 75, 2), sample_rate=None, feature_shape=(75, 75, 2))
    with pytest.raises(ConfigError, match="needs at least 2 classes, found 0"):
        WasppModel(WasppConfig(), flow)


def test_initialisations_differ_and_leave_biases_at_zero() -> None:
    def first(how: str) -> nn.Conv2d:
        torch.manual_seed(0)
        layer = built(variant="base", width=0.1, initialisation=how).network.conv2[0]  # type: ignore[index]
        assert isinstance(layer, nn.Conv2d)
        return layer

    glorot, he, own = (first(how) for how in ("glorot", "he", "torch"))
    fan_in, fan_out = 25 * glorot.in_channels, 25 * glorot.out_channels
    assert glorot.weight.std().item() == pytest.approx((2 / (fan_in + fan_out)) ** 0.5, rel=0.05)
    assert he.weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.05)
    assert glorot.bias is not None
    assert own.bias is not None
    assert not glorot.bias.any()
    assert own.bias.any()


def test_pictures_are_cut_and_shrunk_to_what_a_network_sees() -> None:
    items = torch.randn(2, 56, 56, 3, generator=torch.Generator().manual_seed(0))
    two = pictures(items, size=28, channels=2)
    assert two.shape == (2, 2, 28, 28)
    torch.testing.assert_close(two[0, 1, 0, 0], items[0, :2, :2, 1].mean())
    torch.testing.assert_close(pictures(items, size=56, channels=3), items.permute(0, 3, 1, 2))
    assert pictures(items[..., :2], size=75, channels=3).shape == (2, 3, 75, 75)


def test_strain_of_a_shift_and_of_a_turn_is_zero_and_of_a_stretch_even() -> None:
    y, x = torch.meshgrid(torch.arange(9.0), torch.arange(9.0), indexing="ij")

    def strain(u: Tensor, v: Tensor) -> Tensor:
        return optical_strain(torch.stack([u, v]).unsqueeze(0))[0, 0]

    assert strain(torch.ones(9, 9), torch.ones(9, 9)).abs().max() == 0
    assert strain(-y, x).abs().max() < 1e-6
    torch.testing.assert_close(strain(2 * x, torch.zeros(9, 9)), torch.ones(9, 9))


def test_dropout_is_where_the_networks_have_it() -> None:
    def rates(module: nn.Module) -> list[float]:
        return [layer.p for layer in module.modules() if isinstance(layer, nn.Dropout)]

    assert rates(Ststnet(targets=3)) == [0.5] * 3
    assert rates(OffApexNet(targets=3)) == [0.5] * 2
    assert rates(built(variant="offapexnet", dropout=0.25)) == [0.25] * 2
    assert not any(rates(built(variant="wasppnet", width=0.1)))


def test_every_system_has_a_preset_and_every_table_too() -> None:
    [method] = asdbench_methods()
    assert len(SYSTEMS) == 26
    assert set(SYSTEMS) <= set(method.presets)
    grid = [values for values in method.presets.values() if "kind" in values]
    assert len({tuple(sorted(values.items())) for values in grid}) == 32
    tables = {preset.name: preset for preset in asdbench_presets()}
    runs = {
        name: [method.options.get("preset", "wasppnet") for method in preset.runs[0].methods]
        for name, preset in tables.items()
        if name != "waspp_net/grid"
    }
    assert set().union(*runs.values()) == set(SYSTEMS)
    assert len(tables["waspp_net/grid"].runs[0].methods) == 32


def test_dspp_is_spp_v_and_daspp_is_aspp_vi() -> None:
    def module(name: str) -> tuple[object, ...]:
        system = SYSTEMS[name]
        return (system.kind, system.branches, system.after, system.wiring)

    assert module("dsppnet") == module("spp_v") == ("spp", 2, 2, "direct")
    assert module("dasppnet") == module("aspp_vi") == ("aspp", 3, 2, "direct")
    assert module("spp_iv") == ("spp", 5, 1, "direct")


def test_training_is_the_papers_unless_options_change_it() -> None:
    assert (SYSTEMS["wasppnet"].training.lr, SYSTEMS["wasppnet"].training.batch_size) == (1e-4, 32)
    assert (SYSTEMS["ststnet"].training.lr, SYSTEMS["ststnet"].training.batch_size) == (5e-5, 256)
    assert {system.training.epochs for system in SYSTEMS.values()} == {500}
