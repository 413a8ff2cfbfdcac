"""Every model on another device than the CPU: on a GPU (``-m gpu``), and without one.

Without one, tensors are on the CPU and report another device. Such a tensor refuses what a GPU's would: a CPU tensor
beside it, numpy, a CPU generator. It computes everything else on the CPU, so a fit runs unchanged. The device that it
reports is ``meta``, the only other one that every torch has.
"""

from __future__ import annotations

import contextlib
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from asdbench import Info, Items, Row, Selector, Trainer, config_of, load_registry
from asdbench.data.pack import Pack, build_pack
from asdbench.detector.detector import Detector
from asdbench.detector.items import ItemSource, gather
from asdbench.detector.size import size_of
from asdbench.detector.trainer import Precision, TrainerSettings
from asdbench.messages.progress import ignore_progress
from asdbench.recipes.resolve import resolve
from asdbench.runs.describe import expected_info
from asdbench.runs.request import open_dataset

# load_state_dict takes the device at its word; the copy that it calls without effect has one here.
pytestmark = pytest.mark.filterwarnings("ignore:for .* a no-op")

DEVICE = "meta"
REGISTRY = load_registry()
NOT_TRIED = {"frozen_encoder"}  # it runs in TorchScript's own interpreter, which knows no such tensors
MODELS = [name for name in REGISTRY.names("model") if name not in NOT_TRIED]
FAST = {"logmel_knn": "statistics"}  # of several methods with one model, not the first by name
SMALL = dict.fromkeys(
    ("epochs", "pretrain_epochs", "finetune_epochs", "time_epochs", "fusion_epochs", "checkpoint_every"), "1"
) | {
    "iterations": "3", "batch_size": "8", "pretrain_batch": "8", "finetune_batch": "8", "time_batch": "8",
    "fusion_batch": "8", "width": "0.25", "alpha": "0.2", "segments": "2", "trees": "5", "components": "2", "steps": "2",
    "mixup_schedule": "constant", "hidden": "16", "embedding_dims": "256", "projector_dims": "32", "predictor_dims": "8",
    "heads": "2",
}  # fmt: skip
SAMPLES = 16384
OWN, FOREIGN = 12, 4
aten = torch.ops.aten
ANY_DEVICES = {aten.copy_.default, aten._to_copy.default}
INDEXING = {aten.index.Tensor, aten.index_put_.default, aten._index_put_impl_.default}


class Elsewhere(Tensor):
    """A tensor that keeps its values in ``held``, on the CPU, and reports another device."""

    held: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, held: Tensor) -> Elsewhere:
        made: Elsewhere = torch.Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=torch.device(DEVICE),
        )
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        return _computed(func, args, kwargs or {})

    def tolist(self) -> Any:
        return self.held.tolist()


class Pretending(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Makes tensors that are asked for on the other device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(func, args, kwargs or {})


class FromNumbers(TorchFunctionMode):
    """``torch.tensor`` with a device goes past dispatch modes."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.tensor and (device := kwargs.pop("device", None)) is not None:
            return func(*args, **kwargs).to(device)
        return func(*args, **kwargs)


def _computed(func: Any, args: Any, kwargs: Mapping[str, Any]) -> Any:
    given: list[Any] = torch.utils._pytree.tree_leaves((args, kwargs))
    elsewhere = [value for value in given if isinstance(value, Elsewhere)]
    wanted = torch.device(kwargs["device"]).type if kwargs.get("device") is not None else None
    there = wanted == DEVICE if wanted else bool(elsewhere)
    if func is aten.copy_.default:
        there = isinstance(args[0], Elsewhere)
    if elsewhere:
        _check_devices(func, args, given)
    if there and any(isinstance(value, torch.Generator) for value in given):
        raise RuntimeError(f"{func}: a generator of the CPU cannot draw for another device")
    known = {id(value.held): value for value in elsewhere}  # what is changed in place stays itself
    args, kwargs = tree_map(
        lambda value: value.held if isinstance(value, Elsewhere) else value, (args, kwargs)
    )
    if wanted == DEVICE:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    found = func(*args, **kwargs)

    def moved(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        return known[id(value)] if id(value) in known else Elsewhere(value)

    return tree_map(moved, found) if there else found


def _check_devices(func: Any, args: Any, given: Sequence[Any]) -> None:
    here = [value for value in given if isinstance(value, Tensor) and not isinstance(value, Elsewhere)]
    if func in INDEXING and isinstance(args[0], Elsewhere):
        here = [value for value in args[2:3] if not isinstance(value, Elsewhere) and value.ndim]
    elif torch.Tag.pointwise in func.tags:
        here = [value for value in here if value.ndim]  # single numbers may be of the CPU
    if here and func not in ANY_DEVICES:
        shapes = [list(value.shape) for value in here]
        raise RuntimeError(f"{func}: tensors {shapes} of the CPU beside some of another device")


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Name of the device; while it is there, it holds whatever it is given."""
    autocast = torch.autocast

    def cast(kind: str, *args: Any, **kwargs: Any) -> contextlib.AbstractContextManager[Any]:
        return contextlib.nullcontext() if kind == DEVICE else autocast(kind, *args, **kwargs)

    monkeypatch.setattr(torch, "autocast", cast)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10**12, 10**12))
    with Pretending(), FromNumbers():  # type: ignore[no-untyped-call]
        yield DEVICE


