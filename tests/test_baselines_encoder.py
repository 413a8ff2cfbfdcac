"""The encoder that is given as a file, and the baselines as methods."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from scipy.signal import resample_poly
from torch import Tensor, nn

from asdbench.core.info import Info
from asdbench.detector.items import Items
from asdbench.detector.trainer import Trainer, TrainerSettings
from asdbench.errors import ConfigError, DataError
from asdbench.plugin.entries import Selector
from asdbench.recipes.resolve import resolve
from asdbench.runs.plan import plan_run
from asdbench.testing import make_items
from asdbench_plugins.baselines.encoder import EncoderConfig, FrozenEncoder
from asdbench_plugins.baselines.methods import METHODS

RATE = 8000
WAVES = np.random.default_rng(0).normal(size=(3, RATE)).astype(np.float32)


class Blocks(nn.Module):
    """Mean squares of blocks: frames of one dimension, or one vector of them."""

    def __init__(self, size: int, *, frames: bool = True) -> None:
        super().__init__()
        self.size = size
        self.frames = frames
        self.gain = nn.Parameter(torch.ones(2))

    def forward(self, waves: Tensor) -> Tensor:
        energy = waves.unfold(1, self.size, self.size).square().mean(dim=2)
        return energy.unsqueeze(2) * self.gain if self.frames else energy


def saved(module: nn.Module, path: Path, *, samples: int = RATE) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        traced = torch.jit.trace(module.eval(), torch.zeros(2, samples))  # type: ignore[no-untyped-call]
        torch.jit.save(traced, str(path))
    return path


def items_of(folder: Path) -> Items:
    info = Info(item_shape=(RATE,), sample_rate=RATE, classes=("fan/00",), feature_shape=(RATE,))
    return make_items(WAVES, info, folder=folder / "pack", claim=[0] * 3, featurizer=lambda raw: raw)


def encoder(path: Path, items: Items, **options: Any) -> FrozenEncoder:
    return FrozenEncoder(EncoderConfig(encoder=str(path), **options), items.info)


def test_the_embedding_is_what_the_encoder_gives_averaged_over_frames_or_each_frame(tmp_path: Path) -> None:
    items = items_of(tmp_path)
    path = saved(Blocks(1000), tmp_path / "encoder.pt")
    squares = np.square(WAVES).reshape(3, 8, 1000).mean(axis=2)
    mean = encoder(path, items).outputs(items)["embedding"]
    np.testing.assert_allclose(
        mean, squares.mean(axis=1)[:, np.newaxis, np.newaxis].repeat(2, axis=2), rtol=1e-5
    )
    each = encoder(path, items, frames="segments").outputs(items)["embedding"]
    np.testing.assert_allclose(each, squares[:, :, np.newaxis].repeat(2, axis=2), rtol=1e-5)
    vectors = saved(Blocks(1000, frames=False), tmp_path / "vectors.pt")
    np.testing.assert_allclose(encoder(vectors, items).outputs(items)["embedding"][:, 0], squares, rtol=1e-5)


def test_windows_become_segments(tmp_path: Path) -> None:
    items = items_of(tmp_path)
    path = saved(Blocks(500, frames=False), tmp_path / "encoder.pt", samples=2000)
    segments = encoder(path, items, window_s=0.25, window_hop_s=0.125).outputs(items)["embedding"]
    assert segments.shape == (3, 7, 4)
    expected = np.square(WAVES[1, 3000:5000]).reshape(4, 500).mean(axis=1)
    np.testing.assert_allclose(segments[1, 3], expected, rtol=1e-5)
    apart = encoder(path, items, window_s=0.25).outputs(items)["embedding"]
    np.testing.assert_array_equal(apart, segments[:, ::2])


def test_waves_are_resampled_to_the_encoders_rate(tmp_path: Path) -> None:
    items = items_of(tmp_path)
    path = saved(Blocks(1000, frames=False), tmp_path / "encoder.pt", samples=12000)
    given = encoder(path, items, input_rate=12000).outputs(items)["embedding"][:, 0]
    squares = np.square(resample_poly(WAVES, 3, 2, axis=1)).reshape(3, 12, 1000).mean(axis=2)
    np.testing.assert_allclose(given, squares, rtol=1e-4)


def test_another_file_under_the_same_name_is_refused_after_the_fit(tmp_path: Path) -> None:
    items = items_of(tmp_path)
    path = saved(Blocks(1000), tmp_path / "encoder.pt")
    model = encoder(path, items)
    trainer = Trainer(model, TrainerSettings(seed=0, folder=tmp_path / "fit"))
    model.fit(items, items[:0], trainer)
    assert trainer.rules == [f"encoder encoder.pt, SHA-256 {hashlib.sha256(path.read_bytes()).hexdigest()}"]
    assert list(model.state_dict()) == ["digest"]
    again = encoder(path, items)
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.outputs(items)["embedding"], model.outputs(items)["embedding"])
    saved(Blocks(2000), path)
    other = encoder(path, items)
    other.load_state_dict(model.state_dict())
    with pytest.raises(ConfigError, match="is not the file that this model was fitted with"):
        other.outputs(items)


def test_the_file_is_hashed_once_and_not_for_every_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items, read = items_of(tmp_path), []
    path = saved(Blocks(1000), tmp_path / "encoder.pt")
    digest = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *given: read.append(path) or digest(*given))  # type: ignore[func-returns-value]
    model = encoder(path, items)
    model.fit(items, items[:0], Trainer(model, TrainerSettings(seed=0, folder=tmp_path / "fit")))
    for _ in range(3):
        model.outputs(items)
    assert len(read) == 1


def test_the_recipe_holds_what_is_in_the_file(tmp_path: Path) -> None:
    path = saved(Blocks(1000), tmp_path / "encoder.pt")
    recipes = []
    for size in (1000, 2000):
        saved(Blocks(size), path)
        recipes.append(
            resolve(tiny.registry(), Selector("encoder_knn", {"encoder": str(path)}), dataset="synthetic")
        )
    digests = [recipe.model.options["encoder_sha256"] for recipe in recipes]
    assert digests[1] == hashlib.sha256(path.read_bytes()).hexdigest() != digests[0]
    assert recipes[0].trained() != recipes[1].trained()
    with pytest.raises(ConfigError, match=r"encoder=.*encoder.pt' has SHA-256 .*, not "):
        EncoderConfig(**recipes[0].model.options)


def test_embeddings_are_kept_for_every_scorer(tmp_path: Path) -> None:
    path = saved(Blocks(1000), tmp_path / "encoder.pt", samples=16000)
    clips = {"machines": "fan", "ids": "1", "train_clips": "4", "test_clips": "2", "length_s": "1"}
    asked = tiny.request(
        tmp_path / "out", *(Selector("encoder_knn", {"encoder": str(path), "k": k}) for k in "12"),
        cache=tmp_path / "cache", dataset=Selector("synthetic", clips), isolation="none",
    )  # fmt: skip
    first, second = plan_run(asked, tiny.registry(), observer=tiny.Silent()).cases
    tiny.run_job_here(first.fit)
    tiny.run_job_here(first.score)
    [file] = (tmp_path / "cache/embeddings").glob("frozen_encoder-*/*.npy")
    written = file.stat().st_mtime_ns
    tiny.run_job_here(second.score)
    assert [*file.parent.glob("*.npy")] == [file]
    assert file.stat().st_mtime_ns == written


def test_files_that_are_no_encoder_are_refused(tmp_path: Path) -> None:
    items = items_of(tmp_path)
    with pytest.raises(ConfigError, match="encoder='' is not a file; give the path of a TorchScript encoder"):
        FrozenEncoder(EncoderConfig(), items.info)
    with pytest.raises(ConfigError, match=r"nowhere\.pt' is not a file"):
        encoder(tmp_path / "nowhere.pt", items)
    pickled = tmp_path / "pickled.pt"
    torch.save({"weight": torch.zeros(2)}, pickled)
    text = tmp_path / "text.pt"
    text.write_text("an encoder")
    for path in (pickled, text):
        with pytest.raises(
            ConfigError, match=r"is not a TorchScript archive; write one with torch\.jit\.save"
        ):
            encoder(path, items)
    features = Info(item_shape=(60, 8), sample_rate=None, feature_shape=(60, 8))
    with pytest.raises(ConfigError, match=r"an encoder reads mono waves, but items have shape \[60, 8\]"):
        FrozenEncoder(EncoderConfig(encoder=str(pickled)), features)


def test_an_encoder_that_gives_no_vectors_is_refused_by_its_shape(tmp_path: Path) -> None:
    items = items_of(tmp_path)
    path = saved(nn.Flatten(0), tmp_path / "flat.pt")
    with pytest.raises(DataError, match=r"flat.pt gave \[24000\] for waves \[3, 8000\]"):
        encoder(path, items).outputs(items)


def test_the_baselines_are_those_of_the_papers_tables_and_the_cheap_ones() -> None:
    printed = {method.name: method.printed for method in METHODS if method.printed}
    assert printed == {
        "autoencoder": ("contrastive_ensemble", "AE"),
        "idnn": ("asd_afpa", "IDNN"),
        "mobilenetv2": ("asd_afpa", "MobileNetV2"),
        "glow_aff": ("asd_afpa", "Glow_Aff"),
        "aadcl": ("contrastive_ensemble", "AADCL"),
        "conv_autoencoder": ("contrastive_ensemble", "SLFE-AE"),
    }
    assert {m.name for m in METHODS if m.approximate} == {
        "mobilenetv2",
        "glow_aff",
        "aadcl",
        "conv_autoencoder",
        "direct_two_branch",
    }
    trained = {m.name for m in METHODS if m.model not in {"statistics", "frozen_encoder"}}
    assert {m.name for m in METHODS if "synthetic" in m.on} == trained


def test_both_scores_of_the_autoencoder_of_2023_share_one_trained_model() -> None:
    pair = [method for method in METHODS if method.model == "selective_autoencoder"]
    assert [method.name for method in pair] == ["autoencoder_mse", "autoencoder_mahala"]
    options = [{k: v for k, v in method.defaults.items() if k != "scorer.on"} for method in pair]
    assert options[0] == options[1]
    assert [method.defaults["scorer.on"] for method in pair] == ["reconstruction_error", "mahalanobis"]
