from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asdbench.blocks import FrugalSequential
from asdbench.core.info import Info
from asdbench.detector.items import Items
from asdbench.detector.trainer import Trainer, TrainerSettings
from asdbench.errors import ConfigError, DataError
from asdbench_plugins.stgram_afpa import HEADS, asdbench_methods
from asdbench_plugins.stgram_afpa.afpa import FrequencyAttention
from asdbench_plugins.stgram_afpa.mobilefacenet import MfnSetting, MobileFaceNet
from asdbench_plugins.stgram_afpa.model import StgramConfig, StgramModel
from asdbench_plugins.stgram_afpa.schedule import factor_of
from asdbench_plugins.stgram_afpa.tgram import TgramNet

SMALL: dict[str, Any] = {"mfn_setting": "dcase2022", "heads": 2}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Two threads on cores that others use too wait for each other more than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def info_of(frames: int, *, classes: int = 41, samples: int = 160_000) -> Info:
    names = tuple(f"machine/{number:02d}" for number in range(classes))
    return Info(item_shape=(samples,), sample_rate=16000, classes=names, feature_shape=(128, frames))


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def permutation(count: int) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(1))


class Clips:
    """What the model asks of ``Items``, in memory: 12 frames, 4 classes."""

    def __init__(self, waves: Tensor, features: Tensor, claim: Tensor) -> None:
        self.waves, self.log_mel, self.claim = waves, features, claim

    def __len__(self) -> int:
        return len(self.claim)

    def __getitem__(self, rows: Tensor) -> Clips:
        return Clips(self.waves[rows], self.log_mel[rows], self.claim[rows])

    def raw(self) -> Tensor:
        return self.waves

    def features(self) -> Tensor:
        return self.log_mel

    def batches(self, size: int, *, generator: torch.Generator, drop_last: bool) -> list[Clips]:
        order = torch.randperm(len(self), generator=generator)
        return [self[rows] for rows in torch.split(order, size) if len(rows) == size or not drop_last]


def clips(count: int) -> Items:
    generator = torch.Generator().manual_seed(0)
    claim = torch.arange(count) % 4
    waves = torch.randn(count, 12 * 512, generator=generator) * (1 + claim.unsqueeze(1))
    features = torch.randn(count, 128, 12, generator=generator)
    features[torch.arange(count), 30 * claim] += 6
    return cast("Items", Clips(waves, features, claim))


def small_model(**options: Any) -> StgramModel:
    torch.manual_seed(0)
    config = StgramConfig(**{**SMALL, **options})
    return StgramModel(config, info_of(12, classes=4, samples=12 * 512))


def fitted(folder: Path, *, items: int = 16, **options: Any) -> tuple[StgramModel, Trainer]:
    model = small_model(**options)
    trainer = Trainer(model, TrainerSettings(seed=0, folder=folder))
    model.fit(clips(items), clips(2), trainer)
    return model, trainer


