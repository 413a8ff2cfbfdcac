"""``beats_beam`` from the request to the table, on generated sounds and a small network in a checkpoint file."""

from __future__ import annotations

import hashlib
from pathlib import Path

import filled
import msgspec
import numpy as np
import pytest
import safetensors.numpy
import tiny
import torch
from dcase_trees import write_2026

import asdbench_plugins.encoders
from asdbench import ConfigError, Info, PublishedWeights, Registry, RunDocument, Selector
from asdbench.plugin.registry import Plugin
from asdbench.results.store import Store
from asdbench.runs.describe import MethodDescription, describe
from asdbench.runs.plan import plan_run
from asdbench.runs.request import Request
from asdbench.runs.run import run
from asdbench.testing import make_items
from asdbench_plugins.encoders.beats import Beats, BeatsShape
from asdbench_plugins.encoders.frozen import BeatsConfig, FrozenBeats
from asdbench_plugins.encoders.residual import ResidualBeats, ResidualConfig

SMALL = {
    "encoder_layers": 2, "embed_dim": 12, "encoder_embed_dim": 16, "encoder_ffn_embed_dim": 24,
    "encoder_attention_heads": 4, "conv_pos": 8, "conv_pos_groups": 4,
}  # fmt: skip
ONE = Selector(
    "synthetic", {"machines": "fan", "ids": "1", "train_clips": "6", "test_clips": "4", "length_s": "1"}
)

FILE = PublishedWeights(name="small", licence="free", trained_on="nothing")


def registry() -> Registry:
    loaded = tiny.registry()
    if "beats_beam" not in loaded.names("method"):  # asdbench was installed before the plugin was there
        loaded.add(Plugin(name="encoders"), asdbench_plugins.encoders)
    return loaded


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "small.pt"
    torch.save(filled.checkpoint(filled.fill(Beats(BeatsShape(**SMALL))), SMALL), path)
    return path


def request(folder: Path, *, cache: Path, **options: str) -> Request:
    return tiny.request(folder, Selector("beats_beam", options), cache=cache, dataset=ONE)


@pytest.fixture(scope="module")
def done(weights: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunDocument]:
    folder = tmp_path_factory.mktemp("run")
    asked = request(folder, cache=cache, weights=str(weights), layer="1", gamma="2")
    known = {hashlib.sha256(weights.read_bytes()).hexdigest(): FILE}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("asdbench_plugins.encoders.WEIGHTS", known)
        return folder, run(asked, registry(), observer=tiny.Silent())


def test_the_record_says_what_a_known_file_was_trained_on(
    done: tuple[Path, RunDocument], weights: Path
) -> None:
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    [model] = [each for each in done[1].run.plugins if each.kind == "model"]
    assert model.weights == {digest: FILE}
    assert not any(each.weights for each in done[1].run.plugins if each.kind != "model")


