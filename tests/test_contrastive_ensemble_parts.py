from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asdbench.blocks import ArcFace
from asdbench_plugins.contrastive_ensemble.config import EnsembleConfig
from asdbench_plugins.contrastive_ensemble.examples import examples_of
from asdbench_plugins.contrastive_ensemble.losses import (
    FinetuneLoss,
    arcface_loss,
    mixed_arcface_loss,
    simsiam_loss,
)
from asdbench_plugins.contrastive_ensemble.networks import FusionClassifier, SimSiamHeads, Stem, TimeCnn
from asdbench_plugins.contrastive_ensemble.spectra import (
    area_of,
    checkerboard,
    corners,
    flip_frequencies,
    frequency_weights,
    mix,
    pseudo_anomalies,
    stack_spectra,
    weighted_means,
)
from asdbench_plugins.contrastive_ensemble.waves import Transforms, fade_gain, rotate, shift_pitch


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Two threads on cores that others use too wait for each other more than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def pictures(count: int = 3, mels: int = 8, frames: int = 9) -> Tensor:
    return torch.randn(count, 2, mels, frames)


def test_flipping_frequencies_twice_changes_nothing() -> None:
    original = pictures()
    flipped = flip_frequencies(original)
    assert torch.equal(flipped[:, :, 0], original[:, :, -1])
    assert torch.equal(flip_frequencies(flipped), original)


def test_stacking_once_changes_nothing_and_twice_doubles() -> None:
    original = pictures()
    assert torch.equal(stack_spectra(original, count=1), original)
    assert torch.equal(stack_spectra(original, count=1, mode="batch"), original)
    assert torch.equal(stack_spectra(original, count=2), 2 * original)


def test_stacking_over_the_batch_adds_other_clips() -> None:
    original = torch.eye(5).view(5, 1, 5, 1)
    stacked = stack_spectra(original, count=2, mode="batch").view(5, 5)
    assert torch.equal(stacked.sum(dim=0), torch.full((5,), 2.0))
    assert torch.equal(stacked.amax(dim=1), torch.ones(5))  # never the clip itself
    assert torch.equal(stack_spectra(original[:1], count=3, mode="batch"), 3 * original[:1])


def test_a_pseudo_anomaly_is_flipped_or_stacked_by_a_coin() -> None:
    original = pictures(400, 4, 3)
    flipped, stacked = flip_frequencies(original), 2 * original
    assert torch.equal(pseudo_anomalies(original, kind="sf"), flipped)
    assert torch.equal(pseudo_anomalies(original, kind="sp"), stacked)
    made = pseudo_anomalies(original, kind="both")
    of_flip, of_stack = ((made == one).all(dim=(1, 2, 3)) for one in (flipped, stacked))
    assert bool((of_flip ^ of_stack).all())
    assert 150 < int(of_flip.sum()) < 250


def test_checkerboard_crops_part_both_spectrograms_between_them() -> None:
    one, other = pictures(4), pictures(4)
    rows, columns = torch.tensor([1, 3, 5, 8]), torch.tensor([2, 4, 6, 9])
    first, second = checkerboard(one, other, rows=rows, columns=columns)
    assert torch.equal(first + second, one + other)
    assert torch.equal(first[3], one[3])  # the corner lies beyond the picture
    for k in range(3):
        x, y = int(rows[k]), int(columns[k])
        assert torch.equal(first[k, :, :x, :y], one[k, :, :x, :y])
        assert torch.equal(first[k, :, x:, y:], one[k, :, x:, y:])
        assert torch.equal(first[k, :, :x, y:], other[k, :, :x, y:])
        assert torch.equal(first[k, :, x:, :y], other[k, :, x:, :y])


