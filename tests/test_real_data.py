"""A whole run on real recordings: every method, 23 machine IDs, undefined results where the data are undefined."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import tiny

from asdbench import Remote, Selector, cli
from asdbench.data.hashing import digest_of
from asdbench.runs.run import run

METHODS = (
    Selector("stgram_afpa", {"epochs": "1", "length_s": "1.536"}),
    Selector("stgram_mfn", {"epochs": "1", "length_s": "1.536"}),
    Selector("idnn", {"epochs": "1", "length_s": "2"}),
    Selector("autoencoder", {"epochs": "1", "length_s": "2"}),
)


@pytest.mark.data
def test_every_method_runs_on_real_clips_of_dcase2020(shared_data: Path, tmp_path: Path) -> None:
    request = tiny.request(
        tmp_path, *METHODS, cache=tmp_path / "cache", dataset=Selector("dcase2020"), allow_partial=True, threads=2,
        resume_every_s=10.0,
    )  # fmt: skip
    document = run(tiny.replaced(request, data_root=shared_data), tiny.registry(), observer=tiny.Silent())
    assert {job.status for job in document.jobs} == {"ok"}
    for method in document.methods:
        rows = [row for row in document.results_of(method) if row.metric == "auc"]
        sections = {
            (row.groups["machine"], row.groups["section"]): row for row in rows if row.groups["section"]
        }
        assert len(sections) == 23
        assert [key for key, row in sections.items() if row.value is None] == [("pump", "02")]
        assert sections["pump", "02"].why == "no anomalous item"
        [pump] = [row for row in rows if row.groups["machine"] == "pump" and row.groups["section"] is None]
        assert "pump/02" in (pump.why or "")
    assert document.data.complete is False
    assert (document.data.items, document.data.expected) == (231, 47151)
    averages = {row.method: row.printed for row in document.results if row.is_whole and row.metric == "auc"}
    assert [averages[method] for method in document.methods] == pytest.approx([0.9391, 0.9236, 0.7696, None])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Serve the files of ``tmp_path / "served"`` on loopback."""
    (tmp_path / "served").mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def __init__(self, *words: Any, **named: Any) -> None:
            super().__init__(*words, directory=str(tmp_path / "served"), **named)

        def log_message(self, format: str, *words: Any) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as http:
        thread = Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_address[1]}"
        http.shutdown()
        thread.join()


def test_fetch_asks_for_the_licence_then_downloads_and_unpacks_and_verify_counts(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import zipfile

    from asdbench_datasets.dcase.dcase2020 import Dcase2020

    archive = tmp_path / "served" / "dev_data_fan.zip"
    with zipfile.ZipFile(archive, "w") as members:
        members.writestr("fan/train/normal_id_00_00000000.wav", b"RIFF")
    remote = Remote(url=f"{server}/dev_data_fan.zip", md5=digest_of(archive, "md5"), part="dev")
    monkeypatch.setattr(Dcase2020, "_remotes", lambda self: (remote,))
    folders = ["--data-root", str(tmp_path / "data"), "--cache", str(tmp_path / "cache")]
    assert cli.status_of(["datasets", "fetch", "dcase2020", *folders]) == 2
    assert "--accept-licence" in capsys.readouterr().err
    assert cli.status_of(["datasets", "fetch", "dcase2020", "--accept-licence", *folders]) == 0
    assert (tmp_path / "data/dcase2020/dev_data/fan/train/normal_id_00_00000000.wav").read_bytes() == b"RIFF"
    assert cli.status_of(["datasets", "fetch", "dcase2020", *folders]) == 0  # asked once
    assert cli.status_of(["datasets", "verify", "dcase2020", *folders]) == 1
    assert "1 of 47,151 items" in capsys.readouterr().out
