"""The robot's autoencoders: sizes, shapes and losses of the specification, training, references."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from torch import Tensor, nn

from asdbench.core.info import Info
from asdbench.core.seeding import seed_for
from asdbench.detector.items import Items
from asdbench.detector.trainer import Trainer, TrainerSettings
from asdbench.errors import ConfigError, DataError
from asdbench.plugin.entries import Selector
from asdbench.testing import make_items
from asdbench_plugins.robot_aae import asdbench_methods, asdbench_presets
from asdbench_plugins.robot_aae.losses import (
    accuracy,
    discriminator_loss,
    distance,
    generator_loss,
    r1_penalty,
)
from asdbench_plugins.robot_aae.model import (
    AdversarialConfig,
    AutoencoderConfig,
    RobotAdversarial,
    RobotAutoencoder,
    endless,
)
from asdbench_plugins.robot_aae.networks import Encoder, WindowAutoencoder, lengths_of
from asdbench_plugins.robot_aae.references import (
    WindowForest,
    WindowForestConfig,
    WindowPca,
    WindowPcaConfig,
)
from asdbench_plugins.robot_aae.scaling import MinMax, MinMaxConfig

ROWS, FEATURES = 6, 11
TINY: dict[str, Any] = {"latent": 3, "iterations": 20, "log_every": 10, "batch_size": 8}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def info_of(rows: int = ROWS, features: int = FEATURES) -> Info:
    shape = (rows, features)
    return Info(item_shape=shape, sample_rate=None, classes=("",), feature_shape=shape)


def windows_of(items: int, *, seed: int = 0) -> np.ndarray[Any, Any]:
    """Waves of few shapes with some noise, in 0..1: what an autoencoder can learn."""
    generator = np.random.default_rng(seed)
    phase = generator.uniform(0, 6, size=(items, 1, 1)) + np.arange(ROWS)[:, None] + np.arange(FEATURES)
    values = 0.5 + 0.4 * np.sin(phase) + 0.02 * generator.normal(size=phase.shape)
    return values.astype(np.float32)


def items_of(raw: np.ndarray[Any, Any], folder: Path, featurizer: Any = None) -> Items:
    return make_items(
        raw,
        info_of(*raw.shape[1:]),
        folder=folder,
        claim=[0] * len(raw),
        featurizer=featurizer or (lambda x: x),
    )


def model_of(*, adversarial: bool = False, **options: Any) -> RobotAutoencoder:
    torch.manual_seed(0)
    chosen = {**TINY, **options}
    if adversarial:
        return RobotAdversarial(AdversarialConfig(**chosen), info_of())
    return RobotAutoencoder(AutoencoderConfig(**chosen), info_of())


def fitted(folder: Path, *, items: int = 20, **options: Any) -> tuple[RobotAutoencoder, Trainer, Items]:
    model = model_of(**options)
    trainer = Trainer(model, TrainerSettings(seed=0, folder=folder / "work"))
    train = items_of(windows_of(items), folder / "pack")
    model.fit(train, train[:0], trainer)
    return model, trainer, train


@pytest.mark.parametrize(
    ("window", "sizes", "discriminator"),
    [
        (30, (1_526_280, 1_718_280, 1_910_280), 623_880),
        (50, (3_915_800, 4_235_800, 4_555_800), 1_725_800),
        (70, (7_402_920, 7_850_920, 8_298_920), 3_376_520),
        (100, (14_691_600, 15_331_600, 15_971_600), 6_881_600),
    ],
)
def test_every_network_of_the_tables_has_the_parameters_of_the_specification(
    window: int, sizes: tuple[int, ...], discriminator: int
) -> None:
    with torch.device("meta"):
        assert (
            tuple(
                count(WindowAutoencoder(rows=window, features=86, latent=latent)) for latent in (30, 50, 70)
            )
            == sizes
        )
        assert count(Encoder(rows=window, features=86, dims=1, base=window)) == discriminator


def test_the_adversarial_model_has_both_networks_and_options_change_their_size() -> None:
    with torch.device("meta"):
        sizes = {
            name: count(RobotAdversarial(AdversarialConfig(**options), info_of(30, 86)))
            for name, options in {
                "paper": {},
                "bn_first": {"bn_first": True},
            }.items()
        }
        assert count(RobotAdversarial(AdversarialConfig(), info_of(100, 86))) == 21_573_200
        assert count(WindowAutoencoder(rows=30, features=86, latent=30, bias=True)) == 1_528_140
        half = count(RobotAutoencoder(AutoencoderConfig(width=0.5), info_of(30, 86)))
    assert sizes["paper"] == 2_150_160
    assert sizes["bn_first"] - sizes["paper"] == 4 * 30 + 4 * 30
    assert half < 1_526_280 / 2.9


@torch.no_grad()
def test_the_lengths_along_the_features_are_those_of_the_paper() -> None:
    network = WindowAutoencoder(rows=30, features=86, latent=30).eval()
    shapes: list[tuple[int, ...]] = []
    layers = [*network.encoder.modules(), *network.decoder.modules()]
    for layer in layers:
        if isinstance(layer, nn.Conv1d | nn.ConvTranspose1d):
            layer.register_forward_hook(lambda _, __, out: shapes.append(tuple(out.shape[1:])))
    rebuilt = network(torch.rand(2, 30, 86))
    assert rebuilt.shape == (2, 30, 86)
    encoder = [(60, 80), (120, 40), (240, 20), (480, 10), (30, 1)]
    assert shapes == [*encoder, (480, 10), (240, 20), (120, 40), (60, 80), (30, 86)]
    assert network.encoder.features(torch.rand(2, 30, 86)).shape == (2, 480, 10)


@pytest.mark.parametrize("features", [1, 5, 14, 15, 19, 22, 86, 87, 200])
def test_any_number_of_features_is_padded_to_what_the_layers_invert(features: int) -> None:
    lengths = lengths_of(features)
    assert features <= lengths.padded < max(features + 8, 15)
    assert lengths.padded == 8 * lengths.last + 6
    network = WindowAutoencoder(rows=4, features=features, latent=2)
    assert network(torch.rand(3, 4, features)).shape == (3, 4, features)


def test_the_padding_is_least_and_the_robots_own_is_none() -> None:
    assert [lengths_of(features).padded for features in (1, 14, 15, 19, 22, 23, 86, 87)] == [
        14, 14, 22, 22, 22, 30, 86, 94,
    ]  # fmt: skip
    assert lengths_of(86).last == 10


@torch.no_grad()
def test_rows_may_change_places_together_with_their_channels_and_features_may_not() -> None:
    network = WindowAutoencoder(rows=5, features=22, latent=3).eval()
    windows = torch.rand(2, 5, 22)
    expected = network(windows)
    order = torch.tensor([3, 1, 4, 0, 2])
    first, last = network.encoder.body[0], network.decoder.body[-2]
    assert isinstance(first, nn.Conv1d)
    assert isinstance(last, nn.ConvTranspose1d)
    first.weight.copy_(first.weight[:, order].clone())
    last.weight.copy_(last.weight[:, order].clone())
    torch.testing.assert_close(network(windows[:, order]), expected[:, order])
    turned = windows[:, order].flip(2)
    assert not torch.allclose(network(turned).flip(2), expected[:, order], atol=1e-4)


@torch.no_grad()
def test_the_output_is_bounded_as_the_option_says() -> None:
    torch.manual_seed(0)
    windows = 50 * torch.randn(8, 4, 22)
    tanh = WindowAutoencoder(rows=4, features=22, latent=3)(windows)
    sigmoid = WindowAutoencoder(rows=4, features=22, latent=3, output="sigmoid")(windows)
    assert -1 <= float(tanh.min()) < 0
    assert 0 <= float(sigmoid.min()) < float(sigmoid.max()) <= 1


def test_without_weight_the_generators_loss_is_the_autoencoders_and_a_perfect_copy_costs_nothing() -> None:
    windows, rebuilt = torch.rand(4, 3, 5), torch.rand(4, 3, 5)
    features = torch.rand(4, 2, 2), torch.rand(4, 2, 2)
    plain = distance(windows, rebuilt)
    torch.testing.assert_close(plain, (windows - rebuilt).square().mean())
    torch.testing.assert_close(generator_loss(windows, rebuilt, features=features, weight=0), plain)
    assert float(generator_loss(windows, rebuilt, features=features, weight=1)) > float(plain)
    assert float(generator_loss(windows, windows, features=(features[0], features[0]), weight=1)) == 0
    torch.testing.assert_close(
        distance(windows, rebuilt, reduction="sum"), (windows - rebuilt).square().sum(dim=(1, 2)).mean()
    )


def test_an_undecided_discriminator_costs_twice_the_logarithm_of_two() -> None:
    undecided = torch.zeros(6)
    assert float(discriminator_loss(undecided, undecided)) == pytest.approx(2 * math.log(2))
    assert accuracy(undecided + 1, undecided - 1) == 1.0
    assert accuracy(undecided + 1, undecided + 1) == 0.5
    assert float(discriminator_loss(undecided + 9, undecided - 9)) < 1e-3


def test_the_penalty_of_a_linear_discriminator_is_half_gamma_times_its_squared_weights() -> None:
    weights = torch.randn(3, 5)

    def logits_of(windows: Tensor) -> Tensor:
        return (windows * weights).flatten(1).sum(dim=1)

    windows = torch.rand(7, 3, 5)
    penalty, logits = r1_penalty(logits_of, windows, gamma=10.0)
    torch.testing.assert_close(penalty, 5 * weights.square().sum())
    torch.testing.assert_close(logits.detach(), logits_of(windows))
    assert not windows.requires_grad


def step_of(model: RobotAutoencoder, folder: Path) -> Iterator[tuple[str, Tensor]]:
    """The losses of one step, as the model gives them to the trainer."""
    taken: list[Any] = []

    class Stopped(Trainer):
        def run(self, stage: Any) -> None:
            taken.append(stage)

    train = items_of(windows_of(8), folder / "pack")
    model.fit(train, train[:0], Stopped(model, TrainerSettings(seed=0, folder=folder / "work")))
    model.train()
    for name, loss in taken[0].losses(train, 0):
        taken[0].optimizers[name].zero_grad(set_to_none=True)
        loss.backward()
        taken[0].optimizers[name].step()
        yield name, loss


def test_each_step_moves_its_own_network_alone(tmp_path: Path) -> None:
    model = model_of(adversarial=True)
    assert isinstance(model, RobotAdversarial)

    def state() -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in model.named_parameters()}

    def moved(before: dict[str, Tensor]) -> set[str]:
        now = state()
        return {name.partition(".")[0] for name in now if not torch.equal(now[name], before[name])}

    steps, before = step_of(model, tmp_path), state()
    running = model.discriminator.body[3].running_mean.clone()
    for name, network in (("discriminator", "discriminator"), ("generator", "autoencoder")):
        assert next(steps)[0] == name
        assert moved(before) == {network}
        before = state()
        now = model.discriminator.body[3].running_mean.clone()
        assert not torch.equal(now, running)  # its batch norm stays in train mode in both steps
        running = now
    assert next(steps, None) is None
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_training_takes_exactly_the_iterations_asked_for_and_logs_the_discriminator(tmp_path: Path) -> None:
    _, trainer, _ = fitted(tmp_path, adversarial=True)
    assert [entry.epoch for entry in trainer.log] == [1, 2]
    assert set(trainer.log[0].losses) == {"discriminator", "generator", "r1", "D(x)", "D(x')", "accuracy"}
    assert 0 <= trainer.log[1].losses["accuracy"] <= 1
    assert trainer.log[0].losses["r1"] > 0
    assert [entry.checkpoint for entry in trainer.log] == [False, True]


@pytest.mark.parametrize(("iterations", "killed_at"), [(20, 13), (25, 23)])
def test_a_killed_training_goes_on_to_the_same_bits(tmp_path: Path, iterations: int, killed_at: int) -> None:
    options = {"adversarial": True, "iterations": iterations}
    whole, _, train = fitted(tmp_path / "whole", **options)
    first, again = model_of(**options), model_of(**options)
    assert isinstance(first, RobotAdversarial)
    generate, steps = first.generate, iter(range(100))

    def killing(windows: Tensor, rebuilt: Tensor) -> Tensor:
        if next(steps) == killed_at:
            raise KeyboardInterrupt("killed")
        return generate(windows, rebuilt)

    first.generate = killing  # type: ignore[method-assign]
    settings = TrainerSettings(seed=0, folder=tmp_path / "work", resume_every_s=0)
    with pytest.raises(KeyboardInterrupt, match="killed"):
        first.fit(train, train[:0], Trainer(first, settings))
    trainer = Trainer(again, settings)
    assert trainer.resumed
    again.fit(train, train[:0], trainer)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, rtol=0, atol=0)
    assert set(trainer.log[1].losses) >= {"accuracy", "r1"}


def test_options_of_the_adversary_reach_its_losses(tmp_path: Path) -> None:
    _, without, _ = fitted(tmp_path / "without", adversarial=True, r1=False)
    assert without.log[0].losses["r1"] == 0
    _, weak, _ = fitted(tmp_path / "weak", adversarial=True, weight=0.0, iterations=10)
    _, strong, _ = fitted(tmp_path / "strong", adversarial=True, weight=10.0, iterations=10)
    assert strong.log[0].losses["generator"] > weak.log[0].losses["generator"]
    _, light, _ = fitted(tmp_path / "light", adversarial=True, gamma=1.0, iterations=10)
    _, heavy, _ = fitted(tmp_path / "heavy", adversarial=True, gamma=20.0, iterations=10)
    assert heavy.log[0].losses["r1"] > light.log[0].losses["r1"]
    _, kept, _ = fitted(tmp_path / "kept", checkpoint_every=1)
    assert [entry.checkpoint for entry in kept.log] == [True, True]


def test_training_rebuilds_normal_windows_better_than_others(tmp_path: Path) -> None:
    model, trainer, train = fitted(tmp_path, items=64, iterations=150, log_every=50, latent=4)
    assert trainer.log[-1].losses["generator"] < trainer.log[0].losses["generator"] / 2
    model.eval()
    with torch.no_grad():
        usual = model.outputs(train)["reconstruction_error"]
        strange = items_of(
            np.random.default_rng(1).random((20, ROWS, FEATURES), dtype=np.float32), tmp_path / "other"
        )
        other = model.outputs(strange)["reconstruction_error"]
        assert usual.shape == (64, 1)
        assert model.outputs(train)["embedding"].shape == (64, 1, 4)
    assert float(usual.mean()) < float(other.mean()) / 2
    difference = model(train.features()) - train.features()
    torch.testing.assert_close(usual[:, 0], difference.square().mean(dim=(1, 2)).detach())


def test_iterations_that_the_log_does_not_divide_end_in_a_shorter_piece_with_the_bits_of_the_others(
    tmp_path: Path,
) -> None:
    drawn: list[int] = []

    def counted(folder: str, **options: Any) -> tuple[RobotAutoencoder, Trainer]:
        model = model_of(checkpoint_every=1, **options)
        model.autoencoder.register_forward_pre_hook(lambda module, given: drawn.append(len(given[0])))
        trainer = Trainer(model, TrainerSettings(seed=0, folder=tmp_path / folder / "work"))
        train = items_of(windows_of(20), tmp_path / folder / "pack")
        drawn.clear()
        model.fit(train, train[:0], trainer)
        return model, trainer

    _, trainer = counted("whole", iterations=20, log_every=10)
    assert len(drawn) == 20
    _, clipped = counted("clipped", iterations=25, log_every=10)
    assert len(drawn) == 25
    assert [entry.epoch for entry in clipped.log] == [1, 2, 3]
    for epoch in (1, 2):
        assert clipped.log[epoch - 1].losses == trainer.log[epoch - 1].losses
    _, short = counted("few", iterations=7, log_every=500)
    assert (len(drawn), len(short.log)) == (7, 1)


def test_batches_go_on_over_passes_and_none_holds_one_window(tmp_path: Path) -> None:
    items = items_of(windows_of(9), tmp_path / "pack")
    sizes = [len(batch) for batch in endless(items, 4, count=5, generator=torch.Generator().manual_seed(0))]
    assert sizes == [4, 4, 4, 4, 4]
    _, trainer, _ = fitted(tmp_path / "fit", items=9)
    assert trainer.rules == ["the batch of one window in each pass is dropped: batch norm needs at least two"]
    with pytest.raises(DataError, match="at least 2 training windows, found 1"):
        fitted(tmp_path / "one", items=1)


def test_options_that_do_not_fit_are_refused() -> None:
    flat = Info(item_shape=(16000,), sample_rate=16000, classes=("",), feature_shape=(16000,))
    with pytest.raises(ConfigError, match=r"needs windows \[rows, features\], found \[16000\]"):
        RobotAutoencoder(AutoencoderConfig(), flat)
    with pytest.raises(ConfigError, match=r"minmax needs windows \[rows, features\]"):
        MinMax(MinMaxConfig(), flat)


def test_columns_are_scaled_by_the_training_windows_and_a_constant_one_gives_zero(tmp_path: Path) -> None:
    raw = 100 * windows_of(10) - 30
    raw[:, :, 2] = 7.0
    scaler = MinMax(MinMaxConfig(), info_of())
    scaler.fit(items_of(raw, tmp_path / "pack"))
    scaled = scaler(torch.from_numpy(raw))
    moving = [k for k in range(FEATURES) if k != 2]
    torch.testing.assert_close(scaled.amin(dim=(0, 1)), torch.zeros(FEATURES))
    torch.testing.assert_close(scaled.amax(dim=(0, 1))[moving], torch.ones(FEATURES - 1))
    assert float(scaled[:, :, 2].abs().max()) == 0
    assert float(scaler(torch.from_numpy(raw + 1000)).min()) > 1  # nothing is clipped
    still = MinMax(MinMaxConfig(), info_of())
    still.fit(items_of(np.full((3, ROWS, FEATURES), 5.0, dtype=np.float32), tmp_path / "still"))
    assert float(still(torch.full((1, ROWS, FEATURES), 5.0)).abs().max()) == 0


def test_windows_can_be_scaled_by_their_rows_or_left_as_they_are() -> None:
    windows = torch.from_numpy(100 * windows_of(4))
    scaled = replace(info_of(), scaled=True)
    by_row = MinMax(MinMaxConfig(scale="row"), info_of())(windows)
    torch.testing.assert_close(by_row.amin(dim=2), torch.zeros(4, ROWS))
    torch.testing.assert_close(by_row.amax(dim=2), torch.ones(4, ROWS))
    assert MinMax(MinMaxConfig(scale="none"), scaled)(windows) is windows
    with pytest.raises(ConfigError, match=r"the dataset has already scaled its columns.*use scale=none"):
        MinMax(MinMaxConfig(), scaled)
    with pytest.raises(ConfigError, match=r"scale=none needs columns .* gives raw ones: use scale=train"):
        MinMax(MinMaxConfig(scale="none"), info_of())


def test_a_column_whose_span_overflows_is_refused_by_name(tmp_path: Path) -> None:
    raw = windows_of(4)
    raw[0, 0, 3], raw[1, 0, 3] = -3e38, 3e38
    scaler = MinMax(MinMaxConfig(), info_of())
    with pytest.raises(DataError, match=r"column 3 \(counted from 0\) goes from -3e\+38 to 3e\+38"):
        scaler.fit(items_of(raw, tmp_path / "pack"))


def reference(model: Any, folder: Path, items: Items) -> tuple[Any, Trainer]:
    trainer = Trainer(model, TrainerSettings(seed=0, folder=folder))
    model.fit(items, items[:0], trainer)
    return model, trainer


@torch.no_grad()
def test_principal_components_rebuild_as_scikit_learn_does(tmp_path: Path) -> None:
    raw = windows_of(40)
    items = items_of(raw, tmp_path / "pack")
    model, _ = reference(WindowPca(WindowPcaConfig(components=5), info_of()), tmp_path, items)
    flat = raw.reshape(40, -1)
    found = PCA(5, random_state=0).fit(flat)
    expected = np.square(found.inverse_transform(found.transform(flat)) - flat).mean(axis=1)
    np.testing.assert_allclose(
        model.outputs(items)["reconstruction_error"][:, 0], expected, rtol=1e-3, atol=1e-7
    )
    few, trainer = reference(WindowPca(WindowPcaConfig(), info_of()), tmp_path / "few", items[:4])
    assert trainer.rules == ["3 principal components instead of 30: too few windows"]
    assert float(few.outputs(items[:4])["reconstruction_error"].max()) < 1e-6
    with pytest.raises(DataError, match="at least 2 training windows, found 1"):
        reference(WindowPca(WindowPcaConfig(), info_of()), tmp_path / "one", items[:1])


@torch.no_grad()
@pytest.mark.parametrize("samples", [16, 33, 256])
def test_the_forest_scores_as_scikit_learn_does(tmp_path: Path, samples: int) -> None:
    raw = windows_of(60)
    items = items_of(raw, tmp_path / "pack")
    model, trainer = reference(
        WindowForest(WindowForestConfig(trees=12, samples=samples), info_of()), tmp_path, items
    )
    flat = raw.reshape(60, -1)
    state = seed_for(0, "forest", 0) % 2**32
    forest = IsolationForest(n_estimators=12, max_samples=min(samples, 60), random_state=state).fit(flat)
    other = windows_of(25, seed=3) + 0.3
    tested = items_of(other, tmp_path / "other")
    for rows, found in ((flat, model.outputs(items)), (other.reshape(25, -1), model.outputs(tested))):
        np.testing.assert_allclose(found["isolation"][:, 0], -forest.score_samples(rows), rtol=1e-9)
    assert bool(trainer.rules) == (samples > 60)


def test_every_row_of_both_tables_is_a_run_of_a_preset() -> None:
    presets = {preset.name: preset for preset in asdbench_presets()}
    methods = {method.name: method for method in asdbench_methods()}
    rows = {
        name: {
            (int(run.dataset.options["window"]), *sorted(_chosen(methods, method).items()))
            for run in preset.runs
            for method in run.methods
        }
        for name, preset in presets.items()
    }
    assert rows["robot_aae/table1"] == {(w, ("latent", z)) for w in (30, 50, 70, 100) for z in (30, 50, 70)}
    assert rows["robot_aae/table2"] == {
        (w, ("weight", x)) for w in (30, 100) for x in (1e-4, 1e-3, 1e-2, 1e-1)
    }


def _chosen(methods: Any, chosen: Selector) -> dict[str, Any]:
    name, options = chosen.name, chosen.options
    defaults = {
        "robot_ae": {"latent": AutoencoderConfig().latent},
        "robot_aae": {"weight": AdversarialConfig().weight},
    }
    return {**defaults[name], **(methods[name].presets[options["preset"]] if options else {})}