def test_examples_of_a_clip_are_what_training_makes_of_it() -> None:
    planes = torch.rand(3, 3, 8, 16)
    found = examples_of(planes, EnsembleConfig())
    one, other = planes[:, 0], planes[[1, 2, 0], 0]
    assert torch.equal(found["checkerboard"] + found["complement"], one + other)
    # The corner is 3/8 of the way along both sides: 3 of 8 mels, 6 of 16 frames.
    assert torch.equal(found["checkerboard"][:, :3, :6], one[:, :3, :6])
    assert torch.equal(found["checkerboard"][:, :3, 6:], other[:, :3, 6:])
    torch.testing.assert_close(found["mixed"], 0.6 * found["checkerboard"] + 0.4 * found["complement"])
    assert torch.equal(found["flipped"], one.flip(1))
    assert torch.equal(found["stacked"], 2 * one)
    assert torch.equal(found["means"], planes[:, 2].mean(dim=2))
    torch.testing.assert_close(found["weights"].sum(dim=1), torch.ones(3))
    torch.testing.assert_close(found["gwap"], found["weights"] * found["means"])


def test_examples_leave_out_what_the_options_turn_off() -> None:
    planes = torch.rand(2, 3, 8, 16)
    kept = examples_of(planes, EnsembleConfig(mix="mixup", pseudo="sp", sp_mode="batch", n_stack=3))
    assert not kept.keys() & {"checkerboard", "complement", "flipped"}
    torch.testing.assert_close(kept["mixed"], 0.6 * planes[:, 0] + 0.4 * planes[[1, 0], 0])
    torch.testing.assert_close(kept["stacked"], 2 * planes[:, 0] + planes[[1, 0], 0])
    plain = examples_of(planes, EnsembleConfig(mix="none", pseudo="sf"))
    assert plain.keys() == {"spectrum", "other", "flipped", "means", "weights", "gwap"}


def test_every_row_and_column_of_a_crop_holds_both_clips() -> None:
    ones, zeros = torch.ones(50, 1, 8, 9), torch.zeros(50, 1, 8, 9)
    rows, columns = corners(8, count=50), corners(9, count=50)
    assert (int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max())) == (1, 6, 1, 6)
    first, _ = checkerboard(ones, zeros, rows=rows, columns=columns)
    for means in (first.mean(dim=2), first.mean(dim=3)):
        assert 0 < float(means.min()) < float(means.max()) < 1
    assert torch.allclose(first.mean(dim=(1, 2, 3)), area_of(rows, columns, mels=8, frames=9))


def test_the_corner_of_a_crop_lies_where_the_paper_draws_it() -> None:
    assert int(corners(224, count=20_000).max()) == 168
    assert int(corners(313, count=20_000).max()) == 234


@pytest.mark.parametrize("how", ["checkerboard", "mixup"])
def test_mixing_by_lambda_0_leaves_one_crop_and_its_label(how: Any) -> None:
    original = pictures(6)
    torch.manual_seed(3)
    plain = mix(original, how=how, ratio=0.0)
    torch.manual_seed(3)
    other = mix(original, how=how, ratio=1.0)
    assert float(plain.share.max()) == 0
    assert torch.allclose(plain.pictures + other.pictures, original + original[plain.partner])
    if how == "mixup":
        assert torch.equal(plain.pictures, original)


def test_mixed_labels_follow_lambda_or_the_area() -> None:
    original = torch.arange(6.0).view(6, 1, 1, 1).expand(6, 1, 8, 9)
    mixed = mix(original, how="checkerboard", ratio=0.4)
    assert torch.allclose(mixed.share, torch.full((6,), 0.4))
    mixed = mix(original, how="checkerboard", ratio=0.4, by_area=True)
    mean = (1 - mixed.share) * torch.arange(6.0) + mixed.share * mixed.partner
    assert torch.allclose(mixed.pictures.mean(dim=(1, 2, 3)), mean, atol=1e-5)
    mixed = mix(original, how="mixup", ratio=0.4, by_area=True)
    assert torch.allclose(mixed.share, torch.full((6,), 0.4))


