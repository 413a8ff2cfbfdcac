"""``genrep``: its options, and its scores from a small checkpoint file by the definition."""

from __future__ import annotations

from pathlib import Path

import filled
import numpy as np
import pytest
import tiny
import torch

import asdbench_plugins.encoders
from asdbench import Info, ItemContext, Selector, load_registry
from asdbench.plugin.registry import Plugin
from asdbench.recipes.resolve import resolve
from asdbench.testing import make_items
from asdbench_plugins.encoders.beats import Beats, BeatsShape
from asdbench_plugins.encoders.frozen import BeatsConfig, FrozenBeats
from asdbench_plugins.scorers.domains import learn_scales, mixed
from asdbench_plugins.scorers.neighbours import NearestNeighbours

SMALL = {
    "encoder_layers": 4, "embed_dim": 12, "encoder_embed_dim": 16, "encoder_ffn_embed_dim": 24,
    "encoder_attention_heads": 4, "conv_pos": 8, "conv_pos_groups": 4,
}  # fmt: skip


def test_scores_are_the_nearest_distances_to_two_domains_with_mixed_references(tmp_path: Path) -> None:
    network = filled.fill(Beats(BeatsShape(**SMALL)))
    torch.save(filled.checkpoint(network, SMALL), tmp_path / "small.pt")
    registry = load_registry()
    if "genrep" not in registry.names("method"):  # asdbench was installed before the plugin was there
        registry.add(Plugin(name="encoders"), asdbench_plugins.encoders)
    chosen = Selector("genrep", {"weights": str(tmp_path / "small.pt"), "preset": "without_normalisation"})
    recipe = resolve(registry, chosen, dataset="dcase2023")
    waves = 0.1 * np.random.default_rng(0).standard_normal((7, 8000)).astype(np.float32)
    info = Info(item_shape=(8000,), sample_rate=16000, classes=("fan/00",))
    items = make_items(waves, info, folder=tmp_path / "pack", claim=[0] * 7)
    model = FrozenBeats(BeatsConfig(**recipe.model.options), info)
    found = model.outputs(items)["embedding"]
    with torch.no_grad():
        tokens = network.eval()(model.spectrogram(torch.from_numpy(waves)), layer=4)
    means = tokens.reshape(7, -1, 8, 16).mean(dim=1).flatten(1)  # the time mean of each band
    torch.testing.assert_close(found[:, 0], means, atol=1e-5, rtol=1e-4)
    vectors = found[:, 0].numpy()
    mixtures = np.stack([0.9 * vectors[4] + 0.1 * source for source in vectors[:4]])
    references = np.concatenate([vectors[:5], mixtures])
    expected = [np.linalg.norm(references - query, axis=1).min() for query in vectors[5:]]
    scorer = NearestNeighbours(**recipe.scorer.options)
    train = ItemContext(
        claim=np.zeros(5, dtype=np.int64), columns={"domain": np.array(["source"] * 4 + ["target"])}
    )
    test = ItemContext(claim=np.zeros(2, dtype=np.int64), columns={})
    state = scorer.fit({"embedding": found[:5].numpy()}, train)
    scores = scorer.score(state, {"embedding": found[5:].numpy()}, test)[:, 0]
    np.testing.assert_allclose(scores, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "rescale"),
    [
        ({}, "domain"),
        ({"preset": "without_normalisation"}, "none"),
        ({"preset": "test_set_normalisation"}, "test_set"),
    ],
)
def test_distances_are_normalised_by_training_clips_unless_the_preset_says_otherwise(
    options: dict[str, str], rescale: str
) -> None:
    registry = tiny.registry()
    if "genrep" not in registry.names("method"):
        registry.add(Plugin(name="encoders"), asdbench_plugins.encoders)
    recipe = resolve(registry, Selector("genrep", options), dataset="dcase2023")
    assert recipe.scorer.options["rescale"] == rescale
    assert recipe.scorer.options["memmixup"] == 990
    assert recipe.model.options["layer"] == 4


def test_distances_of_target_points_are_measured_as_they_are_scored_beside_mixtures_of_others() -> None:
    points = np.array([[0.0], [10.0], [1.0], [9.0]])
    domains = np.array(["target", "target", "source", "source"])
    mixtures = mixed(points, domains, neighbours=2, metric="euclidean")
    assert mixtures[:, 0].tolist() == pytest.approx([0.1, 0.9, 9.9, 9.1])
    codes = np.array([1, 1, 0, 0])
    scales = {
        len(made): learn_scales(points, codes, mixtures=made, k=1, metric="euclidean")["centre"].tolist()
        for made in (mixtures, mixtures[:0])
    }
    assert scales == {4: pytest.approx([8.0, 9.1]), 0: pytest.approx([8.0, 10.0])}
