"""The settings of ASD-AFPA and STgram-MFN as a full fit uses them: section 4 of the paper and its authors' code.

What the paper leaves open is named in the plugin's README; those rows say ``choice``.
"""

from __future__ import annotations

import functools
import math
import tempfile
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
import torch
from rehearsal import (
    Rehearsal,
    Row,
    StandIn,
    built,
    check,
    configured,
    items_of,
    recipe_of,
    table,
    trains,
    zeros,
)
from torch import Tensor, nn

from asdbench import Info, ItemContext
from asdbench_plugins.stgram_afpa.model import StgramModel

FRAMES, CLIPS, CLASSES = 12, 130, 41
SAMPLES = FRAMES * 512
"""A short wave; 12 frames, which six heads divide."""


class Fit:
    """A rehearsed fit over all epochs on 130 clips: one whole batch and two clips."""

    def __init__(self, words: str, folder: Path) -> None:
        self.recipe = recipe_of(words, "dcase2020")
        self.info = Info(
            item_shape=(SAMPLES,),
            sample_rate=16000,
            classes=tuple(f"machine/{k:02d}" for k in range(CLASSES)),
            feature_shape=(128, FRAMES),
        )
        self.model: StgramModel = built(self.recipe.model, self.info)
        # Embeddings of zeros have a right angle to every class.
        self.network = StandIn(lambda waves, features: zeros(len(waves), 128))
        self.trainer = Rehearsal(
            self.model, folder, real=lambda step: step < 4, stand_ins={self.model: self.network}
        )
        raw = np.random.default_rng(0).normal(size=(CLIPS, SAMPLES)).astype(np.float32)
        self.items = items_of(raw, self.info, claim=[k % CLASSES for k in range(CLIPS)], featurizer=picture)
        self.model.fit(self.items, self.items[:0], self.trainer)

    @property
    def adam(self) -> Any:
        return self.trainer.optimizer("train", "arcface")

    def seen(self, step: int) -> list[Tensor]:
        """Return the waves that a step's network received."""
        return list(self.network.inputs[step][0])


def picture(waves: Tensor) -> Tensor:
    """Stand for the spectrogram: the first samples of each wave."""
    return waves[:, : 128 * FRAMES].reshape(-1, 128, FRAMES)


@functools.cache
def fit_of(words: str) -> Fit:
    with tempfile.TemporaryDirectory() as folder:
        return Fit(words, Path(folder))


def right_angles(margin: float, scale: float) -> float:
    """ArcFace's cross-entropy where all angles are right: the target's logit is scale cos(90 degrees + margin)."""
    target = -scale * math.sin(margin)
    return math.log(math.exp(target) + CLASSES - 1) - target


