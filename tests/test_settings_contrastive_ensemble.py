"""The settings of the contrastive ensemble as a full fit uses them: sections 2 to 4 of the paper.

What the paper leaves open is named in the plugin's README; those rows say ``choice``.
"""

from __future__ import annotations

import functools
import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import librosa
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
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
from scipy.stats import multivariate_normal
from torch import Tensor, nn

from asdbench import Info, ItemContext
from asdbench_plugins.contrastive_ensemble import pretraining

RATE, SAMPLES, HOP = 16000, 61_440, 512
CLASSES, MELS, FRAMES = 16, 16, 24
CLIPS = 130
SINE = (0.5 * np.sin(2 * np.pi * np.arange(SAMPLES) / 16)).astype(np.float32)
"""1 kHz; a shift by a multiple of 512 samples does not change it."""
CLICK, HEIGHT = 30_720, 4.0
"""Every clip has a click in its middle, which shows how far it was shifted."""


class Fit:
    """A rehearsed fit of all four stages; the losses of the first two steps of each are computed."""

    def __init__(self, folder: Path) -> None:
        self.recipe = recipe_of("contrastive_ensemble", "dcase2020")
        self.info = Info(
            item_shape=(SAMPLES,),
            sample_rate=RATE,
            classes=tuple(f"fan/{k:02d}" for k in range(CLASSES)),
            feature_shape=(3, MELS, FRAMES),
        )
        self.model = built(self.recipe.model, self.info)
        self.shares: list[Tensor] = []
        """Weights of the second labels of mixed clips."""
        self.backbone = StandIn(lambda pictures: torch.zeros(len(pictures), 960, 1, 1, requires_grad=True))
        self.temporal = StandIn(lambda waves: torch.zeros(len(waves), 512, requires_grad=True))
        stand_ins = {self.model.spectral.backbone: self.backbone, self.model.temporal: self.temporal}
        self.embedded: Callable[[Tensor], Tensor] = torch.zeros_like
        """What stands for the spectral embeddings."""
        self.model.spectral.head.register_forward_hook(
            lambda _, __, output: 0 * output + self.embedded(output)
        )
        self.model.fusion.forward = lambda spectral, temporal: zeros(len(spectral), 128)
        for module in (
            self.model.spectral,
            self.model.temporal,
        ):  # the frozen networks, which would take long
            module.forward = lambda inputs: torch.ones(len(inputs), 512)
        self.trainer = Rehearsal(self.model, folder, real=lambda step: step < 2, stand_ins=stand_ins)
        wave = SINE.copy()
        wave[CLICK] += HEIGHT
        raw = np.tile(wave, (CLIPS, 1))
        raw[:, -1] = np.arange(CLIPS)  # the number of the clip
        self.items = items_of(
            raw, self.info, claim=[k % CLASSES for k in range(CLIPS)], featurizer=self._featurize
        )
        loss = pretraining.mixed_arcface_loss
        with mock.patch.object(
            pretraining, "mixed_arcface_loss", lambda *a, **k: self.shares.append(k["share"]) or loss(*a, **k)
        ):
            self.model.fit(self.items, self.items[:0], self.trainer)

    def _featurize(self, waves: Tensor) -> Tensor:
        """Return planes that hold the number of the clip."""
        return waves[:, -1].view(-1, 1, 1, 1).expand(-1, 3, MELS, FRAMES).contiguous()

    def of(self, stage: str, loss: str) -> Any:
        return self.trainer.optimizer(stage, loss)

    def loss(self, stage: str, name: str) -> float:
        return dict(self.trainer.of(stage)[0].losses)[name]

    def stage(self, name: str) -> Any:
        return next(stage for stage in self.trainer.stages if stage.name == name)

    @property
    def mixed(self) -> Tensor:
        """The mixed pictures of the first step, one plane each."""
        return self.backbone.inputs[2][0][:, 0].round(decimals=3)


@functools.cache
def fit() -> Fit:
    with tempfile.TemporaryDirectory() as folder:
        return Fit(Path(folder))


def right_angles(margin: float, scale: float) -> float:
    """ArcFace's cross-entropy where all angles are right."""
    target = -scale * math.sin(margin)
    return math.log(math.exp(target) + CLASSES - 1) - target


def cosine(rate: float) -> list[float]:
    """Two steps per epoch over 50 epochs, from the full rate towards 0."""
    return [rate * (1 + math.cos(math.pi * epoch / 50)) / 2 for epoch in range(50) for _ in range(2)]


