"""Every model on another device than the CPU: on a GPU (``-m gpu``), and without one.

Without one, tensors are on the CPU and report another device. Such a tensor refuses what a GPU's would: a CPU tensor
beside it, numpy, a CPU generator. It computes everything else on the CPU, so a fit runs unchanged. The device that it
reports is ``meta``, the only other one that every torch has. What would make the host wait for a GPU is remembered, so
that training steps can be checked for it; on a GPU torch's own check does the same.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import typing
import warnings
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

from asdbench import Info, Items, Row, Selector, Stage, Trainer, config_of, load_registry
from asdbench.data.pack import Pack, build_pack
from asdbench.detector.detector import Detector
from asdbench.detector.items import ItemSource, gather
from asdbench.detector.sending import to_device
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
NOT_TRIED = {
    "beats",
    "beats_residual",
    "ced",
    "dasheng",
    "eat",
    "frozen_encoder",
    "tuned_beats",
    "tuned_eat",
}  # built from files; TorchScript's own interpreter knows no such tensors
MODELS = [name for name in REGISTRY.names("model") if name not in NOT_TRIED]
# Only the device knows claims: one chooses flows by those of a batch, the other counts classes once, before it trains.
WAITING = {"flow_density", "two_branch"}
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
READS = {
    aten._local_scalar_dense.default, aten.nonzero.default, aten.masked_select.default, aten.equal.default,
    aten._unique2.default, aten.unique_dim.default, aten.unique_consecutive.default, aten.repeat_interleave.Tensor,
}  # fmt: skip
"""Operations whose result, or its size, depends on values that the host must wait for."""
INDEXING = {aten.index.Tensor, aten.index_put_.default, aten._index_put_impl_.default}


waits: list[str] = []
"""Operations so far for which the host would wait for a GPU."""


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
        waits.append("tolist")
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
    if _waits(func, args, kwargs, there=there):
        waits.append(str(func))
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


def _waits(func: Any, args: Any, kwargs: Mapping[str, Any], *, there: bool) -> bool:
    """Return whether a GPU would have computed everything before it when the operation returns."""
    if func in READS:
        return isinstance(args[0], Elsewhere)
    if func in INDEXING:
        masks = [each for each in args[1] if isinstance(each, Elsewhere) and each.dtype == torch.bool]
        fills = func is not aten.index.Tensor and args[2].numel() == 1
        return bool(masks) and not fills
    if func in ANY_DEVICES:
        source = args[1] if func is aten.copy_.default else args[0]
        queued = kwargs.get("non_blocking") or (func is aten.copy_.default and args[2:] == (True,))
        back = isinstance(source, Elsewhere) and not there
        return back or (there and not isinstance(source, Elsewhere) and not queued)
    return False


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


class Watched(Trainer):
    """A trainer that notes what its steps, and its batches after the first of an epoch, would wait for."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.waited: list[str] = []

    def run(self, stage: Stage) -> None:
        super().run(dataclasses.replace(stage, batches=lambda generator: self._batches(stage, generator)))

    def _batches(self, stage: Stage, generator: torch.Generator) -> Iterator[Any]:
        drawn = iter(stage.batches(generator))
        yield from itertools.islice(drawn, 1)  # with it a model may prepare what all the others use
        while True:
            with self._watching():
                batch = next(drawn, None)
            if batch is None:
                return
            yield batch

    def _step(self, stage: Stage, batch: Any) -> None:
        with self._watching():
            super()._step(stage, batch)

    @contextlib.contextmanager
    def _watching(self) -> Iterator[None]:
        waits.clear()
        with waits_of_gpu() if self.device.type == "cuda" else contextlib.nullcontext(waits) as seen:
            yield
        self.waited += seen


@contextlib.contextmanager
def waits_of_gpu() -> Iterator[list[str]]:
    """Collect torch's own warnings of operations that wait for the GPU."""
    seen: list[str] = []
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield seen
        finally:
            torch.cuda.set_sync_debug_mode("default")
    seen += [str(each.message) for each in warned if "called a synchronizing" in str(each.message)]


