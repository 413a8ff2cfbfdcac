"""The settings of the robot's autoencoders as full fits use them: sections 3 and 4 of the report, and BeatGAN's code.

What the report leaves open is named in the plugin's README; those rows say ``choice`` or ``BeatGAN``.
"""

from __future__ import annotations

import functools
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rehearsal import Rehearsal, Row, built, check, configured, items_of, recipe_of, table, trains
from torch import Tensor, nn
from torch.nn import functional as F

from asdbench import Info, ItemContext

ROWS, COLUMNS, WINDOWS = 4, 86, 70
"""Short windows of the robot's 86 columns; 70 of them are one whole mini-batch and one of 6."""


class Fit:
    """A rehearsed fit over all iterations; the losses of the first three are computed, here once more."""

    def __init__(self, words: str, folder: Path, *, weight: float, gamma: float) -> None:
        self.recipe = recipe_of(words, "kuka")
        self.info = Info(
            item_shape=(ROWS, COLUMNS), sample_rate=None, feature_shape=(ROWS, COLUMNS), classes=("",)
        )
        self.model = built(self.recipe.model, self.info)
        raw = np.random.default_rng(0).normal(size=(WINDOWS, ROWS, COLUMNS)).astype(np.float32)
        self.items = items_of(raw, self.info, claim=[0] * WINDOWS, featurizer=lambda windows: windows)
        self.stated: list[tuple[float, float]] = []
        """Each loss, and the same by the paper's equations with the stated lambda and gamma."""
        self.weight, self.gamma = weight, gamma
        self.trainer = Rehearsal(self.model, folder, real=lambda step: step < 3, on_loss=self._compare)
        self.model.fit(self.items, self.items[:0], self.trainer)

    def adam(self, loss: str) -> Any:
        return self.trainer.optimizer("train", loss)

    def _compare(self, name: str, loss: Tensor, batch: Any) -> None:
        windows = batch.features()
        rebuilt = self.model(windows)
        if name == "discriminator":
            again = self._discriminator_loss(windows, rebuilt.detach())
        else:
            again = (windows - rebuilt).square().mean()
            if hasattr(self.model, "discriminator"):
                found, of_rebuilt = (self.model.discriminator.features(x) for x in (windows, rebuilt))
                again = again + self.weight * (found - of_rebuilt).square().mean()
        self.stated.append((float(loss.detach()), float(again.detach())))

    def _discriminator_loss(self, windows: Tensor, rebuilt: Tensor) -> Tensor:
        """Eq. 4 negated, and R1 (Mescheder et al. 2018): gamma / 2 times the squared gradient of the logit."""
        real = windows.clone().requires_grad_()
        logits, fake = self.model.discriminator(real), self.model.discriminator(rebuilt)
        [slope] = torch.autograd.grad(logits.sum(), real, create_graph=True)
        penalty = self.gamma / 2 * slope.square().sum(dim=(1, 2)).mean()
        return -(F.logsigmoid(logits).mean() + F.logsigmoid(-fake).mean()) + penalty


@functools.cache
def fit_of(words: str, *, weight: float = 1e-3, gamma: float = 10.0) -> Fit:
    with tempfile.TemporaryDirectory() as folder:
        return Fit(words, Path(folder), weight=weight, gamma=gamma)


def of_kind(fit: Fit, *kinds: type[nn.Module]) -> list[Any]:
    return [module for module in fit.model.modules() if isinstance(module, kinds)]


def adam_rows(loss: str, iterations: int) -> list[Row]:
    """Return the rows that both networks share; the discriminator has an Adam of its own."""
    return [
        Row("section 4", f"{loss}: optimizer", lambda fit: fit.adam(loss)["kind"], "Adam"),
        Row("section 4", f"{loss}: learning rate, constant",
            lambda fit: fit.trainer.rates("train", loss), [0.001] * iterations),
        Row("torch's default", f"{loss}: betas", lambda fit: fit.adam(loss)["betas"], (0.9, 0.999)),
        Row("section 4: none", f"{loss}: weight decay", lambda fit: fit.adam(loss)["weight_decay"], 0),
    ]  # fmt: skip


