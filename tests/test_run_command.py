"""``asdbench run``: several datasets, where results go, and what is refused before any data are read."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest
import soundfile
import tiny

from asdbench import RunDocument, Selector
from asdbench.cli import status_of
from asdbench.results.record import decode
from asdbench.results.schema import RunDocuments
from asdbench.runs.estimate import CaseEstimate, PlanDocument

Capture = pytest.CaptureFixture[str]
TINY = "synthetic[machines=fan,ids=1,train_clips=2,test_clips=1,length_s=1]"
"""Four clips of a second."""
TINY_SORTED = str(Selector.parse(TINY))


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the user's settings out and the user's folders clean."""
    for name in ("ASDBENCH_CACHE", "ASDBENCH_DATA_ROOT", "ASDBENCH_OUT", "ASDBENCH_JOBS", "ASDBENCH_DEVICE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("option", ["--figure", "--out"])
@pytest.mark.parametrize("place", ["afile/x.png", "afile/deep/x.png"])
def test_a_place_that_cannot_be_written_is_refused_before_anything_is_read(
    option: str, place: str, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "afile").touch()
    words = ["run", "-p", "idnn", "-d", TINY, "--cache", "cache", option, place]
    assert status_of(words) == 2
    assert f"cannot write {place}: afile is not a folder" in capsys.readouterr().err
    assert not (tmp_path / "cache").exists()


def test_a_folder_that_may_not_be_written_to_is_refused_before_anything_is_read(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asdbench.core.files.os.access", lambda path, mode: False)
    words = ["run", "-p", "idnn", "-d", TINY, "--cache", "cache"]
    assert status_of(words) == 2
    assert "cannot write asdbench-runs: no permission to write to ." in capsys.readouterr().err
    assert not (tmp_path / "cache").exists()


def plan_of(printed: str) -> list[CaseEstimate]:
    """Return the rows of what ``--dry-run --json`` printed."""
    return msgspec.json.decode(printed, type=PlanDocument).plan


def test_several_datasets_are_runs_of_their_own(tmp_path: Path, capsys: Capture) -> None:
    other = TINY.replace("fan", "valve")
    words = ["run", "-p", "logmel_knn", "-d", TINY, "-d", other, "--cache", "cache"]
    words += ["--threads", "1", "--device", "cpu"]
    assert status_of([*words, "--json", "--figure", "new/auc.png"]) == 0
    printed = decode(capsys.readouterr().out.encode(), RunDocuments)
    assert printed.preset is None
    assert [document.run.dataset_options["machines"] for document in printed.runs] == ["fan", "valve"]
    figures = sorted((tmp_path / "new").iterdir())
    assert [path.name for path in figures] == ["auc-1.png", "auc-2.png"]
    assert [path.stat().st_mode & 0o777 for path in figures] == [0o666 & ~umask()] * 2
    assert status_of(words) == 0
    tables = capsys.readouterr().out
    assert tables.index("logmel_knn on synthetic") < tables.index("fan ") < tables.index("valve ")
    assert tables.count("logmel_knn on synthetic") == 2


def test_a_dry_run_of_several_datasets_names_the_dataset_of_each_case(
    tmp_path: Path, capsys: Capture
) -> None:
    other = TINY.replace("fan", "valve")
    words = ["run", "-p", "logmel_knn", "-d", TINY, "-d", other, "--cache", "cache", "--dry-run"]
    assert status_of([*words, "--json"]) == 0
    plan = plan_of(capsys.readouterr().out)
    assert ["machines=fan" in row.dataset for row in plan] == [True, False]
    assert status_of([*words[:4], TINY, *words[7:]]) == 0
    assert "dataset" not in capsys.readouterr().out.splitlines()[0]


def test_what_becomes_of_unequal_recordings_is_reported_once_beside_the_results(
    tmp_path: Path, capsys: Capture
) -> None:
    for name, rate in (
        ("train/1", 16000),
        ("train/2", 16000),
        ("test/normal_3", 8000),
        ("test/anomaly_4", 16000),
    ):
        file = tmp_path / "saw" / f"{name}.wav"
        file.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(file, np.random.default_rng(rate).normal(scale=0.1, size=rate), rate)
    words = ["run", "-p", "logmel_knn", "-d", "folder[path=saw]", "--cache", "cache", "--data-root", "."]
    words += ["--threads", "1", "--device", "cpu"]
    assert status_of(words) == 0
    shown = capsys.readouterr()
    warning = "warning: the recordings have several sample rates: 8000 Hz (1), 16000 Hz (3); all are read at 16000 Hz"
    assert (shown.out.count(warning), shown.err.count(warning)) == (1, 0)
    assert status_of([*words, "--json"]) == 0
    shown = capsys.readouterr()
    assert warning.removeprefix("warning: ") in decode(shown.out.encode(), RunDocument).data.notes[0]
    assert shown.err.count(warning) == 1


def test_the_plan_of_several_datasets_holds_the_cases_of_all(capsys: Capture) -> None:
    other = TINY.replace("fan", "valve")
    words = ["run", "-p", "logmel_knn", "-d", TINY, "-d", other, "--cache", "cache", "--dry-run", "--json"]
    assert status_of(words) == 0
    plan = plan_of(capsys.readouterr().out)
    assert [row.unit for row in plan] == ["fan", "valve"]


def test_nothing_is_run_where_the_data_of_a_later_dataset_are_absent(tmp_path: Path, capsys: Capture) -> None:
    words = ["run", "-p", "logmel_knn", "-d", TINY, "-d", "folder[path=gone]"]
    words += ["--cache", "cache", "--device", "cpu"]
    assert status_of(words) == 2
    assert "path=gone does not exist" in capsys.readouterr().err
    assert not list(tmp_path.glob("asdbench-runs/models/*"))


def test_a_dry_run_as_json_gives_a_row_for_each_case_with_the_reason_where_there_is_one(
    tmp_path: Path, capsys: Capture
) -> None:
    words = [
        "run",
        "-p",
        "logmel_knn",
        "-p",
        "stgram_afpa",
        "-d",
        TINY,
        "--cache",
        "cache",
        "--device",
        "cpu",
    ]
    assert status_of([*words, "--dry-run", "--json"]) == 0
    text = capsys.readouterr().out
    possible, inapplicable = plan_of(text)
    assert list(json.loads(text)) == ["schema_version", "plan"]
    assert list(json.loads(text)["plan"][0]) == [
        "dataset", "method", "unit", "fold", "seed", "train", "test", "classes", "fit", "score", "estimate_s", "basis",
        "note",
    ]  # fmt: skip
    assert (possible.dataset, possible.method, possible.unit) == (TINY_SORTED, "logmel_knn", "fan")
    assert (possible.train, possible.test, possible.classes, possible.seed) == (2, 2, 1, 42)
    assert (possible.fit, possible.score, possible.note) == ("planned", "planned", "")
    assert (possible.estimate_s or 0.0) >= 0.0
    assert (inapplicable.fit, inapplicable.score, inapplicable.estimate_s) == (*["inapplicable"] * 2, None)
    assert "needs at least 2 classes" in inapplicable.note
    assert not (tmp_path / "asdbench-runs").exists()


def umask() -> int:
    """Return the mask of new files' modes."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_ctrl_c_while_the_workers_server_starts_is_one_line(tmp_path: Path) -> None:
    words = tiny.command(
        "run", "-p", "toy", "-d", str(tiny.DATASET), "--out", str(tmp_path), cache=tmp_path / "cache"
    )
    # Ctrl-C reaches the whole group: the command, and the server that is still importing torch.
    run = subprocess.Popen(
        words, env=tiny.environment(), stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while run.poll() is None and not starts_a_server(run.pid):
        time.sleep(0.01)
    os.killpg(run.pid, signal.SIGINT)
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 130
    assert "Traceback" not in errors
    assert errors.splitlines()[-1].startswith("asdbench: interrupted")


def test_ctrl_c_during_an_import_is_raised_after_it(tmp_path: Path) -> None:
    (tmp_path / "pressed.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nwhole = True\n"
    )
    program = (
        "import sys, time; from asdbench.cli.interrupts import wait_for_imports; wait_for_imports()\n"
        "try:\n    import pressed\n    time.sleep(30)\n"
        "except KeyboardInterrupt:\n    print(sys.modules['pressed'].whole)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=tiny.environment(), capture_output=True, text=True, check=True,
        timeout=20,
    )  # fmt: skip
    assert done.stdout == "True\n"


def starts_a_server(command: int) -> bool:
    """Return whether the process that workers are forked from is a child of a command."""
    children = Path(f"/proc/{command}/task/{command}/children").read_text().split()
    return any(b"forkserver" in Path(f"/proc/{child}/cmdline").read_bytes() for child in children)


def test_json_stands_alone_on_standard_output_beside_a_figure(tmp_path: Path) -> None:
    figure = tmp_path / "auc.png"
    words = ["run", "-p", "toy", "-d", str(tiny.DATASET), "--out", str(tmp_path / "out"), "--json"]
    done = subprocess.run(
        tiny.command(*words, "--figure", str(figure), cache=tmp_path / "cache"),
        env=tiny.environment(), capture_output=True, check=True,
    )  # fmt: skip
    assert decode(done.stdout, RunDocument).run.methods == ["toy"]
    assert figure.exists()


def test_a_killed_command_takes_its_worker_with_it(tmp_path: Path) -> None:
    seen = tmp_path / "seen.txt"
    toy = f"toy[epochs=1000,pause_s=0.05,file={seen}]"
    words = tiny.command(
        "run", "-p", toy, "-d", str(tiny.DATASET), "--out", str(tmp_path / "out"), cache=tmp_path / "cache"
    )
    run = subprocess.Popen(words, env=tiny.environment(), stderr=subprocess.DEVNULL, start_new_session=True)
    while run.poll() is None and not seen.exists():
        time.sleep(0.05)  # until the worker is fitting
    assert workers_of(run.pid)
    run.kill()
    run.wait()
    deadline = time.monotonic() + 30
    while workers_of(run.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert workers_of(run.pid) == []


def workers_of(session: int) -> list[int]:
    """Return the living processes of a session, which a command and all its workers share."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, owner = stat.read_text().rpartition(")")[2].split()[:4]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(owner) == session and state != "Z" and int(stat.parent.name) != session:
            found.append(int(stat.parent.name))
    return found
