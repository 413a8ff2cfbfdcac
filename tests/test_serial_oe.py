"""Serial outlier exposure: sizes, outputs, losses, training, methods, and a run of it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import pytest
import tiny
import torch
from hums import info_of, items_of
from safetensors.torch import save_file
from torch import Tensor, nn

from asdbench.core.info import Info
from asdbench.detector.detector import aggregate
from asdbench.detector.items import Items
from asdbench.detector.trainer import Trainer, TrainerSettings
from asdbench.errors import ConfigError, DataError
from asdbench.metrics import harmonic_mean
from asdbench.plugin.entries import Selector
from asdbench.recipes.resolve import resolve, resolve_ensemble
from asdbench.runs.describe import MethodDescription, describe
from asdbench.runs.run import run
from asdbench_plugins.serial_oe import asdbench_methods
from asdbench_plugins.serial_oe.ddcsad import DoubleCentroidConfig, DoubleCentroids
from asdbench_plugins.serial_oe.losses import machine_loss, product_loss
from asdbench_plugins.serial_oe.mixing import labelled
from asdbench_plugins.serial_oe.model import SerialConfig, SerialOutlierExposure
from asdbench_plugins.serial_oe.pretrained import timm_name
from asdbench_plugins.serial_oe.schedule import one_cycle_momentum
from asdbench_plugins.serial_oe.segments import SegmentModel, segment_starts

M = TypeVar("M", bound=SegmentModel)
SMALL: dict[str, Any] = {
    "segment_s": 0.25, "segments": 3, "width": 0.25, "depth": 0.3, "epochs": 3, "batch_size": 8, "checkpoint_every": 1,
}  # fmt: skip
TRAIN, HELD = [0, 1] * 5 + [-1] * 7, [0, 1, -1]
"""Claims of training items and of held-out ones."""
RANDOM = "no weights given: the encoder starts from random weights, the paper's from ImageNet weights"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Two threads on cores that others use too wait for each other more than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def small_model(**options: Any) -> SerialOutlierExposure:
    torch.manual_seed(0)
    return SerialOutlierExposure(SerialConfig(**{**SMALL, **options}), info_of())


def small_centroids(**options: Any) -> DoubleCentroids:
    torch.manual_seed(0)
    return DoubleCentroids(DoubleCentroidConfig(**{**SMALL, **options}), info_of(classes=1))


def trained(model: M, folder: Path, train: Items, held: Items) -> tuple[M, Trainer]:
    trainer = Trainer(model, TrainerSettings(seed=5, folder=folder, resume_every_s=0.0))
    model.fit(train, held, trainer)
    return model, trainer


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_a_model_of_what_is_no_mono_wave_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"features \[10\]: use the featurizer normalised_mel"):
        SerialOutlierExposure(
            SerialConfig(), Info(item_shape=(10,), sample_rate=16000, feature_shape=(10,), classes=("a",))
        )


@pytest.mark.parametrize(
    ("channels", "classes", "count"), [(1, 6, 4_188_479), (3, 6, 4_189_055), (1, 7, 4_188_607)]
)
def test_the_whole_model_has_the_parameters_of_the_specification(
    channels: int, classes: int, count: int
) -> None:
    info = Info(item_shape=(160_000,), sample_rate=16000, feature_shape=(224, 626), classes=("x",) * classes)
    model = SerialOutlierExposure(SerialConfig(channels=channels), info)
    assert parameters(model) == count
    assert parameters(model.encoder.neck) == 180_737
    assert [parameters(layer) for layer in model.encoder.neck if parameters(layer)] == [
        163_968,
        256,
        1,
        16_512,
    ]
    assert (parameters(model.product), parameters(cast("nn.Module", model.affine))) == (128 * classes, 2)


def test_pretrained_weights_ask_for_three_channels_and_random_ones_for_one(tmp_path: Path) -> None:
    assert small_model().encoder.channels == 1
    (tmp_path / "weights").write_bytes(b"read when training begins")
    file = str(tmp_path / "weights")
    assert small_model(weights=file).encoder.channels == 3
    assert small_model(weights=file, channels=1).encoder.channels == 1


def test_the_segments_of_ten_seconds_are_those_of_the_specification() -> None:
    expected = [0, 14222, 28444, 42666, 56888, 71110, 85332, 99554, 113776, 128000]
    assert segment_starts(160_000, 32_000, count=10) == expected
    assert segment_starts(32_000, 32_000, count=10) == [0]
    assert segment_starts(32_010, 32_000, count=3) == [0, 5, 10]
    assert segment_starts(160_000, 32_000, count=1) == [0]


@torch.no_grad()
def test_outputs_are_told_for_every_segment() -> None:
    model, items = small_model().eval(), items_of([0, 1, -1])
    outputs = model.outputs(items)
    shapes = {name: tuple(value.shape) for name, value in outputs.items()}
    assert shapes.pop("embedding") == (3, 3, 128)
    assert shapes == dict.fromkeys(
        ("norm", "claim_strangeness", "claim_negative_logit", "machine_logit"), (3, 3)
    )
    segment = items.featurize(items.raw(offset=1000, length=2000))  # the second of 0, 1000, 2000
    embedding = model.encoder(segment)
    torch.testing.assert_close(outputs["embedding"][:, 1], embedding, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(outputs["norm"], outputs["embedding"].square().mean(dim=2))
    logits = model.product(embedding)
    torch.testing.assert_close(
        outputs["claim_strangeness"][1, 1], 1 - logits[1, 1].sigmoid(), atol=1e-5, rtol=1e-4
    )
    torch.testing.assert_close(outputs["claim_negative_logit"][0, 1], -logits[0, 0], atol=1e-5, rtol=1e-4)
    for name in ("claim_strangeness", "claim_negative_logit"):
        assert outputs[name].isnan().all(dim=1).tolist() == [False, False, True]
    softmax = small_model(product_loss="softmax").eval().outputs(items)
    torch.testing.assert_close(
        softmax["claim_strangeness"][1, 1], 1 - logits.softmax(dim=1)[1, 1], atol=1e-5, rtol=1e-4
    )
    assert "machine_logit" not in small_model(machine_loss=False).eval().outputs(items)


@torch.no_grad()
def test_permuting_clips_or_segments_leaves_the_scores_of_clips() -> None:
    model, items = small_model().eval(), items_of([0, 1, 0, 1])
    order = torch.tensor([2, 0, 3, 1])
    embedding, permuted = (model.outputs(some)["embedding"] for some in (items, items[order]))
    torch.testing.assert_close(permuted, embedding[order], atol=1e-5, rtol=1e-4)
    scores = embedding.square().sum(dim=2).double().numpy()
    for how in ("upper_half", "lower_half", "mean"):
        np.testing.assert_allclose(aggregate(scores[:, [2, 0, 1]], how), aggregate(scores, how))


def test_a_scaled_embedding_has_a_norm_of_the_square() -> None:
    model, embedding = small_model(), torch.randn(4, 128)
    torch.testing.assert_close(model.norms(3 * embedding), 9 * model.norms(embedding))
    torch.testing.assert_close(small_model(norm_scale=1.0).norms(embedding), 128 * model.norms(embedding))


def test_the_upper_half_and_the_harmonic_mean_are_those_of_the_specification() -> None:
    assert aggregate(np.arange(1.0, 11.0)[np.newaxis], "upper_half") == [8.0]
    assert aggregate(np.array([[5.0, 1.0, 3.0]]), "upper_half") == [4.0]
    assert harmonic_mean([0.9, 0.8, 0.7, 0.6, 0.7, 0.5]) == pytest.approx(0.675301, abs=1e-6)


@pytest.mark.parametrize(("lam", "expected"), [(10.0, 7.624619), (0.1, 0.762462)])
def test_logits_of_zero_give_the_losses_of_the_specification(lam: float, expected: float) -> None:
    model = small_model(lam=lam)
    for parameter in [*model.product.parameters(), *cast("nn.Module", model.affine).parameters()]:
        nn.init.zeros_(parameter)
    batch = labelled(torch.zeros(4, 1), torch.tensor([0, 1, -1, -1]), classes=2)
    assert float(model.loss(torch.randn(4, 128), batch).detach()) == pytest.approx(expected, abs=1e-6)
    assert float(machine_loss(torch.zeros(4), batch.target)) == pytest.approx(math.log(2))
    of_product = product_loss(torch.zeros(4, 2), batch.product, target=batch.target)
    assert float(cast("Tensor", of_product)) == pytest.approx(math.log(2))


def test_a_batch_without_a_target_has_the_machine_loss_alone() -> None:
    batch = labelled(torch.zeros(2, 1), torch.tensor([-1, -1]), classes=2)
    assert product_loss(torch.randn(2, 2), batch.product, target=batch.target) is None
    model, embedding = small_model(), torch.randn(2, 128)
    expected = machine_loss(model.machine_logits(model.norms(embedding)), batch.target)
    torch.testing.assert_close(model.loss(embedding, batch), expected)
    with pytest.raises(
        DataError, match="machine_loss=false needs at least 1 item of the unit in every batch"
    ):
        small_model(machine_loss=False).loss(embedding, batch)


def test_both_centroids_pull_their_own_and_push_the_other() -> None:
    model = small_centroids(nearest=0.5, metric_weight=2.0)
    model.other_centroid[0] = 2.0
    nn.init.zeros_(model.classify.weight)
    nn.init.zeros_(model.classify.bias)

    def loss(place: float, claim: int) -> float:
        embedding = torch.zeros(1, 128)
        embedding[0, 0] = place
        batch = labelled(torch.zeros(1, 1), torch.tensor([claim]), classes=1)
        return float(model.loss(embedding, batch).detach())

    for claim in (0, -1):  # in the middle both sides feel the same
        assert loss(1.0, claim) == pytest.approx(math.log(2) + 2 * (1 + 1 / 1.5))
    assert loss(0.0, 0) == pytest.approx(math.log(2) + 2 * (0 + 1 / 4.5))
    assert loss(0.0, -1) == pytest.approx(math.log(2) + 2 * (4 + 1 / 0.5))


class Killed(BaseException):
    """Stands for a signal that ends the process."""


def killed_at(module: nn.Module, count: int) -> None:
    """Let the ``count``-th forward pass in training end the process."""
    passes = 0

    def tick(layer: nn.Module, inputs: object) -> None:
        nonlocal passes
        passes += layer.training
        if passes == count:
            raise Killed

    module.register_forward_pre_hook(tick)


def test_training_lowers_the_loss_and_repeats_bit_by_bit(tmp_path: Path) -> None:
    options: dict[str, Any] = {"epochs": 8, "lr": 5e-3, "checkpoint_every": 4, "alpha": 0.0}
    train, held = items_of(TRAIN), items_of(HELD, seed=1)
    model, trainer = trained(small_model(**options), tmp_path / "a", train, held)
    again, _ = trained(small_model(**options), tmp_path / "b", train, held)
    losses = [entry.losses["binary_cross_entropy"] for entry in trainer.log]
    assert losses[-1] < 0.8 * losses[0]
    assert [entry.validation is None for entry in trainer.log] == [True, True, True, False] * 2
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    assert trainer.rules == [RANDOM]


def test_the_held_out_loss_is_of_pairs_cut_at_their_beginning(tmp_path: Path) -> None:
    held = items_of([0, 1, -1], seed=1)
    model, trainer = trained(small_model(epochs=1), tmp_path, items_of(TRAIN), held)
    pairs = held[torch.tensor([0, 1, 2, 2])]  # one negative stands beside both
    waves = pairs.raw(length=2000)
    with torch.no_grad():
        embedding = model.eval().encoder(pairs.featurize(waves))
        expected = model.loss(embedding, labelled(waves, pairs.claim, classes=2))
    assert trainer.log[0].validation == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize(("make", "die_at"), [(small_model, 5), (small_centroids, 8)])
def test_a_fit_that_was_killed_ends_with_the_same_bits(
    make: Callable[..., SegmentModel], die_at: int, tmp_path: Path
) -> None:
    claims = [min(claim, 0) if make is small_centroids else claim for claim in TRAIN]
    train, held = items_of(claims), items_of([0, -1], seed=1)
    whole, trainer = trained(make(mixup_schedule="constant"), tmp_path / "whole", train, held)
    assert trainer.log[0].validation is not None
    broken = make(mixup_schedule="constant")
    killed_at(broken.encoder, die_at)
    with pytest.raises(Killed):
        trained(broken, tmp_path / "killed", train, held)
    resumed, again = trained(make(mixup_schedule="constant"), tmp_path / "killed", train, held)
    states = whole.state_dict(), resumed.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert [entry.validation for entry in trainer.log] == [entry.validation for entry in again.log]


def test_weights_of_a_file_are_where_training_starts(tmp_path: Path) -> None:
    options: dict[str, Any] = {"width": 0.25, "depth": 1.0, "epochs": 0, "channels": 1}
    source = small_model(**options).encoder.backbone.state_dict()
    tensors = {timm_name(name): torch.full_like(value, 0.5) for name, value in source.items()}
    save_file(tensors, tmp_path / "model.safetensors")
    model = small_model(**options, weights=str(tmp_path / "model.safetensors"))
    _, trainer = trained(model, tmp_path / "fit", items_of(TRAIN), items_of(HELD))
    digest = hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest()
    assert trainer.rules == [f"weights model.safetensors, SHA-256 {digest}"]
    assert all(bool((value == 0.5).all()) for value in model.encoder.backbone.parameters())


def test_the_recipe_holds_where_the_weights_lie_and_what_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    registry, file, recipes = tiny.registry(), tmp_path / "model.safetensors", []
    for content in (b"first", b"second"):
        file.write_bytes(content)
        recipes.append(resolve(registry, Selector("serial_oe", {"weights": file.name}), dataset="synthetic"))
    for recipe, content in zip(recipes, (b"first", b"second"), strict=True):
        for options in (recipe.model.options, recipe.on_unit("fan").model.options):
            assert options["weights"] == str(file.resolve())
            assert options["weights_sha256"] == hashlib.sha256(content).hexdigest()
    assert recipes[0].trained() != recipes[1].trained()
    with pytest.raises(ConfigError, match=r"weights=.*model.safetensors' has SHA-256 .*, not a7937b64"):
        SerialConfig(**recipes[0].model.options)
    with pytest.raises(ConfigError, match=r"weights='nowhere' is not a file; give the model.safetensors of"):
        resolve(registry, Selector("serial_oe", {"weights": "nowhere"}), dataset="synthetic")
    with pytest.raises(ConfigError, match="weights='' is not a file"):
        SerialConfig(weights_sha256="0" * 64)


def test_small_data_are_told(tmp_path: Path) -> None:
    nothing = items_of([])
    model, trainer = trained(small_model(epochs=1, segment_s=1.0), tmp_path / "a", items_of([0, -1]), nothing)
    assert trainer.log[0].validation is None
    assert trainer.rules == [
        "each step has all 1 targets instead of 4",
        RANDOM,
        "segments of 4000 samples, a whole item, instead of 8000",
        "no item of the unit is held out, so there is no validation loss",
    ]
    assert model.eval().outputs(items_of([0]))["embedding"].shape == (1, 1, 128)
    _, trainer = trained(small_model(epochs=1), tmp_path / "b", items_of(TRAIN), items_of([0, 1]))
    assert trainer.log[0].validation is not None
    assert trainer.rules == [
        RANDOM,
        "no negative is held out: the validation loss uses only the unit's own items",
    ]


def test_first_momentum_follows_the_cycle_or_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    betas: list[float] = []
    step = torch.optim.AdamW.step

    def told(self: torch.optim.AdamW, closure: None = None) -> None:
        betas.append(self.param_groups[0]["betas"][0])
        step(self, closure)

    monkeypatch.setattr(torch.optim.AdamW, "step", told)
    trained(small_model(epochs=1), tmp_path / "cycle", items_of(TRAIN), items_of([]))
    assert betas == [one_cycle_momentum(number, total=3) for number in range(3)]
    betas.clear()
    trained(small_model(epochs=1, cycle_momentum=False), tmp_path / "fixed", items_of(TRAIN), items_of([]))
    assert betas == [0.9] * 3


@pytest.mark.parametrize(("targets", "steps"), [(8, 2), (3, 1), (10, 3)])
def test_the_last_step_has_the_last_rate_of_the_cycle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, targets: int, steps: int
) -> None:
    rates: list[float] = []
    step = torch.optim.AdamW.step

    def told(self: torch.optim.AdamW, closure: None = None) -> None:
        rates.append(self.param_groups[0]["lr"])
        step(self, closure)

    monkeypatch.setattr(torch.optim.AdamW, "step", told)
    train = items_of([0] * targets + [-1] * 4)
    trained(small_model(epochs=2, lr=1.0), tmp_path, train, items_of([]))
    assert len(rates) == 2 * steps
    assert rates[-1] == pytest.approx(1 / 25 / 1e4)


def test_centroids_are_the_mean_first_embeddings_of_both_sides(tmp_path: Path) -> None:
    model = small_centroids(epochs=0)
    trained(model, tmp_path, items_of([0, 0, 0, -1, -1, -1]), items_of([]))
    fresh, items = small_centroids(), items_of([0, 0, 0, -1, -1, -1])
    fresh.encoder.train()
    fresh.encoder.neck[0].eval()
    with torch.no_grad():
        embedding = fresh.encoder(items.featurize(items.raw(length=2000)))
    torch.testing.assert_close(model.own_centroid, embedding[:3].mean(dim=0), atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(model.other_centroid, embedding[3:].mean(dim=0), atol=1e-4, rtol=1e-3)
    with torch.no_grad():
        outputs = model.eval().outputs(items)
    distance = torch.linalg.vector_norm(outputs["embedding"] - model.own_centroid, dim=2)
    torch.testing.assert_close(outputs["distance"], distance)
    torch.testing.assert_close(outputs["strangeness"], (outputs["claim_strangeness"] + distance) / 2)


def test_table_1_is_told_by_machine_type() -> None:
    recipe = resolve(tiny.registry(), Selector("serial_oe"), dataset="dcase2021")
    found = {}
    for machine in ("fan", "gearbox", "pump", "valve", "slider", "ToyCar", "ToyTrain"):
        one = recipe.on_unit(machine)
        model, scorer = one.model.options, one.scorer.options
        p = scorer["components" if one.scorer.name == "gmm" else "k"]
        found[machine] = (
            model["lr"], model["batch_size"], model["lam"], one.scorer.name, p, one.common.aggregate,
        )  # fmt: skip
    assert found == {
        "fan": (0.001, 32, 0.1, "gmm", 16, "upper_half"),
        "gearbox": (0.001, 128, 10.0, "gmm", 64, "upper_half"),
        "pump": (0.001, 128, 10.0, "gmm", 2, "upper_half"),
        "valve": (0.0005, 128, 10.0, "gmm", 32, "upper_half"),
        "slider": (0.001, 128, 10.0, "gmm", 2, "upper_half"),
        "ToyCar": (0.001, 128, 10.0, "lof", 16, "mean"),
        "ToyTrain": (0.0005, 32, 0.1, "lof", 8, "mean"),
    }
    assert recipe.common.held == 0.1
    assert (recipe.common.scorer_on, recipe.selection) == ("held", "validation")
    assert resolve(tiny.registry(), Selector("serial_oe"), dataset="synthetic").selection == "last"


def test_every_preset_of_every_method_is_understood() -> None:
    registry = tiny.registry()
    labels = set()
    for method in asdbench_methods():
        for preset in method.presets:
            for dataset in ("dcase2021", "synthetic"):
                recipe = resolve(registry, Selector(method.name, {"preset": preset}), dataset=dataset)
                labels.add((recipe.label, recipe.model.name, recipe.scorer.name))
    assert ("serial_oe[preset=kde]", "serial_oe", "kde") in labels
    assert ("ddcsad[preset=distance]", "ddcsad", "reconstruction_error") in labels


def test_ablations_differ_from_the_proposed_method_in_one_thing() -> None:
    registry = tiny.registry()
    recipes = {
        name: resolve(registry, Selector(name), dataset="dcase2021").on_unit("fan")
        for name in (
            "serial_oe",
            "serial_oe_wo_mixup",
            "serial_oe_wo_h",
            "serial_oe_only_product",
            "serial_method",
        )
    }
    proposed = recipes.pop("serial_oe")
    changed = {
        name: {
            option: value
            for option, value in recipe.model.options.items()
            if value != proposed.model.options[option]
        }
        for name, recipe in recipes.items()
    }
    assert changed == {
        "serial_oe_wo_mixup": {"alpha": 0.0},
        "serial_oe_wo_h": {},
        "serial_oe_only_product": {"machine_loss": False, "lam": 1.0},
        "serial_method": {"machine_loss": False, "lam": 1.0, "product_loss": "softmax"},
    }
    assert recipes["serial_oe_wo_h"].trained() == proposed.trained()  # one training serves both
    assert {name: recipe.scorer.options.get("on") for name, recipe in recipes.items()}["serial_oe_wo_h"] == (
        "claim_strangeness"
    )


def test_every_system_of_the_paper_but_the_ensemble_is_a_method() -> None:
    printed = {method.printed[1]: method.name for method in asdbench_methods() if method.printed}
    assert printed == {
        "Proposed method": "serial_oe",
        "w/o Mixup": "serial_oe_wo_mixup",
        "w/o h": "serial_oe_wo_h",
        "Only product IDs classification": "serial_oe_only_product",
        "Serial method": "serial_method",
        "DDCSAD": "ddcsad",
    }
    approximate = {method.name for method in asdbench_methods() if method.approximate}
    assert approximate == {"serial_method", "ddcsad"}


def test_the_parallel_method_is_an_ensemble_of_five_that_resolves_on_synthetic() -> None:
    registry = tiny.registry()
    combined = resolve_ensemble(registry, Selector("parallel"), dataset="synthetic")
    assert [(member.method, member.common.held) for member in combined.members] == [
        ("serial_method", 0.2),
        ("serial_oe_only_product", 0.2),
        ("mobilenetv2", 0.1),
        ("stgram_mfn", 0.1),
        ("glow_aff", 0.1),
    ]
    assert combined.reduced
    assert "replace the entry's own" in combined.approximate


def test_a_run_trains_each_machine_against_the_other(tmp_path: Path) -> None:
    words = {"epochs": "1", "width": "0.25", "segment_s": "0.5", "segments": "2"}
    request = tiny.request(
        tmp_path, Selector("serial_oe", words), cache=tmp_path / "cache", resume_every_s=60.0
    )
    document = run(request, tiny.registry(), observer=tiny.Silent())
    assert [(job.kind, job.status) for job in document.jobs] == [("fit", "ok"), ("score", "ok")] * 2
    assert 0 <= document.summary[document.run.methods[0]]["auc"] <= 1


def test_a_machine_without_others_is_inapplicable_to_what_learns_against_them(tmp_path: Path) -> None:
    options = {"machines": "fan", "ids": "1", "train_clips": "2", "test_clips": "1", "length_s": "1"}
    methods = [Selector(name, {"width": "0.25"}) for name in ("serial_oe", "serial_oe_only_product")]
    request = tiny.request(
        tmp_path, *methods, cache=tmp_path / "cache", dataset=Selector("synthetic", options)
    )
    document = run(request, tiny.registry(), observer=tiny.Silent())
    assert {(job.method.partition("[")[0], job.status, job.message) for job in document.jobs} == {
        ("serial_oe", "inapplicable", "needs training items of other units as negatives, found none"),
        (
            "serial_oe_only_product",
            "inapplicable",
            "needs at least 2 classes to separate, found 1 (fan/00)",
        ),
    }


def test_describe_tells_the_size_on_the_data_of_the_paper() -> None:
    words = Selector("dcase2021", {"protocol": "serial_oe"})
    described = describe(tiny.registry(), Selector("serial_oe"), dataset=words)
    assert isinstance(described, MethodDescription)
    assert (described.parameters, described.classes, described.feature_shape) == (4_188_479, 6, [224, 626])
    assert described.output_shapes["embedding"] == [10, 128]