def detector_on(device: str, model: str, *, precision: Precision = "fp32") -> Detector:
    """Return a small detector of a method that has the model."""
    methods = [name for name in REGISTRY.names("method") if REGISTRY.method(name).model == model]
    name = next((name for name in methods if FAST.get(name) == model), methods[0])
    parts = {part: getattr(REGISTRY.method(name), part) for part in ("featurizer", "model")}
    known = set(config_of(REGISTRY.build("model", model)).__struct_fields__)
    options = {f"model.{key}": value for key, value in SMALL.items() if key in known}
    if "n_mels" in config_of(REGISTRY.build("featurizer", parts["featurizer"])).__struct_fields__:
        options["featurizer.n_mels"] = "64"
    if typing.get_type_hints(config_of(REGISTRY.build("model", model))).get("width") is int:
        options["model.width"] = "4"  # channels, and not a multiple of the published ones
    options["precision"] = precision
    generated = (
        each for each in REGISTRY.method(name).on if open_dataset(REGISTRY, Selector(each)).card.generated
    )
    dataset = next(generated, "synthetic")
    recipe = resolve(REGISTRY, Selector(name, options), dataset=dataset)
    info = msgspec.structs.replace(
        expected_info(recipe, open_dataset(REGISTRY, Selector(dataset))), device=device
    )
    if info.sample_rate is not None:
        info = msgspec.structs.replace(info, item_shape=(SAMPLES,))
    torch.manual_seed(0)
    return Detector(recipe, info)


def source_of(samples: Sequence[np.ndarray[Any, Any]], info: Info, folder: Path) -> ItemSource:
    """Return one item of each of ``samples``, which may differ in type and length."""
    sources = [PurePosixPath(str(number)) for number in range(len(samples))]
    rows = [Row(source=source, columns={}, label=None) for source in sources]
    folder.mkdir()
    build_pack(
        rows,
        np.arange(len(rows)),
        read=lambda source: samples[int(str(source))],
        folder=folder,
        on_progress=ignore_progress,
    )
    length = min(len(each) for each in samples)
    return ItemSource(pack=Pack(folder), ids=np.arange(len(rows)), info=info, length=length)


def items_of(detector: Detector, folder: Path) -> Callable[[Sequence[int]], Items]:
    """Return what gives some of the items by their numbers: the unit's own, then foreign ones."""
    info = detector.info
    noise = np.random.default_rng(0).normal(size=(OWN + FOREIGN, *info.item_shape))
    samples = (
        (0.3 * noise).astype(np.float32) if info.sample_rate is None else (3000 * noise).astype(np.int16)
    )
    source = source_of(list(samples), info, folder)
    source.featurizer, source.feature_bytes = detector.featurizer, 10**9
    if info.device != "cpu":
        source.keep_on_device_if_it_fits()

    def chosen(numbers: Sequence[int]) -> Items:
        claim = [number % min(3, len(info.classes)) if number < OWN else -1 for number in numbers]
        return Items(
            source,
            rows=np.array(numbers),
            claim=torch.tensor(claim, device=info.device),
            own=torch.tensor([number < OWN for number in numbers], device=info.device),
            target=torch.tensor(
                [number % max(1, len(info.targets)) for number in numbers], device=info.device
            ),
            columns={"domain": np.array(["source" if number % 3 else "target" for number in numbers])},
        )

    return chosen


