"""EAT, CED and Dasheng from the files that users have, and their methods on generated sounds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import filled
import numpy as np
import pytest
import tiny
import torch
from torch import Tensor

import asdbench_plugins.encoders
from asdbench import ConfigError, Registry, Selector
from asdbench.core.info import Info
from asdbench.detector.items import Items
from asdbench.detector.trainer import Trainer, TrainerSettings
from asdbench.plugin.registry import Plugin
from asdbench.results.store import Store
from asdbench.runs.plan import plan_run
from asdbench.runs.run import run
from asdbench.testing import make_items
from asdbench_plugins.encoders.decibels import MelDecibels, MelShape, MelTransformer
from asdbench_plugins.encoders.eat import Eat, EatShape, EatSpectrogram
from asdbench_plugins.encoders.frozen import EncoderConfig, FrozenTokens
from asdbench_plugins.encoders.pooling import pooled
from asdbench_plugins.encoders.vits import (
    CedConfig,
    DashengConfig,
    EatConfig,
    FrozenCed,
    FrozenDasheng,
    FrozenEat,
)

SAMPLES = 5200
WAVES = filled.wave(2 * SAMPLES).reshape(2, SAMPLES).astype(np.float32)
Tensors = dict[str, Any]
FAMILIES: dict[str, tuple[type[FrozenTokens], type[EncoderConfig]]] = {
    "eat": (FrozenEat, EatConfig), "ced": (FrozenCed, CedConfig), "dasheng": (FrozenDasheng, DashengConfig),
}  # fmt: skip


class Planted:
    """What would run if a pickle were trusted."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


def _network(family: str) -> Any:
    if family == "eat":
        return filled.fill(Eat(EatShape(width=64, depth=2))).eval()
    model: Any = FAMILIES[family][0]
    return filled.fill(
        MelTransformer(MelShape(width=64, depth=2, patch=model.patch, frames=model.frames))
    ).eval()


@pytest.fixture(scope="module")
def networks() -> dict[str, Any]:
    return {family: _network(family) for family in FAMILIES}


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def saved(content: Any, path: Path) -> Path:
    torch.save(content, path)
    return path


def items_of(folder: Path, *, samples: int = SAMPLES, rate: int = 16000) -> Items:
    info = Info(item_shape=(samples,), sample_rate=rate, classes=("fan/00",), feature_shape=(samples,))
    waves = np.resize(WAVES, (2, samples))
    return make_items(waves, info, folder=folder / "pack", claim=[0] * 2, featurizer=lambda raw: raw)


def model_of(family: str, path: Path, items: Items, **options: Any) -> FrozenTokens:
    model, config = FAMILIES[family]
    return model(config(weights=str(path), **options), items.info)


def rules_of(model: FrozenTokens, items: Items, folder: Path) -> list[str]:
    trainer = Trainer(model, TrainerSettings(seed=0, folder=folder / "fit"))
    model.fit(items, items[:0], trainer)
    return trainer.rules


def expected_grid(family: str, network: Any, layer: int) -> Tensor:
    """Return the tokens ``[B, T, bands, d]`` straight from the network."""
    waves = torch.from_numpy(WAVES)
    with torch.no_grad():
        if family == "eat":  # 31 frames, padded to 32
            return list(network.states(EatSpectrogram()(waves)))[layer][:, 1:].reshape(2, 2, 8, 64)
        [(piece, steps)] = network.pieces(MelDecibels()(waves))
        tokens = list(network.states(piece))[layer]
    return tokens.reshape(2, -1, steps, 64).transpose(1, 2)


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_the_embedding_is_a_layer_of_the_file_pooled_for_each_band(
    family: str, networks: dict[str, Any], tmp_path: Path, layer: int
) -> None:
    items, path = items_of(tmp_path), saved(networks[family].state_dict(), tmp_path / "small.pt")
    bands = {"eat": 8, "ced": 4, "dasheng": 1}[family]
    model = model_of(family, path, items, layer=layer, gamma=2.0)
    found = model.outputs(items)["embedding"]
    assert found.shape == (2, bands, 64)
    grid = expected_grid(family, networks[family], layer)
    torch.testing.assert_close(found, pooled(grid, model.config), rtol=1e-4, atol=1e-5)
    alone = torch.cat([model.outputs(items[k : k + 1])["embedding"] for k in range(2)])
    torch.testing.assert_close(found, alone, rtol=1e-4, atol=1e-5)
    joint = model_of(family, path, items, bands="joint", pooling="mean").outputs(items)["embedding"]
    last = expected_grid(family, networks[family], 2)
    torch.testing.assert_close(joint[:, 0], last.mean(dim=(1, 2)), rtol=1e-4, atol=1e-5)


def test_the_token_of_the_clip_is_not_pooled(networks: dict[str, Any], tmp_path: Path) -> None:
    items, path = items_of(tmp_path), saved(networks["eat"].state_dict(), tmp_path / "eat.pt")
    found = model_of("eat", path, items, tokens="clip").outputs(items)["embedding"]
    with torch.no_grad():
        last = list(networks["eat"].states(EatSpectrogram()(torch.from_numpy(WAVES))))[-1]
    torch.testing.assert_close(found, last[:, :1], rtol=1e-4, atol=1e-5)


