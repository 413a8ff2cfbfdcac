"""EAT adapted by LoRA, and encoders of which every weight is trained: counts, ArcFace, schedule, resume, methods."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import tiny
import torch
import tuned as support
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

import asdbench_plugins.encoders
from asdbench import ConfigError, Info, ItemContext, Registry, Selector
from asdbench.blocks import ArcFace, Mixup, SoftArcFace, soft_cross_entropy
from asdbench.core.config import configure
from asdbench.detector.detector import aggregate
from asdbench.detector.trainer import Trainer
from asdbench.plugin.registry import Plugin
from asdbench.runs.plan import plan_run
from asdbench.runs.run import run
from asdbench_plugins.encoders.beats import Beats, BeatsShape, BeatsSpectrogram
from asdbench_plugins.encoders.eat import Eat, EatShape, EatSpectrogram
from asdbench_plugins.encoders.frozen import Loaded
from asdbench_plugins.encoders.tuned import Tuned, TunedBeats, TunedBeatsConfig, TunedEat, TunedEatConfig
from asdbench_plugins.scorers.neighbours import NearestNeighbours

FULL = {"adapted": "all", "loss": "arcface", "sub_clusters": 1, "head": "norm_linear", "lr": 1e-3}
LORA = {"adapted": "qkv", "head": "linear", "rank": 4, "sub_clusters": 2, "lr": 1e-2}
FAMILIES: dict[str, tuple[type[Tuned], Any]] = {
    "beats": (TunedBeats, TunedBeatsConfig),
    "eat": (TunedEat, TunedEatConfig),
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Use one thread: on shared cores several threads mostly wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("weights")
    return {"beats": support.beats(folder / "beats.pt"), "eat": support.eat(folder / "eat.pt")}


def model_of(family: str, path: Path, **options: Any) -> Tuned:
    torch.manual_seed(0)
    model, config = FAMILIES[family]
    defaults = {"epochs": 3, "batch_size": 4, "warmup": 0, "dims": 8, "mixup": 0.0}
    return model(config(weights=str(path), **(defaults | options)), support.info())


@pytest.mark.parametrize(
    ("family", "options", "count"),
    [
        ("beats", {}, 2_359_296 + 1_333_392 + 196_864),
        ("beats", {"adapted": "qkv"}, 3_538_944 + 1_333_392 + 196_864),
        ("beats", {"adapted": "all", "head": "norm_linear", "dims": 768}, 90_311_792 + 592_128),
        ("eat", {"head": "linear"}, 2_359_296 + 196_864),
        ("eat", {"adapted": "all", "head": "norm_linear", "dims": 768}, 85_254_144 + 592_128),
    ],
)
def test_so_many_parameters_are_trained(
    family: str, options: dict[str, Any], count: int, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    networks = {"beats": lambda: Beats(BeatsShape()), "eat": lambda: Eat(EatShape())}
    spectrogram = BeatsSpectrogram() if family == "beats" else EatSpectrogram()

    def published(_: Path) -> Loaded:
        return Loaded(network=networks[family](), spectrogram=spectrogram, layers=12, least_samples=2800)

    model, config = FAMILIES[family]
    monkeypatch.setattr(model, "loaded", lambda self, path: published(path))
    info = Info(item_shape=(160_000,), sample_rate=16000, device="meta", classes=("fan/00",))
    with torch.device("meta"):  # shapes alone
        built = model(config(weights=str(files[family]), **options), info)
    assert sum(parameter.numel() for parameter in built.parameters() if parameter.requires_grad) == count


def test_arcface_of_one_class_has_its_margin_and_shares_of_a_class_a_share_of_it() -> None:
    torch.manual_seed(0)
    soft, hard = SoftArcFace(8, margin=0.5, scale=30.0), ArcFace(8, 5, margin=0.5, scale=30.0)
    assert soft.classes == 0
    soft.resize(5)
    soft.load_state_dict(hard.state_dict())
    embedding, target = torch.randn(4, 8), torch.tensor([0, 1, 2, 3])
    one = nn.functional.one_hot(target, 5).float()
    torch.testing.assert_close(soft(embedding, one), hard(embedding, target))
    torch.testing.assert_close(soft(embedding), hard(embedding))
    shared = 0.3 * soft(embedding, one) + 0.7 * soft(embedding)
    torch.testing.assert_close(soft(embedding, 0.3 * one), shared)
    loaded = SoftArcFace(8, margin=0.5)
    loaded.load_state_dict(soft.state_dict())
    assert loaded.classes == 5
    with pytest.raises(ConfigError, match=r"margin=3\.5 is not an angle within 0\.\.pi"):
        SoftArcFace(8, margin=3.5)


def test_the_nearest_centre_of_a_class_counts_for_arcface() -> None:
    head = SoftArcFace(2, margin=0.0, scale=1.0, sub_clusters=2)
    head.load_state_dict({"weight": torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.6, 0.8]])})
    assert head.classes == 2
    torch.testing.assert_close(head(torch.tensor([[0.8, 0.6]])), torch.tensor([[0.8, 0.96]]))


def test_shares_of_mixup_are_drawn_from_beta() -> None:
    torch.manual_seed(0)
    ends, middle = (Mixup.draw(4000, probability=1.0, alpha=alpha).weights for alpha in (0.2, 5.0))
    # The variance of Beta(a, a) is 1 / (4 (2 a + 1)).
    assert float(ends.var()) == pytest.approx(1 / (4 * 1.4), rel=0.05)
    assert float(middle.var()) == pytest.approx(1 / (4 * 11), rel=0.1)


@pytest.mark.parametrize(("family", "options"), [("eat", LORA), ("eat", FULL), ("beats", FULL)])
def test_training_changes_what_is_trained_and_a_new_model_loads_it(
    family: str, options: dict[str, Any], files: dict[str, Path], tmp_path: Path
) -> None:
    items = support.clips(tmp_path / "pack")
    untrained, _ = support.fitted(
        model_of(family, files[family], **options, epochs=0), items, folder=tmp_path / "none"
    )
    model, trainer = support.fitted(
        model_of(family, files[family], **options), items, folder=tmp_path / "fit"
    )
    losses = [epoch.losses[model.config.loss] for epoch in trainer.log]
    assert losses[-1] < losses[0]
    before, after = (each.outputs(items)["embedding"] for each in (untrained, model))
    assert after.shape == before.shape
    assert not torch.allclose(after, before)
    full = options["adapted"] == "all"
    assert any(name.startswith("encoder.") for name in model.state_dict()) == full
    # The features of clusters are those of the file, whatever was trained.
    np.testing.assert_array_equal(model.published_means(items), untrained.published_means(items))
    loaded = model_of(family, files[family], **options).eval()
    loaded.load_state_dict(model.state_dict())
    assert torch.equal(loaded.outputs(items)["embedding"], after)


def test_the_head_reads_the_last_layer_and_scorers_the_chosen_one(
    files: dict[str, Path], tmp_path: Path
) -> None:
    items = support.clips(tmp_path / "pack")
    models = [
        support.fitted(
            model_of("beats", files["beats"], **FULL, layer=layer, epochs=1),
            items,
            folder=tmp_path / f"{layer}",
        )[0]
        for layer in (1, 2)
    ]
    first, last = (model.state_dict() for model in models)
    assert all(torch.equal(first[name], last[name]) for name in first)
    assert not torch.allclose(*(model.outputs(items)["embedding"] for model in models))


def test_the_vector_that_is_classified_can_be_scored(files: dict[str, Path], tmp_path: Path) -> None:
    items = support.clips(tmp_path / "pack")
    model = model_of("eat", files["eat"], **LORA, scored="vector", epochs=0).eval()
    found = model.outputs(items)["embedding"]
    assert found.shape == (8, 1, 8)
    with torch.no_grad():
        clip = model.grid(model.spectrogram(items.raw()), layer=2)[:, 0, 0]  # the token of the clip
        expected = model.pool.project(clip)
    torch.testing.assert_close(found[:, 0], expected)


def test_the_score_of_several_layers_is_the_mean_of_their_scores(
    files: dict[str, Path], tmp_path: Path
) -> None:
    items = support.clips(tmp_path / "pack")
    options = registry().method("eat_full").defaults
    scorer = NearestNeighbours(
        **{name.removeprefix("scorer."): options[name] for name in options if name.startswith("scorer.")}
    )
    assert scorer.per_segment
    assert options["layers"] == "8+10+12"

    def scores(**chosen: Any) -> NDArray[np.float64]:
        model = model_of("eat", files["eat"], **FULL, **chosen).eval()
        outputs = {name: values.numpy() for name, values in model.outputs(items).items()}
        assert outputs["embedding"].shape == (8, 2 if "layers" in chosen else 1, 64)
        context = ItemContext(claim=np.repeat(0, 8), columns={})
        learnt = {name: values[:6] for name, values in outputs.items()}
        known = ItemContext(claim=np.repeat(0, 6), columns={})
        return aggregate(scorer.score(scorer.fit(learnt, known), outputs, context), "mean")

    first, second = (scores(layer=layer) for layer in (1, 2))
    assert not np.allclose(first, second)
    np.testing.assert_allclose(scores(layers="2+1"), (first + second) / 2)
    np.testing.assert_array_equal(scores(layers="2+1"), scores(layers="1+2"))


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"layers": "1+3"}, r"layers=1\+3: layer 3 does not exist in eat.pt: its last is 2"),
        (
            {"layers": "1+2", "layer": 1},
            r"layer=1 and layers=1\+2 both choose .*: add layer=none or layers=none",
        ),
    ],
)
def test_layers_that_do_not_exist_or_are_chosen_twice_are_refused(
    chosen: dict[str, Any], message: str, files: dict[str, Path]
) -> None:
    with pytest.raises(ConfigError, match=message):
        model_of("eat", files["eat"], **FULL, **chosen)
    with pytest.raises(ConfigError, match=r"layers=1-2 is not none or text of the form \^"):
        configure(TunedEatConfig, {"layers": "1-2"}, of="tuned_eat")


def test_a_killed_training_of_all_weights_ends_as_if_it_had_not_been(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = support.clips(tmp_path / "pack")
    options = {**FULL, "cluster_share": 0.5, "mixup": 1.0, "mixup_alpha": 0.4}

    def fit(folder: str) -> tuple[Tuned, Trainer]:
        return support.fitted(model_of("beats", files["beats"], **options), items, folder=tmp_path / folder)

    whole, _ = fit("whole")
    steps = []

    def killed(logits: Tensor, labels: Tensor) -> Tensor:
        steps.append(labels)
        if len(steps) == 4:
            raise KeyboardInterrupt
        return soft_cross_entropy(logits, labels)

    monkeypatch.setattr("asdbench_plugins.encoders.tuned.soft_cross_entropy", killed)
    with pytest.raises(KeyboardInterrupt):
        fit("killed")
    resumed, trainer = fit("killed")
    assert trainer.resumed
    assert whole.head.classes == 4  # two clusters of each claim
    states = whole.state_dict(), resumed.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_the_rate_rises_and_halves_and_gradients_are_cut(files: dict[str, Path], tmp_path: Path) -> None:
    items = support.clips(tmp_path / "pack")
    seen: list[tuple[float, float]] = []

    def note(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        [group] = optimizer.param_groups
        norms = [each.grad.norm() for each in group["params"] if each.grad is not None]
        seen.append((group["lr"], float(torch.stack(norms).norm())))

    handle = register_optimizer_step_post_hook(note)
    try:
        options = {**FULL, "lr": 1e-3, "warmup": 4, "halve_every": 2, "clip_norm": 0.01}
        model = model_of("eat", files["eat"], **options)
        support.fitted(model, items, folder=tmp_path / "fit")  # 2 steps in each of 3 epochs
    finally:
        handle.remove()
    assert [rate for rate, _ in seen] == pytest.approx([2.5e-4, 5e-4, 7.5e-4, 1e-3, 5e-4, 5e-4])
    assert seen[0][1] == pytest.approx(0.01, rel=1e-3)
    assert max(norm for _, norm in seen) < 0.0101


def registry() -> Registry:
    loaded = tiny.registry()
    if "eat_full" not in loaded.names("method"):  # asdbench was installed before the plugin was there
        loaded.add(Plugin(name="encoders"), asdbench_plugins.encoders)
    return loaded


@pytest.mark.parametrize(
    ("method", "family"), [("eat_lora", "eat"), ("beats_full", "beats"), ("eat_full", "eat")]
)
def test_a_method_adapts_its_encoder(method: str, family: str) -> None:
    entry = registry().method(method)
    assert entry.model == f"tuned_{family}"
    model, config = FAMILIES[family]
    options = {
        name.removeprefix("model."): value
        for name, value in entry.defaults.items()
        if not name.startswith("scorer.")
    }
    built = msgspec.convert(options, config)
    assert built.adapted == ("all" if method.endswith("full") else "qkv")
    assert model.Config is config


@pytest.mark.slow
def test_eat_full_runs_from_a_users_file_to_the_table(files: dict[str, Path], tmp_path: Path) -> None:
    machine = {"machines": "fan", "ids": "2", "train_clips": "4", "test_clips": "4", "length_s": "1"}
    words = {"weights": str(files["eat"]), "epochs": "1", "dims": "8", "batch_size": "4", "layers": "1+2"}
    asked = tiny.request(
        tmp_path / "run", Selector("eat_full", words), cache=tmp_path / "cache",
        dataset=Selector("synthetic", machine),
    )  # fmt: skip
    document = run(asked, registry(), observer=tiny.Silent())
    [row] = [row for row in document.results if row.is_whole and row.metric == "auc"]
    assert row.value is not None


@pytest.mark.parametrize("method", ["eat_lora", "beats_full", "eat_full"])
def test_each_method_needs_weights(method: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"{method} needs weights: give the path of a published"):
        plan_run(tiny.request(tmp_path, Selector(method), cache=tmp_path), registry(), observer=tiny.Silent())
