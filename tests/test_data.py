"""Pack, vault and items: decoded once, exact, opaque, safe when built twice at once."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from msgspec.structs import replace
from numpy.typing import NDArray
from torch import Tensor

from asdbench import Card, Config, DamagedFiles, DataError, Fold, Info, Items, Row, RunError, new_folder
from asdbench.core.files import check_writable, locked, write_bytes
from asdbench.data.pack import Pack, build_pack
from asdbench.data.prepare import prepare
from asdbench.data.prepared import Prepared
from asdbench.data.vault import open_vault
from asdbench.detector.items import ItemSource, gather
from asdbench.messages.progress import ignore_progress


class Waves(Config, frozen=True):
    """A dataset of the wav files in one folder; ``gain`` stands for any option."""

    gain: int = 1

    @property
    def card(self) -> Card:
        return Card(
            name="waves", title="waves", task="detection", modality="audio", licence="none", citation="",
            columns={"machine": "which"}, claims=("machine",), scopes={"all": ()}, groups=("machine",),
            metrics="dcase2020", item_shape=(100,), sample_rate=8000,
        )  # fmt: skip

    def index(self, root: Path) -> Iterator[Row]:
        for file in sorted(root.glob("*.wav")):
            label = "anomaly" if "anomaly" in file.name else "normal"
            yield Row(source=PurePosixPath(file.name), columns={"machine": file.name[0]}, label=label)

    def read(self, root: Path, source: PurePosixPath) -> NDArray[Any]:
        samples: NDArray[Any] = soundfile.read(root / source, dtype="int16")[0]
        return samples

    def folds(self, rows: Sequence[Row]) -> Sequence[Fold]:
        return [Fold(name="all", train=range(len(rows)), test=())]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for k in range(12):
        samples = generator.integers(-32768, 32767, 100 + 10 * (k % 2), dtype=np.int16)
        soundfile.write(folder / f"{'ab'[k % 2]}_{'anomaly' if k > 8 else 'normal'}_{k}.wav", samples, 8000)
    return folder


def ready(root: Path, cache: Path, dataset: Waves | None = None) -> Prepared:
    return prepare(dataset or Waves(), root, cache=cache, on_progress=ignore_progress)


def items_of(prepared: Prepared, *, length: int, **options: Any) -> Items:
    info = Info(item_shape=(length,), sample_rate=8000, classes=("a", "b"), feature_shape=(2,))
    source = ItemSource(pack=Pack(prepared.pack), ids=prepared.ids, info=info, length=length, **options)
    count = len(prepared.ids)
    machine = np.array([row.columns["machine"] for row in prepared.rows])
    return Items(
        source, rows=np.arange(count), claim=torch.tensor([int(name == "b") for name in machine]),
        own=torch.ones(count, dtype=torch.bool), target=torch.full((count,), -1), columns={"machine": machine},
    )  # fmt: skip


def test_every_sample_of_the_pack_is_that_of_its_file(root: Path, tmp_path: Path) -> None:
    prepared = ready(root, tmp_path / "cache")
    pack = Pack(prepared.pack)
    for row, item in zip(prepared.rows, prepared.ids, strict=True):
        samples, _ = soundfile.read(root / str(row.source), dtype="int16")
        assert np.array_equal(pack.view(int(item)), samples)
        floats, _ = soundfile.read(root / str(row.source), dtype="float32")
        whole = gather(pack, np.array([item]), offsets=np.zeros(1, dtype=np.int64), length=len(floats))
        assert np.array_equal(whole[0], floats)


def test_the_pack_folder_holds_no_label_and_no_name(root: Path, tmp_path: Path) -> None:
    prepared = ready(root, tmp_path / "cache")
    content = b"".join(file.read_bytes() for file in sorted(prepared.pack.iterdir()))
    assert {file.name for file in prepared.pack.iterdir()} == {"pack.json", "items.npy", "array-0.bin"}
    assert b"anomaly" not in content
    assert b"wav" not in content
    vault = open_vault(prepared.vault)
    assert vault.loc[prepared.ids, "label"].tolist() == [row.label for row in prepared.rows]


def test_ids_are_a_permutation_that_differs_from_pack_to_pack(root: Path, tmp_path: Path) -> None:
    first, second = ready(root, tmp_path / "one"), ready(root, tmp_path / "two")
    assert sorted(first.ids) == list(range(12))
    assert first.ids.tolist() != second.ids.tolist()
    assert [row.sha256 for row in first.rows] == [row.sha256 for row in second.rows]


def test_rows_come_in_the_order_of_their_content_whatever_their_names(root: Path, tmp_path: Path) -> None:
    before = [row.sha256 for row in ready(root, tmp_path / "cache").rows]
    for number, file in enumerate(sorted(root.iterdir(), reverse=True)):
        file.rename(root / f"{file.name[0]}_normal_x{number}.wav")
    assert [row.sha256 for row in ready(root, tmp_path / "cache").rows] == before == sorted(before)


def test_a_changed_file_makes_a_new_pack_and_the_same_files_do_not(root: Path, tmp_path: Path) -> None:
    first, again = ready(root, tmp_path / "cache"), ready(root, tmp_path / "cache")
    assert (again.pack, again.ids.tolist()) == (first.pack, first.ids.tolist())
    soundfile.write(root / "a_normal_0.wav", np.ones(100, dtype=np.int16), 8000)
    changed = ready(root, tmp_path / "cache")
    assert changed.pack != first.pack
    assert changed.manifest != first.manifest


def test_two_that_build_the_same_pack_at_once_share_it(root: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        built = list(pool.map(lambda _: ready(root, tmp_path / "cache"), range(4)))
    assert len({prepared.pack for prepared in built}) == 1
    assert len({tuple(prepared.ids) for prepared in built}) == 1
    assert not list((tmp_path / "cache" / "packs").glob(".*.part"))


def test_a_damaged_source_leaves_no_pack(root: Path, tmp_path: Path) -> None:
    class Picky(Waves, frozen=True):
        def read(self, root: Path, source: PurePosixPath) -> NDArray[Any]:
            if source.name == "b_normal_3.wav":
                raise DataError(f"{source} is damaged")
            return super().read(root, source)

    with pytest.raises(DataError, match=r"b_normal_3\.wav is damaged"):
        ready(root, tmp_path / "cache", Picky())
    assert not [path for path in (tmp_path / "cache" / "packs").iterdir() if path.suffix != ".lock"]


def test_a_full_disk_leaves_no_pack(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(RunError, match=r"no space to write .*No space left on device.*finished work is kept"):
        ready(root, tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache" / "packs").iterdir() if path.suffix != ".lock"]


def test_nothing_in_the_pack_points_to_the_vault(root: Path, tmp_path: Path) -> None:
    prepared = ready(root, tmp_path / "cache")
    assert prepared.vault.name not in str(prepared.pack)
    assert prepared.pack.name.rpartition("-")[2] not in str(prepared.vault)
    assert prepared.vault.stat().st_mode & 0o077 == 0
    around = {path.name for path in prepared.pack.parent.rglob("*")}
    assert "vault.parquet" not in around


def test_other_samples_of_the_same_files_have_another_hash(root: Path, tmp_path: Path) -> None:
    class Louder(Waves, frozen=True):
        def read(self, root: Path, source: PurePosixPath) -> NDArray[Any]:
            return super().read(root, source) // self.gain

    plain, louder = (ready(root, tmp_path / "cache", Louder(gain=gain)) for gain in (1, 2))
    assert plain.manifest == louder.manifest
    assert plain.samples != louder.samples
    assert plain.samples == ready(root, tmp_path / "other", Waves()).samples


def test_a_name_that_is_no_utf8_is_refused_before_anything_is_hashed(root: Path, tmp_path: Path) -> None:
    odd = os.fsdecode(b"a_normal_\xe9.wav")
    (root / "a_normal_0.wav").rename(root / odd)
    with pytest.raises(DataError, match=r"the name 'a_normal_\\udce9\.wav' under .* is not UTF-8; rename it"):
        ready(root, tmp_path / "cache")
    (root / odd).rename(root / "a_normal_0.wav")
    assert len(ready(root, tmp_path / "cache").rows) == 12


def test_a_folder_whose_name_is_no_utf8_is_refused(root: Path, tmp_path: Path) -> None:
    odd = root.rename(tmp_path / os.fsdecode(b"caf\xe9"))
    with pytest.raises(
        DataError, match=r"the name '.*caf\\udce9' of the data's folder is not UTF-8; rename it"
    ):
        ready(odd, tmp_path / "cache")


def test_a_broken_link_is_named_as_one(root: Path, tmp_path: Path) -> None:
    (root / "b_normal_99.wav").symlink_to(tmp_path / "gone.wav")
    with pytest.raises(
        DataError,
        match=r"b_normal_99\.wav is a symbolic link to .*gone\.wav, which does not exist; remove the link",
    ):
        ready(root, tmp_path / "cache")


def test_a_cache_that_cannot_be_written_is_an_error(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"cannot write .*file/cache/hashes-.*: Not a directory"):
        ready(root, tmp_path / "file" / "cache")


def test_what_is_written_has_the_modes_that_the_mask_allows(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_bytes(tmp_path / "file", b"1")
        with new_folder(tmp_path / "folder") as folder:
            (folder / "inner").touch()
        with locked(tmp_path / "lock"):
            modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("file", "folder", "lock")]
    finally:
        os.umask(before)
    assert modes == [0o640, 0o750, 0o640]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.parametrize(
    "made",
    [
        lambda path: write_bytes(path, b""),
        lambda path: enter(new_folder(path)),
        lambda path: enter(locked(path)),
    ],
)
def test_a_place_below_a_file_cannot_be_written(made: Callable[[Path], None], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"cannot write .*file/deep/x: Not a directory"):
        made(tmp_path / "file" / "deep" / "x")


def enter(context: contextlib.AbstractContextManager[Any]) -> None:
    with context:
        raise AssertionError("it was entered")


def test_whether_a_path_can_be_written_is_checked_without_writing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    check_writable(tmp_path / "deep" / "er" / "x.png")
    check_writable(tmp_path)
    check_writable(Path())
    check_writable(tmp_path / "file")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    with pytest.raises(RunError, match=r"cannot write .*file/x: .*file is not a folder"):
        check_writable(tmp_path / "file" / "x")


def test_an_empty_dataset_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="waves has no items under"):
        ready(tmp_path, tmp_path / "cache")


def test_windows_share_their_source(tmp_path: Path) -> None:
    recording = np.arange(40, dtype=np.float32).reshape(20, 2)
    rows = [
        Row(source=PurePosixPath("long"), columns={}, label=None, start=start, length=6)
        for start in (0, 2, 14)
    ]
    folder = tmp_path / "pack"
    folder.mkdir()
    build_pack(
        rows, np.array([2, 0, 1]), read=lambda source: recording, folder=folder, on_progress=ignore_progress
    )
    pack = Pack(folder)
    assert pack.card.arrays[0].shape == (20, 2)
    assert np.array_equal(pack.view(1), recording[14:20])
    assert pack.shape_of(0) == (6, 2)


def test_a_window_beyond_its_source_is_an_error(tmp_path: Path) -> None:
    row = Row(source=PurePosixPath("short"), columns={}, label=None, start=3, length=6)
    with pytest.raises(DataError, match="short has 8 samples, but an item needs 6 samples from sample 3 on"):
        build_pack(
            [row],
            np.array([0]),
            read=lambda source: np.zeros(8, np.float32),
            folder=tmp_path,
            on_progress=ignore_progress,
        )


def test_all_sources_that_cannot_be_decoded_are_named_at_once(tmp_path: Path) -> None:
    rows = [Row(source=PurePosixPath(f"{k}.wav"), columns={}, label=None) for k in range(30)]

    def read(source: PurePosixPath) -> NDArray[Any]:
        if source.name in {"3.wav", "29.wav"}:
            raise DataError(f"{source} is damaged")
        return np.zeros(8, np.float32)

    with pytest.raises(DamagedFiles, match=r"^2 files cannot be read: ") as caught:
        build_pack(rows, np.arange(30), read=read, folder=tmp_path, on_progress=ignore_progress)
    assert caught.value.reasons == ("3.wav is damaged", "29.wav is damaged")
    with pytest.raises(DataError, match=r"^3\.wav is damaged$"):
        build_pack(rows[:9], np.arange(9), read=read, folder=tmp_path, on_progress=ignore_progress)


def test_raw_reads_from_offsets_and_repeats_what_is_short(root: Path, tmp_path: Path) -> None:
    prepared = ready(root, tmp_path / "cache")
    items = items_of(prepared, length=100)
    offsets = torch.arange(12) * 7
    pieces = items.raw(offset=offsets, length=50)
    assert pieces.dtype == torch.float32
    for k, row in enumerate(prepared.rows):
        samples, _ = soundfile.read(root / str(row.source), dtype="float32")
        expected = (
            np.concatenate([samples, samples])[7 * k : 7 * k + 50] if 7 * k + 50 <= len(samples) else None
        )
        if expected is None:
            expected = np.concatenate([samples[7 * k :], samples])[:50]
        assert np.array_equal(pieces[k].numpy(), expected)


def test_slices_of_items_keep_everything_together(root: Path, tmp_path: Path) -> None:
    items = items_of(ready(root, tmp_path / "cache"), length=100)
    chosen = items[torch.tensor([5, 1])]
    assert torch.equal(chosen.raw(), items.raw()[[5, 1]])
    assert chosen.columns["machine"].tolist() == items.columns["machine"][[5, 1]].tolist()
    assert len(items[items.claim == 1]) == 6
    assert len(items[2:5]) == 3


def test_batches_cover_all_items_once_in_an_order_that_the_generator_gives(
    root: Path, tmp_path: Path
) -> None:
    items = items_of(ready(root, tmp_path / "cache"), length=100)

    def order(seed: int) -> Tensor:
        return torch.cat(
            [batch.raw() for batch in items.batches(5, generator=torch.Generator().manual_seed(seed))]
        )

    assert torch.equal(order(1), order(1))
    assert not torch.equal(order(1), order(2))
    assert torch.equal(order(1).sort(dim=0).values, items.raw().sort(dim=0).values)
    assert [len(batch) for batch in items.batches(5)] == [5, 5, 2]
    assert [len(batch) for batch in items.batches(5, drop_last=True)] == [5, 5]


def test_features_are_computed_once_where_they_fit(root: Path, tmp_path: Path) -> None:
    calls: list[int] = []

    def featurizer(raw: Tensor) -> Tensor:
        calls.append(len(raw))
        return torch.stack([raw.mean(dim=1), raw.std(dim=1)], dim=1)

    prepared = ready(root, tmp_path / "cache")
    kept = items_of(prepared, length=100, featurizer=featurizer, feature_bytes=12 * 2 * 4)
    first, again = kept.features(), kept[3:6].features()
    assert (calls, torch.equal(first[3:6], again)) == ([12], True)
    afresh = items_of(prepared, length=100, featurizer=featurizer, feature_bytes=12 * 2 * 4 - 1)
    assert torch.equal(afresh[3:6].features(), again)
    assert calls == [12, 3]


def test_what_was_read_from_a_pack_does_not_stay_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asdbench.data.pack.MAPPED_BYTES", 1 << 22)
    count, samples = 32, 1 << 20
    rows = [Row(source=PurePosixPath(str(k)), columns={}, label=None) for k in range(count)]
    folder = tmp_path / "pack"
    folder.mkdir()
    build_pack(
        rows,
        np.arange(count),
        read=lambda source: np.full(samples, int(str(source)), dtype=np.int16),
        folder=folder,
        on_progress=ignore_progress,
    )
    pack = Pack(folder)
    before = mapped_bytes()
    sums = [int(pack.view(item).sum(dtype=np.int64)) for item in range(count)]
    assert sums == [samples * item for item in range(count)]
    assert mapped_bytes() - before < 16 << 20  # of 64 MB
    assert int(pack.view(3)[-1]) == 3


def mapped_bytes() -> int:
    """Return how much memory of this process are pages of files."""
    [line] = [each for each in Path("/proc/self/status").read_text().splitlines() if "RssFile" in each]
    return int(line.split()[1]) * 1024


def test_items_without_a_featurizer_say_so(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"have no featurizer; read raw\(\) instead"):
        items_of(ready(root, tmp_path / "cache"), length=100).features()


def test_the_vault_survives_secret_labels(root: Path, tmp_path: Path) -> None:
    class Secret(Waves, frozen=True):
        def index(self, root: Path) -> Iterator[Row]:
            return (replace(row, label=None) for row in super().index(root))

    labels: pd.Series[Any] = open_vault(ready(root, tmp_path / "cache", Secret()).vault)["label"]
    assert labels.isna().all()