def test_lambda_may_be_drawn_from_a_beta_distribution() -> None:
    share = mix(pictures(500, 2, 2), how="mixup", beta=0.4).share
    assert 0 <= float(share.min()) < 0.1 < 0.9 < float(share.max()) <= 1
    assert float(share.mean()) == pytest.approx(0.5, abs=0.06)


def test_without_mixing_clips_and_labels_stay_as_they_are() -> None:
    original = pictures(4)
    mixed = mix(original, how="none")
    assert mixed.pictures is original
    assert (mixed.partner.tolist(), mixed.share.tolist()) == ([0, 1, 2, 3], [0.0] * 4)


def test_statistics_are_means_over_time_weighted_by_their_share() -> None:
    energies = torch.rand(5, 224, 31) + 0.1
    means = energies.mean(dim=2)
    statistics = weighted_means(energies)
    assert torch.allclose(frequency_weights(means).sum(dim=1), torch.ones(5))
    assert torch.allclose(statistics, means.square() / means.sum(dim=1, keepdim=True))
    assert torch.allclose(weighted_means(torch.full((1, 224, 7), 3.0)), torch.full((1, 224), 3 / 224))
    assert torch.allclose(weighted_means(4 * energies), 4 * statistics)
    assert torch.allclose(weighted_means(energies[:, :, torch.randperm(31)]), statistics)


def test_simsiam_is_minus_1_for_equal_vectors_and_within_its_range() -> None:
    same = torch.randn(6, 4)
    assert float(simsiam_loss((same, same), (same, same))) == pytest.approx(-1)
    assert float(simsiam_loss((same, same), (-same, -same))) == pytest.approx(1)
    crossed = simsiam_loss((same, 2 * same.roll(1, 0)), (same.roll(1, 0), same))  # p1 with z2, p2 with z1
    assert float(crossed) == pytest.approx(-1)


def test_simsiam_stops_the_gradient_at_the_projections() -> None:
    projected = torch.randn(4, 3, requires_grad=True), torch.randn(4, 3, requires_grad=True)
    predicted = torch.randn(4, 3, requires_grad=True), torch.randn(4, 3, requires_grad=True)
    simsiam_loss(predicted, projected).backward()  # type: ignore[no-untyped-call]
    assert all(z.grad is None for z in projected)
    assert all(p.grad is not None and bool(p.grad.any()) for p in predicted)


def test_eq_6_has_the_values_of_the_specification() -> None:
    anchor, orthogonal = torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    loss = FinetuneLoss()
    assert float(loss(anchor, anchor, anchor)) == pytest.approx(0.0603008, abs=1e-7)
    assert float(loss(anchor, anchor, orthogonal)) == pytest.approx(-0.7172635, abs=1e-7)
    assert float(loss(anchor, anchor, -anchor)) == pytest.approx(-0.5358938, abs=1e-7)


def test_eq_6_is_least_where_positive_and_negative_differ_by_1_03() -> None:
    loss = FinetuneLoss(unit_length=False)  # they are of length 1 already, and stay in float64
    anchor = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    cosines = torch.linspace(-1, 1, 2001, dtype=torch.float64)
    negatives = torch.stack([cosines, (1 - cosines.square()).sqrt()], dim=1)
    curve = torch.stack([loss(anchor, anchor, negative.unsqueeze(0)) for negative in negatives])
    assert float(curve.min()) == pytest.approx(-0.7175929, abs=1e-7)
    assert float(1 - cosines[curve.argmin()]) == pytest.approx(1.03, abs=2e-3)


def test_the_options_of_eq_6_do_what_they_say() -> None:
    anchor, negative = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    assert float(FinetuneLoss(hinge=True)(anchor, anchor, negative)) == pytest.approx(0.01 * math.exp(-0.995))
    longer = FinetuneLoss(unit_length=False)(anchor, anchor, negative)
    assert float(longer) == pytest.approx((-5 + 0.06) * math.exp(-0.995))
    steeper = FinetuneLoss(scale=2.0, margin=0.1, alpha=0.0, beta=0.0)(anchor, anchor, negative)
    assert float(steeper) == pytest.approx(-1.9 * math.exp(-2))