def stage_rows(
    stage: str, loss: str, *, kind: str, rates: list[float], decay: float, sizes: list[int]
) -> list[Row]:
    return [
        Row("section 3", f"{stage}, {loss}: optimizer", lambda fit: fit.of(stage, loss)["kind"], kind),
        Row("section 3", f"{stage}, {loss}: rates", lambda fit: fit.trainer.rates(stage, loss), rates),
        Row("section 3", f"{stage}, {loss}: weight decay", lambda fit: fit.of(stage, loss)["weight_decay"], decay),
        Row("section 3", f"{stage}, {loss}: momentum", lambda fit: fit.of(stage, loss).get("momentum"),
            0.9 if kind == "SGD" else None),
        Row("section 3", f"{stage}: batches", lambda fit: [step.size for step in fit.trainer.of(stage)[: len(sizes)]],
            sizes),
    ]  # fmt: skip


TRAINING = [
    *stage_rows("pretrain", "simsiam", kind="SGD", rates=cosine(0.05), decay=0.005, sizes=[128, 2]),
    *stage_rows("pretrain", "arcface", kind="SGD", rates=cosine(0.05), decay=0.005, sizes=[128, 2]),
    *stage_rows("pretrain", "auxiliary", kind="AdamW", rates=cosine(0.01), decay=0.01, sizes=[128, 2]),
    *stage_rows("finetune", "finetune", kind="AdamW", rates=[0.001] * 150, decay=0.0005, sizes=[64, 64, 2]),
    *stage_rows("time", "time", kind="AdamW", rates=[0.005] * 400, decay=0.0005, sizes=[128, 2]),
    *stage_rows("fusion", "fusion", kind="SGD", rates=[0.05] * 40, decay=0.005, sizes=[128, 2]),
    Row("section 3", "stages", lambda fit: [stage.name for stage in fit.trainer.stages],
        ["pretrain", "finetune", "time", "fusion"]),
    Row("section 3", "epochs", lambda fit: [fit.trainer.epochs(stage.name) for stage in fit.trainer.stages],
        [50, 50, 200, 20]),
    Row("choice", "SimSiam and ArcFace in turn", lambda fit: [name for name, _ in fit.trainer.steps[0].losses],
        ["simsiam", "arcface", "auxiliary"]),
    Row("section 2.4", "SGD's parameters", lambda fit: trains(
        fit.stage("pretrain").optimizers["simsiam"], fit.model.spectral.backbone, fit.model.simsiam), True),
    Row("section 2.4", "AdamW's parameters", lambda fit: trains(
        fit.stage("pretrain").optimizers["auxiliary"], fit.model.spectral.head, fit.model.spectral_arcface), True),
    Row("section 2.4", "fine-tuned parameters", lambda fit: trains(
        fit.stage("finetune").optimizers["finetune"], fit.model.spectral), True),
    Row("section 2.6", "the fusion's parameters, backbones frozen", lambda fit: trains(
        fit.stage("fusion").optimizers["fusion"], fit.model.fusion, fit.model.fusion_arcface), True),
    Row("choice", "ArcFace m=0.5, s=30: pre-training", lambda fit: fit.loss("pretrain", "arcface"),
        right_angles(0.5, 30), 1e-5),
    Row("choice", "ArcFace m=0.5, s=30: time", lambda fit: fit.loss("time", "time"), right_angles(0.5, 30), 1e-5),
    Row("choice", "ArcFace m=0.5, s=30: fusion", lambda fit: fit.loss("fusion", "fusion"), right_angles(0.5, 30), 1e-5),
    # Vectors of zeros: both cosines and distances are 0, so the loss is (m + alpha) exp(beta).
    Row("eq. 6, m=0.05, alpha=0.01, beta=0.005", "pulling loss", lambda fit: fit.loss("finetune", "finetune"),
        0.06 * math.exp(0.005), 1e-5),
    Row("SimSiam's appendix", "projector and predictor", lambda fit: [
        layer.out_features for layer in fit.model.simsiam.modules() if isinstance(layer, nn.Linear)],
        [960, 960, 2048, 512, 2048]),
    Row("Tables 1 and 2", "embeddings", lambda fit: [head.weight.shape for head in (
        fit.model.spectral_arcface, fit.model.temporal_arcface, fit.model.fusion_arcface)],
        [(16, 512), (16, 512), (16, 128)]),
    Row("choice", "slope of the time CNN", lambda fit: {
        layer.negative_slope for layer in fit.model.temporal.modules() if isinstance(layer, nn.LeakyReLU)}, {0.2}),
    Row("Table 1", "stem of the time CNN", lambda fit: [(layer.kernel_size[0], layer.stride[0]) for layer in [
        fit.model.temporal.stem[0]]], [(256, 128)]),
    Row("section 2.1", "one model of all machines", lambda fit: fit.recipe.common.scope, "all"),
    Row("choice", "checkpoint that counts", lambda fit: fit.recipe.selection, "last"),
    Row("section 2.1", "seconds of a clip", lambda fit: fit.recipe.common.length_s, 10.0),
]  # fmt: skip


