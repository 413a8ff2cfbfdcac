from __future__ import annotations

import contextlib
import datetime
import hashlib
import io
import re
import shutil
import stat
import struct
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath

import msgspec
import openpyxl
import pytest

from asdbench import cli
from asdbench.data.download import Patience, accept_licence, extract, fetch, install, is_extracted
from asdbench.errors import DataError
from asdbench.values import ANOMALY, Card, Remote

CONTENT = bytes(range(256)) * 4096  # 1 MiB
BLOCK = 1 << 16  # what is written at once; a cut loses the rest of its block
ANY_MD5 = "0" * 32
QUICK = Patience(retries=3, timeout_s=5.0, pause=lambda seconds: None)


@dataclass
class Server:
    """An HTTP server on loopback that misbehaves as a test tells it to."""

    url: str = ""
    content: bytes = CONTENT
    ranges: bool = True
    """Honour ranges; otherwise every answer is the whole file."""
    faults: list[Callable[[Answer], bool]] = field(default_factory=list)
    """What goes wrong, one a request; True: the fault answered the request."""
    asked: list[str | None] = field(default_factory=list)
    """The range of each request."""

    def remote(self, file: str = "a.zip", *, md5: str = "") -> Remote:
        return Remote(url=f"{self.url}/{file}", md5=md5 or hashlib.md5(self.content).hexdigest(), part="dev")