def fairseq(tensors: Tensors) -> Tensors:
    """Return the tensors of EAT under the names of a pre-training file, with what such a file has besides."""
    inside = "modality_encoders.IMAGE."
    renamed = {
        name
        if name.startswith("blocks.")
        else inside + name.replace("pre_norm", "context_encoder.norm"): tensor
        for name, tensor in tensors.items()
    }
    renamed[f"{inside}positional_encoder.pos_embed"] = renamed.pop(
        f"{inside}fixed_positional_encoder.positions"
    )
    more = {f"{inside}encoder_mask": torch.zeros(1), f"{inside}decoder.proj.weight": torch.zeros(2, 2)}
    return renamed | more


def test_both_forms_of_names_of_eat_are_read(networks: dict[str, Any], tmp_path: Path) -> None:
    tensors, items = dict(networks["eat"].state_dict()), items_of(tmp_path)
    plain = model_of("eat", saved(tensors, tmp_path / "plain.pt"), items)
    content = {"cfg": {"model": {"depth": 2}}, "model": fairseq(tensors)}
    other = model_of("eat", saved(content, tmp_path / "fairseq.pt"), items)
    del tensors["fixed_positional_encoder.positions"]
    wrapped = {f"model.{name}": tensor for name, tensor in tensors.items()}
    third = model_of("eat", saved(wrapped, tmp_path / "wrapped.pt"), items)
    expected = plain.outputs(items)["embedding"]
    assert torch.equal(other.outputs(items)["embedding"], expected)
    assert torch.equal(third.outputs(items)["embedding"], expected)
    assert rules_of(other, items, tmp_path)[1:] == [
        "EAT and SSLAM are published under MIT, trained on AudioSet",
        "2 entries of the weights not used (first: modality_encoders.IMAGE.decoder.proj.weight), for example a head or a "
        "decoder",
    ]


@pytest.mark.parametrize("family", ["ced", "dasheng"])
def test_head_and_front_end_of_a_file_are_not_used(
    family: str, networks: dict[str, Any], tmp_path: Path
) -> None:
    tensors, items = networks[family].state_dict(), items_of(tmp_path)
    more = {
        "outputlayer.1.weight": torch.zeros(527, 64), "front_end.0.spectrogram.window": torch.zeros(512),
        "config": {"embed_dim": 64},
    }  # fmt: skip
    plain = {name: tensor for name, tensor in tensors.items() if not name.endswith("num_batches_tracked")}
    path = saved(
        {"model": plain | {"init_bn.1.num_batches_tracked": torch.tensor(7)} | more}, tmp_path / "full.pt"
    )
    full, bare = model_of(family, path, items), model_of(family, saved(plain, tmp_path / "bare.pt"), items)
    assert torch.equal(full.outputs(items)["embedding"], bare.outputs(items)["embedding"])
    _, origin, unused = rules_of(full, items, tmp_path)
    assert " trained on AudioSet" in origin
    assert unused.startswith("3 entries of the weights not used (first: config)")


def _without(name: str) -> Callable[[Tensors], Any]:
    return lambda tensors: {key: value for key, value in tensors.items() if key != name}


def _with(name: str, value: Any) -> Callable[[Tensors], Any]:
    return lambda tensors: tensors | {name: value}


