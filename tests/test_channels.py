"""Items of several channels: which one a method reads, by its option ``channel``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import pytest
import tiny
import torch
from torch import Tensor

from asdbench import ConfigError, Info, Items, Selector
from asdbench.conformance.outputs import saved_and_loaded
from asdbench.detector.channels import front_of, heard
from asdbench.detector.detector import Detector
from asdbench.detector.items import ItemSource
from asdbench.dsp import least_squares
from asdbench.jobs.pseudo import with_faults
from asdbench.recipes.recipe import Recipe
from asdbench.recipes.resolve import resolve
from asdbench.testing import make_items

RATE, COUNT = 16000, 4000
TWO = Info(item_shape=(COUNT, 2), sample_rate=RATE, classes=("fan",))
ONE = msgspec.structs.replace(TWO, item_shape=(COUNT,))


def recipe(**options: str) -> Recipe:
    return resolve(tiny.registry(), Selector("logmel_knn", options), dataset="synthetic")


@pytest.fixture(scope="module")
def stored() -> np.ndarray[Any, np.dtype[np.int16]]:
    """Three items, [items, samples, channels], as a file of 16 bits has them."""
    return np.random.default_rng(0).integers(-9000, 9000, (3, COUNT, 2)).astype(np.int16)


@pytest.fixture(scope="module")
def waves(stored: np.ndarray[Any, np.dtype[np.int16]]) -> Tensor:
    return torch.from_numpy(stored.astype(np.float32) / 32768)


def items(folder: Path, stored: np.ndarray[Any, np.dtype[np.int16]], channel: Any) -> Items:
    front = front_of(channel, TWO)
    return make_items(stored, heard(TWO, front), folder=folder / str(channel), claim=[0] * 3, front=front)


def test_items_are_the_chosen_channel_the_mean_or_all(
    tmp_path: Path, stored: np.ndarray[Any, np.dtype[np.int16]], waves: Tensor
) -> None:
    for channel in (0, 1):
        found = items(tmp_path, stored, channel)
        assert found.info.item_shape == (COUNT,)
        assert torch.equal(found.raw(), waves[..., channel])
        assert torch.equal(found.raw(offset=7, length=100), waves[:, 7:107, channel])
    torch.testing.assert_close(items(tmp_path, stored, "mean").raw(), waves.mean(dim=-1))
    every = items(tmp_path, stored, "all")
    assert every.info.item_shape == (COUNT, 2)
    assert torch.equal(every.raw(), waves)


def test_a_crop_of_a_front_end_is_cut_from_the_whole_item(
    tmp_path: Path, stored: np.ndarray[Any, np.dtype[np.int16]], waves: Tensor
) -> None:
    whole = least_squares(waves[..., 0], waves[..., 1])
    found = items(tmp_path, stored, "w1")
    torch.testing.assert_close(found.raw(), whole)
    starts = torch.tensor([0, 3000, 3999])
    cut = found.raw(offset=starts, length=1500)
    for row, start in enumerate(starts.tolist()):
        # An item that ends too soon is repeated from its beginning.
        torch.testing.assert_close(cut[row], torch.cat([whole[row, start:], whole[row]])[:1500])
    torch.testing.assert_close(found[1:].raw(length=500), whole[1:, :500])


@pytest.mark.parametrize("channel", [0, "mean", "w1"])
def test_slices_repeat_short_items_alike_whatever_reads_them(
    tmp_path: Path, stored: np.ndarray[Any, np.dtype[np.int16]], channel: Any
) -> None:
    found = items(tmp_path, stored, channel)
    whole = found.raw()
    torch.testing.assert_close(found.raw(offset=0, length=COUNT + 5)[:, COUNT:], whole[:, :5])
    torch.testing.assert_close(found.raw(offset=COUNT + 1, length=10), whole[:, :10])


@pytest.mark.parametrize("channel", [0, "all", "w1"])
def test_padded_items_are_silent_behind_their_end(
    tmp_path: Path, stored: np.ndarray[Any, np.dtype[np.int16]], channel: Any
) -> None:
    repeated = items(tmp_path, stored, channel)
    padded = repeated.through(lambda source: dataclasses.replace(cast(ItemSource, source), padded=True))
    whole = repeated.raw()
    assert torch.equal(padded.raw(), whole)
    longer = padded.raw(length=COUNT + 5)
    assert torch.equal(longer[:, :COUNT], whole)
    assert not longer[:, COUNT:].any()
    starts = torch.tensor([0, COUNT - 3, COUNT + 1])
    crops = padded.raw(offset=starts, length=10)
    assert torch.equal(crops[0], whole[0, :10])
    assert torch.equal(crops[1, :3], whole[1, -3:])
    assert not crops[1, 3:].any()
    assert not crops[2].any()


def test_a_detector_reads_channel_0_unless_told_otherwise(
    stored: np.ndarray[Any, np.dtype[np.int16]], tmp_path: Path
) -> None:
    shapes, features = set(), []
    mono = Detector(recipe(), ONE)
    for options in ({}, {"channel": "1"}, {"channel": "w1"}):
        detector = Detector(recipe(**options), TWO)
        shapes.add((detector.info.item_shape, detector.info.feature_shape))
        made = make_items(
            stored, detector.info, folder=tmp_path / str(options), claim=[0] * 3,
            featurizer=detector.featurizer, front=detector.front,
        )  # fmt: skip
        features.append(made.features())
    assert shapes == {(mono.info.item_shape, mono.info.feature_shape)}
    near = make_items(
        stored[..., 0], mono.info, folder=tmp_path / "mono", claim=[0] * 3, featurizer=mono.featurizer
    )
    assert torch.equal(features[0], near.features())
    assert not torch.allclose(features[0], features[1])
    assert not torch.allclose(features[0], features[2])


def test_the_default_leaves_the_names_of_models_as_they_were_and_any_other_channel_changes_them() -> None:
    assert "channel" not in recipe().trained()
    assert recipe(channel="0").trained() == recipe().trained()
    assert recipe(channel="w1").trained() == {**recipe().trained(), "channel": "w1"}


REFUSED = {
    "missing": ({"channel": "2"}, TWO, r"channel=2 does not exist: the items have 2 channels, so the last is channel 1"),
    "mono": ({"channel": "1"}, ONE, r"channel=1 does not exist: the items have one channel"),
    "far": (
        {"channel": "w1"}, ONE,
        r"channel=w1 subtracts the far channel .* needs items of two channels, but the items have one channel: use a "
        r"dataset that reads two .*or choose one with channel=0",
    ),
    "eight": (
        {"channel": "mask"}, msgspec.structs.replace(TWO, item_shape=(COUNT, 8)), "but the items have 8 channels"
    ),
    "all": (
        {"channel": "all"},
        TWO,
        r"logmel reads mono waves, but items have shape \[4000, 2\] .*: choose one with channel=0, or channel=mean",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("options", "info", "match"), REFUSED.values(), ids=REFUSED)
def test_what_the_items_do_not_have_is_refused(options: dict[str, str], info: Info, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        Detector(recipe(**options), info)


def test_windows_and_images_are_no_channels() -> None:
    windows = Info(item_shape=(50, 19), sample_rate=None)
    assert front_of(0, windows) is None
    assert heard(windows, None) == windows
    with pytest.raises(ConfigError, match="channel=1 does not exist"):
        front_of(1, windows)


def test_a_detector_with_a_front_end_passes_the_check_of_saving(tmp_path: Path) -> None:
    detector = Detector(recipe(channel="w1"), TWO)
    raw = np.random.default_rng(1).normal(size=(2, COUNT, 2), scale=0.1).astype(np.float32)

    def stored_items(each: Detector) -> Items:
        return make_items(
            raw,
            each.info,
            folder=tmp_path / str(id(each)),
            claim=[0] * 2,
            featurizer=each.featurizer,
            front=each.front,
        )

    found = saved_and_loaded(detector, stored_items, folder=tmp_path, scored=False)
    assert found.endswith("equal bits before and after")


@pytest.mark.parametrize("channel", [1, "mean", "w1"])
def test_a_pack_in_the_memory_of_a_device_gives_the_same_waves(
    tmp_path: Path, stored: np.ndarray[Any, np.dtype[np.int16]], channel: Any
) -> None:
    found = items(tmp_path, stored, channel)
    source = found._source
    assert isinstance(source, ItemSource)
    offset = torch.tensor([5, 100, 2000])
    from_file = found.raw(), found.raw(offset=offset, length=1000)
    source._resident = [torch.from_numpy(array.copy()) for array in source.pack.arrays]
    torch.testing.assert_close((found.raw(), found.raw(offset=offset, length=1000)), from_file)


def test_faults_for_tuning_are_put_into_what_the_method_hears(
    tmp_path: Path, stored: np.ndarray[Any, np.dtype[np.int16]]
) -> None:
    near = items(tmp_path, stored, 0)
    faulty = with_faults(near, seed=0).raw()
    assert faulty.shape == (3, COUNT)
    assert (faulty != near.raw()).any(dim=1).all()
