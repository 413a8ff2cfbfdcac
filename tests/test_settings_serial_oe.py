"""The settings of serial outlier exposure as full fits use them: Table I, sections III and IV, the author's recipes.

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
from numpy.typing import NDArray
from rehearsal import Rehearsal, Row, built, check, configured, items_of, recipe_of, table, trains
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import LocalOutlierFactor
from torch import Tensor, nn

from asdbench import Info, ItemContext
from asdbench.detector.detector import aggregate
from asdbench_plugins.serial_oe.mixing import Labelled

RATE, SAMPLES, SECTIONS = 100, 500, 6
"""Clips of 5 s at 100 Hz: a segment of 2 s has 200 samples, and 301 offsets are possible."""
STRIDE = 1024
"""Sample s of clip k is STRIDE k + s, so every value shows the clip and the position it comes from."""
TABLE_1 = {
    "fan": (1e-3, 32, 0.1, "gmm", 16),
    "gearbox": (1e-3, 128, 10.0, "gmm", 64),
    "pump": (1e-3, 128, 10.0, "gmm", 2),
    "valve": (5e-4, 128, 10.0, "gmm", 32),
    "slider": (1e-3, 128, 10.0, "gmm", 2),
    "ToyCar": (1e-3, 128, 10.0, "lof", 16),
    "ToyTrain": (5e-4, 32, 0.1, "lof", 8),
}
"""The printed table: learning rate, batch size, lambda, inlier model and its p."""


class Backbone(nn.Module):
    """Stands for EfficientNet: maps of ones."""

    def forward(self, pictures: Tensor) -> Tensor:
        return torch.ones(len(pictures), 1280, 1, 1)


class Fit:
    """A rehearsed fit on one and a half batches of targets: an epoch has one whole and one short batch."""

    def __init__(self, words: str, unit: str, folder: Path, *, whole: bool) -> None:
        self.recipe = recipe_of(words, "dcase2021", unit=unit)
        self.info = Info(
            item_shape=(SAMPLES,),
            sample_rate=RATE,
            classes=tuple(f"{unit}/{k:02d}" for k in range(SECTIONS)),
            feature_shape=(4, 4),
        )
        self.model = built(self.recipe.model, self.info)
        self.whole = list(self.model.parameters())
        self.model.encoder.backbone = Backbone()
        self.waves: dict[bool, list[Tensor]] = {True: [], False: []}
        """The waves of every batch, in training and in validation."""
        self.labels: list[Labelled] = []
        self.dropped: list[float] = []
        self.model.encoder.neck[0].register_forward_hook(self._remember_dropout)
        loss = self.model.loss
        self.model.loss = lambda embedding, labels: self._remember_labels(labels) or loss(embedding, labels)
        last = self.model.encoder.neck[-1]
        for value in (last.weight, last.bias):  # embeddings of zeros, so logits of zeros
            nn.init.zeros_(value)
        if self.model.affine is not None:
            nn.init.zeros_(self.model.affine.bias)
        per_step = self.recipe.model.options["batch_size"] // (2 if self.model.against_negatives else 1)
        claim = [k % SECTIONS for k in range(3 * per_step // 2)] + [-1] * (2 * per_step)
        self.train, self.held = self._items(claim), self._items([0, 1, 2, -1, -1, -1])
        # Of some fits the losses of the first and the last steps are enough.
        self.trainer = Rehearsal(self.model, folder, real=lambda step: whole or step < 2 or step >= 596)
        self.model.fit(self.train, self.held, self.trainer)

    def _items(self, claim: list[int]) -> Any:
        raw = STRIDE * np.arange(len(claim))[:, None] + np.arange(SAMPLES)[None]
        return items_of(raw.astype(np.float32), self.info, claim=claim, featurizer=self._featurize)

    def _featurize(self, waves: Tensor) -> Tensor:
        self.waves[self.model.training].append(waves)
        return torch.zeros(len(waves), 4, 4)

    def _remember_dropout(self, module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        if self.model.training:
            self.dropped.append(float((output == 0).float().mean()))

    def _remember_labels(self, labels: Labelled) -> None:
        if self.model.training:
            self.labels.append(labels)

    @property
    def adam(self) -> Any:
        return self.trainer.steps[0].optimizers["binary_cross_entropy"]

    @property
    def mixed(self) -> NDArray[np.bool_]:
        """Whether each step's waves were mixed: then most values are no whole numbers."""
        return np.array([bool((waves != waves.round()).any()) for waves in self.waves[True]])

    @property
    def offsets(self) -> NDArray[np.int64]:
        """Offsets of the crops of all batches that were not mixed."""
        plain = [waves[:, 0] for waves, mixed in zip(self.waves[True], self.mixed, strict=True) if not mixed]
        return (torch.cat(plain).numpy().astype(np.int64)) % STRIDE

    @property
    def shares(self) -> NDArray[np.float64]:
        """Mixed labels t' between 0 and 1: c or 1 - c of targets mixed with negatives."""
        values = torch.cat([labels.target for labels in self.labels]).double().numpy()
        return values[(values > 0) & (values < 1)]