def train_and_score(device: str, model: str, folder: Path, *, precision: Precision = "fp32") -> None:
    """Take a model from its first step to a score of what was saved, checking where its tensors are."""
    detector = detector_on(device, model, precision=precision)
    items = items_of(detector, folder / "pack")
    foreign = [12, 13, 14] if detector.recipe.auxiliary else []
    settings = TrainerSettings(seed=1, folder=folder / "work", device=device, precision=precision)
    detector.fit(items([*range(9), *foreign]), items([9, 10, *foreign[:1]]), Trainer(detector.root, settings))
    assert {value.device.type for value in detector.root.state_dict().values()} <= {device}
    detector.fit_scorer(items(range(9)))
    scores = detector.score(items([9, 10, 11]))
    assert np.isfinite(scores).all()
    detector.save(folder / "detector.safetensors")
    detector.load(folder / "detector.safetensors")
    np.testing.assert_allclose(detector.score(items([9, 10, 11])), scores, rtol=1e-6)
    assert size_of(detector).feature_shape == detector.info.feature_shape


@pytest.mark.parametrize("model", MODELS)
def test_a_model_trains_and_scores_on_another_device(model: str, elsewhere: str, tmp_path: Path) -> None:
    train_and_score(elsewhere, model, tmp_path)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("model", MODELS)
def test_a_model_trains_and_scores_on_a_gpu(model: str, precision: Precision, tmp_path: Path) -> None:
    train_and_score("cuda", model, tmp_path, precision=precision)


def test_a_buffer_that_was_left_behind_is_found(elsewhere: str, tmp_path: Path) -> None:
    detector = detector_on(elsewhere, "statistics")
    items = items_of(detector, tmp_path / "pack")
    detector.model.register_buffer("centre", detector.model.state_dict()["centre"].cpu())
    with pytest.raises(RuntimeError, match="of the CPU beside some of another device"):
        detector.outputs(items([0, 1]))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda there: there.numpy(), "numpy"),
        (lambda there: there + torch.ones(3), "of the CPU beside"),
        (lambda there: torch.ones(3)[there.long()], "of the CPU beside"),
        (lambda there: torch.stack([there.sum(), torch.ones(())]), "of the CPU beside"),
        (
            lambda there: torch.rand(3, generator=torch.Generator(), device=there.device),
            "generator of the CPU",
        ),
    ],
)
def test_what_a_gpu_refuses_is_refused(
    wrong: Callable[[Tensor], object], message: str, elsewhere: str
) -> None:
    with pytest.raises((RuntimeError, TypeError), match=message):
        wrong(torch.zeros(3, device=elsewhere))


def test_what_is_cut_on_the_device_is_what_the_pack_holds(
    elsewhere: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = np.random.default_rng(3)
    samples = [generator.integers(-9, 9, (length, 2)).astype(np.int16) for length in (20, 23, 31)]
    samples.append(generator.normal(size=(25, 2)).astype(np.float32))
    source = source_of(
        samples, Info(item_shape=(20, 2), sample_rate=None, device=elsewhere), tmp_path / "pack"
    )
    rows, offsets = np.array([3, 1, 0, 3, 2]), np.array([12, 10, 0, 0, 18])
    expected = gather(source.pack, source.ids[rows], offsets=offsets, length=13)
    source.keep_on_device_if_it_fits()
    monkeypatch.setattr("asdbench.detector.items.gather", None)  # no file is read from now on
    cut = source.raw(rows, offsets=offsets, length=13)
    assert cut.device.type == elsewhere
    np.testing.assert_array_equal(cut.cpu().numpy(), expected)
