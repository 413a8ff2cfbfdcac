"""Downloads: resumed, retried, checked against a checksum, or trusted once."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path, PurePosixPath

import pytest
from file_server import (
    BLOCK,
    CONTENT,
    QUICK,
    Answer,
    Server,
    cut,
    refuse,
    replace_content,
    running_server,
    zipped,
)

from asdbench import DataError, Remote
from asdbench.data.download import Patience, fetch, install
from asdbench.messages.progress import Progress

ANY_MD5 = "0" * 32


@pytest.fixture
def server() -> Iterator[Server]:
    with running_server() as server:
        yield server


def test_a_file_arrives_whole_under_its_own_name_and_reports_progress(server: Server, tmp_path: Path) -> None:
    calls: list[Progress] = []
    paths = fetch([server.remote("a.zip"), server.remote("b.zip")], tmp_path, on_progress=calls.append)
    assert paths == [tmp_path / "a.zip", tmp_path / "b.zip"]
    assert all(path.read_bytes() == CONTENT for path in paths)
    assert calls[0] == Progress(stage="a.zip", step=0, steps=len(CONTENT))
    assert calls[-1] == Progress(stage="b.zip", step=len(CONTENT), steps=len(CONTENT))
    assert not list(tmp_path.glob("*.part"))


def test_a_file_with_the_right_checksum_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(CONTENT)
    fetch([server.remote()], tmp_path)
    assert server.asked == []


def test_a_file_with_another_checksum_is_replaced(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.zip").write_bytes(b"damaged")
    [path] = fetch([server.remote()], tmp_path)
    assert path.read_bytes() == CONTENT
    assert "another MD5" in caplog.text


def test_a_cut_transfer_is_resumed(server: Server, tmp_path: Path) -> None:
    server.faults = [cut(4 * BLOCK), cut(3 * BLOCK + 9)]
    [path] = fetch([server.remote()], tmp_path, patience=QUICK)
    assert path.read_bytes() == CONTENT
    assert server.asked == [None, f"bytes={4 * BLOCK}-", f"bytes={7 * BLOCK}-"]


def test_a_part_of_an_earlier_run_is_resumed(server: Server, tmp_path: Path) -> None:
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


def test_a_complete_part_is_only_checked(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.zip.part").write_bytes(CONTENT)
    [path] = fetch([server.remote()], tmp_path, patience=QUICK)
    assert path.read_bytes() == CONTENT
    assert server.asked == [f"bytes={len(CONTENT)}-"]


def test_a_part_longer_than_the_file_is_deleted(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.zip.part").write_bytes(CONTENT + b"more")
    [path] = fetch([server.remote()], tmp_path, patience=QUICK)
    assert path.read_bytes() == CONTENT
    assert server.asked == [f"bytes={len(CONTENT) + 4}-", None]


def test_a_range_that_starts_elsewhere_is_not_appended(server: Server, tmp_path: Path) -> None:
    def shifted(answer: Answer) -> bool:
        answer.head(206, 3, content_range=f"bytes 7-9/{len(CONTENT)}")
        answer.wfile.write(b"abc")
        return True

    (tmp_path / "a.zip.part").write_bytes(CONTENT[:1000])
    server.faults = [shifted]
    [path] = fetch([server.remote()], tmp_path, patience=QUICK)
    assert path.read_bytes() == CONTENT
    assert server.asked == ["bytes=1000-", None]


def test_a_part_of_another_file_is_detected_and_fetched_from_scratch(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.zip.part").write_bytes(b"x" * 1000)
    [path] = fetch([server.remote()], tmp_path, patience=QUICK)
    assert path.read_bytes() == CONTENT
    assert server.asked == ["bytes=1000-", None]


def test_a_busy_server_is_retried_after_growing_pauses(server: Server, tmp_path: Path) -> None:
    pauses: list[float] = []
    server.faults = [refuse(503), refuse(502), refuse(429, Retry_After="30")]
    fetch([server.remote()], tmp_path, patience=Patience(retries=3, pause=pauses.append))
    assert pauses == [2.0, 4.0, 30.0]
    assert len(server.asked) == 4


def test_a_server_that_stays_busy_uses_up_the_retries(server: Server, tmp_path: Path) -> None:
    server.faults = [refuse(503)] * 9
    with pytest.raises(DataError, match=r"a\.zip: the server answered 503 .* after 3 retries"):
        fetch([server.remote()], tmp_path, patience=QUICK)
    assert len(server.asked) == 4


def test_a_server_that_always_cuts_at_the_same_byte_uses_up_the_retries(
    server: Server, tmp_path: Path
) -> None:
    server.ranges = False
    server.faults = [cut(BLOCK)] * 9
    with pytest.raises(DataError, match=rf"{BLOCK} bytes are kept"):
        fetch([server.remote()], tmp_path, patience=QUICK)
    assert len(server.asked) == 5  # the first made progress
    assert (tmp_path / "a.zip.part").read_bytes() == CONTENT[:BLOCK]


def test_cuts_do_not_use_up_the_retries_while_the_file_grows(server: Server, tmp_path: Path) -> None:
    server.faults = [cut(100_000)] * 10
    [path] = fetch([server.remote()], tmp_path, patience=QUICK)
    assert path.read_bytes() == CONTENT


def test_a_missing_file_is_not_requested_again(server: Server, tmp_path: Path) -> None:
    server.faults = [refuse(404)]
    with pytest.raises(DataError, match=r"a\.zip answered 404 Not Found"):
        fetch([server.remote()], tmp_path, patience=QUICK)
    assert len(server.asked) == 1


def test_wrong_content_is_fetched_once_more_from_scratch(server: Server, tmp_path: Path) -> None:
    server.faults = [replace_content(b"<html>maintenance</html>")]
    [path] = fetch([server.remote()], tmp_path, patience=QUICK)
    assert path.read_bytes() == CONTENT
    assert server.asked == [None, None]


def test_wrong_content_twice_is_an_error_with_both_checksums(server: Server, tmp_path: Path) -> None:
    met, announced = hashlib.md5(CONTENT).hexdigest(), "0" * 32
    with pytest.raises(DataError, match=rf"has MD5 {met}, the release announces {announced}"):
        fetch([server.remote(md5=announced)], tmp_path, patience=QUICK)
    assert len(server.asked) == 2
    assert not list(tmp_path.glob("a.zip*"))


def test_an_unreachable_server_uses_up_the_retries(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as closed:
        port = closed.server_address[1]
    remote = Remote(url=f"http://127.0.0.1:{port}/a.zip", md5=ANY_MD5, part="dev")
    with pytest.raises(DataError, match=r"the connection failed \(ConnectionError\), after 3 retries"):
        fetch([remote], tmp_path, patience=QUICK)


def test_an_invalid_address_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere/a\.zip cannot be fetched"):
        fetch([Remote(url="nowhere/a.zip", md5=ANY_MD5, part="dev")], tmp_path, patience=QUICK)


def test_a_full_disk_is_reported_before_anything_is_written(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(DataError, match=r"is full: a\.zip needs 1\.0 MiB more, 0\.0 MiB are free"):
        fetch([server.remote()], tmp_path, patience=QUICK)
    assert not (tmp_path / "a.zip.part").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_disk_that_fills_up_during_a_download_is_reported_with_the_missing_space(
    server: Server, tmp_path: Path
) -> None:
    (tmp_path / "a.zip.part").symlink_to("/dev/full")
    with pytest.raises(DataError, match=r"is full: a\.zip needs 1\.0 MiB more"):
        fetch([server.remote()], tmp_path, patience=QUICK)


def test_a_folder_that_cannot_be_created_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"cannot create the folder .*file/sub: Not a directory"):
        fetch([], tmp_path / "file" / "sub")


def test_a_file_without_a_known_checksum_is_refused_before_anything_is_downloaded(
    server: Server, tmp_path: Path
) -> None:
    remotes = [server.remote("known.zip"), server.unchecked("b.zip"), server.unchecked("c.zip")]
    with pytest.raises(
        DataError,
        match=r"checksum of b\.zip \(and of 1 more\) is unknown, .*/b\.zip .* --trust-remote-checksum",
    ):
        fetch(remotes, tmp_path, patience=QUICK)
    with pytest.raises(DataError, match=r"checksum of b\.zip \(and of 1 more\) is unknown"):
        install(remotes, tmp_path, archives=tmp_path, target_of=lambda _: PurePosixPath("toy"))
    assert server.asked == []


def test_a_trusted_file_keeps_its_checksum_and_is_checked_against_it_later(
    server: Server, tmp_path: Path
) -> None:
    server.content = zipped({"a.wav": b"first"})
    [path] = fetch([server.unchecked()], tmp_path, trust=True)
    kept = tmp_path / "a.zip.md5"
    assert kept.read_text() == f"{hashlib.md5(server.content).hexdigest()}  a.zip\n"
    fetch([server.unchecked()], tmp_path)  # no trust needed: the checksum is known by now
    assert len(server.asked) == 1
    path.unlink()
    server.content = zipped({"a.wav": b"other"})
    with pytest.raises(DataError, match=r"a\.zip\.md5 \(delete it to trust the file again\) says"):
        fetch([server.unchecked()], tmp_path, patience=QUICK, trust=True)
    kept.unlink()
    fetch([server.unchecked()], tmp_path, trust=True)
    assert path.read_bytes() == server.content


def test_a_trusted_file_on_disk_is_accepted(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"fetched by hand")
    fetch([server.unchecked()], tmp_path, trust=True)
    assert (tmp_path / "a.zip.md5").read_text().startswith(hashlib.md5(b"fetched by hand").hexdigest())
    assert server.asked == []


def test_a_file_that_is_not_an_archive_is_not_trusted_as_one(server: Server, tmp_path: Path) -> None:
    server.content = b"<html>maintenance</html>"
    with pytest.raises(DataError, match=r"a\.zip sent a file that is not a zip archive"):
        fetch([server.unchecked()], tmp_path, patience=QUICK, trust=True)
    assert not list(tmp_path.glob("a.zip*"))


def test_a_damaged_checksum_file_is_reported(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.zip.md5").write_text("oops")
    with pytest.raises(DataError, match=r"a\.zip\.md5 should begin with an MD5"):
        fetch([server.unchecked()], tmp_path, trust=True)