@functools.cache
def fit_of(words: str, unit: str, *, whole: bool = False) -> Fit:
    with tempfile.TemporaryDirectory() as folder:
        return Fit(words, unit, Path(folder), whole=whole)


def one_cycle(highest: float, total: int) -> tuple[list[float], list[float]]:
    """Rates and first betas of torch's OneCycleLR over ``total`` steps."""
    adam = torch.optim.AdamW([nn.Parameter(torch.zeros(1))], lr=highest)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, max_lr=highest, total_steps=total)
    rates, betas = [], []
    for step in range(total):
        rates.append(adam.param_groups[0]["lr"])
        betas.append(adam.param_groups[0]["betas"][0])
        adam.step()
        if step + 1 < total:
            schedule.step()
    return rates, betas


def mixing_rate(quarter: int) -> float:
    """Mean of 0.5 (1 - cos(min(pi, 2 pi s / total))) over a quarter of the training."""
    steps = np.linspace(quarter / 4, (quarter + 1) / 4, 1000)
    return float(np.mean(0.5 * (1 - np.cos(np.minimum(math.pi, 2 * math.pi * steps)))))


def first_loss(lam: float) -> float:
    """L of logits of zeros: both cross-entropies are ln 2."""
    return math.log(2) * (1 + lam)


def loss_at_start(fit: Fit) -> float:
    return fit.trainer.steps[0].losses[0][1]