def shared_rows(networks: int) -> list[Row]:
    """Return the rows that both methods share; the discriminator is a second encoder."""
    return [
        Row("BeatGAN", "mini-batches, the smaller one kept",
            lambda fit: [step.size for step in fit.trainer.steps[:4]], [64, 6, 64, 6]),
        Row("section 3", "latent size", lambda fit: fit.model.autoencoder.encoder.head.out_channels, 30),
        Row("section 3", "output", lambda fit: type(fit.model.autoencoder.decoder.body[-1]), nn.Tanh),
        Row("BeatGAN", "slopes", lambda fit: [layer.negative_slope for layer in of_kind(fit, nn.LeakyReLU)],
            [0.2] * 4 * networks),
        Row("section 3", "ReLU in the decoder", lambda fit: len(of_kind(fit, nn.ReLU)), 4),
        Row("BeatGAN", "batch norms: none after the first layer", lambda fit: len(of_kind(fit, nn.BatchNorm1d)),
            4 + 3 * networks),
        Row("BeatGAN", "no bias", lambda fit: {
            layer.bias for layer in of_kind(fit, nn.Conv1d, nn.ConvTranspose1d)}, {None}),
        Row("Table I", "kernels and strides of the decoder", lambda fit: [
            (layer.kernel_size[0], layer.stride[0]) for layer in of_kind(fit, nn.ConvTranspose1d)],
            [(10, 1), (4, 2), (4, 2), (4, 2), (7, 1)]),
        Row("Table I", "channels of the decoder", lambda fit: [
            layer.in_channels for layer in of_kind(fit, nn.ConvTranspose1d)],
            [30, 16 * ROWS, 8 * ROWS, 4 * ROWS, 2 * ROWS]),
        Row("section 4: none", "held out", lambda fit: fit.recipe.common.held, 0.0),
        Row("section 4", "final weights count", lambda fit: fit.recipe.selection, "last"),
    ]  # fmt: skip


@table([
    *adam_rows("generator", 5000),
    *shared_rows(networks=1),
    Row("section 4", "iterations", lambda fit: len(fit.trainer.steps), 5000),
    Row("eq. 1", "losses", lambda fit: [name for name, _ in fit.trainer.steps[0].losses], ["generator"]),
    Row("section 3", "all parameters are trained", lambda fit: trains(
        fit.trainer.stages[0].optimizers["generator"], fit.model), True),
])  # fmt: skip
def test_the_autoencoder_trains_with(row: Row) -> None:
    check(row, fit_of("robot_ae"))


@table([
    *adam_rows("discriminator", 7000),
    *adam_rows("generator", 7000),
    *shared_rows(networks=2),
    Row("section 4", "iterations", lambda fit: len(fit.trainer.steps), 7000),
    Row("Algorithm 1", "order of the steps", lambda fit: [name for name, _ in fit.trainer.steps[0].losses],
        ["discriminator", "generator"]),
    Row("Algorithm 1", "the generator's parameters", lambda fit: trains(
        fit.trainer.stages[0].optimizers["generator"], fit.model.autoencoder), True),
    Row("Algorithm 1", "the discriminator's parameters", lambda fit: trains(
        fit.trainer.stages[0].optimizers["discriminator"], fit.model.discriminator), True),
    Row("section 3", "outputs of the discriminator", lambda fit: fit.model.discriminator.head.out_channels, 1),
])  # fmt: skip
def test_the_adversarial_autoencoder_trains_with(row: Row) -> None:
    check(row, fit_of("robot_aae"))


@pytest.mark.parametrize("words", ["robot_ae", "robot_aae"])
def test_the_losses_are_those_of_the_equations_with_lambda_0_001_and_gamma_10(words: str) -> None:
    fit = fit_of(words)
    assert len(fit.stated) == (3 if words == "robot_ae" else 6)
    for loss, again in fit.stated:
        assert loss == pytest.approx(again, rel=2e-6)


