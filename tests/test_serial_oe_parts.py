"""Parts of serial outlier exposure: features, pairing, mixup, schedules, L_product."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import cast

import numpy as np
import pytest
import torch
from hums import MELS, RATE, SAMPLES, info_of, items_of
from torch import Tensor, nn

from asdbench.core.info import Info
from asdbench.data.pack import Pack
from asdbench.detector.items import Items, ItemSource
from asdbench.dsp import mel_filters
from asdbench.errors import ConfigError, DataError
from asdbench_plugins.serial_oe.features import NormalisedMel, NormalisedMelConfig
from asdbench_plugins.serial_oe.losses import product_loss
from asdbench_plugins.serial_oe.mixing import Labelled, labelled, mixed, randomly_mixed
from asdbench_plugins.serial_oe.pairing import Negatives, Pairing
from asdbench_plugins.serial_oe.schedule import mixup_rate, one_cycle_momentum, one_cycle_rate


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Two threads on cores that others use too wait for each other more than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def random_batch(size: int = 6, *, classes: int = 3) -> Labelled:
    generator = torch.Generator().manual_seed(1)
    claim = torch.arange(size) % (classes + 1) - 1
    return labelled(torch.randn(size, 20, generator=generator), claim, classes=classes)


def test_two_seconds_give_224_mels_of_126_frames() -> None:
    info = Info(item_shape=(160_000,), sample_rate=16000)
    featurizer = NormalisedMel(NormalisedMelConfig(), info)
    assert featurizer(torch.zeros(2, 32_000)).shape == (2, 224, 126)


@pytest.mark.parametrize("log", [True, False])
def test_features_are_mel_magnitudes_over_the_energy_of_the_window(log: bool) -> None:
    info = Info(item_shape=(SAMPLES,), sample_rate=RATE)
    featurizer = NormalisedMel(NormalisedMelConfig(**MELS, log=log), info)
    waves = 0.1 * torch.randn(2, SAMPLES, generator=torch.Generator().manual_seed(0))
    window = torch.hann_window(256)
    spectrum = torch.stft(waves, 256, 64, window=window, return_complex=True, pad_mode="reflect").abs()
    filters = mel_filters(sample_rate=RATE, n_fft=256, n_mels=16, f_min=100.0, f_max=3800.0)
    magnitudes = filters @ (spectrum / window.square().sum().sqrt())
    expected = magnitudes.log() if log else magnitudes
    torch.testing.assert_close(featurizer(waves), expected, atol=1e-5, rtol=1e-4)


def test_the_logarithm_of_silence_is_its_floor() -> None:
    featurizer = NormalisedMel(NormalisedMelConfig(**MELS), info_of())
    torch.testing.assert_close(featurizer(torch.zeros(1, SAMPLES)), torch.full((1, 16, 63), math.log(1e-7)))


def test_waves_are_normalised_by_mean_and_deviation_of_all_training_samples() -> None:
    items = items_of([0, 1, 0])
    featurizer = NormalisedMel(NormalisedMelConfig(**MELS), info_of())
    before = featurizer((items.raw() - items.raw().mean()) / items.raw().std(correction=0))
    featurizer.fit(items)
    assert float(featurizer.mean) == pytest.approx(float(items.raw().mean()), abs=1e-8)
    assert float(featurizer.deviation) == pytest.approx(float(items.raw().std(correction=0)), rel=1e-6)
    torch.testing.assert_close(featurizer(items.raw()), before, atol=1e-3, rtol=1e-4)


def test_mixing_raw_waves_is_mixing_normalised_ones() -> None:
    items = items_of([0, 1])
    featurizer = NormalisedMel(NormalisedMelConfig(**MELS), info_of())
    featurizer.fit(items)
    mean, deviation, raw = featurizer.mean, featurizer.deviation, items.raw()
    normalised = (raw - mean) / deviation
    torch.testing.assert_close(
        0.3 * normalised[0] + 0.7 * normalised[1], (0.3 * raw[0] + 0.7 * raw[1] - mean) / deviation
    )


def test_a_silent_training_set_keeps_its_level() -> None:
    source = items_of([0, 0])
    source._source.pack.waves[:] = 0.25  # type: ignore[attr-defined]
    featurizer = NormalisedMel(NormalisedMelConfig(**MELS), info_of())
    featurizer.fit(source)
    assert (float(featurizer.mean), float(featurizer.deviation)) == (0.25, 1.0)


def test_a_featurizer_of_what_is_no_mono_wave_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"reads mono waves, but items have shape \[50, 86\] and no sample rate"
    ):
        NormalisedMel(NormalisedMelConfig(), Info(item_shape=(50, 86), sample_rate=None))


def test_every_batch_holds_as_many_negatives_and_the_short_last_one_is_kept() -> None:
    for batch_size, steps, last in ((128, 85, 24), (32, 338, 8)):
        train = items_like(5400, 700)
        pairing = Pairing(train, batch_size=batch_size, against_negatives=True, seed=0)
        batches = list(pairing.targets(torch.Generator().manual_seed(0)))
        assert (pairing.steps, len(batches), len(batches[-1])) == (steps, steps, last)
        assert pairing.count // pairing.size + 1 == steps  # what OneCycle is told
        for step in (0, steps - 1):
            own = pairing.batch(batches[step], step).own
            assert own.tolist() == [True] * (len(own) // 2) + [False] * (len(own) // 2)
        assert torch.cat(batches).sort().values.tolist() == list(range(5400))


def items_like(own: int, foreign: int) -> Items:
    """Return so many items of the unit and of others, with nothing to hear."""
    claim = torch.tensor([0] * own + [-1] * foreign)
    source = ItemSource(pack=cast("Pack", None), ids=np.arange(len(claim)), info=info_of(), length=SAMPLES)
    return Items(source, rows=np.arange(len(claim)), claim=claim, own=claim >= 0, target=claim, columns={})


def test_negatives_are_walked_through_across_epochs_and_shuffled_when_used_up() -> None:
    walk = Negatives(7, targets=10, batch=4, steps=3, seed=2)
    sizes = [4, 4, 2] * 4
    drawn = torch.cat([walk.of_step(step, size=size) for step, size in enumerate(sizes)])
    assert len(drawn) == 40
    rounds = [drawn[first : first + 7].tolist() for first in range(0, 35, 7)]
    assert all(sorted(found) == list(range(7)) for found in rounds)
    assert len({tuple(found) for found in rounds}) == 5
    alone = Negatives(7, targets=10, batch=4, steps=3, seed=2).of_step(7, size=4)
    assert torch.equal(alone, drawn[24:28])  # a resumed fit finds the same without the steps before
    other = Negatives(7, targets=10, batch=4, steps=3, seed=3).of_step(0, size=4)
    assert not torch.equal(other, drawn[:4])


def test_without_negatives_a_batch_is_of_targets_and_a_last_one_alone_is_left_out() -> None:
    pairing = Pairing(items_like(9, 3), batch_size=4, against_negatives=False, seed=0)
    batches = list(pairing.targets(torch.Generator()))
    assert [len(batch) for batch in batches] == [4, 4]
    assert bool(pairing.batch(batches[0], 0).own.all())
    assert pairing.rules == ["a last batch of one item is dropped: batch norm needs at least two"]


def test_few_targets_are_one_batch_and_too_few_are_refused() -> None:
    pairing = Pairing(items_like(1, 3), batch_size=8, against_negatives=True, seed=0)
    [targets] = pairing.targets(torch.Generator())
    assert len(pairing.batch(targets, 0)) == 2
    assert pairing.rules == ["each step has all 1 targets instead of 4"]
    with pytest.raises(
        DataError, match=r"needs items of other units as negatives, found 0: .* serial_oe_only_product"
    ):
        Pairing(items_like(4, 0), batch_size=8, against_negatives=True, seed=0)
    with pytest.raises(DataError, match="at least 2 training items of the unit, found 1"):
        Pairing(items_like(1, 0), batch_size=8, against_negatives=False, seed=0)


def test_labels_are_hard_before_mixing() -> None:
    batch = labelled(torch.zeros(3, 5), torch.tensor([1, -1, 0]), classes=2)
    assert batch.target.tolist() == [1.0, 0.0, 1.0]
    assert batch.product.tolist() == [[0.0, 1.0], [0.0, 0.0], [1.0, 0.0]]


def test_mixing_with_weight_1_is_the_identity_and_with_0_the_permutation() -> None:
    batch, order = random_batch(), torch.tensor([3, 5, 0, 1, 2, 4])
    same, swapped = mixed(batch, torch.ones(6), order=order), mixed(batch, torch.zeros(6), order=order)
    for name in ("waves", "target", "product"):
        assert torch.equal(getattr(same, name), getattr(batch, name))
        assert torch.equal(getattr(swapped, name), getattr(batch, name)[order])


def test_mixed_labels_are_shares() -> None:
    torch.manual_seed(0)
    batch = random_batch(64)
    mix = randomly_mixed(batch, alpha=0.2, rate=1.0)
    assert not torch.equal(mix.waves, batch.waves)
    assert 0 <= float(mix.target.min()) <= float(mix.target.max()) <= 1
    torch.testing.assert_close(mix.product.sum(dim=1), mix.target)
    assert randomly_mixed(batch, alpha=0.0, rate=1.0) is batch
    assert randomly_mixed(batch, alpha=0.2, rate=0.0) is batch


def test_mixup_comes_in_over_the_first_half() -> None:
    rates = [mixup_rate("cosine", step, total=100) for step in (0, 25, 50, 51, 99)]
    assert rates == pytest.approx([0.0, 0.5, 1.0, 1.0, 1.0])
    assert mixup_rate("constant", 0, total=100) == 1.0


@pytest.mark.parametrize("total", [1, 3, 7, 85])
def test_rate_and_momentum_are_those_of_torchs_one_cycle(total: int) -> None:
    optimizer = torch.optim.AdamW([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=total)
    for step in range(total):
        group = optimizer.param_groups[0]
        assert one_cycle_rate(step, total=total) == pytest.approx(group["lr"], abs=1e-12)
        assert one_cycle_momentum(step, total=total) == pytest.approx(group["betas"][0], abs=1e-12)
        optimizer.step()
        if step < total - 1:
            schedule.step()


def test_the_product_loss_asks_of_every_id_and_counts_partial_targets_alike_or_by_share() -> None:
    logits = torch.tensor([[2.0, -1.0], [0.5, 0.0], [9.0, 9.0]])
    product = torch.tensor([[1.0, 0.0], [0.25, 0.0], [0.0, 0.0]])
    target = torch.tensor([1.0, 0.25, 0.0])

    def each(z: float, y: float) -> float:
        return -(y * math.log(1 / (1 + math.exp(-z))) + (1 - y) * math.log(1 / (1 + math.exp(z))))

    first, second = (each(2, 1) + each(-1, 0)) / 2, (each(0.5, 0.25) + each(0, 0)) / 2
    equal = product_loss(logits, product, target=target)
    soft = product_loss(logits, product, target=target, weight="soft")
    assert float(cast("Tensor", equal)) == pytest.approx((first + second) / 2)
    assert float(cast("Tensor", soft)) == pytest.approx((first + 0.25 * second) / 1.25)
    softmax = product_loss(logits[:1], product[:1], target=target[:1], kind="softmax")
    assert float(cast("Tensor", softmax)) == pytest.approx(math.log(1 + math.exp(-3)))
