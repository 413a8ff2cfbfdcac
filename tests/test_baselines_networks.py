"""The autoencoder of 2023, the patch classifier, the flows and the contrastive embedding."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asdbench.core.info import Info
from asdbench.detector.contracts import Model
from asdbench.detector.items import Items
from asdbench.detector.trainer import Trainer, TrainerSettings
from asdbench.detector.weights import load_file
from asdbench.errors import ConfigError, DataError
from asdbench.testing import make_items
from asdbench_plugins.baselines.classifier import ClassifierConfig, PatchClassifier
from asdbench_plugins.baselines.contrastive import Contrastive, ContrastiveConfig, pair_loss
from asdbench_plugins.baselines.convolutional import ConvolutionalAutoencoder, ConvolutionalConfig
from asdbench_plugins.baselines.density import DensityConfig, FlowDensity
from asdbench_plugins.baselines.flow import FlowStep, Glow, negative_log_likelihood
from asdbench_plugins.baselines.mobilenet import MobileNetV2
from asdbench_plugins.baselines.selective import SelectiveAutoencoder, SelectiveConfig

MELS, FRAMES = 8, 20


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Two threads on cores that others use too wait for each other more than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def info_of(*, classes: int = 2, mels: int = MELS, frames: int = FRAMES) -> Info:
    names = tuple(f"fan/{index:02d}" for index in range(classes))
    return Info(item_shape=(mels, frames), sample_rate=None, classes=names, feature_shape=(mels, frames))


def items_of(folder: Path, claim: Sequence[int], *, seed: int = 0, domain: Sequence[str] = ()) -> Items:
    """Noise whose mean along the mels tells the class: rising for 0, falling for 1."""
    random = np.random.default_rng(seed)
    slope = (
        np.linspace(-1, 1, MELS)[:, np.newaxis] * (1 - 2 * (np.array(claim) % 2))[:, np.newaxis, np.newaxis]
    )
    values = slope + 0.5 * random.standard_normal((len(claim), MELS, FRAMES))
    return make_items(
        values.astype(np.float32),
        info_of(classes=max(claim) + 1),
        folder=folder,
        claim=claim,
        columns={"domain": domain} if domain else None,
        featurizer=lambda raw: raw,
    )


def fit(model: Model, train: Items, folder: Path, *, held: Items | None = None) -> Trainer:
    trainer = Trainer(model, TrainerSettings(seed=0, folder=folder))
    model.fit(train, train[:0] if held is None else held, trainer)
    model.eval()
    return trainer


@torch.no_grad()
def given(model: Model, items: Items, name: str, *, claim_the_other: bool = False) -> Tensor:
    """Return an output of the model, where every clip claims the other of two classes if so asked."""
    if claim_the_other:
        items = items[:]
        items.claim = 1 - items.claim
    return model.outputs(items)[name]


def selective(info: Info, **options: Any) -> SelectiveAutoencoder:
    torch.manual_seed(0)
    defaults = {"epochs": 2, "batch_size": 16, "hidden": 16, "bottleneck": 4}
    return SelectiveAutoencoder(SelectiveConfig(**(defaults | options)), info)


DOMAINS = ["source"] * 8 + ["target"] * 4


def differences(model: SelectiveAutoencoder, items: Items) -> Tensor:
    """Differences of single frames, ``[clips, windows, 5, mels]``, by the definition."""
    clips = []
    for features in items.features():
        windows = torch.stack([features[:, first : first + 5].T for first in range(FRAMES - 4)])
        clips.append(model(windows.flatten(1))[0].view(-1, 5, MELS) - windows)
    return torch.stack(clips).double()


@pytest.mark.parametrize("select", ["window", "clip"])
def test_the_selective_distance_is_that_of_the_nearer_domain(tmp_path: Path, select: Any) -> None:
    items = items_of(tmp_path / "pack", [0] * 12, domain=DOMAINS)
    model = selective(items.info, select=select, reg=1e-12)
    fit(model, items, tmp_path / "fit")
    with torch.no_grad():
        off, outputs = differences(model, items), model.outputs(items)
    by_domain = []
    for rows in (slice(0, 8), slice(8, 12)):
        frames = off[rows].reshape(-1, MELS)
        inverse = torch.linalg.inv(torch.cov(frames.T))
        chosen = off.mean(dim=(1, 2), keepdim=True) if select == "clip" else off
        by_domain.append(torch.einsum("nwfi,ij,nwfj->nwf", chosen, inverse, chosen).mean(dim=2) / MELS)
    expected = torch.minimum(*by_domain).mean(dim=1)
    torch.testing.assert_close(outputs["mahalanobis"][:, 0].double(), expected, rtol=1e-3, atol=1e-5)
    squares = off.square().mean(dim=(1, 2, 3)).float()
    torch.testing.assert_close(outputs["reconstruction_error"][:, 0], squares, rtol=1e-4, atol=1e-6)


def test_one_domain_stands_for_both_and_the_record_says_so(tmp_path: Path) -> None:
    for name, domain in (("none", []), ("source", ["source"] * 6), ("target", ["target"] * 6)):
        items = items_of(tmp_path / name, [0] * 6, domain=domain)
        model = selective(items.info)
        trainer = fit(model, items, tmp_path / f"{name}_fit")
        assert trainer.rules == ["one domain in training: its covariance stands for both"]
        assert torch.equal(model.whitening[0], model.whitening[1])
        assert not torch.equal(model.whitening[0], torch.eye(MELS))


def test_every_checkpoint_has_the_covariances_of_its_own_weights(tmp_path: Path) -> None:
    items = items_of(tmp_path / "pack", [0] * 12, domain=DOMAINS)
    model = selective(items.info, epochs=4, checkpoint_every=2)
    trainer = fit(model, items, tmp_path / "fit", held=items[:2])
    middle, _ = load_file(trainer.checkpoint_file("train", 2))
    last, _ = load_file(trainer.checkpoint_file("train", 4))
    assert torch.equal(last["whitening"], model.whitening)
    assert not torch.equal(middle["whitening"], last["whitening"])
    other = selective(items.info)
    other.load_state_dict(middle)
    other.eval()
    other.measure(items, other.windows(items))
    assert torch.equal(other.whitening, middle["whitening"])


def test_the_training_error_is_not_told_as_a_held_out_loss(tmp_path: Path) -> None:
    items = items_of(tmp_path / "pack", [0] * 12, domain=DOMAINS)
    model = selective(items.info)
    trainer = fit(model, items, tmp_path / "fit")
    assert [entry.validation for entry in trainer.log] == [None, None]
    expected = selective(items.info)
    expected.load_state_dict(model.state_dict())
    expected.eval()
    expected.measure(items, expected.windows(items))
    assert torch.equal(expected.whitening, model.whitening)
    assert not torch.equal(model.whitening[0], torch.eye(MELS))


def test_a_domain_of_fewer_frames_than_mels_is_regularised_and_told(tmp_path: Path) -> None:
    wide = np.random.default_rng(0).normal(size=(3, 128, 6)).astype(np.float32)
    info = info_of(classes=1, mels=128, frames=6)
    items = make_items(
        wide, info, folder=tmp_path / "pack", claim=[0] * 3, featurizer=lambda raw: raw,
        columns={"domain": ["source", "source", "target"]},
    )  # fmt: skip
    model = selective(info, epochs=1)
    trainer = fit(model, items, tmp_path / "fit")
    assert trainer.rules == [
        "covariance of the source domain from 20 frames of 128 mels",
        "covariance of the target domain from 10 frames of 128 mels",
    ]
    assert torch.isfinite(model.outputs(items)["mahalanobis"]).all()


@pytest.mark.parametrize(
    ("alpha", "trainable", "all_of_keras"), [(0.5, 687_680, 706_224), (1.0, 2_223_872, 2_257_984)]
)
def test_mobilenetv2_has_the_parameters_of_keras(alpha: float, trainable: int, all_of_keras: int) -> None:
    network = MobileNetV2(alpha=alpha)
    statistics = sum(b.numel() for name, b in network.named_buffers() if "running" in name)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    assert (parameters, parameters + statistics) == (trainable, all_of_keras)


@torch.no_grad()
def test_convolutions_pad_an_even_side_at_its_end_as_keras_does() -> None:
    network = MobileNetV2(alpha=0.35).eval()
    first = network.layers[0]
    assert isinstance(first, nn.Conv2d)
    maps = torch.randn(1, 3, 6, 5)
    expected = F.conv2d(F.pad(maps, (1, 1, 0, 1)), first.weight, stride=2)
    torch.testing.assert_close(first(maps), expected)
    assert network.layers(torch.zeros(1, 3, 64, 128)).shape == (1, 1280, 2, 4)


def classifier(info: Info, **options: Any) -> PatchClassifier:
    torch.manual_seed(0)
    defaults = {"frames": 8, "frames_hop": 4, "alpha": 0.1, "momentum": 0.3, "lr": 3e-3, "batch_size": 16}
    return PatchClassifier(ClassifierConfig(**(defaults | options)), info)


@torch.no_grad()
def test_a_patchs_score_is_the_odds_against_the_claim_with_clamped_probabilities(tmp_path: Path) -> None:
    items = items_of(tmp_path / "pack", [0, 1, 1])
    model = classifier(items.info).eval()
    outputs = model.outputs(items)
    assert {name: tuple(value.shape) for name, value in outputs.items()} == {
        "claim_log_odds": (3, 4), "claim_nll": (3, 4), "embedding": (3, 1, 1280),
    }  # fmt: skip
    patch = items.features()[1, :, 8:16].T.unsqueeze(0)  # the third of clip 1
    probability = model(patch)[0].softmax(dim=1)[0, 1]
    assert float(outputs["claim_log_odds"][1, 2]) == pytest.approx(
        float(((1 - probability) / probability).log()), abs=1e-4
    )
    assert float(outputs["claim_nll"][1, 2]) == pytest.approx(float(-probability.log()), abs=1e-4)
    model.head.bias.copy_(torch.tensor([100.0, -100.0]))
    odds = model.outputs(items)["claim_log_odds"]
    assert float(odds[0, 0]) == pytest.approx(math.log(1e-7), abs=0.3)  # 1 - 1e-7 is rounded in float32
    assert float(odds[1, 0]) == pytest.approx(-math.log(1e-7), abs=1e-3)


def test_the_classifier_learns_to_tell_ids_apart_and_repeats_bit_by_bit(tmp_path: Path) -> None:
    train, held = (items_of(tmp_path / name, [0, 1] * 8, seed=k) for k, name in enumerate(("train", "held")))
    states = []
    for name in ("first", "second"):
        model = classifier(train.info, epochs=8)
        trainer = fit(model, train, tmp_path / name, held=held)
        states.append(model.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    right = given(model, held, "claim_log_odds").mean(dim=1)
    wrong = given(model, held, "claim_log_odds", claim_the_other=True).mean(dim=1)
    assert float(right.median()) < 0 < float(wrong.median())
    assert trainer.log[-1].validation is not None


def test_an_epoch_of_the_classifier_sees_every_patch_once_but_a_last_one_alone(tmp_path: Path) -> None:
    items = items_of(tmp_path / "pack", [0, 1, 0, 1, 0])  # 20 patches
    sizes: list[int] = []
    for size, expected in ((8, [8, 8, 4]), (19, [19])):
        model = classifier(items.info, epochs=1, batch_size=size)
        model.backbone.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))
        trainer = fit(model, items, tmp_path / f"fit{size}")
        assert sizes == expected
        sizes.clear()
    assert trainer.rules == ["a last batch of one patch is dropped: batch norm needs at least two"]


def coupled(*, levels: int = 2) -> Glow:
    torch.manual_seed(0)
    flow = Glow(levels=levels, steps=2, hidden=4).double()
    for parameter in flow.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return flow


@pytest.mark.parametrize("levels", [1, 2, 3])
@torch.no_grad()
def test_a_flow_can_be_undone(levels: int) -> None:
    flow, maps = coupled(levels=levels), torch.randn(3, 1, 8, 16, dtype=torch.float64)
    noise, _ = flow(maps)
    assert noise.shape == (3, 128)
    torch.testing.assert_close(flow.inverse(noise, shape=(8, 16)), maps)


def test_the_log_determinant_is_that_of_autograds_jacobian() -> None:
    flow, maps = coupled(), torch.randn(2, 1, 4, 8, dtype=torch.float64)
    _, logdet = flow(maps)
    for item, expected in zip(maps, logdet, strict=True):
        jacobian = torch.autograd.functional.jacobian(
            lambda flat: flow(flat.view(1, 1, 4, 8))[0].flatten(), item.flatten()
        )  # type: ignore[no-untyped-call]
        torch.testing.assert_close(torch.linalg.slogdet(jacobian)[1], expected)


@torch.no_grad()
def test_a_new_flow_only_turns_its_input_so_that_its_likelihood_is_gaussian() -> None:
    torch.manual_seed(0)
    flow, maps = Glow(levels=2, steps=3, hidden=4), torch.randn(5, 1, 8, 8)
    expected = 0.5 * (maps.square().mean(dim=(1, 2, 3)) + math.log(2 * math.pi))
    torch.testing.assert_close(negative_log_likelihood(flow, maps), expected)


@torch.no_grad()
def test_the_scales_of_couplings_are_bounded_whatever_the_input() -> None:
    step = FlowStep(4, hidden=4)
    for parameter in step.coupling.parameters():
        parameter.fill_(1e6)
    made, logdet = step(1e6 * torch.randn(2, 4, 3, 3))
    assert torch.isfinite(made).all()
    assert float(logdet.abs().max()) <= 2 * 9 + 1e-3


def density(info: Info, **options: Any) -> FlowDensity:
    torch.manual_seed(0)
    defaults = {
        "frames": 8,
        "frames_hop": 8,
        "levels": 2,
        "steps": 2,
        "hidden": 8,
        "lr": 5e-3,
        "batch_size": 8,
    }
    return FlowDensity(DensityConfig(**(defaults | options)), info)


def test_flows_find_the_other_id_less_likely_than_their_own_and_more_so_with_its_loss(tmp_path: Path) -> None:
    train = items_of(tmp_path / "train", [0, 1] * 12)
    test = items_of(tmp_path / "test", [0, 1] * 8, seed=1)
    gaps = []
    for weight in (0.0, 1.0):
        model = density(train.info, epochs=12, outlier_weight=weight, margin=3.0)
        fit(model, train, tmp_path / f"fit{weight}", held=test)
        own = given(model, test, "claim_nll")
        assert own.shape == (16, 2)
        other = given(model, test, "claim_nll", claim_the_other=True)
        gaps.append(float((other - own).mean()))
    assert 0.1 < gaps[0] < gaps[1]


def test_the_loss_for_other_ids_fades_where_they_are_unlikely_enough(tmp_path: Path) -> None:
    model = density(info_of(), margin=1.0, outlier_weight=2.0)
    own = torch.tensor([True, True, False])
    loss = model._loss(torch.tensor([1.0, 3.0, 2.5]), own)
    assert float(loss) == pytest.approx(2.0 + 2 * math.log1p(math.exp(0.5)), rel=1e-6)
    assert float(model._loss(torch.tensor([1.0, 3.0, 60.0]), own)) == pytest.approx(2.0)
    assert float(model._loss(torch.tensor([1.0, 3.0]), own[:2])) == 2.0


def contrastive(info: Info, **options: Any) -> Contrastive:
    torch.manual_seed(0)
    defaults = {"width": 4, "layers": 2, "dims": 8, "batch_size": 8, "epochs": 2}
    return Contrastive(ContrastiveConfig(**(defaults | options)), info)


def test_the_contrastive_loss_is_that_of_simclr() -> None:
    views = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0], [0.0, 1.0]])  # two items, the same view twice
    # Each finds its partner at cosine 1 among that and two at cosine 0.
    expected = -math.log(math.exp(1 / 0.5) / (math.exp(1 / 0.5) + 2))
    assert float(pair_loss(views, temperature=0.5)) == pytest.approx(expected, rel=1e-6)
    crossed = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    expected = -math.log(1 / (math.exp(1 / 0.5) + 2))
    assert float(pair_loss(crossed, temperature=0.5)) == pytest.approx(expected, rel=1e-6)


def test_contrastive_training_repeats_and_leaves_a_last_item_alone_out(tmp_path: Path) -> None:
    train = items_of(tmp_path / "train", [0, 1] * 8 + [0])  # 17: two batches of 8, and one item
    states = []
    for name in ("first", "second"):
        model = contrastive(train.info)
        trainer = fit(model, train, tmp_path / name)
        states.append(model.state_dict())
    assert trainer.rules == ["a last batch of one item is dropped: the contrastive loss needs at least two"]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert trainer.log[1].losses["contrastive"] < math.log(15)
    assert model.outputs(train)["embedding"].shape == (17, 1, 8)


def test_views_keep_the_shape_and_change_every_clip() -> None:
    model, maps = contrastive(info_of()), torch.randn(40, MELS, FRAMES)
    torch.manual_seed(0)
    views = model._changed(maps)
    assert views.shape == maps.shape
    assert torch.isfinite(views).all()
    changed = (views != maps).flatten(1).any(dim=1)
    assert int(changed.sum()) >= 38  # two masks of length 0 may fall together


def convolutional(info: Info, **options: Any) -> ConvolutionalAutoencoder:
    torch.manual_seed(0)
    defaults = {"frames": 8, "layers": 2, "width": 4, "bottleneck": 6, "batch_size": 8, "lr": 5e-3}
    return ConvolutionalAutoencoder(ConvolutionalConfig(**(defaults | options)), info)


def test_a_convolutional_autoencoder_rebuilds_what_it_knows_better_than_what_it_does_not(
    tmp_path: Path,
) -> None:
    train, test = items_of(tmp_path / "train", [0] * 24), items_of(tmp_path / "test", [0, 1] * 8, seed=1)
    model = convolutional(train.info, epochs=12)
    trainer = fit(model, train, tmp_path / "fit", held=test[::2])
    errors = given(model, test, "reconstruction_error")
    assert errors.shape == (16, 2)
    assert given(model, test, "embedding").shape == (16, 2, 6)
    assert float(errors[::2].mean()) < float(errors[1::2].mean())
    assert trainer.log[-1].losses["reconstruction"] < trainer.log[0].losses["reconstruction"]
    torch.testing.assert_close(torch.tensor(trainer.log[-1].validation), errors[::2].mean())


@pytest.mark.parametrize("make", [classifier, density, contrastive, convolutional, selective])
def test_a_fit_that_was_killed_in_an_epoch_ends_with_the_same_bits(
    make: Callable[..., Model], tmp_path: Path
) -> None:
    train, held = items_of(tmp_path / "train", [0, 1] * 10), items_of(tmp_path / "held", [0, 1], seed=1)
    whole = make(train.info, epochs=3)
    fit(whole, train, tmp_path / "whole", held=held)
    steps = itertools.count(1)

    def kill(progress: object) -> None:
        if next(steps) == 5:
            raise KeyboardInterrupt("killed in step 5")

    settings = {"seed": 0, "folder": tmp_path / "killed", "resume_every_s": 0.0, "report_every_s": 0.0}
    model = make(train.info, epochs=3)
    trainer = Trainer(model, TrainerSettings(**settings, on_progress=kill))  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt, match="killed in step 5"):
        model.fit(train, held, trainer)
    torch.manual_seed(99)
    model = make(train.info, epochs=3)
    trainer = Trainer(model, TrainerSettings(**settings))  # type: ignore[arg-type]
    assert trainer.resumed
    model.fit(train, held, trainer)
    expected = whole.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())


REFUSED: list[tuple[Callable[[Info], Model], Info, str]] = [
    (
        classifier,
        info_of(frames=7),
        "frames=8 is more than the 7 frames of a clip: use fewer, or longer clips",
    ),
    (density, info_of(frames=7), "frames=8 is more than the 7 frames of a clip: use fewer, or longer clips"),
    (density, info_of(mels=6), "n_mels=6 and frames=8 must be multiples of 4 with levels=2"),
    (convolutional, info_of(frames=7), r"patches of frames=8 need features .* found \[8, 7\]"),
    (convolutional, info_of(mels=6), "n_mels=6 and frames=8 must be multiples of 4 with layers=2"),
    (contrastive, info_of(frames=3), r"layers=2 needs features \[mels, frames\] of at least 4 each"),
    (
        classifier,
        Info(item_shape=(9,), sample_rate=None, feature_shape=(9,)),
        r"patches need features \[mels, frames\], found \[9\]",
    ),
    (
        density,
        Info(item_shape=(9,), sample_rate=None, feature_shape=(9,)),
        r"patches need features \[mels, frames\], found \[9\]",
    ),
]


@pytest.mark.parametrize(("make", "info", "message"), REFUSED)
def test_features_that_do_not_fit_are_refused(
    make: Callable[[Info], Model], info: Info, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        make(info)


def test_too_few_items_are_refused_by_name(tmp_path: Path) -> None:
    one = items_of(tmp_path / "one", [0])
    with pytest.raises(DataError, match="contrastive training needs at least 2 training items, found 1"):
        fit(contrastive(one.info), one, tmp_path / "contrastive")
    with pytest.raises(DataError, match="batch norm needs at least 2 training patches, found 1"):
        fit(classifier(one.info, frames=20), one, tmp_path / "classifier")