def test_arcface_of_mixed_clips_is_the_mixture_of_their_losses() -> None:
    head, embedding, claim = ArcFace(8, 3, margin=0.5), torch.randn(4, 8), torch.tensor([0, 1, 2, 0])
    partner = torch.tensor([1, 2, 3, 0])
    mixed = mixed_arcface_loss(head, embedding, claim=claim, partner=partner, share=torch.full((4,), 0.4))
    both = arcface_loss(head, embedding, claim=claim), arcface_loss(head, embedding, claim=claim[partner])
    torch.testing.assert_close(mixed, 0.6 * both[0] + 0.4 * both[1])


def test_arcface_without_margin_is_a_softmax_of_scaled_cosines() -> None:
    head, embedding, claim = (
        ArcFace(8, 3, margin=0.0, scale=30.0),
        torch.randn(4, 8),
        torch.tensor([0, 1, 2, 0]),
    )
    cosines = F.normalize(embedding) @ F.normalize(head.weight).T
    torch.testing.assert_close(
        arcface_loss(head, embedding, claim=claim), F.cross_entropy(30 * cosines, claim)
    )


def test_simsiam_heads_have_the_parameters_of_the_specification() -> None:
    large, small = SimSiamHeads(960), SimSiamHeads(960, dims=512, hidden=128)
    assert [parameters(part) for part in (large.projector, large.predictor)] == [3_813_120, 2_100_224]
    assert [parameters(part) for part in (small.projector, small.predictor)] == [2_338_560, 131_840]


def test_the_spread_of_projections_tells_of_a_collapse() -> None:
    heads = SimSiamHeads(32, dims=64, hidden=16)
    heads(torch.randn(256, 32))
    assert float(heads.spread) == pytest.approx(1, abs=0.1)
    with torch.no_grad():
        heads.projector[6].weight.zero_()
    heads(torch.randn(256, 32))
    assert float(heads.spread) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize(
    ("dims", "bias", "count"),
    [(512, False, 1_350_192), (256, False, 1_218_608), (512, True, 1_357_504), (256, True, 1_225_664)],
)
def test_the_time_cnn_has_the_parameters_of_the_specification(dims: int, bias: bool, count: int) -> None:
    assert parameters(TimeCnn(dims=dims, bias=bias)) == count


@torch.no_grad()
@pytest.mark.parametrize("stem", ["stride_128", "stride_64_pool"])
def test_the_time_cnn_has_the_lengths_of_table_1(stem: Stem) -> None:
    network = TimeCnn(stem=stem).eval()
    lengths: list[int] = []
    for module in (network.stem, *network.blocks):
        module.register_forward_hook(lambda module, inputs, output: lengths.append(output.shape[2]))
    assert network(torch.zeros(1, 160_000)).shape == (1, 512)
    assert lengths == [1250, 1250, 625, 313, 105, 53, 53, 27, 14, 7, 7]
    assert network(torch.zeros(2, 4096)).shape == (2, 512)


def test_the_fusion_classifier_has_the_parameters_of_the_specification() -> None:
    network = FusionClassifier()
    layers = list(network.layers)
    parts = layers[:3], layers[3:4], layers[4:7], layers[7:8], layers[8:10], layers[10:12], layers[12:]
    counts = [sum(map(parameters, part)) for part in parts]
    assert counts == [80, 280, 9_408, 4_192, 147_968, 4_719_616, 65_792]
    assert parameters(network) == 4_947_336
    assert parameters(ArcFace(128, 16)) == 2_048
    assert parameters(nn.Linear(128, 16)) + parameters(network) == 4_949_400