@pytest.mark.parametrize(
    ("words", "weight", "gamma"),
    [
        ("robot_aae[preset=lambda_1e-4,iterations=1]", 1e-4, 10.0),
        ("robot_aae[preset=lambda_1e-2,iterations=1]", 1e-2, 10.0),
        ("robot_aae[preset=lambda_1e-1,iterations=1]", 1e-1, 10.0),
        ("robot_aae[preset=without_r1,iterations=1]", 1e-3, 0.0),
        ("robot_aae[preset=reference_r1,iterations=1]", 1e-3, 20.0),
    ],
)
def test_the_weights_of_table_2_reach_the_losses(words: str, weight: float, gamma: float) -> None:
    for loss, again in fit_of(words, weight=weight, gamma=gamma).stated:
        assert loss == pytest.approx(again, rel=2e-6)


@pytest.mark.parametrize("latent", [50, 70])
def test_the_latent_sizes_of_table_1_reach_the_network(latent: int) -> None:
    model = built(recipe_of(f"robot_ae[preset=L{latent}]", "kuka").model, fit_of("robot_ae").info)
    with torch.no_grad():
        assert model.eval().autoencoder.encoder(torch.zeros(1, ROWS, COLUMNS)).shape == (1, latent)


def test_the_networks_begin_as_in_beatgan() -> None:
    info = Info(item_shape=(30, 86), sample_rate=None, feature_shape=(30, 86), classes=("",))
    model = built(recipe_of("robot_aae", "kuka").model, info)
    for layer in model.modules():
        if isinstance(layer, nn.Conv1d | nn.ConvTranspose1d) and layer.weight.numel() > 10_000:
            kernel = layer.kernel_size[0]
            deviation = math.sqrt(2 / (kernel * (layer.in_channels + layer.out_channels)))  # Xavier normal
            assert float(layer.weight.detach().std()) == pytest.approx(deviation, rel=0.05)
            assert float(layer.weight.detach().abs().max()) > 3 * deviation  # not uniform
    gammas = torch.cat(
        [layer.weight.detach() for layer in model.modules() if isinstance(layer, nn.BatchNorm1d)]
    )
    assert float(gammas.mean()) == pytest.approx(1.0, abs=0.002)
    assert float(gammas.std()) == pytest.approx(0.02, rel=0.05)


def test_windows_are_scaled_by_the_range_of_the_training_windows() -> None:
    recipe, random = recipe_of("robot_ae", "kuka"), np.random.default_rng(0)
    raw = random.normal(size=(9, ROWS, COLUMNS)).astype(np.float32)
    info = Info(item_shape=(ROWS, COLUMNS), sample_rate=None, classes=("",))
    featurizer = built(recipe.featurizer, info)
    featurizer.fit(items_of(raw, info, claim=[0] * 9))
    low, high = raw.min(axis=(0, 1)), raw.max(axis=(0, 1))
    other = 3 * random.normal(size=(2, ROWS, COLUMNS)).astype(np.float32)
    np.testing.assert_allclose(
        featurizer(torch.from_numpy(other)), (other - low) / (high - low), rtol=1e-5, atol=1e-6
    )


def test_the_score_is_the_mean_squared_error_of_a_window() -> None:
    fit = fit_of("robot_ae")
    fit.model.eval()
    with torch.no_grad():
        outputs = {name: value.numpy() for name, value in fit.model.outputs(fit.items).items()}
        windows = fit.items.features()
        expected = (fit.model(windows) - windows).square().mean(dim=(1, 2))
    context = ItemContext(claim=np.zeros(WINDOWS, dtype=np.int64), columns={})
    scores = configured(fit.recipe.scorer).score({}, outputs, context)
    np.testing.assert_allclose(scores[:, 0], expected, rtol=1e-5)