@table(TRAINING)
def test_the_ensemble_trains_with(row: Row) -> None:
    check(row, fit())


def corner_of(picture: Tensor) -> tuple[int, int]:
    """Return the rows and columns before the corner of a checkerboard."""
    rows, columns = (picture[:, 0] != picture[0, 0]), (picture[0] != picture[0, 0])
    return int(rows.int().argmax()), int(columns.int().argmax())


def test_clips_are_mixed_by_a_checkerboard_with_lambda_0_4() -> None:
    pictures = fit().mixed
    # The number of the first and of the second clip of a picture, from 0.6 a + 0.4 b and 0.4 a + 0.6 b.
    near = pictures[:, 0, 0]
    far = torch.stack([picture[corner_of(picture)[0], 0] for picture in pictures])
    first, second = 3 * near - 2 * far, 3 * far - 2 * near
    assert sorted(first.round().int().tolist()) == sorted(second.round().int().tolist())
    assert float((first - first.round()).abs().max()) < 1e-3
    drawn = [corner_of(picture) for picture in pictures if len(picture.unique()) == 2]
    assert len(drawn) > 120
    # Section 2.3: x in (1, 3 F / 4) and y in (1, 3 T / 4).
    assert ({row for row, _ in drawn}, {column for _, column in drawn}) == (
        set(range(1, 13)),
        set(range(1, 19)),
    )
    for picture, (row, column) in zip(pictures[pictures[:, 0, 0] != far], drawn, strict=False):
        assert float((picture[row:, column:] - picture[0, 0]).abs().max()) == 0
    assert all(torch.equal(share, torch.full_like(share, 0.4)) for share in fit().shares)


def test_half_of_the_pseudo_anomalies_are_flipped_and_half_are_twice_the_clip() -> None:
    stage = fit().stage("finetune")
    batch = next(iter(stage.batches(torch.Generator().manual_seed(0))))
    slopes = torch.arange(MELS, dtype=torch.float32).view(1, 1, -1, 1).expand(64, 3, MELS, FRAMES)
    batch.features = lambda: slopes
    fit().backbone.inputs.clear()
    torch.manual_seed(0)
    list(stage.losses(batch, 0))
    anchors, positives, negatives = fit().backbone.inputs[0][0].chunk(3)
    assert torch.equal(anchors, slopes[:, :2])
    assert len(positives) == 64
    flipped, doubled = _same(negatives, anchors.flip(-2)), _same(negatives, 2 * anchors)
    assert (flipped ^ doubled).all()
    assert 20 <= int(flipped.sum()) <= 44


def test_eq_6_has_the_minimum_of_its_settings() -> None:
    def aligned(output: Tensor) -> Tensor:
        """Anchors and positives alike, negatives at right angles."""
        embedding = torch.zeros_like(output)
        embedding[:128, 0] = embedding[128:, 1] = 1.0
        return embedding

    stage = fit().stage("finetune")
    batch = next(iter(stage.batches(torch.Generator().manual_seed(0))))
    with mock.patch.object(fit(), "embedded", aligned):
        [(_, loss)] = stage.losses(batch, 0)
    assert float(loss.detach()) == pytest.approx((0.05 - 2 + 0.01) * math.exp(-1.0 + 0.005))


def _same(one: Tensor, other: Tensor) -> Tensor:
    return torch.tensor([torch.equal(a, b) for a, b in zip(one, other, strict=True)])


class Views:
    """The augmented waves of four steps, sorted by the transform that made them."""

    def __init__(self) -> None:
        made = fit()
        torch.manual_seed(3)
        batch = made.items[:128]
        clean = batch.raw()
        clean[:, -1] = torch.from_numpy(SINE[-1:])
        seen: list[Tensor] = []
        batch.raw = lambda: clean
        batch.featurize = lambda waves: seen.append(waves) or torch.zeros(len(waves), 3, MELS, FRAMES)
        stage = made.stage("pretrain")
        for _ in range(2):
            next(iter(stage.losses(batch, 0)))
        self.shifts: list[int] = []
        self.fades: list[tuple[float, float]] = []
        self.snr_db: list[float] = []
        self.pitches: list[float] = []
        for wave in torch.cat(seen).numpy():
            self._sort(wave, clean[0].numpy())

    def _sort(self, wave: NDArray[np.float32], clean: NDArray[np.float32]) -> None:
        odd = np.flatnonzero(np.abs(wave - SINE) > 1e-4)
        if len(odd) == 1:
            self.shifts.append(int(odd[0]) - CLICK)
        elif np.all(np.abs(wave) <= np.abs(clean) + 1e-6):
            gain = np.abs(wave[4::8]) / np.abs(clean[4::8])  # at the sine's peaks
            self.fades.append((float(np.argmax(gain > 1 - 1e-6)), float(np.argmax(gain[::-1] > 1 - 1e-6))))
        else:
            spectrum = np.abs(np.fft.rfft(wave))
            peak = float(np.argmax(spectrum) * RATE / SAMPLES)
            if abs(peak - 1000) > 20:
                self.pitches.append(peak)
            else:
                noise = wave - clean
                self.snr_db.append(10 * math.log10(np.square(clean).mean() / np.square(noise).mean()))


