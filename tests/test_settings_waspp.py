"""The settings of WASPP-Net and its comparison systems as full fits use them: section 4 and Tables 2 and 14.

What the paper leaves open is named in the plugin's README; those rows say ``choice``.
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
from rehearsal import Rehearsal, Row, StandIn, built, check, configured, items_of, recipe_of, table, trains
from torch import Tensor, nn
from torch.nn import functional as F

from asdbench import Info, ItemContext

SIDE = 75
TARGETS = ("negative", "positive", "surprise")


class Fit:
    """A rehearsed fit over all epochs; 70 clips are two batches of 32 and one of 6."""

    def __init__(self, words: str, folder: Path, *, clips: int) -> None:
        self.recipe = recipe_of(words, "micro_expression")
        shape = (SIDE, SIDE, 2)
        self.info = Info(item_shape=shape, sample_rate=None, targets=TARGETS, feature_shape=shape)
        self.model = built(self.recipe.model, self.info)
        self.network = StandIn(logits_of)
        self.expected: list[float] = []
        """The plain cross-entropy of each step."""
        self.trainer = Rehearsal(
            self.model, folder, real=lambda step: step < 4, stand_ins={self.model: self.network},
            on_loss=lambda name, loss, rows: self.expected.append(self._cross_entropy(rows)),
        )  # fmt: skip
        raw = np.random.default_rng(0).normal(size=(clips, *shape)).astype(np.float32)
        target = [min(2, k % 7 // 3) for k in range(clips)]  # uneven, so that a weighted loss would differ
        self.items = items_of(raw, self.info, claim=[0] * clips, target=target, featurizer=lambda flow: flow)
        self.model.fit(self.items, self.items[:0], self.trainer)

    @property
    def adam(self) -> Any:
        return self.trainer.optimizer("train", "cross_entropy")

    @property
    def losses(self) -> list[float]:
        return [step.losses[0][1] for step in self.trainer.steps if step.losses]

    def _cross_entropy(self, rows: Tensor) -> float:
        logits = logits_of(self.model.pictures(self.items[rows])).detach()
        return float(F.cross_entropy(logits, self.items.target[rows]))


def logits_of(pictures: Tensor) -> Tensor:
    """Three numbers of each picture, different from picture to picture."""
    return pictures[:, 0, 0, :3].clone().requires_grad_()


@functools.cache
def fit_of(words: str, *, clips: int = 70) -> Fit:
    with tempfile.TemporaryDirectory() as folder:
        return Fit(words, Path(folder), clips=clips)


def of_kind(fit: Fit, kind: type[nn.Module]) -> list[Any]:
    return [module for module in fit.model.modules() if isinstance(module, kind)]


def branches(fit: Fit) -> list[Any]:
    return [branch.convolution for branch in fit.model.network.scales2.branches]


def first_pictures(fit: Fit) -> bool:
    """Whether the first batch's pictures are clips as given."""
    clips = fit.items.features().permute(0, 3, 1, 2)
    return all(any(torch.equal(picture, clip) for clip in clips) for picture in fit.network.inputs[0][0])


