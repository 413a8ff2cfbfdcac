"""BEATs from the files that users have: good ones, and all that may be wrong with one."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import filled
import numpy as np
import pytest
import torch

from asdbench.core.info import Info
from asdbench.detector.items import Items
from asdbench.detector.trainer import Trainer, TrainerSettings
from asdbench.errors import ConfigError
from asdbench.testing import make_items
from asdbench_plugins.encoders import published
from asdbench_plugins.encoders.beats import Beats, BeatsShape, BeatsSpectrogram
from asdbench_plugins.encoders.checkpoint import load_beats
from asdbench_plugins.encoders.frozen import BeatsConfig, FrozenBeats
from asdbench_plugins.encoders.pooling import pooled

SMALL = {
    "encoder_layers": 2, "embed_dim": 12, "encoder_embed_dim": 16, "encoder_ffn_embed_dim": 24,
    "encoder_attention_heads": 4, "conv_pos": 8, "conv_pos_groups": 4,
}  # fmt: skip
SETTINGS = {"deep_norm": True, "layer_norm_first": False, "activation_fn": "gelu", "dropout": 0.1}
CFG = SMALL | SETTINGS
SAMPLES = 4000
WAVES = filled.wave(3 * SAMPLES).reshape(3, SAMPLES).astype(np.float32)
Content = dict[str, Any]


class Planted:
    """What would run if a pickle were trusted."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


@pytest.fixture(scope="module")
def network() -> Beats:
    made = filled.fill(Beats(BeatsShape(**SMALL))).eval()
    assert isinstance(made, Beats)
    return made


@pytest.fixture
def content(network: Beats) -> Content:
    return filled.checkpoint(network, CFG)


def saved(content: Any, path: Path) -> Path:
    torch.save(content, path)
    return path


def items_of(folder: Path, *, samples: int = SAMPLES, rate: int = 16000) -> Items:
    info = Info(item_shape=(samples,), sample_rate=rate, classes=("fan/00",), feature_shape=(samples,))
    return make_items(
        WAVES[:, :samples], info, folder=folder / "pack", claim=[0] * 3, featurizer=lambda raw: raw
    )


def beats(path: Path, items: Items, **options: Any) -> FrozenBeats:
    return FrozenBeats(BeatsConfig(weights=str(path), **options), items.info)


def fitted(model: FrozenBeats, items: Items, folder: Path) -> list[str]:
    trainer = Trainer(model, TrainerSettings(seed=0, folder=folder / "fit"))
    model.fit(items, items[:0], trainer)
    return trainer.rules


@pytest.mark.parametrize("layer", [0, 1, 2, None])
def test_the_embedding_is_a_layer_of_the_file_pooled_for_each_band(
    content: Content, network: Beats, tmp_path: Path, layer: int | None
) -> None:
    items = items_of(tmp_path)
    model = beats(saved(content, tmp_path / "small.pt"), items, layer=layer, gamma=2.0)
    with torch.no_grad():
        states = list(network.states(BeatsSpectrogram()(torch.from_numpy(WAVES))))
    found = model.outputs(items)["embedding"]
    assert found.shape == (3, 8, 16)
    expected = states[2 if layer is None else layer].unflatten(1, (1, 8))
    torch.testing.assert_close(found, pooled(expected, model.config), rtol=1e-4, atol=1e-5)