@torch.no_grad()
def test_the_fusion_classifier_has_the_maps_of_table_2() -> None:
    network = FusionClassifier().eval()
    shapes: list[tuple[int, ...]] = []
    for module in network.layers:
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(
                lambda module, inputs, output: shapes.append(tuple(output.shape[2:]))
            )
    assert network(torch.zeros(3, 512), torch.zeros(3, 512)).shape == (3, 128)
    assert shapes == [(16, 32), (14, 30), (12, 28), (7, 23), (7, 23)]


def test_a_time_shift_turns_waves_by_whole_steps_in_both_directions() -> None:
    wave = torch.arange(1000.0)
    assert rotate(wave[None], [3])[0, :5].tolist() == [997, 998, 999, 0, 1]
    shifted = Transforms(max_shift=2, shift_hop=100).shifted(wave.expand(200, -1))
    assert set(shifted[:, 0].tolist()) == {0, 100, 200, 800, 900}


def test_a_pitch_shift_moves_the_pitch_and_keeps_the_course_in_time() -> None:
    time = torch.arange(16000) / 16000
    wave = torch.sin(2 * math.pi * 1000 * time) * (time > 0.5)
    for semitones in (-20, 12):
        shifted = shift_pitch(wave[None], semitones=semitones)[0]
        spectrum = torch.fft.rfft(shifted[9000:15000] * torch.hann_window(6000)).abs()
        peak = float(spectrum.argmax()) * 16000 / 6000
        assert peak == pytest.approx(1000 * 2 ** (semitones / 12), abs=16)
        assert float(shifted[1024:6900].abs().max()) < 1e-6 < 0.1 < float(shifted[8100:].square().mean())
    assert torch.allclose(shift_pitch(wave[None], semitones=0)[0], wave, atol=1e-6)


def test_fades_rise_from_0_to_1_in_two_shapes() -> None:
    position = torch.arange(101.0)
    gain = fade_gain(
        position, length=torch.tensor([[50.0], [50.0]]), half_sine=torch.tensor([[True], [False]])
    )
    assert gain[:, 0].tolist() == pytest.approx([0, 0], abs=1e-6)
    assert gain[:, 25].tolist() == pytest.approx([0.5, 0.5 * 2**-0.5])
    assert gain[:, 50:].flatten().tolist() == pytest.approx([1] * 102)
    assert bool((gain.diff(dim=1) >= -1e-6).all())
    faded = Transforms().faded(torch.ones(50, 100))
    assert float(faded[:, 0].max()) < 0.05
    assert bool((faded.amax(dim=1) > 0.8).all())


def test_noise_has_the_ratio_that_was_drawn() -> None:
    waves = torch.randn(40, 4000) * torch.logspace(-3, 0, 40).unsqueeze(1)
    noise = Transforms(snr_low_db=-10, snr_high_db=10).noisy(waves) - waves
    snr_db = 10 * (waves.square().mean(dim=1) / noise.square().mean(dim=1)).log10()
    assert -10.3 < float(snr_db.min()) < -5 < 5 < float(snr_db.max()) < 10.3
    assert torch.equal(Transforms().noisy(torch.zeros(2, 8)), torch.zeros(2, 8))


def test_each_view_is_made_by_one_transform_at_random() -> None:
    waves = torch.randn(1, 512).expand(300, -1)
    transforms = Transforms(max_shift=0, pitch_semitones=0, fade_share=0, snr_low_db=0, snr_high_db=0)
    changed = (transforms.one_of_each(waves) - waves)[:, 1:-1].abs().amax(dim=1) > 0.01  # a fade ends at 0
    assert 45 < int(changed.sum()) < 110  # the noise alone does anything here: one of four
    torch.manual_seed(1)
    one = transforms.one_of_each(waves)
    torch.manual_seed(1)
    assert torch.equal(one, transforms.one_of_each(waves))
