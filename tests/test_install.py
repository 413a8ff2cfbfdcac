"""From archives to a dataset's folder: unpacked safely, installed once, licences accepted."""

from __future__ import annotations

import datetime
import io
import shutil
import stat
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import msgspec
import openpyxl
import pytest
from file_server import QUICK, Server, files_of, running_server, zipped

from asdbench import ANOMALY, Card, DataError, cli
from asdbench.data.download import accept_licence, extract, install, is_extracted


@pytest.fixture
def server() -> Iterator[Server]:
    with running_server() as server:
        yield server


def archive_of(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo("placeholder")
            info.filename = name  # unchanged: the constructor would clean it up
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return path


GOOD = {"fan/": b"", "fan/train/a.wav": b"aaa", "fan/test/b.wav": b"b" * 5000}


def test_an_archive_is_unpacked_beside_existing_files(tmp_path: Path) -> None:
    target = tmp_path / "out"
    (target / "pump").mkdir(parents=True)
    (target / "pump" / "c.wav").write_bytes(b"c")
    extract(archive_of(tmp_path / "a.zip", GOOD), target)
    assert files_of(target) == {"pump/c.wav": b"c", "fan/train/a.wav": b"aaa", "fan/test/b.wav": b"b" * 5000}
    assert not list(target.glob(".extract-*"))


def test_an_archive_is_unpacked_once_and_again_if_a_file_is_missing_or_it_changed(tmp_path: Path) -> None:
    archive, target = archive_of(tmp_path / "a.zip", GOOD), tmp_path / "out"
    extract(archive, target)
    (target / "fan" / "train" / "a.wav").write_bytes(b"own")  # of the same size: unpacking would undo it
    extract(archive, target)
    assert files_of(target)["fan/train/a.wav"] == b"own"
    (target / "fan" / "test" / "b.wav").unlink()
    extract(archive, target)
    assert files_of(target)["fan/train/a.wav"] == b"aaa"
    extract(archive_of(tmp_path / "a.zip", {**GOOD, "fan/train/a.wav": b"new"}), target)
    assert files_of(target)["fan/train/a.wav"] == b"new"


def test_a_damaged_marker_only_costs_unpacking_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    archive, target = archive_of(tmp_path / "a.zip", GOOD), tmp_path / "out"
    extract(archive, target)
    (target / ".a.zip.extracted").write_bytes(b"{")
    extract(archive, target)
    assert "is damaged" in caplog.text
    assert files_of(target)["fan/train/a.wav"] == b"aaa"


@pytest.mark.parametrize(
    "name",
    ["../a.wav", "fan/../../a.wav", "/a.wav", "C:/a.wav", "c:a.wav", "..\\a.wav", "fan\\a.wav", "./"],
)
def test_a_member_that_would_leave_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    archive = archive_of(tmp_path / "a.zip", {"fan/good.wav": b"good", name: b"evil"})
    with pytest.raises(DataError, match=r"a\.zip is refused: its member .* would leave the target folder"):
        extract(archive, tmp_path / "out" / "in")
    assert set(files_of(tmp_path)) == {"a.zip"}


def special(path: Path, mode: int) -> Path:
    info = zipfile.ZipInfo("fan/odd")
    info.create_system = 3  # Unix
    info.external_attr = mode << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(info, "../../etc")
    return path


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(tmp_path: Path, kind: int) -> None:
    with pytest.raises(DataError, match=r"member 'fan/odd' is a link or device"):
        extract(special(tmp_path / "a.zip", kind | 0o777), tmp_path / "out")
    assert files_of(tmp_path / "out") == {}


def test_a_file_with_ordinary_unix_modes_is_unpacked(tmp_path: Path) -> None:
    extract(special(tmp_path / "a.zip", stat.S_IFREG | 0o644), tmp_path / "out")
    assert files_of(tmp_path / "out") == {"fan/odd": b"../../etc"}


def test_an_archive_that_would_unpack_to_too_much_is_refused(tmp_path: Path) -> None:
    bomb = archive_of(tmp_path / "bomb.zip", {"zeros.wav": bytes(10_000_000)})
    assert bomb.stat().st_size < 20_000
    with pytest.raises(DataError, match=r"unpacks to 10,000,000 bytes, at most 9,999,999 are allowed"):
        extract(bomb, tmp_path / "out", max_bytes=9_999_999)
    extract(bomb, tmp_path / "out", max_bytes=10_000_000)
    assert (tmp_path / "out" / "zeros.wav").stat().st_size == 10_000_000


def test_an_archive_whose_header_understates_a_member_is_refused(tmp_path: Path) -> None:
    bomb = archive_of(tmp_path / "bomb.zip", {"zeros.wav": bytes(1_000_000)})
    true, stated = struct.pack("<I", 1_000_000), struct.pack("<I", 10)
    bomb.write_bytes(bomb.read_bytes().replace(true, stated))
    with pytest.raises(DataError, match=r"bomb\.zip is damaged"):
        extract(bomb, tmp_path / "out", max_bytes=100)
    assert files_of(tmp_path / "out") == {}


def test_an_archive_of_too_many_members_is_refused(tmp_path: Path) -> None:
    archive = archive_of(tmp_path / "a.zip", {f"{k}.wav": b"" for k in range(5)})
    with pytest.raises(DataError, match="has 5 members, at most 4 are allowed"):
        extract(archive, tmp_path / "out", max_members=4)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_archive_that_holds_a_name_twice_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("fan/a.wav", b"1")
        archive.writestr("fan/a.wav", b"2")
    with pytest.raises(DataError, match=r"it holds 'fan/a\.wav' twice"):
        extract(tmp_path / "a.zip", tmp_path / "out")


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    archive = archive_of(tmp_path / "a.zip", {"a.wav": b"a"})
    raw = bytearray(archive.read_bytes())
    raw[raw.index(b"PK\x01\x02") + 8] |= 1  # the flag in the central directory
    archive.write_bytes(raw)
    with pytest.raises(DataError, match=r"member 'a\.wav' is encrypted"):
        extract(archive, tmp_path / "out")


def test_a_file_that_is_not_an_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_text("<html>")
    with pytest.raises(DataError, match=r"a\.zip is damaged: File is not a zip file"):
        extract(tmp_path / "a.zip", tmp_path / "out")


def test_a_damaged_member_leaves_nothing_behind(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as opened:  # stored, so that its bytes can be found
        opened.writestr("fan/good.wav", b"good")
        opened.writestr("fan/bad.wav", b"0123456789")
    archive.write_bytes(archive.read_bytes().replace(b"0123456789", b"0123456780"))
    with pytest.raises(DataError, match=r"a\.zip is damaged: Bad CRC-32"):
        extract(archive, tmp_path / "out")
    assert files_of(tmp_path / "out") == {}
    assert list((tmp_path / "out").iterdir()) == []


def test_a_disk_too_small_for_the_unpacked_files_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = archive_of(tmp_path / "a.zip", {"zeros.wav": bytes(3 * 2**20)})
    usage = shutil.disk_usage(tmp_path)._replace(free=2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(DataError, match=r"a\.zip needs 3\.0 MiB more, 1\.0 MiB are free"):
        extract(archive, tmp_path / "out")


def test_a_release_is_installed_once_even_if_its_archives_are_deleted(server: Server, tmp_path: Path) -> None:
    server.content = zipped({"fan/train/a.wav": b"aaa"})
    remote, root, archives = server.remote("dev_data_fan.zip"), tmp_path / "root", tmp_path / "archives"
    for _ in range(2):
        install(
            [remote], root, archives=archives, target_of=lambda _: PurePosixPath("toy/dev"), patience=QUICK
        )
        shutil.rmtree(archives, ignore_errors=True)
    assert files_of(root) == {"toy/dev/fan/train/a.wav": b"aaa"}
    assert is_extracted(remote, root / "toy" / "dev")
    assert len(server.asked) == 1


def test_a_trusted_release_is_installed_once_and_plain_files_go_to_their_folder(
    server: Server, tmp_path: Path
) -> None:
    root, archives = tmp_path / "root", tmp_path / "archives"
    targets = {"a.zip": PurePosixPath("toy/dev"), "truth.csv": PurePosixPath("toy/truth")}
    server.content = zipped({"fan/a.wav": b"aaa"})
    for _ in range(2):
        install(
            [server.unchecked(), server.unchecked("truth.csv")], root, archives=archives,
            target_of=lambda remote: targets[remote.file], trust=not server.asked,
        )  # fmt: skip
        shutil.rmtree(archives, ignore_errors=True)
    assert files_of(root / "toy" / "dev") == {"fan/a.wav": b"aaa"}
    assert files_of(root / "toy" / "truth")["truth.csv"] == server.content
    assert len(server.asked) == 2


def test_fetch_refuses_an_unknown_checksum_unless_it_is_trusted(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from asdbench_datasets.dcase.dcase2022 import Dcase2022

    server.content = zipped({"fan/train/section_00_source_train_normal_0000_m-n_W.wav": b"RIFF"})
    monkeypatch.setattr(Dcase2022, "_remotes", lambda self: (server.unchecked("dev_fan.zip"),))
    words = ["datasets", "fetch", "dcase2022", "--accept-licence"]
    words += ["--data-root", str(tmp_path / "data"), "--cache", str(tmp_path / "cache")]
    assert cli.status_of(words) == 2
    assert "--trust-remote-checksum" in capsys.readouterr().err
    assert cli.status_of([*words, "--trust-remote-checksum"]) == 0
    assert (tmp_path / "data/archives/dcase2022/dev_fan.zip.md5").exists()
    assert list((tmp_path / "data/dcase2022/dev_data/fan/train").glob("*.wav"))


def small_sheet() -> bytes:
    """Return a sheet of 40 rows with the columns and types of the UR3 cobot's."""
    features = [f"{kind}_J{joint}" for kind in ("Current", "Temperature", "Speed") for joint in range(6)]
    book = openpyxl.Workbook()
    book.active.append(["Timestamp", *features, "Tool_current", "Robot_ProtectiveStop", "grip_lost"])
    began = datetime.datetime(2022, 10, 26, 8)
    for k in range(40):
        stamp = began + datetime.timedelta(seconds=k)
        book.active.append([stamp.isoformat(), *[float(k)] * 19, k == 35, False])
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def test_the_archive_of_the_cobot_sheet_is_unpacked_where_the_dataset_reads_it(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from asdbench_datasets.robot import ur3_cobotops

    assert ur3_cobotops.ARCHIVE.url == "https://archive.ics.uci.edu/static/public/963/ur3+cobotops.zip"
    sheet = small_sheet()
    server.content = zipped({"dataset_02052023.xlsx": sheet})
    served = msgspec.structs.replace(ur3_cobotops.ARCHIVE, url=f"{server.url}/963/ur3+cobotops.zip")
    monkeypatch.setattr(ur3_cobotops, "ARCHIVE", served)
    data = tmp_path / "data"
    place = ["ur3_cobotops", "--data-root", str(data), "--cache", str(tmp_path / "cache")]
    words = ["datasets", "fetch", *place]
    assert cli.status_of(words) == 2
    assert "CC BY 4.0" in capsys.readouterr().err
    assert cli.status_of([*words, "--accept-licence"]) == 2
    assert "the checksum of ur3+cobotops.zip is unknown" in capsys.readouterr().err
    assert server.asked == []
    assert cli.status_of([*words, "--accept-licence", "--trust-remote-checksum"]) == 0
    assert (data / "ur3_cobotops/dataset_02052023.xlsx").read_bytes() == sheet
    assert (data / "archives/ur3_cobotops/ur3+cobotops.zip.md5").exists()
    rows = list(ur3_cobotops.Ur3Cobotops().index(data))
    assert [row.start for row in rows if row.label == ANOMALY] == [30]
    assert cli.status_of(words) == 0  # by now there is nothing to accept, trust or fetch
    assert len(server.asked) == 1
    assert cli.status_of(["datasets", "verify", *place]) == 1
    assert "not as published: dataset_02052023.xlsx" in capsys.readouterr().out


def test_a_folder_given_as_an_option_gets_the_cobot_sheet(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from asdbench_datasets.robot import ur3_cobotops

    server.content = zipped({"dataset_02052023.xlsx": small_sheet()})
    monkeypatch.setattr(ur3_cobotops, "ARCHIVE", server.unchecked("ur3+cobotops.zip"))
    dataset = f"ur3_cobotops[folder={tmp_path / 'elsewhere'}]"
    words = ["datasets", "fetch", dataset, "--accept-licence", "--trust-remote-checksum"]
    words += ["--data-root", str(tmp_path / "data"), "--cache", str(tmp_path / "cache")]
    assert cli.status_of(words) == 0
    assert (tmp_path / "elsewhere/dataset_02052023.xlsx").exists()


def licensed(licence: str) -> Card:
    return Card(
        name="toy",
        title="Toy set",
        task="detection",
        modality="audio",
        licence=licence,
        citation="",
        homepage="https://example.org/toy",
        columns={},
        claims=(),
        scopes={},
        groups=(),
        metrics="",
        item_shape=(1,),
    )


def test_a_licence_must_be_accepted_once(tmp_path: Path) -> None:
    card = licensed("CC BY-SA 4.0")
    with pytest.raises(
        DataError, match=r"Toy set is CC BY-SA 4\.0 \(https://example\.org/toy\).*--accept-licence"
    ):
        accept_licence(card, accepted=False, state_dir=tmp_path)
    accept_licence(card, accepted=True, state_dir=tmp_path)
    accept_licence(card, accepted=False, state_dir=tmp_path)
    with pytest.raises(DataError, match=r"CC BY-NC 4\.0"):
        accept_licence(licensed("CC BY-NC 4.0"), accepted=False, state_dir=tmp_path)


def test_a_damaged_list_of_licences_is_reported(tmp_path: Path) -> None:
    (tmp_path / "licences.json").write_text("[]")
    with pytest.raises(DataError, match=r"licences\.json is damaged"):
        accept_licence(licensed("MIT"), accepted=True, state_dir=tmp_path)