BROKEN: dict[str, tuple[Callable[[Tensors], Any], str]] = {
    "no dict": (lambda tensors: [1, 2], "holds a list, not a dict; give the path of a published checkpoint of"),
    "a model that is no dict": (lambda tensors: {"model": 3}, "its model is a int, not a dict"),
    "another network": (
        lambda tensors: {"encoder.layers.0.fc1.weight": torch.zeros(2, 2)},
        r"is not a checkpoint of (EAT|CED|Dasheng): it lacks the tensor (extra_tokens|norm\.weight); give",
    ),
    "a tensor less": (_without("blocks.1.norm2.bias"), r"lacks 1 tensor .first: blocks\.1\.norm2\.bias."),
    "a layer less": (_without("blocks.0.attn.qkv.weight"), r"of width 64 and 2 layers: lacks 1 tensor"),
    "an unknown tensor": (_with("blocks.0.gate", torch.zeros(1)), r"has unknown 1 tensor .first: blocks\.0\.gate."),
    "another size": (
        _with("blocks.0.mlp.fc1.weight", torch.zeros(128, 64)),
        r"fc1\.weight is \[128, 64\], an? \w+ of width 64 and 2 layers has \[256, 64\]: the file is of another size",
    ),
    "a number as a tensor": (_with("blocks.0.norm1.bias", 3), r"norm1\.bias is int, an? \w+ of width 64 .* has \[64\]"),
    "a width that heads do not divide": (
        lambda tensors: tensors | {"extra_tokens": torch.zeros(1, 1, 60), "norm.weight": torch.zeros(60)},
        r"its (extra_tokens|norm\.weight) has 60 numbers, no multiple of 64",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_files_of_other_content_are_refused(
    family: str, networks: dict[str, Any], tmp_path: Path, what: str
) -> None:
    change, message = BROKEN[what]
    path = saved(change(dict(networks[family].state_dict())), tmp_path / "broken.pt")
    with pytest.raises(ConfigError, match=message):
        model_of(family, path, items_of(tmp_path))


def test_truncated_files_and_code_are_refused(family: str, networks: dict[str, Any], tmp_path: Path) -> None:
    items, victim = items_of(tmp_path), tmp_path / "victim"
    whole = saved(networks[family].state_dict(), tmp_path / "whole.pt").read_bytes()
    cut = tmp_path / "cut.pt"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConfigError, match=r"bytes\) is damaged, for example truncated: download it again"):
        model_of(family, cut, items)
    code = saved({"model": networks[family].state_dict(), "args": Planted(victim)}, tmp_path / "code.pt")
    with pytest.raises(ConfigError, match=r"code\.pt needs code to be read, and none of it was executed"):
        model_of(family, code, items)
    assert not victim.exists()
    with pytest.raises(
        ConfigError, match=r"nowhere\.pt' is not a file; give the path of a published checkpoint"
    ):
        model_of(family, tmp_path / "nowhere.pt", items)


LEAST = {"eat": (2800, "0.175"), "ced": (2400, "0.15"), "dasheng": (480, "0.03")}


def test_items_that_do_not_fit_are_refused(family: str, networks: dict[str, Any], tmp_path: Path) -> None:
    path = saved(networks[family].state_dict(), tmp_path / "small.pt")
    title, (least, seconds) = FAMILIES[family][0].title, LEAST[family]
    with pytest.raises(ConfigError, match=rf"fewer than the {least} \({seconds} s\) of one patch of {title}"):
        model_of(family, path, items_of(tmp_path, samples=least - 1))
    items = items_of(tmp_path / "least", samples=least)
    assert model_of(family, path, items, bands="joint").outputs(items)["embedding"].shape == (2, 1, 64)
    with pytest.raises(ConfigError, match=f"{title} reads waves at 16000 Hz, but items have 8000 Hz"):
        model_of(family, path, items_of(tmp_path / "slow", rate=8000))
    with pytest.raises(ConfigError, match=r"layer=3 does not exist in small\.pt: its last is 2"):
        model_of(family, path, items, layer=3)


def test_eat_has_no_positions_for_minutes(networks: dict[str, Any], tmp_path: Path) -> None:
    path = saved(networks["eat"].state_dict(), tmp_path / "eat.pt")
    long = items_of(tmp_path, samples=16000 * 124)
    with pytest.raises(
        ConfigError, match=r"items have 12416 frames, more than the 12288 .*: set frames to cut"
    ):
        model_of("eat", path, long)
    assert model_of("eat", path, long, frames=32).outputs(long)["embedding"].shape == (2, 8, 64)


def test_long_items_of_ced_are_embedded_in_pieces(networks: dict[str, Any], tmp_path: Path) -> None:
    path = saved(networks["ced"].state_dict(), tmp_path / "ced.pt")
    items = items_of(tmp_path, samples=16000 * 12)
    model = model_of("ced", path, items)
    with torch.no_grad():
        grid = model.grid(model.spectrogram(items.raw()), layer=2)
    assert grid.shape == (2, 63 + 11, 4, 64)
    assert torch.isfinite(model.outputs(items)["embedding"]).all()


def registry() -> Registry:
    loaded = tiny.registry()
    if "eat_knn" not in loaded.names("method"):  # asdbench was installed before the plugin was there
        loaded.add(Plugin(name="encoders"), asdbench_plugins.encoders)
    return loaded


def test_a_method_runs_from_a_users_file_to_the_table(networks: dict[str, Any], tmp_path: Path) -> None:
    path = saved(networks["ced"].state_dict(), tmp_path / "ced.pt")
    machine = {"machines": "fan", "ids": "1", "train_clips": "6", "test_clips": "4", "length_s": "1"}
    asked = tiny.request(
        tmp_path / "out", Selector("ced_knn", {"weights": str(path)}), cache=tmp_path / "cache",
        dataset=Selector("synthetic", machine),
    )  # fmt: skip
    document = run(asked, registry(), observer=tiny.Silent())
    [row] = [row for row in document.results if row.is_whole and row.metric == "auc"]
    assert row.value is not None
    assert 0 <= row.value <= 1
    [case] = plan_run(asked, registry(), observer=tiny.Silent()).cases
    fit = Store(tmp_path / "out").fit_record(case.fit.model_id)
    assert fit is not None
    assert fit.parameters == 0
    assert fit.rules[0].startswith("weights ced.pt, SHA-256 ")
    assert fit.rules[1].startswith("CED is published with code under GPL-3")
    assert case.fit.recipe.scorer.options["rescale"] == "density"


@pytest.mark.parametrize("method", ["eat_knn", "ced_knn", "dasheng_knn"])
def test_each_method_needs_weights(method: str, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=f"{method} needs weights: give the path of a published checkpoint of"
    ):
        plan_run(tiny.request(tmp_path, Selector(method), cache=tmp_path), registry(), observer=tiny.Silent())
