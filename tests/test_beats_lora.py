"""``beats_lora``: terms, head and classes by the specification, and from a small checkpoint file to the table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
import tuned as support
from torch import nn

import asdbench_plugins.encoders
from asdbench import DataError, Items, Registry, Selector
from asdbench.blocks import soft_cross_entropy
from asdbench.detector.trainer import Trainer, TrainerSettings
from asdbench.plugin.registry import Plugin
from asdbench.runs.run import run
from asdbench_plugins.encoders.attentive import AttentiveStatistics
from asdbench_plugins.encoders.beats import Beats, BeatsShape
from asdbench_plugins.encoders.frozen import BeatsConfig, FrozenBeats
from asdbench_plugins.encoders.lora import Adapted, LowRank, adapt
from asdbench_plugins.encoders.pseudo_labels import classes_of
from asdbench_plugins.encoders.tuned import TunedBeats, TunedBeatsConfig


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Use one thread: on shared cores several threads mostly wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return support.beats(tmp_path_factory.mktemp("weights") / "small.pt")


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("adapted", "count"), [("qv", 2_359_296), ("qkv", 3_538_944)])
def test_the_terms_have_the_parameters_of_the_specification(adapted: str, count: int) -> None:
    with torch.device("meta"):
        attentions = [layer.self_attn for layer in Beats(BeatsShape()).encoder.layers]
        terms = adapt(attentions, projections=TunedBeats.projections[adapted], rank=64, alpha=8.0)
    assert parameters(terms) == count
    assert len(terms) == 12 * len(adapted)


def test_the_head_has_the_parameters_of_the_specification() -> None:
    with torch.device("meta"):
        head = AttentiveStatistics(768, dims=256)
    assert parameters(head.project) == 196_864
    assert parameters(head) - parameters(head.project) == 1_333_392


def test_a_term_is_scaled_by_alpha_over_rank_and_starts_at_zero() -> None:
    frozen, term = nn.Linear(3, 2), LowRank(3, 2, rank=4, alpha=8.0)
    layer, values = Adapted(frozen, term), torch.randn(5, 3)
    assert torch.equal(layer(values), frozen(values))
    nn.init.ones_(term.up)
    expected = frozen(values) + 2.0 * values @ term.down.T @ torch.ones(4, 2)
    torch.testing.assert_close(layer(values), expected)


@torch.no_grad()
def test_the_head_reads_attended_means_and_deviations() -> None:
    torch.manual_seed(0)
    head, tokens = AttentiveStatistics(4, dims=3).eval(), torch.randn(2, 5, 4)
    maps = tokens.mT
    mean, spread = maps.mean(dim=2, keepdim=True), maps.std(dim=2, correction=0, keepdim=True)
    context = torch.cat([maps, mean.expand_as(maps), spread.expand_as(maps)], dim=1)
    weights = head.attend(context).softmax(dim=2)
    attended = (weights * maps).sum(dim=2)
    deviation = ((weights * maps.square()).sum(dim=2) - attended.square()).clamp_min(1e-4).sqrt()
    expected = head.project(head.last_norm(head.dense(head.norm(torch.cat([attended, deviation], dim=1)))))
    torch.testing.assert_close(head(tokens), expected, atol=1e-5, rtol=1e-4)


def test_items_without_attributes_are_divided_into_clusters_within_their_domain() -> None:
    claim = np.array([0] * 4 + [1] * 6)
    columns = {
        "attributes": np.array(["a", "b", "a", "noAttribute"] + ["noAttributes"] * 6),
        "domain": np.array(["source"] * 4 + ["source"] * 5 + ["target"]),
    }
    asked: list[list[int]] = []

    def features(members: np.ndarray) -> np.ndarray:
        asked.append(members.tolist())
        return np.array([[0.0], [9.0], [0.1], [9.1], [9.2]], dtype=np.float32)

    names, codes, clusters = classes_of(claim, columns, share=0.4, features=features)
    assert asked == [[4, 5, 6, 7, 8]]  # 0.4 * 5 = 2 clusters; the others have one
    assert len(names) == 6
    assert clusters == 2 + 1 + 1
    assert codes[0] == codes[2] != codes[1]
    assert codes[4] == codes[6] != codes[5] == codes[7] == codes[8]
    assert len({codes[0], codes[1], codes[3], codes[4], codes[5], codes[9]}) == 6


def tuned(weights: Path, **options: Any) -> TunedBeats:
    torch.manual_seed(0)
    defaults = {
        "epochs": 3,
        "batch_size": 4,
        "sub_clusters": 2,
        "warmup": 2,
        "lr": 1e-2,
        "rank": 4,
        "dims": 8,
    }
    return TunedBeats(TunedBeatsConfig(weights=str(weights), **(defaults | options)), support.info())


def fitted(weights: Path, items: Items, folder: Path, **options: Any) -> tuple[TunedBeats, Trainer]:
    return support.fitted(tuned(weights, **options), items, folder=folder)


def test_untrained_it_is_the_frozen_encoder_and_training_changes_the_terms_alone(
    weights: Path, tmp_path: Path
) -> None:
    items = support.clips(tmp_path / "pack")
    frozen = FrozenBeats(BeatsConfig(weights=str(weights)), support.info())
    frozen.fit(items, items[:0], Trainer(frozen, TrainerSettings(seed=0, folder=tmp_path / "frozen")))
    before = frozen.outputs(items)["embedding"]
    untrained, _ = fitted(weights, items, tmp_path / "none", epochs=0)
    torch.testing.assert_close(untrained.outputs(items)["embedding"], before)
    model, trainer = fitted(weights, items, tmp_path / "fit", mixup=0.0)
    losses = [epoch.losses["scadacos"] for epoch in trainer.log]
    assert losses[-1] < losses[0]
    after = model.outputs(items)["embedding"]
    assert after.shape == before.shape == (8, 8, 16)
    assert not torch.allclose(after, before)
    assert "2 classes of training items, 2 of them clusters of items without attributes" in trainer.rules
    # The weights of the file are in no checkpoint, and the features of clusters are those of the file.
    assert not any("encoder" in name for name in model.state_dict())
    np.testing.assert_array_equal(model.published_means(items), untrained.published_means(items))
    loaded = tuned(weights).eval()
    loaded.load_state_dict(model.state_dict())
    assert torch.equal(loaded.outputs(items)["embedding"], after)


def test_a_killed_adaptation_ends_as_if_it_had_not_been(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = support.clips(tmp_path / "pack")
    options = {"cluster_share": 0.5, "crop_s": 0.4}
    whole, _ = fitted(weights, items, tmp_path / "whole", **options)
    steps = []

    def killed(*arguments: torch.Tensor) -> torch.Tensor:
        steps.append(arguments)
        if len(steps) == 4:
            raise KeyboardInterrupt
        return soft_cross_entropy(*arguments)

    monkeypatch.setattr("asdbench_plugins.encoders.tuned.soft_cross_entropy", killed)
    with pytest.raises(KeyboardInterrupt):
        fitted(weights, items, tmp_path / "killed", **options)
    resumed, trainer = fitted(weights, items, tmp_path / "killed", **options)
    assert trainer.resumed
    assert whole.head.classes == 4  # two clusters of each claim
    states = whole.state_dict(), resumed.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_one_class_is_refused(weights: Path, tmp_path: Path) -> None:
    items = support.clips(tmp_path / "pack")[[0, 2]]
    with pytest.raises(DataError, match=r"2 classes .* found 2 of 1: use scope=all"):
        fitted(weights, items, tmp_path / "fit")


def registry() -> Registry:
    loaded = tiny.registry()
    if "beats_lora" not in loaded.names("method"):  # asdbench was installed before the plugin was there
        loaded.add(Plugin(name="encoders"), asdbench_plugins.encoders)
    return loaded


def test_it_runs_from_a_users_file_to_the_table(weights: Path, tmp_path: Path) -> None:
    options = {"weights": str(weights), "epochs": "1", "rank": "2", "dims": "8", "batch_size": "6"}
    dataset = Selector("synthetic", {**tiny.DATASET.options, "ids": "1"})
    asked = tiny.request(
        tmp_path / "run", Selector("beats_lora", options), cache=tmp_path / "cache", dataset=dataset
    )
    document = run(asked, registry(), observer=tiny.Silent())
    [row] = [row for row in document.results if row.is_whole and row.metric == "auc"]
    assert row.value is not None
    assert "beats_lora" in tiny.table_of(document)
