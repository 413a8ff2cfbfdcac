"""The approximated systems of Table 3: shapes, sizes, gradients, and a tiny training of each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from torch import nn
from torch.autograd import gradcheck

from asdbench import ConfigError, DataError, Info, Items, Selector, load_registry
from asdbench.detector.trainer import Trainer, TrainerSettings
from asdbench.recipes.resolve import resolve
from asdbench.runs.run import run
from asdbench.testing import make_items
from asdbench_plugins.contrastive_ensemble.compared import methods
from asdbench_plugins.contrastive_ensemble.compared.adversarial import (
    AdversarialClassifier,
    AdversarialConfig,
    Reversed,
    rise,
)
from asdbench_plugins.contrastive_ensemble.compared.classifier import ClaimClassifier
from asdbench_plugins.contrastive_ensemble.compared.complex_network import (
    ComplexConfig,
    ComplexConvolution,
    ComplexNetwork,
)
from asdbench_plugins.contrastive_ensemble.compared.incremental import (
    IncrementalClassifier,
    IncrementalConfig,
)

CLASSES = ("fan/00", "fan/02", "valve/00", "valve/02")
SMALL: dict[str, Any] = {"width": 2, "layers": 2, "epochs": 1, "batch_size": 4}
SAMPLES = 256


def info_of(classes: Sequence[str] = CLASSES) -> Info:
    return Info(item_shape=(SAMPLES,), sample_rate=16000, classes=tuple(classes), feature_shape=(16, 16))


def clips(folder: Path, *, domains: Sequence[str] = (), count: int = 12) -> Items:
    """Return clips of all classes in turn; their features are the samples as an image."""
    raw = np.random.default_rng(0).normal(size=(count, SAMPLES)).astype(np.float32)
    claim = [number % len(CLASSES) for number in range(count)]
    columns = {"domain": domains} if domains else {}
    return make_items(
        raw, info_of(), folder=folder / "pack", claim=claim, columns=columns,
        featurizer=lambda waves: waves.unflatten(1, (16, 16)),
    )  # fmt: skip


def built(kind: type[ClaimClassifier], **options: Any) -> ClaimClassifier:
    torch.manual_seed(0)
    more = {"n_fft": 64, "hop": 32} if kind is ComplexNetwork else {}
    return kind(kind.Config(**{**SMALL, **more, **options}), info_of())


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_full_sizes() -> None:
    info = Info(item_shape=(160_000,), sample_rate=16000, classes=CLASSES, feature_shape=(128, 313))
    # Convolutions 9 * (32 + 32 * 64 + 64 * 128 + 128 * 256), norms 2 * (1 + 480), head 4 * 257.
    spectrogram = 9 * (32 + 2_048 + 8_192 + 32_768) + 2 * 481 + 4 * 257
    assert parameters(IncrementalClassifier(IncrementalConfig(), info)) == spectrogram == 389_350
    adversary = 256 * 128 + 128 + 128 + 1
    assert parameters(AdversarialClassifier(AdversarialConfig(), info)) == spectrogram + adversary
    # Real and imaginary kernels, norms of both parts, a gate per layer.
    gates = sum(width * (width + 1) for width in (32, 64, 128, 256))
    complex_size = 2 * 9 * (32 + 2_048 + 8_192 + 32_768) + 4 * 480 + gates + 4 * 257
    assert parameters(ComplexNetwork(ComplexConfig(), info)) == complex_size == 865_188


@pytest.mark.parametrize("kind", [ComplexNetwork, IncrementalClassifier, AdversarialClassifier])
def test_one_epoch_trains_the_network_and_gives_a_strangeness_and_an_embedding(
    kind: type[ClaimClassifier], tmp_path: Path
) -> None:
    model = built(kind)
    before = {name: value.clone() for name, value in model.named_parameters()}
    items = clips(tmp_path, domains=["source", "target", "source"] * 4)
    trainer = Trainer(model, TrainerSettings(seed=0, folder=tmp_path / "work"))
    model.fit(items, items, trainer)
    unchanged = [name for name, value in model.named_parameters() if torch.equal(value, before[name])]
    assert unchanged == []
    model.eval()
    outputs = model.outputs(items)
    assert {name: tuple(value.shape) for name, value in outputs.items()} == {
        "claim_nll": (12, 1),
        "embedding": (12, 1, 4),
    }
    assert bool((outputs["claim_nll"] > 0).all())
    one = model.outputs(items[torch.tensor([3])])
    torch.testing.assert_close(one["claim_nll"][0], outputs["claim_nll"][3])


def test_the_convolution_is_that_of_complex_numbers() -> None:
    torch.manual_seed(0)
    layer = ComplexConvolution(2, 3)
    maps = torch.randn(1, 2, 2, 8, 8)
    weights = torch.complex(layer.real.weight, layer.imaginary.weight)
    expected = nn.functional.conv2d(torch.complex(maps[:, 0], maps[:, 1]), weights, stride=2, padding=1)
    found = layer(maps)
    torch.testing.assert_close(torch.complex(found[:, 0], found[:, 1]), expected)


def test_the_tasks_are_machine_types_or_single_ids_and_see_what_came_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = built(IncrementalClassifier, memory=1)
    assert isinstance(model, IncrementalClassifier)
    assert model.tasks == [[0, 1], [2, 3]]
    alone = IncrementalClassifier(IncrementalConfig(**SMALL), info_of(CLASSES[:2]))
    assert alone.tasks == [[0], [1]]
    seen: list[list[int]] = []
    stage = model.stage

    def watched(name: str, train: Items, **more: Any) -> Any:
        seen.append(sorted(train.claim.tolist()))
        return stage(name, train, **more)

    monkeypatch.setattr(model, "stage", watched)
    trainer = Trainer(model, TrainerSettings(seed=0, folder=tmp_path / "work"))
    model.fit(clips(tmp_path), clips(tmp_path / "held"), trainer)
    assert seen == [[0, 0, 0, 1, 1, 1], [0, 1, 2, 2, 2, 3, 3, 3]]
    assert [entry.stage for entry in trainer.log] == ["task-1", "task-2"]


def test_the_gradient_of_the_adversary_is_reversed_and_rises() -> None:
    values = torch.tensor([1.0, -2.0], dtype=torch.float64, requires_grad=True)
    (3 * Reversed.apply(values, 0.5)).sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == [-1.5, -1.5]
    assert not gradcheck(lambda x: Reversed.apply(x, 1.0), values, raise_exception=False)  # on purpose
    assert (rise(0.0), rise(1.0)) == (0.0, pytest.approx(0.9999, abs=1e-4))


def test_without_both_domains_there_is_no_adversary(tmp_path: Path) -> None:
    model = built(AdversarialClassifier)
    trainer = Trainer(model, TrainerSettings(seed=0, folder=tmp_path / "work"))
    model.fit(clips(tmp_path, domains=["source"] * 12), clips(tmp_path / "held"), trainer)
    assert trainer.rules == [
        "the training items are of one domain: the classifier is trained without an adversary"
    ]


def test_wrong_shapes_and_a_single_item_are_refused(tmp_path: Path) -> None:
    short = Info(item_shape=(32,), sample_rate=16000, classes=CLASSES, feature_shape=(16, 2))
    with pytest.raises(ConfigError, match=r"mono waves of at least n_fft=64 samples, .* shape \[32\]"):
        ComplexNetwork(ComplexConfig(n_fft=64), short)
    with pytest.raises(ConfigError, match=r"layers=4 needs features .* at least 16 each, found \[16, 2\]"):
        IncrementalClassifier(IncrementalConfig(), short)
    model = built(ComplexNetwork)
    trainer = Trainer(model, TrainerSettings(seed=0, folder=tmp_path / "work"))
    alone = clips(tmp_path, count=1)
    with pytest.raises(DataError, match="at least 2 training items, found 1"):
        model.fit(alone, alone, trainer)


def test_each_is_marked_approximate_and_reduced_on_synthetic_data() -> None:
    registry = load_registry()
    for method in methods():
        assert "not read here" in method.approximate
        recipe = resolve(registry, Selector(method.name), dataset="synthetic")
        assert (recipe.reduced, recipe.approximate) == (True, method.approximate)


@pytest.mark.slow
def test_each_runs_on_synthetic_data_and_the_record_calls_it_approximate(tmp_path: Path) -> None:
    chosen = [Selector(method.name, {"epochs": "1", "length_s": "0.96"}) for method in methods()]
    request = tiny.request(tmp_path, *chosen, cache=tmp_path / "cache")
    document = run(request, tiny.registry(), observer=tiny.Silent())
    assert document.failed == []
    assert all(summary.approximate and summary.reduced for summary in document.methods.values())
    assert all(values["auc"] is not None for values in document.summary.values())