def train_and_score(device: str, model: str, folder: Path, *, precision: Precision = "fp32") -> list[str]:
    """Take a model from its first step to a score of what was saved; return what training would have waited for."""
    detector = detector_on(device, model, precision=precision)
    items = items_of(detector, folder / "pack")
    foreign = [12, 13, 14] if detector.recipe.auxiliary else []
    settings = TrainerSettings(seed=1, folder=folder / "work", device=device, precision=precision)
    trainer = Watched(detector.root, settings)
    detector.fit(items([*range(9), *foreign]), items([9, 10, *foreign[:1]]), trainer)
    assert {value.device.type for value in detector.root.state_dict().values()} <= {device}
    detector.fit_scorer(items(range(9)))
    scores = detector.score(items([9, 10, 11]))
    assert np.isfinite(scores).all()
    detector.save(folder / "detector.safetensors")
    detector.load(folder / "detector.safetensors")
    np.testing.assert_allclose(detector.score(items([9, 10, 11])), scores, rtol=1e-6)
    assert size_of(detector).feature_shape == detector.info.feature_shape
    return trainer.waited


@pytest.mark.parametrize("model", MODELS)
def test_a_model_trains_and_scores_on_another_device(model: str, elsewhere: str, tmp_path: Path) -> None:
    waited = train_and_score(elsewhere, model, tmp_path)
    assert bool(waited) == (model in WAITING), waited


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("model", MODELS)
def test_a_model_trains_and_scores_on_a_gpu(model: str, precision: Precision, tmp_path: Path) -> None:
    waited = train_and_score("cuda", model, tmp_path, precision=precision)
    assert bool(waited) == (model in WAITING), waited


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


@pytest.mark.parametrize(
    ("work", "waits_for_it"),
    [
        (lambda there: there.sum().item(), True),
        (lambda there: there.tolist(), True),
        (lambda there: there.cpu(), True),
        (lambda there: there.nonzero(), True),
        (lambda there: there[there > 0], True),
        (lambda there: torch.ones(3).to(there.device), True),
        (lambda there: there.copy_(torch.ones(3)), True),
        (lambda there: to_device(torch.ones(3), there.device), False),
        (lambda there: there[to_device(torch.arange(2), there.device)], False),
        (lambda there: there.masked_fill(there > 0, 1.0), False),
    ],
)
def test_what_waits_for_a_gpu_is_noticed(
    work: Callable[[Tensor], object], waits_for_it: bool, elsewhere: str
) -> None:
    there = torch.zeros(3, device=elsewhere)
    waits.clear()
    work(there)
    assert bool(waits) == waits_for_it, waits


def test_samples_and_features_of_the_host_are_sent_without_a_wait(elsewhere: str, tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    samples = [generator.integers(-9999, 9999, 20).astype(np.int16) for _ in range(4)]
    samples.append(generator.normal(size=20).astype(np.float32))
    source = source_of(
        samples,
        Info(item_shape=(20,), sample_rate=None, device=elsewhere, feature_shape=(2,)),
        tmp_path / "pack",
    )
    computed: list[int] = []

    def featurizer(raw: Tensor) -> Tensor:
        computed.append(len(raw))
        return torch.stack([raw.mean(dim=1), raw.amax(dim=1)], dim=1)

    source.featurizer, source.host_bytes = featurizer, 5 * 2 * 4
    features = source.features(np.arange(5))
    waits.clear()
    for rows in (np.array([2, 0, 2]), np.array([4, 1])):  # of one type, sent as stored, and of two
        offsets = np.array([7, 0, 1])[: len(rows)]
        raw = source.raw(rows, offsets=offsets, length=20)
        expected = gather(source.pack, rows, offsets=offsets, length=20)
        some = source.features(rows)
        assert (raw.device.type, some.device.type, waits) == (elsewhere, elsewhere, [])
        np.testing.assert_array_equal(raw.cpu().numpy(), expected)
        np.testing.assert_array_equal(some.cpu().numpy(), features.cpu().numpy()[rows])
        waits.clear()
    assert computed == [5]


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