TRAINING = [
    Row("section IV", "optimizer", lambda fit: fit.adam["kind"], "AdamW"),
    Row("recipes", "weight decay", lambda fit: fit.adam["weight_decay"], 0.0),
    Row("section IV", "OneCycle: rates", lambda fit: fit.trainer.rates("train", "binary_cross_entropy"),
        one_cycle(1e-3, 600)[0]),
    Row("torch's OneCycleLR", "OneCycle: first beta", lambda fit: [
        step.optimizers["binary_cross_entropy"]["betas"][0] for step in fit.trainer.steps], one_cycle(1e-3, 600)[1]),
    Row("torch's default", "second beta", lambda fit: fit.adam["betas"][1], 0.999),
    Row("section IV", "epochs", lambda fit: fit.trainer.epochs("train"), 300),
    Row("recipes", "validations", lambda fit: [
        entry.epoch for entry in fit.trainer.log if entry.validation is not None], list(range(5, 301, 5))),
    Row("section IV", "items per step, the short batch kept", lambda fit: [
        len(waves) for waves in fit.waves[True][:4]], [32, 16, 32, 16]),
    Row("section III", "half of a batch are negatives", lambda fit: float(fit.labels[0].target.mean()), 0.5),
    Row("section III", "segments of 2 s", lambda fit: {waves.shape[1] for waves in fit.waves[True]}, {2 * RATE}),
    Row("section III", "crops: first offset", lambda fit: int(fit.offsets.min()), 0),
    Row("section III", "crops: last offset", lambda fit: int(fit.offsets.max()), SAMPLES - 2 * RATE),
    Row("section III", "crops: mean offset", lambda fit: float(fit.offsets.mean()), 150.0, 0.03),
    Row("choice", "validation: cropped at 0, not mixed", lambda fit: {
        int(value) % STRIDE for waves in fit.waves[False] for value in waves[:, 0]}, {0}),
    Row("recipes", "mixup: share of steps by quarter", lambda fit: [
        float(part.mean()) for part in np.split(fit.mixed, 4)][2:], [1.0, 1.0]),
    Row("recipes", "mixup: share in the first quarter", lambda fit: float(fit.mixed[:150].mean()), mixing_rate(0), 0.4),
    Row("recipes", "mixup: share in the second quarter", lambda fit: float(fit.mixed[150:300].mean()),
        mixing_rate(1), 0.1),
    Row("section IV, alpha 0.2", "mixup: variance of Beta(0.2, 0.2)", lambda fit: float(np.var(fit.shares)),
        1 / (4 * (2 * 0.2 + 1)), 0.03),
    Row("recipes", "mixup: a weight for each sample", lambda fit: len(set(
        fit.labels[-2].target[(fit.labels[-2].target > 0) & (fit.labels[-2].target < 1)].tolist())) > 4, True),
    Row("author's code", "dropout", lambda fit: float(np.mean(fit.dropped)), 0.3, 0.01),
    Row("section III, eq. 3", "lambda in the loss", loss_at_start, first_loss(0.1)),
    Row("section III", "all parameters are trained", lambda fit: trains(
        fit.trainer.stages[0].optimizers["binary_cross_entropy"], fit.model), True),
    Row("section IV", "a tenth is held out", lambda fit: fit.recipe.common.held, 0.1),
    Row("section IV", "smallest validation loss counts", lambda fit: fit.recipe.selection, "validation"),
    Row("section III", "one encoder per machine type", lambda fit: fit.recipe.common.scope, "machine"),
    Row("section III", "negatives of other machine types", lambda fit: fit.recipe.auxiliary, True),
    Row("section III", "the inlier model learns from the held-out tenth", lambda fit: fit.recipe.common.scorer_on,
        "held"),
    Row("author's code", "a channel without weights", lambda fit: fit.model.encoder.channels, 1),
    Row("spec 10", "parameters of six sections", lambda fit: sum(p.numel() for p in fit.whole), 4_188_479),
]  # fmt: skip


@table(TRAINING)
def test_serial_oe_trains_with(row: Row) -> None:
    check(row, fit_of("serial_oe", "fan", whole=True))