def test_an_item_has_the_same_embedding_in_any_batch(content: Content, tmp_path: Path) -> None:
    items = items_of(tmp_path)
    model = beats(saved(content, tmp_path / "small.pt"), items)
    alone = torch.cat([model.outputs(items[k : k + 1])["embedding"] for k in range(3)])
    torch.testing.assert_close(model.outputs(items)["embedding"], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pooling", ["rdp", "gwrp"])
def test_reduced_precision_is_for_the_network_alone(content: Content, tmp_path: Path, pooling: Any) -> None:
    items = items_of(tmp_path)
    model = beats(saved(content, tmp_path / "small.pt"), items, pooling=pooling)
    seen: list[torch.Tensor] = []
    model.spectrogram.register_forward_hook(lambda module, given, out: seen.append(out))
    full = model.outputs(items)["embedding"]
    with torch.autocast("cpu", torch.bfloat16):
        reduced = model.outputs(items)["embedding"]
    torch.testing.assert_close(seen[1], seen[0], rtol=0, atol=0)
    assert reduced.dtype == torch.float32
    torch.testing.assert_close(reduced, full, rtol=0, atol=0.1)
    assert not torch.equal(reduced, full)


def test_the_record_names_the_file_and_its_digest(content: Content, tmp_path: Path) -> None:
    path, items = saved(content, tmp_path / "small.pt"), items_of(tmp_path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    model = beats(path, items)
    assert fitted(model, items, tmp_path) == [
        f"weights small.pt, SHA-256 {digest}: not a published file that is known here"
    ]
    assert list(model.state_dict()) == ["digest"]
    assert model.config.weights_sha256 == digest
    assert published.described("/x/BEATs_iter3.pt", published.BEATS["BEATs_iter3.pt"]) == (
        "weights BEATs_iter3.pt, SHA-256 8d1b234032a9ccff353612dc6c20982346dc2968b205b79d97303eb5e77bfb34: published as "
        "BEATs_iter3.pt, licence MIT"
    )


def test_the_classifier_of_a_fine_tuned_file_is_named_and_not_used(network: Beats, tmp_path: Path) -> None:
    head = {"predictor.weight": torch.zeros(5, 16), "predictor.bias": torch.zeros(5)}
    tuned = filled.checkpoint(network, CFG | {"finetuned_model": True, "predictor_class": 5}, **head)
    items = items_of(tmp_path)
    model = beats(saved(tuned | {"label_dict": {0: "/m/09x0r"}}, tmp_path / "tuned.pt"), items)
    assert fitted(model, items, tmp_path)[1:] == [
        "the weights were fine-tuned; their classifier of 5 classes is not used"
    ]
    plain = beats(saved(filled.checkpoint(network, CFG), tmp_path / "plain.pt"), items)
    torch.testing.assert_close(model.outputs(items)["embedding"], plain.outputs(items)["embedding"])


def test_another_file_is_refused_after_the_fit(content: Content, tmp_path: Path) -> None:
    path, items = saved(content, tmp_path / "small.pt"), items_of(tmp_path)
    model = beats(path, items)
    fitted(model, items, tmp_path)
    saved(content | {"note": "other bytes"}, path)
    other = beats(path, items)
    other.load_state_dict(model.state_dict())
    with pytest.raises(ConfigError, match="is not the file that this model was fitted with"):
        other.outputs(items)


def test_a_file_with_a_published_name_must_be_that_file(content: Content, tmp_path: Path) -> None:
    path = saved(content, tmp_path / "BEATs_iter3.pt")
    with pytest.raises(
        ConfigError, match=r"name of a published file, but SHA-256 \w{64}, not 8d1b2340.*rename"
    ):
        BeatsConfig(weights=str(path))
    with pytest.raises(ConfigError, match=r"has SHA-256 .*, not 00: give the original file"):
        BeatsConfig(weights=str(path), weights_sha256="00")


def test_a_published_file_is_known_by_its_content(
    content: Content, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(content, tmp_path / "BEATs_small.pt")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(published, "BEATS", {"BEATs_small.pt": digest})
    assert BeatsConfig(weights=str(path)).weights_sha256 == digest
    renamed = path.rename(tmp_path / "mine.pt")
    assert published.described(str(renamed), digest).endswith("published as BEATs_small.pt, licence MIT")


def test_weights_are_required(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="weights='' is not a file; give the path of a published BEATs checkpoint"
    ):
        FrozenBeats(BeatsConfig(), items_of(tmp_path).info)
    with pytest.raises(ConfigError, match=r"nowhere\.pt' is not a file; give the path"):
        BeatsConfig(weights=str(tmp_path / "nowhere.pt"))


def test_a_file_with_code_is_refused_and_nothing_runs(content: Content, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    path = saved(content | {"label_dict": Planted(victim)}, tmp_path / "code.pt")
    with pytest.raises(ConfigError, match=r"code\.pt needs code to be read, and none of it was executed"):
        load_beats(path)
    assert not victim.exists()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_a_truncated_file_is_refused_with_its_size(
    content: Content, tmp_path: Path, share: float, zipped: bool
) -> None:
    path = tmp_path / "cut.pt"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    size = int(share * len(whole))
    path.write_bytes(whole[:size])
    with pytest.raises(
        ConfigError, match=rf"\({size} bytes\) is damaged, for example truncated: download it again"
    ):
        load_beats(path)


def test_a_file_in_the_older_format_is_read(content: Content, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    found = load_beats(tmp_path / "old.pt").network.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in content["model"].items())


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (b"", "is empty, so it is not a file of torch.save"),
        (b"<html>", r"starts with b'<htm', so it is not a file of torch.save; give the path of a published"),
        (b"cos\nsystem\n", r"starts with b'cos\\n', so it is not"),
        (b"\x80\x02cos\nsystem\n(S'true'\ntR.", "needs code to be read, and none of it was executed"),
        (b"\x80\x02an encoder", "is damaged, for example truncated"),
    ],
)
def test_other_bytes_are_refused(written: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    path.write_bytes(written)
    with pytest.raises(ConfigError, match=message):
        load_beats(path)


def test_a_torchscript_archive_is_sent_to_the_method_that_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "encoder.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("encoder/code/__torch__.py", "")
    with pytest.raises(
        ConfigError, match=r"is a TorchScript archive, which encoder_knn\[encoder=...\] reads"
    ):
        load_beats(path)


def _without(name: str) -> Callable[[Content], Any]:
    return lambda content: (
        content | {"model": {key: value for key, value in content["model"].items() if key != name}}
    )


def _with_cfg(**changed: Any) -> Callable[[Content], Any]:
    return lambda content: content | {"cfg": content["cfg"] | changed}


def _with_tensor(name: str, value: Any) -> Callable[[Content], Any]:
    return lambda content: content | {"model": content["model"] | {name: value}}


BROKEN: dict[str, tuple[Callable[[Content], Any], str]] = {
    "a bare state dict": (
        lambda content: content["model"],
        "is not a BEATs checkpoint, which has cfg and model: it has encoder.layer_norm.bias",
    ),
    "no dict": (lambda content: [1, 2], "holds a list, not a dict; give the path of a published BEATs checkpoint"),
    "an empty dict": (lambda content: {}, "it has nothing"),
    "another network": (
        lambda content: content | {"model": {"blocks.0.norm1.weight": torch.zeros(2)}},
        "lacks 50 tensors .first: encoder.layer_norm.bias.; has unknown 1 tensor .first: blocks.0.norm1.weight.",
    ),
    "a tensor less": (_without("layer_norm.bias"), "lacks 1 tensor .first: layer_norm.bias."),
    "another size": (
        _with_cfg(encoder_ffn_embed_dim=32),
        r"encoder\.layers\.0\.fc1\.weight is \[24, 16\], its cfg describes \[32, 16\]: the file is of another size",
    ),
    "fewer layers": (_with_cfg(encoder_layers=1), "has unknown 20 tensors .first: encoder.layers.1"),
    "a number as a tensor": (_with_tensor("layer_norm.bias", 3), r"layer_norm\.bias is int, its cfg describes \[12\]"),
    "tables that differ": (
        _with_tensor("encoder.layers.1.self_attn.relative_attention_bias.weight", torch.ones(320, 4)),
        r"layers\.1\.self_attn\.relative_attention_bias\.weight differs from encoder\.layers\.0.*share one table",
    ),
    "another kind of network": (
        _with_cfg(layer_norm_first=True), "its cfg has layer_norm_first=True; BEATs has layer_norm_first=False",
    ),
    "a text as a size": (_with_cfg(encoder_layers="two"), "its cfg is not that of BEATs: Expected `int`, got `str`"),
    "heads that do not divide the width": (
        _with_cfg(encoder_attention_heads=5),
        "does not divide encoder_embed_dim by encoder_attention_heads: 16 by 5",
    ),
    "a size of zero": (_with_cfg(input_patch_size=0), "its cfg is not that of BEATs: Expected `int` >= 1"),
    "a billion layers": (_with_cfg(encoder_layers=10**9), "its cfg is not that of BEATs: Expected `int` <= 256"),
    "a width below zero": (_with_cfg(embed_dim=-1), "its cfg is not that of BEATs: Expected `int` >= 1"),
    "no distance to bucket": (_with_cfg(max_distance=80), "num_buckets=320 and max_distance=80, but the distance must be"),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_files_of_other_content_are_refused(content: Content, tmp_path: Path, what: str) -> None:
    change, message = BROKEN[what]
    with pytest.raises(ConfigError, match=message):
        load_beats(saved(change(content), tmp_path / "broken.pt"))


def test_items_that_do_not_fit_are_refused(content: Content, tmp_path: Path) -> None:
    path = saved(content, tmp_path / "small.pt")
    with pytest.raises(
        ConfigError, match=r"items have 2799 samples, fewer than the 2800 \(0\.175 s\) of one patch"
    ):
        beats(path, items_of(tmp_path, samples=2799))
    assert beats(path, items_of(tmp_path / "least", samples=2800)).outputs(
        items_of(tmp_path / "again", samples=2800)
    )["embedding"].shape == (3, 8, 16)
    with pytest.raises(ConfigError, match="BEATs reads waves at 16000 Hz, but items have 8000 Hz"):
        beats(path, items_of(tmp_path / "slow", rate=8000))
    with pytest.raises(ConfigError, match=r"layer=3 does not exist in small\.pt: its last is 2"):
        beats(path, items_of(tmp_path / "layers"), layer=3)
    stereo = Info(item_shape=(SAMPLES, 2), sample_rate=16000, classes=("fan/00",), feature_shape=(SAMPLES, 2))
    with pytest.raises(ConfigError, match=r"BEATs reads mono waves, but items have shape \[4000, 2\]"):
        FrozenBeats(BeatsConfig(weights=str(path)), stereo)