def cosine(epochs: int) -> list[float]:
    """Section 4's annealing as the authors' code steps torch's scheduler: from epoch 20 on, once per epoch."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs, eta_min=1e-5)
    rates = []
    for epoch in range(epochs):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if epoch >= 20:
            schedule.step()
    return rates


TRAINING = [
    Row("section 4", "optimizer", lambda fit: fit.adam["kind"], "Adam"),
    Row("section 4", "learning rate", lambda fit: fit.adam["lr"], 1e-4),
    Row("section 4, cosine annealing", "rates", lambda fit: fit.trainer.rates("train", "arcface"), cosine(200)),
    Row("section 4", "epochs", lambda fit: fit.trainer.epochs("train"), 200),
    Row("authors' code", "weight decay", lambda fit: fit.adam["weight_decay"], 0.0),
    Row("torch's default", "betas", lambda fit: fit.adam["betas"], (0.9, 0.999)),
    Row("authors' code", "batch size", lambda fit: {step.size for step in fit.trainer.steps}, {128}),
    Row("authors' code", "last batch dropped", lambda fit: len(fit.trainer.steps), 200),
    Row("choice", "checkpoints", lambda fit: fit.trainer.checkpoints(), list(range(10, 201, 10))),
    Row("section 4", "ArcFace m=1.0, s=30", lambda fit: fit.trainer.steps[0].losses[0][1], 28.93301),
    Row("section 4", "the same in closed form", lambda fit: right_angles(1.0, 30.0), 28.93301),
    Row("section 4", "stages", lambda fit: [stage.name for stage in fit.trainer.stages], ["train"]),
    Row("section 3", "all parameters are trained", lambda fit: trains(
        fit.trainer.stages[0].optimizers["arcface"], fit.model), True),
    Row("README: no augmentation", "waves as given", lambda fit: all(
        any(torch.equal(wave, clip) for clip in fit.items.raw()) for wave in fit.seen(3)), True),
    Row("section 2", "one model of all machines", lambda fit: fit.recipe.common.scope, "all"),
    Row("section 2", "seconds of a clip", lambda fit: fit.recipe.common.length_s, 10.0),
    Row("section 4: no validation", "held out", lambda fit: fit.recipe.common.held, 0.0),
    Row("choice", "checkpoint that counts", lambda fit: fit.recipe.selection, "last"),
]  # fmt: skip


@table(TRAINING)
def test_asd_afpa_trains_with(row: Row) -> None:
    check(row, fit_of("stgram_afpa"))


BACKBONE = [
    Row("Liu et al. 2022", "epochs", lambda fit: fit.trainer.epochs("train"), 300),
    Row("Liu et al. 2022", "learning rates", lambda fit: fit.trainer.rates("train", "arcface"), cosine(300)),
    Row("Liu et al. 2022", "batch size", lambda fit: {step.size for step in fit.trainer.steps}, {128}),
    Row("Liu et al. 2022", "ArcFace m=0.7, s=30",
        lambda fit: fit.trainer.steps[0].losses[0][1], right_angles(0.7, 30.0)),
    Row("Liu et al. 2022", "no attention", lambda fit: type(fit.model.attention), nn.Identity),
]  # fmt: skip


@table(BACKBONE)
def test_stgram_mfn_trains_with(row: Row) -> None:
    check(row, fit_of("stgram_mfn"))


ABLATION = [
    Row("Table 2", "epochs", lambda fit: fit.trainer.epochs("train"), 200),
    Row("Table 2", "learning rates", lambda fit: fit.trainer.rates("train", "arcface"), cosine(200)),
    Row(
        "Table 2",
        "ArcFace m=1.0, s=30",
        lambda fit: fit.trainer.steps[0].losses[0][1],
        right_angles(1.0, 30.0),
    ),
    Row("Table 2", "no attention", lambda fit: type(fit.model.attention), nn.Identity),
]


@table(ABLATION)
def test_the_strict_ablation_trains_with(row: Row) -> None:
    check(row, fit_of("stgram_mfn[preset=strict_ablation]"))


def test_the_old_cosine_takes_the_batches_of_an_epoch_for_its_period() -> None:
    rates = fit_of("stgram_afpa[preset=cosine_old]").trainer.rates("train", "arcface")
    assert rates[:21] == pytest.approx([1e-4] * 21)
    # One batch per epoch: the period is one epoch, after which the closed form rises again.
    assert rates[21:25] == pytest.approx([0, 1e-4, 0, 1e-4], abs=1e-12)


@functools.cache
def whole_network() -> StgramModel:
    """The network for ten seconds, as it is before training."""
    info = Info(
        item_shape=(160_000,),
        sample_rate=16000,
        classes=tuple(f"machine/{k:02d}" for k in range(CLASSES)),
        feature_shape=(128, 312),
    )
    model: StgramModel = built(recipe_of("stgram_afpa", "dcase2020").model, info)
    return model


def bound(weight: Tensor) -> float:
    return float(weight.detach().abs().max())


def uniformity(weight: Tensor) -> float:
    """Return the standard deviation as a multiple of the largest value; 1 / sqrt(3) if uniform around 0."""
    return float(weight.detach().std()) / bound(weight)


def of_kind(kind: type[nn.Module]) -> list[Any]:
    return [module for module in whole_network().modules() if isinstance(module, kind)]


def projections() -> list[Tensor]:
    return [layer.weight for layer in whole_network().attention.modules() if isinstance(layer, nn.Linear)]


INITIAL = [
    Row("choice, README", "AFPA: three matrices", lambda _: len(projections()), 3),
    Row("choice, README", "AFPA: Xavier bound", lambda _: [bound(w) for w in projections()], [0.0981] * 3, 0.01),
    Row("choice, README", "AFPA: uniform", lambda _: [uniformity(w) for w in projections()], [3**-0.5] * 3, 0.01),
    Row("eqs. 4-7", "AFPA: no bias", lambda _: [layer.bias for layer in of_kind(nn.Linear)], [None] * 3),
    Row("section 3", "six heads", lambda _: whole_network().attention.heads, 6),
    Row("eq. 6", "scale of the products", lambda _: whole_network().attention.scale, 52**-0.5),
    Row("Deng et al.", "ArcFace: Xavier bound", lambda _: bound(whole_network().head.weight),
        math.sqrt(6 / (CLASSES + 128)), 0.01),
    Row("torch's default", "TgramNet: bound", lambda _: bound(whole_network().tgram.extract.weight), 1024**-0.5, 0.01),
    Row("authors' code", "MobileFaceNet: deviations over stated ones", lambda _: [
        float(layer.weight.detach().std()) / math.sqrt(2 / (math.prod(layer.kernel_size) * layer.out_channels))
        for layer in of_kind(nn.Conv2d) if layer.weight.numel() > 8000], [1.0] * 33, 0.03),
    Row("authors' code", "batch norms: gamma", lambda _: {
        float(v) for layer in of_kind(nn.BatchNorm2d) for v in layer.weight.detach()}, {1.0}),
    Row("authors' code", "batch norms: beta", lambda _: {
        float(v) for layer in of_kind(nn.BatchNorm2d) for v in layer.bias.detach()}, {0.0}),
    Row("authors' code", "TgramNet: slope", lambda _: {
        layer.negative_slope for layer in of_kind(nn.LeakyReLU)}, {0.2}),
]  # fmt: skip


@table(INITIAL)
def test_the_network_begins_with(row: Row) -> None:
    check(row, None)


def test_the_features_are_those_of_section_2() -> None:
    recipe = recipe_of("stgram_afpa", "dcase2020")
    wave = (0.1 * np.random.default_rng(0).normal(size=160_000)).astype(np.float32)
    features = built(recipe.featurizer, Info(item_shape=(160_000,), sample_rate=16000))(
        torch.from_numpy(wave)[None]
    )
    power = librosa.feature.melspectrogram(
        y=wave.astype(np.float64), sr=16000, n_fft=1024, hop_length=512, window="hann", center=True,
        pad_mode="reflect", power=2.0, n_mels=128, fmin=0.0, fmax=8000.0, htk=True, norm=None,
    )  # fmt: skip
    assert features.shape == (1, 128, 312)
    np.testing.assert_allclose(features[0], 10 * np.log10(np.maximum(power, 1e-10))[:, :312], atol=2e-3)
    silence = built(recipe.featurizer, Info(item_shape=(160_000,), sample_rate=16000))(
        torch.zeros(1, 160_000)
    )
    assert float(silence.max()) == pytest.approx(-100.0)


@pytest.mark.parametrize(
    ("words", "score"),
    [
        ("stgram_afpa", 28.93301),
        ("stgram_afpa[preset=margin_off_at_test]", math.log(41)),
    ],
)
def test_the_score_of_section_5_keeps_the_margin_on_the_claim(words: str, score: float) -> None:
    fit, recipe = fit_of("stgram_afpa"), recipe_of(words, "dcase2020")
    model = built(recipe.model, fit.info).eval()
    nn.init.zeros_(model.head.weight)  # cosines of 0 with every class
    with torch.no_grad():
        outputs = {name: value.numpy() for name, value in model.outputs(fit.items[:2]).items()}
    scores = configured(recipe.scorer).score({}, outputs, ItemContext(claim=np.array([0, 1]), columns={}))
    np.testing.assert_allclose(scores, np.full((2, 1), score), atol=1e-4)