class Answer(BaseHTTPRequestHandler):
    state: Server

    def do_GET(self) -> None:
        self.state.asked.append(self.headers.get("Range"))
        if self.state.faults and self.state.faults.pop(0)(self):
            return
        self.send()

    def send(self, *, cut: int | None = None) -> None:
        """Answer as a good server would, but stop ``cut`` bytes into the body."""
        content, start = self.state.content, self.start()
        if start >= len(content) > 0 and start:
            self.head(416, 0, f"bytes */{len(content)}")
            return
        body = content[start:]
        if start:
            self.head(206, len(body), f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.head(200, len(body))
        with contextlib.suppress(ConnectionError):  # a client may have seen enough
            self.wfile.write(body if cut is None else body[:cut])
        self.close_connection = True

    def start(self) -> int:
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        return int(match[1]) if match and self.state.ranges else 0

    def head(self, status: int, length: int, content_range: str = "", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        if content_range:
            self.send_header("Content-Range", content_range)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Keep test output quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()
    handler = type("Bound", (Answer,), {"state": state})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        state.url = f"http://127.0.0.1:{http.server_address[1]}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        http.shutdown()
        thread.join()


def cut(after: int) -> Callable[[Answer], bool]:
    def fault(answer: Answer) -> bool:
        answer.send(cut=after)
        return True

    return fault


def refuse(status: int, **headers: str) -> Callable[[Answer], bool]:
    def fault(answer: Answer) -> bool:
        answer.head(status, 0, **headers)
        return True

    return fault


def lie(content: bytes) -> Callable[[Answer], bool]:
    def fault(answer: Answer) -> bool:
        answer.head(200, len(content))
        answer.wfile.write(content)
        return True

    return fault


def test_a_file_arrives_whole_under_its_own_name_and_reports_progress(server: Server, tmp_path: Path) -> None:
    calls: list[tuple[int, int | None, str]] = []
    paths = fetch(
        [server.remote("a.zip"), server.remote("b.zip")], tmp_path, progress=lambda *call: calls.append(call)
    )
    assert paths == [tmp_path / "a.zip", tmp_path / "b.zip"]
    assert all(path.read_bytes() == CONTENT for path in paths)
    assert calls[0] == (0, len(CONTENT), "a.zip")
    assert calls[-1] == (len(CONTENT), len(CONTENT), "b.zip")
    assert not list(tmp_path.glob("*.part"))


def test_a_file_that_is_there_with_the_right_sum_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(CONTENT)
    fetch([server.remote()], tmp_path)
    assert server.asked == []


def test_a_file_that_is_there_with_another_sum_is_replaced(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.zip").write_bytes(b"damaged")
    [path] = fetch([server.remote()], tmp_path)
    assert path.read_bytes() == CONTENT
    assert "another MD5" in caplog.text


def test_a_cut_transfer_is_continued_where_it_ended(server: Server, tmp_path: Path) -> None:
    server.faults = [cut(4 * BLOCK), cut(3 * BLOCK + 9)]
    [path] = fetch([server.remote()], tmp_path, patience=QUICK)
    assert path.read_bytes() == CONTENT
    assert server.asked == [None, f"bytes={4 * BLOCK}-", f"bytes={7 * BLOCK}-"]


def test_a_part_of_an_earlier_run_is_continued(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.zip.part").write_bytes(CONTENT[:1000])
    [path] = fetch([server.remote()], tmp_path, patience=QUICK)
    assert path.read_bytes() == CONTENT
    assert server.asked == ["bytes=1000-"]


def test_a_server_that_ignores_ranges_makes_it_start_over(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    server.faults = [cut(4 * BLOCK)]
    [path] = fetch([server.remote()], tmp_path, patience=QUICK)
    assert path.read_bytes() == CONTENT
    assert server.asked == [None, f"bytes={4 * BLOCK}-"]


def test_a_part_that_is_whole_already_only_needs_its_check(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.zip.part").write_bytes(CONTENT)
    [path] = fetch([server.remote()], tmp_path, patience=QUICK)
    assert path.read_bytes() == CONTENT
    assert server.asked == [f"bytes={len(CONTENT)}-"]


def test_a_part_longer_than_the_file_is_thrown_away(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.zip.part").write_bytes(CONTENT + b"more")
    [path] = fetch([server.remote()], tmp_path, patience=QUICK)
    assert path.read_bytes() == CONTENT
    assert server.asked == [f"bytes={len(CONTENT) + 4}-", None]


def test_a_range_that_begins_elsewhere_is_not_appended(server: Server, tmp_path: Path) -> None:
    def shifted(answer: Answer) -> bool:
        answer.head(206, 3, f"bytes 7-9/{len(CONTENT)}")
        answer.wfile.write(b"abc")
        return True

    (tmp_path / "a.zip.part").write_bytes(CONTENT[:1000])
    server.faults = [shifted]
    [path] = fetch([server.remote()], tmp_path, patience=QUICK)
    assert path.read_bytes() == CONTENT
    assert server.asked == ["bytes=1000-", None]


def test_a_part_of_another_file_is_noticed_and_fetched_from_scratch(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.zip.part").write_bytes(b"x" * 1000)
    [path] = fetch([server.remote()], tmp_path, patience=QUICK)
    assert path.read_bytes() == CONTENT
    assert server.asked == ["bytes=1000-", None]


def test_a_busy_server_is_asked_again_after_growing_pauses(server: Server, tmp_path: Path) -> None:
    pauses: list[float] = []
    server.faults = [refuse(503), refuse(502), refuse(429, Retry_After="30")]
    fetch([server.remote()], tmp_path, patience=Patience(retries=3, pause=pauses.append))
    assert pauses == [2.0, 4.0, 30.0]
    assert len(server.asked) == 4


def test_a_server_that_stays_busy_ends_patience(server: Server, tmp_path: Path) -> None:
    server.faults = [refuse(503)] * 9
    with pytest.raises(DataError, match=r"a\.zip: the server answered 503 .* after 3 retries"):
        fetch([server.remote()], tmp_path, patience=QUICK)
    assert len(server.asked) == 4


def test_a_server_that_always_cuts_at_the_same_byte_ends_patience(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    server.faults = [cut(BLOCK)] * 9
    with pytest.raises(DataError, match=rf"{BLOCK} bytes are kept"):
        fetch([server.remote()], tmp_path, patience=QUICK)
    assert len(server.asked) == 5  # the first got further than nothing
    assert (tmp_path / "a.zip.part").read_bytes() == CONTENT[:BLOCK]


def test_many_cuts_do_not_end_patience_while_the_file_grows(server: Server, tmp_path: Path) -> None:
    server.faults = [cut(100_000)] * 10
    [path] = fetch([server.remote()], tmp_path, patience=QUICK)
    assert path.read_bytes() == CONTENT


def test_a_file_that_is_gone_is_not_asked_for_again(server: Server, tmp_path: Path) -> None:
    server.faults = [refuse(404)]
    with pytest.raises(DataError, match=r"a\.zip answered 404 Not Found"):
        fetch([server.remote()], tmp_path, patience=QUICK)
    assert len(server.asked) == 1


def test_wrong_bytes_are_fetched_once_more_from_scratch(server: Server, tmp_path: Path) -> None:
    server.faults = [lie(b"<html>maintenance</html>")]
    [path] = fetch([server.remote()], tmp_path, patience=QUICK)
    assert path.read_bytes() == CONTENT
    assert server.asked == [None, None]


def test_wrong_bytes_twice_are_an_error_with_both_sums(server: Server, tmp_path: Path) -> None:
    met, announced = hashlib.md5(CONTENT).hexdigest(), "0" * 32
    with pytest.raises(DataError, match=rf"has MD5 {met}, the release announces {announced}"):
        fetch([server.remote(md5=announced)], tmp_path, patience=QUICK)
    assert len(server.asked) == 2
    assert not list(tmp_path.glob("a.zip*"))


def test_a_server_that_is_not_there_ends_patience(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as closed:
        port = closed.server_address[1]
    remote = Remote(url=f"http://127.0.0.1:{port}/a.zip", md5=ANY_MD5, part="dev")
    with pytest.raises(DataError, match=r"the connection failed \(ConnectionError\), after 3 retries"):
        fetch([remote], tmp_path, patience=QUICK)


def test_an_address_that_is_none_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere/a\.zip cannot be fetched"):
        fetch([Remote(url="nowhere/a.zip", md5=ANY_MD5, part="dev")], tmp_path, patience=QUICK)


def test_a_disk_without_room_is_told_before_anything_is_written(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(DataError, match=r"is full: a\.zip needs 1\.0 MiB more, 0\.0 MiB are free"):
        fetch([server.remote()], tmp_path, patience=QUICK)
    assert not (tmp_path / "a.zip.part").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_disk_that_fills_up_on_the_way_is_told_with_what_is_lacking(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.zip.part").symlink_to("/dev/full")
    with pytest.raises(DataError, match=r"is full: a\.zip needs 1\.0 MiB more"):
        fetch([server.remote()], tmp_path, patience=QUICK)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"cannot make the folder .*file/sub: Not a directory"):
        fetch([], tmp_path / "file" / "sub")


def archive_of(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo("placeholder")
            info.filename = name  # as given: the constructor would make it harmless
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return path


def files_of(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


GOOD = {"fan/": b"", "fan/train/a.wav": b"aaa", "fan/test/b.wav": b"b" * 5000}


def test_an_archive_is_unpacked_beside_what_is_there(tmp_path: Path) -> None:
    target = tmp_path / "out"
    (target / "pump").mkdir(parents=True)
    (target / "pump" / "c.wav").write_bytes(b"c")
    extract(archive_of(tmp_path / "a.zip", GOOD), target)
    assert files_of(target) == {"pump/c.wav": b"c", "fan/train/a.wav": b"aaa", "fan/test/b.wav": b"b" * 5000}
    assert not list(target.glob(".extract-*"))


def test_an_archive_is_unpacked_once_and_again_when_a_file_is_lost_or_it_changed(tmp_path: Path) -> None:
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
    with pytest.raises(DataError, match=r"10,000,000 bytes unpacked, more than the 9,999,999 allowed"):
        extract(bomb, tmp_path / "out", max_bytes=9_999_999)
    extract(bomb, tmp_path / "out", max_bytes=10_000_000)
    assert (tmp_path / "out" / "zeros.wav").stat().st_size == 10_000_000


def test_an_archive_whose_header_understates_a_member_is_refused(tmp_path: Path) -> None:
    bomb = archive_of(tmp_path / "bomb.zip", {"zeros.wav": bytes(1_000_000)})
    true, told = struct.pack("<I", 1_000_000), struct.pack("<I", 10)
    bomb.write_bytes(bomb.read_bytes().replace(true, told))
    with pytest.raises(DataError, match=r"bomb\.zip is damaged"):
        extract(bomb, tmp_path / "out", max_bytes=100)
    assert files_of(tmp_path / "out") == {}


def test_an_archive_of_too_many_members_is_refused(tmp_path: Path) -> None:
    archive = archive_of(tmp_path / "a.zip", {f"{k}.wav": b"" for k in range(5)})
    with pytest.raises(DataError, match="5 members, more than the 4 allowed"):
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


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
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


def test_a_disk_too_small_for_the_unpacked_files_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = archive_of(tmp_path / "a.zip", {"zeros.wav": bytes(3 * 2**20)})
    usage = shutil.disk_usage(tmp_path)._replace(free=2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(DataError, match=r"a\.zip needs 3\.0 MiB more, 1\.0 MiB are free"):
        extract(archive, tmp_path / "out")


def test_a_release_is_installed_once_even_if_its_archives_are_deleted(server: Server, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("fan/train/a.wav", b"aaa")
    server.content = buffer.getvalue()
    remote, root, archives = server.remote("dev_data_fan.zip"), tmp_path / "root", tmp_path / "archives"
    for _ in range(2):
        install(
            [remote], root, archives=archives, target_of=lambda _: PurePosixPath("toy/dev"), patience=QUICK
        )
        shutil.rmtree(archives, ignore_errors=True)
    assert files_of(root) == {"toy/dev/fan/train/a.wav": b"aaa"}
    assert is_extracted(remote, root / "toy" / "dev")
    assert len(server.asked) == 1


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def unknown(server: Server, file: str = "a.zip") -> Remote:
    return Remote(url=f"{server.url}/{file}", md5="", part="dev")


def test_a_file_of_unknown_checksum_is_refused_before_anything_is_downloaded(
    server: Server, tmp_path: Path
) -> None:
    remotes = [server.remote("known.zip"), unknown(server, "b.zip"), unknown(server, "c.zip")]
    with pytest.raises(
        DataError, match=r"checksum of b\.zip and 1 more is not known, .*/b\.zip .* --trust-remote-checksum"
    ):
        fetch(remotes, tmp_path, patience=QUICK)
    with pytest.raises(DataError, match=r"checksum of b\.zip and 1 more is not known"):
        install(remotes, tmp_path, archives=tmp_path, target_of=lambda _: PurePosixPath("toy"))
    assert server.asked == []


def test_a_trusted_file_keeps_its_checksum_and_is_checked_against_it_later(
    server: Server, tmp_path: Path
) -> None:
    server.content = zipped({"a.wav": b"first"})
    [path] = fetch([unknown(server)], tmp_path, trust=True)
    kept = tmp_path / "a.zip.md5"
    assert kept.read_text() == f"{hashlib.md5(server.content).hexdigest()}  a.zip\n"
    fetch([unknown(server)], tmp_path)  # without trust: it is known by now
    assert len(server.asked) == 1
    path.unlink()
    server.content = zipped({"a.wav": b"other"})
    with pytest.raises(DataError, match=r"a\.zip\.md5 \(delete it to trust the file anew\) says"):
        fetch([unknown(server)], tmp_path, patience=QUICK, trust=True)
    kept.unlink()
    fetch([unknown(server)], tmp_path, trust=True)
    assert path.read_bytes() == server.content


def test_a_trusted_file_that_lies_there_is_taken_as_it_is(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"fetched by hand")
    fetch([unknown(server)], tmp_path, trust=True)
    assert (tmp_path / "a.zip.md5").read_text().startswith(hashlib.md5(b"fetched by hand").hexdigest())
    assert server.asked == []


def test_what_is_no_archive_is_not_trusted_as_one(server: Server, tmp_path: Path) -> None:
    server.content = b"<html>maintenance</html>"
    with pytest.raises(DataError, match=r"a\.zip sent something that is no zip archive"):
        fetch([unknown(server)], tmp_path, patience=QUICK, trust=True)
    assert not list(tmp_path.glob("a.zip*"))


def test_a_kept_checksum_that_is_none_is_told(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.zip.md5").write_text("oops")
    with pytest.raises(DataError, match=r"a\.zip\.md5 should begin with an MD5"):
        fetch([unknown(server)], tmp_path, trust=True)


def test_a_trusted_release_is_installed_once_and_plain_files_go_to_their_folder(
    server: Server, tmp_path: Path
) -> None:
    root, archives = tmp_path / "root", tmp_path / "archives"
    targets = {"a.zip": PurePosixPath("toy/dev"), "truth.csv": PurePosixPath("toy/truth")}
    server.content = zipped({"fan/a.wav": b"aaa"})
    for _ in range(2):
        install(
            [unknown(server), unknown(server, "truth.csv")], root, archives=archives,
            target_of=lambda remote: targets[remote.file], trust=not server.asked,
        )  # fmt: skip
        shutil.rmtree(archives, ignore_errors=True)
    assert files_of(root / "toy" / "dev") == {"fan/a.wav": b"aaa"}
    assert files_of(root / "toy" / "truth")["truth.csv"] == server.content
    assert len(server.asked) == 2


def test_fetch_refuses_an_unknown_checksum_until_it_is_to_be_trusted(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from asdbench_datasets.dcase2022 import Dcase2022

    server.content = zipped({"fan/train/section_00_source_train_normal_0000_m-n_W.wav": b"RIFF"})
    monkeypatch.setattr(Dcase2022, "_remotes", lambda self: (unknown(server, "dev_fan.zip"),))
    words = ["datasets", "fetch", "dcase2022", "--accept-licence"]
    words += ["--data-root", str(tmp_path / "data"), "--cache", str(tmp_path / "cache")]
    assert cli.status_of(words) == 2
    assert "--trust-remote-checksum" in capsys.readouterr().err
    assert cli.status_of([*words, "--trust-remote-checksum"]) == 0
    assert (tmp_path / "data/archives/dcase2022/dev_fan.zip.md5").exists()
    assert list((tmp_path / "data/dcase2022/dev_data/fan/train").glob("*.wav"))


def small_sheet() -> bytes:
    """A sheet of 40 rows, named and typed as that of the UR3 cobot."""
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


def test_the_archive_of_the_cobots_sheet_puts_it_where_its_windows_are_looked_for(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from asdbench_datasets import ur3_cobotops

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
    assert "the checksum of ur3+cobotops.zip is not known" in capsys.readouterr().err
    assert server.asked == []
    assert cli.status_of([*words, "--accept-licence", "--trust-remote-checksum"]) == 0
    assert (data / "ur3_cobotops/dataset_02052023.xlsx").read_bytes() == sheet
    assert (data / "archives/ur3_cobotops/ur3+cobotops.zip.md5").exists()
    rows = list(ur3_cobotops.Ur3Cobotops().index(data))
    assert [row.start for row in rows if row.label == ANOMALY] == [30]
    assert cli.status_of(words) == 0  # by now nothing is to be accepted, trusted or fetched
    assert len(server.asked) == 1
    assert cli.status_of(["datasets", "verify", *place]) == 1
    assert "not as published: dataset_02052023.xlsx" in capsys.readouterr().out


def test_a_folder_of_ones_own_gets_the_cobots_sheet(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from asdbench_datasets import ur3_cobotops

    server.content = zipped({"dataset_02052023.xlsx": small_sheet()})
    monkeypatch.setattr(ur3_cobotops, "ARCHIVE", unknown(server, "ur3+cobotops.zip"))
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
        DataError, match=r"Toy set .* CC BY-SA 4\.0 \(https://example\.org/toy\).*--accept-licence"
    ):
        accept_licence(card, accepted=False, state_dir=tmp_path)
    accept_licence(card, accepted=True, state_dir=tmp_path)
    accept_licence(card, accepted=False, state_dir=tmp_path)
    with pytest.raises(DataError, match=r"CC BY-NC 4\.0"):
        accept_licence(licensed("CC BY-NC 4.0"), accepted=False, state_dir=tmp_path)


def test_a_damaged_memory_of_licences_is_told(tmp_path: Path) -> None:
    (tmp_path / "licences.json").write_text("[]")
    with pytest.raises(DataError, match=r"licences\.json is damaged"):
        accept_licence(licensed("MIT"), accepted=True, state_dir=tmp_path)
