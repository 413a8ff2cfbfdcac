"""``asdbench status`` and ``--log-json``: how far a run is, from another terminal or after the fact."""

from __future__ import annotations

import gc
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import make_schemas
import msgspec
import pytest
import tiny

from asdbench import RunError, Selector
from asdbench.cli import status_of
from asdbench.cli.status import clock_text
from asdbench.core.gpus import GpuUse, gpu_use
from asdbench.core.shard import Shard
from asdbench.messages.happenings import JobCounts, RunEvent, Trials
from asdbench.messages.progress import Event, Progress
from asdbench.runs.journal import Journal
from asdbench.runs.run import run_all
from asdbench.runs.status import RunStatus, StatusFile, read_shards, read_status

Capture = pytest.CaptureFixture[str]


class Heard:
    """A listener that keeps the events."""

    def __init__(self) -> None:
        self.events: list[RunEvent] = []

    def event(self, event: RunEvent) -> None:
        """Keep an event."""
        self.events.append(event)


class Clock:
    """A clock that stands still unless it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def counts(*, done: int = 0, failed: int = 0, left: int = 4) -> JobCounts:
    return JobCounts(total=4, done=done, running=0, failed=failed, inapplicable=0, left=left)


def status_file(out: Path, **options: Any) -> StatusFile:
    return StatusFile(
        out, dataset="synthetic", methods=["toy"], seeds=[1, 2], **{"gpus": list, "clock": Clock()} | options
    )


def validate(text: str, name: str) -> None:
    schema = json.loads(make_schemas.file_of(name).read_text("utf-8"))
    jsonschema.Draft202012Validator(schema).validate(json.loads(text))


def progress(step: int) -> Progress:
    return Progress(stage="first", epoch=1, epochs=3, step=step, steps=4)


# A real run.


def test_a_run_reports_every_job_and_leaves_its_status(cache: Path, tmp_path: Path) -> None:
    methods = [Selector("toy_by_machine", {"epochs": "1", "trouble": "raise", "on": "valve"})]
    heard = Heard()
    request = tiny.request(tmp_path, *methods, cache=cache)
    [document] = run_all([request], tiny.registry(), observer=tiny.Silent(), listeners=[heard])
    first, *_, last = heard.events
    assert (first.event, last.event) == ("run_started", "run_ended")
    assert {event.run for event in heard.events} == {document.run.id}
    ended = {event.title: event.status for event in heard.events if event.event == "job_ended"}
    assert sorted(ended.values()) == ["error", "ok", "ok"]
    assert (first.jobs.left, last.jobs.done, last.jobs.failed, last.jobs.left) == (4, 2, 2, 0)
    assert all(
        each.jobs.done + each.jobs.running + each.jobs.failed + each.jobs.left == 4 for each in heard.events
    )
    status = read_status(tmp_path)
    assert (status.run, status.state, status.jobs) == (document.run.id, "finished", last.jobs)
    assert (status.methods, status.seeds) == (document.run.methods, [42])
    assert status.last_error is not None
    assert status.last_error.message == "ValueError: the toy broke"
    assert " valve seed 42" in status.last_error.title


def test_a_killed_run_is_interrupted_and_log_json_has_whole_lines(cache: Path, tmp_path: Path) -> None:
    out, log = tmp_path / "out", tmp_path / "log.jsonl"
    slow = "toy[pause_s=0.2,epochs=1000]"
    words = ["run", "-p", slow, "-d", str(tiny.DATASET), "--out", str(out), "--log-json", str(log)]
    process = subprocess.Popen(
        tiny.command(*words, cache=cache),
        env=tiny.environment(),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        wait_for(lambda: log.exists() and b"job_progress" in log.read_bytes(), process)
        wait_for(lambda: bool(read_status(out).running), process)
        status = read_status(out)
        assert status.state == "running"
        assert (status.jobs.running, status.jobs.left, status.jobs.done) == (1, 1, 0)
        assert status.running[0].title.startswith("fit toy")
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert read_status(out).state == "interrupted"
    for line in log.read_text().splitlines():
        validate(line, "event")


def wait_for(what: Any, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while not what():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_log_json_on_standard_error_replaces_the_bars(cache: Path, tmp_path: Path) -> None:
    words = ["run", "-p", "toy[epochs=1]", "-d", str(tiny.DATASET), "--out", str(tmp_path), "--log-json", "-"]
    done = subprocess.run(
        tiny.command(*words, "--json", cache=cache),
        env=tiny.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("{")]
    events = [msgspec.json.decode(line, type=RunEvent) for line in lines]
    assert [event.event for event in events if event.event != "job_progress"] == [
        "run_started", "job_ended", "job_ended", "run_ended"
    ]  # fmt: skip
    assert "jobs: " not in done.stderr  # the lines that replace the bars in a log file
    assert json.loads(done.stdout)["run"]["id"] == events[0].run


def test_a_log_that_cannot_be_written_is_refused(tmp_path: Path, capsys: Capture) -> None:
    words = ["run", "-p", "logmel_knn", "-d", "synthetic", "--out", str(tmp_path / "out")]
    assert status_of([*words, "--log-json", str(tmp_path / "none" / "log")]) == 2
    assert f"cannot write {tmp_path / 'none' / 'log'}: No such file or directory" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# The journal.


def test_the_progress_of_a_job_is_reported_at_most_once_a_second() -> None:
    clock, heard = Clock(), Heard()
    journal = Journal("r", [heard], clock=clock)
    journal.begin(counts(), left={"fit": 2, "score": 2})
    for step in range(20):
        clock.now += 0.125
        for job in ("a", "b"):
            event = Event(job_id=job, progress=progress(step))
            journal.job(event, title=f"fit {job}", counts=counts(), left={"fit": 2, "score": 2})
    reported = [(event.job, event.progress.step) for event in heard.events if event.progress is not None]
    assert reported == [("a", 0), ("b", 0), ("a", 8), ("b", 8), ("a", 16), ("b", 16)]
    assert (heard.events[-1].jobs.running, heard.events[-1].jobs.left) == (2, 2)


def test_the_time_left_follows_from_the_jobs_that_have_ended() -> None:
    clock, heard = Clock(), Heard()
    journal = Journal("r", [heard], clock=clock)
    journal.begin(counts(), left={"fit": 4})
    assert heard.events[-1].left_s is None
    clock.now += 10
    journal.job(Event(job_id="a", status="ok"), title="fit a", counts=counts(done=1, left=3), left={"fit": 3})
    assert heard.events[-1].left_s == pytest.approx(30)
    journal.job(Event(job_id="b", status="ok"), title="fit b", counts=counts(done=4, left=0), left={})
    journal.end()
    assert heard.events[-1].left_s == 0.0


def test_the_rounds_of_a_study_are_reported_as_one_run() -> None:
    clock, heard = Clock(), Heard()
    journal = Journal("s", [heard], clock=clock)
    journal.begin(counts(done=4, left=0), left={})
    journal.round(Trials(done=4, total=12, best=0.5), left_s=20.0)
    journal.begin(counts(), left={"fit": 4})
    clock.now += 5
    journal.job(Event(job_id="a", status="ok"), title="fit a", counts=counts(done=1, left=3), left={"fit": 3})
    journal.round(Trials(done=8, total=12, best=0.75), left_s=None)
    journal.end()
    assert [event.event for event in heard.events] == [
        "run_started", "round_ended", "job_ended", "round_ended", "run_ended",
    ]  # fmt: skip
    assert [(event.jobs.done, event.jobs.total, event.left_s) for event in heard.events[:4]] == [
        (4, 4, 0.0), (4, 4, 20.0), (5, 8, 15.0), (5, 8, None),
    ]  # fmt: skip
    assert [event.trials and event.trials.best for event in heard.events] == [None, 0.5, None, 0.75, None]


# The file.


def test_the_file_is_written_at_most_once_a_second_and_at_the_end(tmp_path: Path) -> None:
    clock = Clock()
    file = status_file(tmp_path, clock=clock)
    journal = Journal("r", [file], clock=clock)
    journal.begin(counts(), left={"fit": 4})
    journal.job(Event(job_id="a", progress=progress(1)), title="fit a", counts=counts(), left={"fit": 4})
    assert read_status(tmp_path).running == []
    clock.now += 1
    journal.job(Event(job_id="a", progress=progress(2)), title="fit a", counts=counts(), left={"fit": 4})
    [running] = read_status(tmp_path).running
    assert (running.title, running.progress) == ("fit a", progress(2))
    journal.end()
    assert read_status(tmp_path, "r").state == "finished"
    validate((tmp_path / "status" / "r.json").read_text(), "status")


def test_the_latest_run_is_the_one_that_reported_last(tmp_path: Path) -> None:
    for run in ("one", "two", "one"):
        Journal(run, [status_file(tmp_path)]).begin(counts(), left={})
        time.sleep(0.01)
    assert read_status(tmp_path).run == "one"
    assert read_status(tmp_path, "two").run == "two"
    with pytest.raises(RunError, match=r"unknown run 'too'.*two"):
        read_status(tmp_path, "too")


def test_each_shard_has_a_file_of_its_own_and_the_command_shows_the_others(
    tmp_path: Path, capsys: Capture
) -> None:
    files = {name: status_file(tmp_path, shard=Shard.parse(name)) for name in ("10/10", "1/10", "2/10")}
    journals = {name: Journal("r", [file]) for name, file in files.items()}
    for name, journal in journals.items():
        journal.begin(counts(done=len(name) - 4), left={})
        time.sleep(0.01)
    journals["1/10"].end()
    assert [(each.run, each.shard, each.state) for each in read_shards(tmp_path, "r")] == [
        ("r", "1/10", "finished"), ("r", "2/10", "running"), ("r", "10/10", "running"),
    ]  # fmt: skip
    assert read_status(tmp_path).shard == read_status(tmp_path, "r").shard == "1/10"
    assert read_status(tmp_path, "r-shard-10-of-10").jobs.done == 1
    assert status_of(["status", "--out", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "run r, shard 1/10: finished"
    assert lines[-1] == "other shards: 2/10 running (0 of 4 jobs done), 10/10 running (1 of 4 jobs done)"
    del files["2/10"], journals["2/10"], journal  # its command is gone
    gc.collect()
    assert [each.state for each in read_shards(tmp_path, "r")] == ["finished", "interrupted", "running"]
    validate((tmp_path / "status" / "r-shard-2-of-10.json").read_text(), "status")
    Journal("r", [status_file(tmp_path)]).begin(counts(), left={})  # the run that evaluates
    assert read_status(tmp_path, "r").shard == ""


def test_a_folder_without_runs_and_a_damaged_file_are_refused(tmp_path: Path, capsys: Capture) -> None:
    assert status_of(["status", "--out", str(tmp_path)]) == 2
    assert f"no run has started in {tmp_path}" in capsys.readouterr().err
    (tmp_path / "status").mkdir()
    (tmp_path / "status" / "r.json").write_text('{"run": 1}')
    with pytest.raises(RunError, match=r"r\.json is damaged or of another version"):
        read_status(tmp_path)


# What the command shows.


def test_the_command_shows_jobs_time_failure_and_gpus(tmp_path: Path, capsys: Capture) -> None:
    gpu = GpuUse(index=0, name="H100", busy_percent=93, used_bytes=12_300_000_000, memory_bytes=80 * 10**9)
    clock = Clock()
    journal = Journal("r", [status_file(tmp_path, gpus=lambda: [gpu], clock=clock)], clock=clock)
    journal.begin(counts(), left={"fit": 4})
    clock.now += 10
    failed = Event(job_id="a", status="error", message="ValueError: broke")
    journal.job(failed, title="fit a", counts=counts(failed=1, left=3), left={"fit": 3})
    clock.now += 1
    journal.job(
        Event(job_id="b", progress=progress(2)),
        title="fit b",
        counts=counts(failed=1, left=3),
        left={"fit": 3},
    )
    assert status_of(["status", "--out", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        "run r: running", "toy on synthetic, seeds 1, 2", "0 of 4 jobs done, 1 running, 1 failed, 2 left",
    ]  # fmt: skip
    assert lines[3].startswith("time left: 0:00:2")
    assert lines[4:] == [
        "running: fit b: first epoch 2/3",
        "GPU 0 (H100): 93 % busy, 12.3 of 80.0 GB used",
        "last failure: fit a: error: ValueError: broke",
    ]
    assert status_of(["status", "r", "--out", str(tmp_path), "--json"]) == 0
    text = capsys.readouterr().out
    validate(text, "status")
    assert msgspec.json.decode(text, type=RunStatus).gpus == [gpu]
    assert clock_text(3661) == "1:01:01"


def test_the_command_shows_the_trials_of_a_study(tmp_path: Path, capsys: Capture) -> None:
    journal = Journal("toy-fan", [status_file(tmp_path)])
    journal.begin(counts(done=4, left=0), left={})
    journal.round(Trials(done=4, total=12, best=0.987654), left_s=3600.0)
    assert status_of(["status", "toy-fan", "--out", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "study toy-fan: running"
    assert lines[3] == "4 of 12 trials, best 0.9877"
    assert lines[4].startswith("time left: 0:59:5") or lines[4].startswith("time left: 1:00:00")
    validate((tmp_path / "status" / "toy-fan.json").read_text(), "status")


class FakeNvml:
    """The part of NVIDIA's library that is read, with one GPU."""

    class NVMLError(Exception):
        """Its errors."""

    def __init__(self, *, works: bool = True) -> None:
        self.works = works
        self.open = 0

    def nvmlInit(self) -> None:  # noqa: N802
        if not self.works:
            raise self.NVMLError("Driver Not Loaded")
        self.open += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetName(self, gpu: int) -> bytes:  # noqa: N802
        return b"H100"

    def nvmlDeviceGetMemoryInfo(self, gpu: int) -> Any:  # noqa: N802
        return SimpleNamespace(used=5, total=80)

    def nvmlDeviceGetUtilizationRates(self, gpu: int) -> Any:  # noqa: N802
        return SimpleNamespace(gpu=93)


def test_the_use_of_gpus_is_known_where_the_library_is(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    assert gpu_use() == [GpuUse(index=0, name="H100", busy_percent=93, used_bytes=5, memory_bytes=80)]
    assert nvml.open == 0
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(works=False))
    assert gpu_use() == []
    monkeypatch.setitem(sys.modules, "pynvml", None)  # cannot be imported
    assert gpu_use() == []