def training_step(model: StgramModel, items: Items) -> tuple[Tensor, list[Tensor], int]:
    """Loss, gradients, and the bytes beside the parameters that the forward pass kept for them."""
    parameters = {parameter.data_ptr() for parameter in model.parameters()}
    storages: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in parameters:
            storages[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        embedding = model(items.raw(), items.features())
        loss = F.cross_entropy(model.head(embedding, items.claim), items.claim)
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    return loss, list(gradients), sum(tensor.untyped_storage().nbytes() for tensor in storages.values())


@pytest.mark.parametrize(
    ("afpa", "frames", "setting", "count"),
    [
        (True, 312, "original", 1_637_072),
        (True, 312, "dcase2022", 1_448_016),
        (False, 313, "original", 1_345_046),
        (False, 313, "dcase2022", 1_155_990),
        (False, 312, "original", 1_345_040),
        (False, 312, "dcase2022", 1_155_984),
    ],
)
def test_the_whole_network_has_the_parameters_of_the_specification(
    afpa: bool, frames: int, setting: MfnSetting, count: int
) -> None:
    assert parameters(StgramModel(StgramConfig(afpa=afpa, mfn_setting=setting), info_of(frames))) == count


def test_each_part_has_the_parameters_of_the_specification() -> None:
    assert parameters(FrequencyAttention(312)) == 292_032
    assert parameters(FrequencyAttention(312, bias=True)) == 292_968
    assert parameters(FrequencyAttention(312, bias=True, out_proj=True)) == 390_624
    tgram = TgramNet(samples=160_000, mels=128, frames=312)
    assert (parameters(tgram), parameters(tgram.extract)) == (280_400, 131_072)
    assert parameters(TgramNet(samples=160_000, mels=128, frames=313)) == 280_406
    assert parameters(MobileFaceNet(channels=2, height=128, width=312)) == 1_059_392
    assert parameters(MobileFaceNet(channels=2, height=128, width=312, setting="dcase2022")) == 870_336


@pytest.mark.parametrize("frames", [312, 313])
def test_the_final_kernel_is_8_by_20_for_ten_seconds(frames: int) -> None:
    network = MobileFaceNet(channels=2, height=128, width=frames).eval()
    kernel = network.embed[0]
    assert isinstance(kernel, nn.Conv2d)
    assert kernel.kernel_size == (8, 20)
    with torch.no_grad():
        assert network(torch.randn(1, 2, 128, frames)).shape == (1, 128)


@pytest.mark.parametrize("samples", [160_000, 159_488])
def test_tgram_gives_312_frames_of_10_s_and_of_the_equivalent_shorter_wave(samples: int) -> None:
    tgram = TgramNet(samples=samples, mels=128, frames=312)
    with torch.no_grad():
        assert tgram(torch.randn(1, samples)).shape == (1, 128, 312)


def test_tgram_refuses_features_of_another_hop() -> None:
    with pytest.raises(
        ConfigError, match="features have 626 frames, but wave_kernel=1024 and wave_hop=512 give 313"
    ):
        TgramNet(samples=160_000, mels=128, frames=626)


@torch.no_grad()
def test_every_row_of_the_attention_sums_to_one() -> None:
    attention, attended = FrequencyAttention(312).explain(torch.randn(2, 128, 312))
    assert attention.shape == (2, 6, 128, 128)
    assert attended.shape == (2, 128, 312)
    assert (attention.sum(dim=-1) - 1).abs().max() < 1e-6


@torch.no_grad()
def test_one_head_is_scaled_dot_product_attention() -> None:
    block, features = FrequencyAttention(312, heads=1), torch.randn(2, 128, 312)
    projected = block.query(features), block.key(features), block.value(features)
    expected = F.scaled_dot_product_attention(*projected, scale=1 / math.sqrt(312)) + features
    torch.testing.assert_close(block(features), expected)


@torch.no_grad()
def test_six_heads_are_torchs_attention_with_an_identity_as_output_projection() -> None:
    block, features = FrequencyAttention(312), torch.randn(2, 128, 312)
    reference = nn.MultiheadAttention(312, 6, bias=False, batch_first=True)
    reference.in_proj_weight.copy_(torch.cat([block.query.weight, block.key.weight, block.value.weight]))
    reference.out_proj.weight.copy_(torch.eye(312))
    expected, average = reference(features, features, features)
    attention, attended = block.explain(features)
    torch.testing.assert_close(attended, expected + features, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(attention.mean(dim=1), average, atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_without_queries_every_bin_attends_to_all_alike() -> None:
    block, features = FrequencyAttention(312), torch.randn(2, 128, 312)
    block.query.weight.zero_()
    attention, attended = block.explain(features)
    torch.testing.assert_close(attention, torch.full_like(attention, 1 / 128))
    expected = features + block.value(features).mean(dim=1, keepdim=True)
    torch.testing.assert_close(attended, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_without_values_the_features_pass_unchanged() -> None:
    block, features = FrequencyAttention(312), torch.randn(2, 128, 312)
    block.value.weight.zero_()
    assert torch.equal(block(features), features)


@torch.no_grad()
def test_permuted_mel_bins_give_permuted_rows() -> None:
    block, features, order = FrequencyAttention(312), torch.randn(2, 128, 312), permutation(128)
    torch.testing.assert_close(block(features[:, order]), block(features)[:, order], atol=1e-5, rtol=1e-5)


def test_each_projection_begins_xavier_uniform_by_itself() -> None:
    bound = math.sqrt(6 / 624)
    assert bound == pytest.approx(0.0981, abs=1e-4)
    for weight in FrequencyAttention(312).parameters():
        assert 0.99 * bound < float(weight.detach().abs().max()) <= bound


@pytest.mark.parametrize("heads", HEADS)
def test_all_heads_of_the_sweep_divide_the_frames(heads: int) -> None:
    with torch.no_grad():
        assert FrequencyAttention(312, heads=heads)(torch.zeros(1, 128, 312)).shape == (1, 128, 312)


def test_heads_that_do_not_divide_the_frames_are_refused_with_those_that_do() -> None:
    with pytest.raises(ConfigError, match=r"heads=6 does not divide the 313 frames .* one of 1, 313,"):
        StgramModel(StgramConfig(), info_of(313))
    with pytest.raises(ConfigError, match="set heads to one of 1, 2, 4, 5, 10, 20,"):
        FrequencyAttention(20, heads=6)


def test_one_class_and_features_that_are_no_picture_are_refused() -> None:
    with pytest.raises(ConfigError, match="needs at least 2 classes, found 1: use scope=all"):
        StgramModel(StgramConfig(), info_of(312, classes=1))
    with pytest.raises(ConfigError, match=r"items have shape \[50, 86\] and features \[50, 86\]"):
        StgramModel(StgramConfig(), Info(item_shape=(50, 86), sample_rate=None, feature_shape=(50, 86)))


@torch.no_grad()
def test_permuting_clips_permutes_their_outputs() -> None:
    model, items, order = small_model().eval(), clips(6), permutation(6)
    outputs, permuted = model.outputs(items), model.outputs(items[order])
    for name, shape in {
        "claim_nll": (6, 1),
        "claim_nll_without_margin": (6, 1),
        "embedding": (6, 1, 128),
    }.items():
        assert outputs[name].shape == shape
        torch.testing.assert_close(permuted[name], outputs[name][order], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_outputs_are_cross_entropies_with_and_without_the_margin_on_the_claim() -> None:
    model, items = small_model().eval(), clips(5)
    outputs = model.outputs(items)
    embedding = outputs["embedding"].squeeze(1)
    for name, logits in (
        ("claim_nll", model.head(embedding, items.claim)),
        ("claim_nll_without_margin", model.head(embedding)),
    ):
        expected = F.cross_entropy(logits, items.claim, reduction="none").unsqueeze(1)
        torch.testing.assert_close(outputs[name], expected)
    assert bool((outputs["claim_nll"] > outputs["claim_nll_without_margin"]).all())


@torch.no_grad()
def test_a_claim_of_another_unit_has_no_probability_but_an_embedding() -> None:
    model, items = small_model().eval(), clips(3)
    expected = model.outputs(items)
    items.claim[1] = -1
    outputs = model.outputs(items)
    assert outputs["claim_nll"].isnan().flatten().tolist() == [False, True, False]
    assert torch.equal(outputs["embedding"], expected["embedding"])


@torch.no_grad()
def test_the_memory_layout_does_not_change_the_outputs() -> None:
    items = clips(4)
    fast, plain = (small_model(channels_last=layout).eval().outputs(items) for layout in (True, False))
    torch.testing.assert_close(fast["embedding"], plain["embedding"], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_explain_gives_features_attention_and_attended_features() -> None:
    items = clips(2)
    explained = small_model().explain(items)
    assert torch.equal(explained["features"], items.features())
    assert explained["attention"].shape == (2, 2, 128, 128)
    assert explained["attended"].shape == (2, 128, 12)
    with pytest.raises(ConfigError, match="afpa=false has no attention to explain"):
        small_model(afpa=False).explain(items)


def test_training_lowers_the_loss_and_repeats_bit_by_bit(tmp_path: Path) -> None:
    options: dict[str, Any] = {"epochs": 4, "batch_size": 8, "lr": 1e-3, "checkpoint_every": 2}
    model, trainer = fitted(tmp_path / "first", **options)
    again, _ = fitted(tmp_path / "second", **options)
    losses = [epoch.losses["arcface"] for epoch in trainer.log]
    assert losses[-1] < 0.8 * losses[0]
    assert [epoch.checkpoint for epoch in trainer.log] == [False, True, False, True]
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_a_training_step_is_that_of_plain_layers_and_keeps_less_than_half() -> None:
    frugal, plain, items = small_model(mfn_setting="original"), small_model(mfn_setting="original"), clips(4)
    for module in plain.modules():
        if isinstance(module, FrugalSequential):
            module.__class__ = nn.Sequential  # type: ignore[assignment]
    (loss, gradients, kept), (expected, others, all_kept) = (
        training_step(model, items) for model in (frugal, plain)
    )
    assert torch.equal(loss, expected)
    for gradient, other in zip(gradients, others, strict=True):
        assert float((gradient - other).norm()) <= 1e-3 * float(other.norm())
    assert kept < 0.5 * all_kept


def test_no_epochs_leave_the_network_untrained(tmp_path: Path) -> None:
    model, _ = fitted(tmp_path, epochs=0)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), small_model().parameters(), strict=True))


@pytest.mark.parametrize(
    ("items", "drop_last", "steps"),
    [(17, True, 2), (17, False, 2), (18, False, 3), (18, True, 2), (5, True, 1)],
)
def test_a_last_batch_of_one_is_left_out_and_a_small_set_is_one_batch(
    tmp_path: Path, items: int, drop_last: bool, steps: int
) -> None:
    model = small_model(epochs=1, batch_size=8, drop_last=drop_last)
    seen = []
    model.mobilefacenet.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    model.fit(clips(items), clips(2), Trainer(model, TrainerSettings(seed=0, folder=tmp_path)))
    assert len(seen) == steps
    assert min(seen) > 1


def test_a_single_training_item_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="batch norm needs at least 2 training items, found 1"):
        fitted(tmp_path, items=1, epochs=1)


def test_the_cosine_starts_late_and_ends_at_its_least_multiple() -> None:
    factor = factor_of("cosine", epochs=200, steps=283, start_epoch=20, eta_min_factor=0.1)
    assert [factor(epoch, 0) for epoch in (0, 20)] == [1.0, 1.0]
    assert factor(120, 0) == pytest.approx(0.55)
    assert factor(220, 0) == pytest.approx(0.1)


def test_the_old_cosine_counts_epochs_against_the_batches_of_one() -> None:
    factor = factor_of("cosine_old", epochs=200, steps=283, start_epoch=20, eta_min_factor=0.1)
    assert factor(20, 0) == 1.0
    assert factor(199, 0) == pytest.approx((1 + math.cos(math.pi * 179 / 283)) / 2)
    assert factor_of("constant", epochs=9, steps=9, start_epoch=0, eta_min_factor=0.1)(8, 70) == 1.0


def test_the_methods_differ_in_what_the_specification_says() -> None:
    methods = {method.name: method for method in asdbench_methods()}
    afpa, backbone = methods["stgram_afpa"], methods["stgram_mfn"]
    assert afpa.defaults == {"drop_last_frame": True}
    assert backbone.defaults == {"afpa": False, "margin": 0.7, "epochs": 300}
    assert backbone.presets["strict_ablation"] == {"margin": 1.0, "drop_last_frame": True, "epochs": 200}
    assert {f"heads_{heads}" for heads in HEADS} <= set(afpa.presets)
    assert (StgramConfig().margin, StgramConfig().scale, StgramConfig().epochs) == (1.0, 30.0, 200)