def shares_of_bound(fit: Fit) -> list[float]:
    """Largest weight of each large layer as a share of Glorot's bound."""
    layers = [layer for layer in fit.model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    return [
        float(layer.weight.detach().abs().max())
        / math.sqrt(6 / sum(nn.init._calculate_fan_in_and_fan_out(layer.weight)))
        for layer in layers
        if layer.weight.numel() > 4000
    ]


TRAINING = [
    Row("section 4", "optimizer", lambda fit: fit.adam["kind"], "Adam"),
    Row("section 4", "learning rate, constant", lambda fit: fit.trainer.rates("train", "cross_entropy"), [1e-4] * 1500),
    Row("section 4: none", "weight decay", lambda fit: fit.adam["weight_decay"], 0),
    Row("torch's default", "betas", lambda fit: fit.adam["betas"], (0.9, 0.999)),
    Row("section 4", "batches, the smaller one kept", lambda fit: [step.size for step in fit.trainer.steps[:3]],
        [32, 32, 6]),
    Row("Table 12", "epochs", lambda fit: fit.trainer.epochs("train"), 500),
    Row("section 4", "plain cross-entropy", lambda fit: fit.losses, None),
    Row("section 4: none", "augmentation", first_pictures, True),
    Row("section 4: none", "dropout", lambda fit: len(of_kind(fit, nn.Dropout)), 0),
    Row("section 4", "all parameters are trained", lambda fit: trains(
        fit.trainer.stages[0].optimizers["cross_entropy"], fit.model), True),
    Row("choice", "only the last epoch's weights are kept", lambda fit: fit.trainer.checkpoints(), [500]),
    Row("choice", "checkpoint that counts", lambda fit: fit.recipe.selection, "last"),
    Row("Table 2", "pictures", lambda fit: tuple(fit.network.inputs[0][0].shape[1:]), (2, 75, 75)),
    Row("Table 2", "kernels", lambda fit: [getattr(fit.model.network, f"conv{n}")[0].kernel_size[0]
        for n in range(1, 6)], [7, 5, 3, 3, 3]),
    Row("Table 2", "channels", lambda fit: [getattr(fit.model.network, f"conv{n}")[0].out_channels
        for n in range(1, 6)], [96, 256, 512, 512, 512]),
    Row("Table 2", "dense layers", lambda fit: [layer.out_features for layer in of_kind(fit, nn.Linear)],
        [128, 128, 3]),
    Row("Table 14", "widths of the branches", lambda fit: [b.out_channels for b in branches(fit)], [86, 85, 85]),
    Row("section 3.4", "rates of the branches", lambda fit: [b.dilation[0] for b in branches(fit)], [1, 2, 3]),
    Row("section 3.4", "waterfall", lambda fit: [b.in_channels for b in branches(fit)], [256, 86, 85]),
    Row("choice", "Glorot: bound", shares_of_bound, [1.0] * 10, 0.01),
    Row("choice", "Glorot: biases", lambda fit: {float(value) for kind in (nn.Conv2d, nn.Linear)
        for layer in of_kind(fit, kind) for value in layer.bias.detach()}, {0.0}),
]  # fmt: skip


@table(TRAINING)
def test_wasppnet_trains_with(row: Row) -> None:
    fit = fit_of("waspp")
    if row.stated is None:
        row = row._replace(stated=fit.expected)
    check(row, fit)


SYSTEMS = [
    # preset, learning rate, batch sizes, epochs, dropouts, pictures
    ("base", 1e-4, {32, 6}, 500, set(), (2, 75, 75)),
    ("dsppnet", 1e-4, {32, 6}, 500, set(), (2, 75, 75)),
    ("ststnet", 5e-5, {256, 44}, 500, {0.5}, (3, 28, 28)),
    ("ststnet_python", 5e-5, {256, 44}, 800, {0.5}, (3, 28, 28)),
    ("dualinception", 1e-4, {32, 6}, 500, {0.0}, (2, 28, 28)),
    ("offapexnet", 1e-4, {32, 6}, 500, {0.5}, (2, 28, 28)),
]


@pytest.mark.parametrize(("preset", "rate", "sizes", "epochs", "dropouts", "shape"), SYSTEMS)
def test_the_compared_systems_train_with(
    preset: str, rate: float, sizes: set[int], epochs: int, dropouts: set[float], shape: tuple[int, ...]
) -> None:
    fit = fit_of(f"waspp[preset={preset}]", clips=300 if 256 in sizes else 70)
    assert set(fit.trainer.rates("train", "cross_entropy")) == {rate}
    assert {step.size for step in fit.trainer.steps} == sizes
    assert fit.trainer.epochs("train") == epochs
    # The dropout of 0 before STSTNet's only dense layer does not exist.
    assert {layer.p for layer in of_kind(fit, nn.Dropout)} == dropouts
    assert tuple(fit.network.inputs[0][0].shape[1:]) == shape


@pytest.mark.parametrize(
    ("preset", "kind", "count", "place", "inputs"),
    [
        ("dsppnet", "window", [2, 4], 2, [256, 256]),
        ("wsppnet", "window", [2, 4], 2, [256, 128]),
        ("dasppnet", "dilation", [1, 2, 3], 2, [256, 256, 256]),
        ("spp_i", "window", [2, 4], 1, [96, 96]),
        ("spp_viii", "window", [2, 4, 6, 8, 10], 2, [256] * 5),
        ("aspp_v", "dilation", [1, 2], 2, [256, 256]),
    ],
)
def test_the_modules_of_the_variants(
    preset: str, kind: str, count: list[int], place: int, inputs: list[int]
) -> None:
    network = built(
        recipe_of(f"waspp[preset={preset}]", "micro_expression").model, fit_of("waspp").info
    ).network
    module, other = (network.scales1, network.scales2) if place == 1 else (network.scales2, network.scales1)
    assert isinstance(other, nn.Identity)
    scales = [
        branch.window if kind == "window" else branch.convolution.dilation[0] for branch in module.branches
    ]
    assert (scales, [branch.convolution.in_channels for branch in module.branches]) == (count, inputs)


def test_the_prediction_is_the_most_probable_class() -> None:
    logits = np.log([[[1.0, 2.0, 5.0]], [[6.0, 1.0, 1.0]]])
    context = ItemContext(claim=np.zeros(2, dtype=np.int64), columns={})
    scorer = configured(recipe_of("waspp", "micro_expression").scorer)
    scores = scorer.score({}, {"logits": logits}, context)
    np.testing.assert_allclose(np.exp(scores), [[[0.125, 0.25, 0.625]], [[0.75, 0.125, 0.125]]])
