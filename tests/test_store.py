"""The store and what it writes by: folders that are replaced, killed runs, locks, errors of reading and of writing."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from asdbench import RunError, new_folder
from asdbench.core.files import locked, writing
from asdbench.results.store import Store


class Killed(BaseException):
    """Stands for a signal that ends the process."""


def fill(store: Store, folder: Path, content: str) -> None:
    with store.filling(folder) as temporary:
        (temporary / "content").write_text(content)


@pytest.mark.parametrize("renames", [1, 2])
def test_a_kill_while_a_folder_is_replaced_loses_no_finished_work(
    renames: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, folder = Store(tmp_path), tmp_path / "records" / "abc"
    fill(store, folder, "old")
    rename, count = Path.rename, 0

    def dying(self: Path, target: Path) -> Path:
        nonlocal count
        if self.parent == folder.parent and count == renames:
            raise Killed
        count += 1
        return rename(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", dying)
        with pytest.raises(Killed):
            fill(store, folder, "new")
    with store.exclusive():
        assert (folder / "content").read_text() == "old"
    assert [path.name for path in folder.parent.iterdir()] == ["abc"]


def test_a_kill_after_a_folder_was_replaced_keeps_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, folder = Store(tmp_path), tmp_path / "records" / "abc"
    fill(store, folder, "old")
    old = folder.with_name(".abc.old.part")
    with monkeypatch.context() as patched:
        patched.setattr("asdbench.results.store.shutil.rmtree", lambda path, **_: None)
        fill(store, folder, "new")
    assert old.exists()
    with store.exclusive():
        assert (folder / "content").read_text() == "new"
    assert not old.exists()


def test_an_error_of_reading_elsewhere_is_not_reported_as_one_of_writing(tmp_path: Path) -> None:
    source = tmp_path / "data" / "clip.wav"
    with (
        pytest.raises(FileNotFoundError, match=r"clip\.wav"),
        new_folder(tmp_path / "cache" / "pack") as temporary,
    ):
        (temporary / "array").write_bytes(source.read_bytes())
    with (
        pytest.raises(FileNotFoundError, match=r"clip\.wav"),
        writing(tmp_path / "cache" / "file") as temporary,
    ):
        temporary.write_bytes(source.read_bytes())
    assert list((tmp_path / "cache").iterdir()) == []


def test_an_error_of_writing_is_reported_as_one_with_or_without_a_file_name(tmp_path: Path) -> None:
    with (
        pytest.raises(RunError, match=r"cannot write .*cache/pack: No such file or directory"),
        new_folder(tmp_path / "cache" / "pack") as temporary,
    ):
        (temporary / "deep" / "array").write_bytes(b"")
    with (
        pytest.raises(RunError, match=r"cannot write .*cache/pack: 8 requested and 0 written"),
        new_folder(tmp_path / "cache" / "pack"),
    ):
        raise OSError("8 requested and 0 written")  # as numpy says it


def test_a_lock_is_held_by_one_at_a_time_and_leaves_no_file(tmp_path: Path) -> None:
    inside, most, guard = 0, 0, threading.Lock()

    def work(_: int) -> None:
        nonlocal inside, most
        with locked(tmp_path / "place" / "lock"):
            with guard:
                inside += 1
                most = max(most, inside)
            with guard:
                inside -= 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(200)))
    assert most == 1
    assert list((tmp_path / "place").iterdir()) == []


def test_a_lock_that_a_killed_process_left_behind_is_free(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    with locked(tmp_path / "lock"):
        assert (tmp_path / "lock").exists()
    assert not (tmp_path / "lock").exists()