def test_the_description_says_what_a_file_was_trained_on(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Selector("beats_beam", {"weights": str(weights), "layer": "1"})
    unknown = {"weights": "no published file that is known here; licence and training data unknown"}
    found = describe(registry(), asked, dataset=ONE)
    assert isinstance(found, MethodDescription)
    assert found.weights == unknown
    known = {hashlib.sha256(weights.read_bytes()).hexdigest(): FILE}
    monkeypatch.setattr("asdbench_plugins.encoders.WEIGHTS", known)
    found = describe(registry(), asked, dataset=ONE)
    assert isinstance(found, MethodDescription)
    assert found.weights == {"weights": f"{FILE.name}, licence {FILE.licence}, trained on {FILE.trained_on}"}


def test_it_runs_from_a_users_file_to_the_table(done: tuple[Path, RunDocument]) -> None:
    _, document = done
    [row] = [row for row in document.results if row.is_whole and row.metric == "auc"]
    assert row.value is not None
    assert 0 <= row.value <= 1
    assert "beats_beam" in tiny.table_of(document)


def test_each_band_has_a_memory_and_the_weights_stay_in_the_users_file(
    done: tuple[Path, RunDocument], weights: Path, cache: Path
) -> None:
    folder, _ = done
    asked = request(folder, cache=cache, weights=str(weights), layer="1", gamma="2")
    [case] = plan_run(asked, registry(), observer=tiny.Silent()).cases
    recipe = case.fit.recipe
    assert recipe.scorer.options["rescale"] == "varmin"
    assert (recipe.model.options["layer"], recipe.model.options["gamma"]) == (1, 2.0)
    [file] = [*folder.rglob("detector.safetensors")]
    state = safetensors.numpy.load_file(file)
    assert {name for name in state if name.endswith("/points")} == {f"scorer/0.{k}/points" for k in range(8)}
    assert state["scorer/0.0/points"].shape == (6, 16)
    assert {name for name in state if not name.startswith("scorer/")} == {"model.digest"}
    fit = Store(folder).fit_record(case.fit.model_id)
    assert fit is not None
    assert fit.parameters == 0
    assert fit.isolated != "none"  # it read the weights because the user named them
    assert np.any([rule.startswith("weights small.pt, SHA-256 ") for rule in fit.rules])


def test_a_second_run_finds_everything_and_a_layer_that_is_missing_is_named(
    done: tuple[Path, RunDocument], weights: Path, cache: Path
) -> None:
    folder, first = done
    again = run(
        request(folder, cache=cache, weights=str(weights), layer="1", gamma="2"),
        registry(),
        observer=tiny.Silent(),
    )
    assert [row.value for row in again.results] == [row.value for row in first.results]
    with pytest.raises(ConfigError, match=r"layer=9 does not exist in small\.pt: its last is 2"):
        run(request(folder, cache=cache, weights=str(weights), layer="9"), registry(), observer=tiny.Silent())


def test_it_needs_weights(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="beats_beam needs weights: give the path of a published BEATs checkpoint"
    ):
        plan_run(request(tmp_path, cache=cache), registry(), observer=tiny.Silent())


# Two channels.


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a miniature of DCASE 2026 under ``data``."""
    folder = tmp_path_factory.mktemp("two")
    write_2026(folder / "data")
    return folder


def of_two(folder: Path, cache: Path, *methods: Selector, **dataset: str) -> Request:
    where = Selector("dcase2026", {"machines": "ToyCarEmu", **dataset})
    return tiny.request(folder, *methods, cache=cache, dataset=where, allow_partial=True)


def test_on_two_channels_w1_comes_first_from_the_request_to_the_table(
    two: Path, weights: Path, cache: Path
) -> None:
    w1, near = (Selector("beats_beam", {"weights": str(weights), **more}) for more in ({}, {"channel": "0"}))
    residual = Selector("beats_residual", {"weights": str(weights), "layer": "1"})
    asked = of_two(two, cache, w1, near, residual)
    cases = plan_run(asked, registry(), observer=tiny.Silent()).cases
    assert [case.fit.recipe.common.channel for case in cases] == ["w1", 0, "all"]
    document = run(asked, registry(), observer=tiny.Silent())
    assert [job.message for job in document.failed] == []
    rows = [row for row in document.results if row.is_whole and row.metric == "omega"]
    assert [row.value is not None and 0 <= row.value <= 1 for row in rows] == [True] * 3
    assert "beats_beam" in tiny.table_of(document)
    ours, nears = (Store(two).scores(case.score.job_id) for case in cases[:2])
    assert not np.allclose(ours["score"], nears["score"])


@pytest.mark.parametrize(
    ("method", "match"),
    [
        ("beats_beam", r"channel=w1 subtracts the far channel .* but the items have one channel"),
        ("beats_residual", r"embeds two channels \(near and far\), but items have shape \[16000\]"),
    ],
)
def test_items_of_one_channel_are_refused_with_what_would_be_right(
    two: Path, weights: Path, cache: Path, method: str, match: str
) -> None:
    with pytest.raises(ConfigError, match=match):
        plan_run(
            of_two(two, cache, Selector(method, {"weights": str(weights)}), channel="0"),
            registry(),
            observer=tiny.Silent(),
        )


def test_the_residual_view_is_near_less_half_of_far_and_the_key_is_without_far(
    weights: Path, tmp_path: Path
) -> None:
    info = Info(item_shape=(8000, 2), sample_rate=16000, classes=("fan",))
    waves = np.random.default_rng(0).normal(size=(3, 8000, 2), scale=0.1).astype(np.float32)
    config = {"weights": str(weights), "layer": 1}
    both = ResidualBeats(ResidualConfig(**config), info)
    found = both.outputs(make_items(waves, info, folder=tmp_path / "both", claim=[0] * 3))
    mono = msgspec.structs.replace(info, item_shape=(8000,))
    near, far = (
        FrozenBeats(BeatsConfig(**config), mono)
        .outputs(make_items(waves[..., k], mono, folder=tmp_path / str(k), claim=[0] * 3))["embedding"]
        .reshape(3, 1, -1)
        for k in (0, 1)
    )
    torch.testing.assert_close(found["embedding"], near - 0.5 * far)
    assert found["key"].shape == near.shape
    assert torch.einsum("nsd,nsd->n", found["key"], far).abs().max() < 1e-3