@pytest.mark.parametrize(("machine", "stated"), TABLE_1.items())
def test_the_columns_of_table_1_reach_training(machine: str, stated: tuple[Any, ...]) -> None:
    rate, batch, lam, _, _ = stated
    fit = fit_of("serial_oe", machine)
    assert max(fit.trainer.rates("train", "binary_cross_entropy")) == pytest.approx(rate)
    assert {len(waves) for waves in fit.waves[True]} == {batch, batch // 2}
    assert loss_at_start(fit) == pytest.approx(first_loss(lam))


SYSTEMS = [
    # method, items of the first two steps, share of negatives, loss at the start, mixed in the second half
    ("serial_oe_wo_mixup", [128, 64], 0.5, first_loss(10.0), False),
    ("serial_oe_wo_h", [128, 64], 0.5, first_loss(10.0), True),
    ("serial_oe_only_product", [128, 64], 0.0, math.log(2), True),
    ("serial_oe_only_product[preset=without_mixup]", [128, 64], 0.0, math.log(2), False),
    ("serial_method", [128, 64], 0.0, math.log(6), True),
]


@pytest.mark.parametrize(("words", "sizes", "negatives", "loss", "mixed"), SYSTEMS)
def test_the_ablations_of_table_3_train_with(
    words: str, sizes: list[int], negatives: float, loss: float, mixed: bool
) -> None:
    fit = fit_of(words, "gearbox")
    assert [len(waves) for waves in fit.waves[True][:2]] == sizes
    assert float((fit.labels[0].target == 0).float().mean()) == negatives
    assert loss_at_start(fit) == pytest.approx(loss)
    assert fit.mixed[2:].tolist() == [mixed] * 4  # the last two epochs
    assert fit.trainer.epochs("train") == 300
    assert max(fit.trainer.rates("train", "binary_cross_entropy")) == pytest.approx(1e-3)


@pytest.mark.parametrize(("machine", "stated"), TABLE_1.items())
def test_the_inlier_model_of_table_1_scores_the_segments(machine: str, stated: tuple[Any, ...]) -> None:
    _, _, _, kind, p = stated
    recipe, random = recipe_of("serial_oe", "dcase2021", unit=machine), np.random.default_rng(0)
    embedding = random.normal(size=(20, 10, 4)).astype(np.float32)
    context = ItemContext(claim=np.zeros(20, dtype=np.int64), columns={})
    scorer = configured(recipe.scorer)
    outputs = {"embedding": embedding}
    scores = scorer.score(scorer.fit(outputs, context), outputs, context)
    points = embedding.reshape(200, 4).astype(np.float64)
    if kind == "gmm":
        mixture = GaussianMixture(p, covariance_type="full", reg_covar=1e-6, max_iter=100, random_state=0)
        expected = -mixture.fit(points).score_samples(points)
    else:
        expected = -LocalOutlierFactor(p, novelty=True).fit(points).score_samples(points)
    np.testing.assert_allclose(scores, expected.reshape(20, 10), rtol=1e-6)
    # Section IV: the mean of the five most anomalous segments under GMM, of all ten under LOF.
    of_ten = aggregate(np.arange(1.0, 11.0)[None], recipe.common.aggregate)
    assert of_ten == [8.0 if kind == "gmm" else 5.5]


def test_a_clip_is_scored_on_the_ten_segments_of_section_4() -> None:
    recipe, starts = recipe_of("serial_oe", "dcase2021", unit="fan"), []
    info = Info(item_shape=(160_000,), sample_rate=16000, classes=("fan/00",) * 6, feature_shape=(4, 4))
    model = built(recipe.model, info).eval()
    model.encoder.backbone = Backbone()

    def featurize(waves: Tensor) -> Tensor:
        starts.append((int(waves[0, 0]), waves.shape[1]))
        return torch.zeros(len(waves), 4, 4)

    ramp = np.arange(160_000, dtype=np.float32)[None]
    with torch.no_grad():
        outputs = model.outputs(items_of(ramp, info, claim=[0], featurizer=featurize))
    hops = [0, 14222, 28444, 42666, 56888, 71110, 85332, 99554, 113776, 128000]
    assert starts == [(start, 32_000) for start in hops]
    # Section III, eq. 2 on the squared length, scaled by 1/128 as in the recipes.
    norms = outputs["embedding"].square().sum(dim=2) / 128
    torch.testing.assert_close(outputs["norm"], norms)
    with torch.no_grad():
        torch.testing.assert_close(outputs["machine_logit"], model.affine(norms[..., None])[..., 0])


@pytest.mark.parametrize(("words", "log"), [("serial_oe", True), ("serial_oe[preset=linear_mel]", False)])
def test_the_features_are_those_of_section_3(words: str, log: bool) -> None:
    recipe = recipe_of(words, "dcase2021", unit="fan")
    waves = (0.3 + 0.1 * np.random.default_rng(0).normal(size=(3, 32_000))).astype(np.float32)
    info = Info(item_shape=(32_000,), sample_rate=16000, classes=("fan/00",))
    featurizer = built(recipe.featurizer, info)
    featurizer.fit(items_of(waves, info, claim=[0] * 3))
    # Looked up, because no filter reaches down to where an offset would show.
    assert float(featurizer.mean) == pytest.approx(waves.astype(np.float64).mean())
    normal = (waves[0] - waves.astype(np.float64).mean()) / waves.astype(np.float64).std()
    magnitude = librosa.feature.melspectrogram(
        y=normal, sr=16000, n_fft=2048, hop_length=256, window="hann", center=True, pad_mode="reflect", power=1.0,
        n_mels=224, fmin=50.0, fmax=7800.0, htk=True, norm=None,
    ) / math.sqrt(2048 * 3 / 8)  # fmt: skip
    features = featurizer(torch.from_numpy(waves[:1]))[0].numpy()
    assert features.shape == (224, 126)
    expected = np.maximum(magnitude, 1e-7)  # the narrowest filters hold no bin
    np.testing.assert_allclose(features, np.log(expected) if log else expected, rtol=1e-3, atol=1e-3)
