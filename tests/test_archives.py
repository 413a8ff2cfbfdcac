"""Archives made to do harm, and what a killed command leaves of one."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import tiny
from file_server import files_of, zipped

from asdbench import DataError
from asdbench.core.files import temporary_name
from asdbench.data import download
from asdbench.data.download import extract

MEMBERS = {"fan/a.wav": b"a" * 100, "fan/b.wav": b"b" * 100}


def archive_of(path: Path, members: dict[str, bytes]) -> Path:
    path.write_bytes(zipped(members))
    return path


def test_an_archive_that_unpacks_to_many_times_its_size_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.wav", bytes(3_000_000))
    extract(tmp_path / "a.zip", tmp_path / "small")  # less than what is never too much
    monkeypatch.setattr(download, "SURELY_FITS_BYTES", 1_000_000)
    allowed = f"{max(1_000_000, 200 * (tmp_path / 'a.zip').stat().st_size):,}"
    with pytest.raises(DataError, match=f"it unpacks to 3,000,000 bytes, at most {allowed} are allowed"):
        extract(tmp_path / "a.zip", tmp_path / "large")
    assert not any(files_of(tmp_path / "large"))


def test_an_archive_in_an_archive_stays_one(tmp_path: Path) -> None:
    inner = zipped({"../evil.wav": b"evil"})
    extract(archive_of(tmp_path / "a.zip", {"inner.zip": inner}), tmp_path / "out")
    assert files_of(tmp_path / "out") == {"inner.zip": inner}


def test_a_member_that_would_be_both_file_and_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot unpack .*a\.zip to .*out: (Not a directory|File exists)"):
        extract(archive_of(tmp_path / "a.zip", {"a": b"", "a/b.wav": b"b"}), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damage_within_a_member_is_reported_for_every_compression(compression: int, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", compression) as archive:
        archive.writestr("a.wav", bytes(range(256)) * 40)
    content = bytearray((tmp_path / "a.zip").read_bytes())
    content[60:100] = b"\xff" * 40
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DataError, match=r"(a\.zip is damaged|cannot unpack .*a\.zip)"):
        extract(tmp_path / "a.zip", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_name_that_claims_to_be_utf_8_and_is_not_is_damage(tmp_path: Path) -> None:
    archive = archive_of(tmp_path / "a.zip", {"\u00e4.wav": b"a"})
    archive.write_bytes(archive.read_bytes().replace("\u00e4".encode(), b"\xff\xfe"))
    with pytest.raises(DataError, match=r"a\.zip is damaged: 'utf-8' codec can't decode"):
        extract(archive, tmp_path / "out")


KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from asdbench.data.download import extract

copies, copy = [], shutil.copyfileobj

def copied(*words):
    copies.append(copy(*words))
    if len(copies) == 2:
        os.kill(os.getpid(), signal.SIGKILL)

shutil.copyfileobj = copied
extract(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def test_what_a_killed_command_leaves_is_removed_and_unpacked_again(tmp_path: Path) -> None:
    archive, out = archive_of(tmp_path / "a.zip", MEMBERS), tmp_path / "out"
    words = [sys.executable, "-c", KILLED, str(archive), str(out)]
    assert subprocess.run(words, env=tiny.environment(), check=False).returncode == -9
    [left] = out.iterdir()
    assert left.name.startswith(".extract")
    busy = temporary_name(out / "extract")  # of a process that is still there: this one
    busy.mkdir()
    extract(archive, out)
    assert files_of(out) == MEMBERS
    assert not left.exists()
    assert busy.exists()


def test_files_moved_before_a_kill_do_not_count_as_unpacked(tmp_path: Path) -> None:
    archive, out = archive_of(tmp_path / "a.zip", MEMBERS), tmp_path / "out"
    extract(archive, out)
    (out / ".a.zip.extracted").unlink()  # written last
    shutil.rmtree(out / "fan")
    (out / "fan").mkdir()
    (out / "fan/a.wav").write_bytes(b"half")
    extract(archive, out)
    assert files_of(out) == MEMBERS