@functools.cache
def views() -> Views:
    return Views()


AUGMENTATION = [
    Row("section 2.3", "each transform for a quarter", lambda seen: [
        len(part) for part in (seen.shifts, seen.fades, seen.snr_db, seen.pitches)], [128.0] * 4, 0.2),
    Row("section 2.3", "shifts in steps of 512 samples", lambda seen: {shift % HOP for shift in seen.shifts}, {0}),
    Row("section 2.3", "longest shift", lambda seen: max(abs(shift) for shift in seen.shifts) // HOP, 56),
    Row("choice", "shifts backward and forward", lambda seen: [min(seen.shifts) < 0, max(seen.shifts) > 0],
        [True, True]),
    Row("section 2.3", "pitch shifted by -20 semitones", lambda seen: float(np.median(seen.pitches)),
        1000 * 2 ** (-20 / 12), 0.03),
    Row("choice", "longest fade, share of the clip", lambda seen: max(
        max(pair) for pair in seen.fades) * 8 / SAMPLES, 0.5, 0.03),
    Row("section 2.3", "least and greatest SNR", lambda seen: [min(seen.snr_db), max(seen.snr_db)], [-10.0, 10.0], 0.06),
]  # fmt: skip


@table(AUGMENTATION)
def test_views_are_augmented_with(row: Row) -> None:
    check(row, views())


def test_the_score_of_section_2_8_weighs_two_gaussians_0_9_and_0_1() -> None:
    scorer, random = (
        configured(recipe_of("contrastive_ensemble", "dcase2020").scorer),
        np.random.default_rng(0),
    )
    outputs = {
        "fusion": random.normal(size=(40, 1, 5)),
        "statistics": random.normal(size=(40, 1, 3)) * [1.0, 20.0, 300.0],
    }
    claim = np.repeat([0, 1], 20)
    context = ItemContext(claim=claim, columns={})
    scores = scorer.score(scorer.fit(outputs, context), outputs, context)[:, 0]
    for number in (0, 1):
        rows = claim == number
        parts = []
        for name, scaled in (("fusion", False), ("statistics", True)):
            points = outputs[name][rows, 0]
            points = points / points.std(axis=0) if scaled else points
            covariance = np.cov(points.T, bias=True) + 1e-3 * np.eye(points.shape[1])
            surprise = -multivariate_normal(points.mean(axis=0), covariance).logpdf(points)
            parts.append((surprise - surprise.mean()) / surprise.std())
        np.testing.assert_allclose(scores[rows], 0.9 * parts[0] + 0.1 * parts[1], rtol=1e-6)


def test_the_features_are_those_of_section_2_2() -> None:
    recipe = recipe_of("contrastive_ensemble", "dcase2020")
    waves = (0.1 * np.random.default_rng(0).normal(size=(2, 40_960))).astype(np.float32)
    info = Info(item_shape=(40_960,), sample_rate=RATE, classes=("fan/00",))
    featurizer = built(recipe.featurizer, info)
    featurizer.fit(items_of(waves, info, claim=[0, 0]))
    mels = [
        librosa.feature.melspectrogram(
            y=waves.astype(np.float64), sr=RATE, n_fft=2048, hop_length=512, window="hann", center=True,
            pad_mode="reflect", power=power, n_mels=224, fmin=0.0, fmax=8000.0, htk=True, norm=None,
        )
        for power in (2.0, 1.0)
    ]  # fmt: skip
    features = featurizer(torch.from_numpy(waves)).numpy()
    assert features.shape == (2, 3, 224, 81)
    for plane, (mel, factor) in enumerate(zip(mels, (10, 20), strict=True)):
        level = factor * np.log10(np.maximum(mel, 1e-10))
        np.testing.assert_allclose(features[:, plane], (level - level.mean()) / level.std(), atol=2e-3)
    np.testing.assert_allclose(features[:, 2], np.maximum(mels[0], 1e-10), rtol=1e-3)
