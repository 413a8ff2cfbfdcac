"""The local executor beyond the contract: limits of memory, and what jobs leave behind."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from asdbench.cli import status_of
from asdbench.jobs.executors.local import LocalExecutor
from asdbench.jobs.executors.memory import MemoryWatch, held_bytes, living
from asdbench.jobs.executors.scratch import PREFIX, Scratch
from asdbench.messages.capacity import Capacity
from asdbench.messages.progress import Event
from asdbench.testing.executors import statuses
from asdbench.testing.jobs import ToyJobs

Capture = pytest.CaptureFixture[str]
MIB = 1 << 20
HOLDS = "import sys, time; kept = b'x' * int(sys.argv[1]); print(flush=True); time.sleep(600)"


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of temporary files of its own."""
    (folder := tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def ended(folder: Path, trouble: str, **limits: int) -> Event:
    """Run one job; return its last event."""
    executor = LocalExecutor(Capacity(folder=str(folder), **limits))
    try:
        executor.submit(ToyJobs(folder).fit(trouble, file=folder / "ids"))
        [event] = statuses(executor)
    finally:
        executor.close()
    return event


def test_a_job_that_allocates_without_end_is_ended_at_its_limit(tmp_path: Path) -> None:
    event = ended(tmp_path, "grow", memory_bytes=800 * 10**6)
    assert event.status == "oom"
    assert "GB of memory, more than the limit of 0.8 GB; raise --memory" in event.message
    held = float(event.message.split()[1])
    assert 0.8 < held < 4


def test_a_job_below_its_limit_is_left_alone(tmp_path: Path) -> None:
    assert ended(tmp_path, "child", memory_bytes=4 * 10**9).status == "ok"


@pytest.fixture
def two_processes() -> Iterator[int]:
    """A group of two processes that hold 40 MiB each."""
    words = [sys.executable, "-S", "-c", HOLDS, str(40 * MIB)]
    first = subprocess.Popen(words, process_group=0, stdout=subprocess.PIPE)
    second = subprocess.Popen(words, process_group=first.pid, stdout=subprocess.PIPE)
    for each in (first, second):
        assert each.stdout is not None
        each.stdout.readline()  # it holds the memory now
    yield first.pid
    for each in (first, second):
        each.kill()
        each.communicate()


def test_the_processes_of_a_group_count_together_and_others_do_not(two_processes: int) -> None:
    assert len(living(two_processes)) == 2
    held = held_bytes(living(two_processes))
    assert 80 * MIB < held < 120 * MIB
    assert MemoryWatch(60 * MIB).above_limit([two_processes, os.getpgrp()])[two_processes] == pytest.approx(
        held, rel=0.05
    )
    assert MemoryWatch(130 * MIB).above_limit([two_processes]) == {}
    assert MemoryWatch(None).above_limit([two_processes]) == {}


def test_a_look_is_not_taken_again_at_once(two_processes: int) -> None:
    watch = MemoryWatch(MIB)
    assert watch.above_limit([two_processes])
    assert watch.above_limit([two_processes]) == {}
    time.sleep(1.0)
    assert watch.above_limit([two_processes])


@pytest.mark.parametrize("trouble", ["child", "raise"])
def test_no_temporary_file_of_a_job_is_left(trouble: str, tmp_path: Path, temporary: Path) -> None:
    ended(tmp_path, trouble)
    assert list(temporary.iterdir()) == []


def test_what_a_killed_run_left_is_removed_and_what_is_in_use_stays(temporary: Path) -> None:
    (left := temporary / f"{PREFIX}gone").mkdir()
    (left / "lock").touch()
    (left / "1").mkdir()
    other = temporary / "another"
    other.mkdir()
    used = Scratch()
    folder = used.folder()
    second = Scratch()
    assert not left.exists()
    assert folder.is_dir()
    assert other.is_dir()
    used.remove()
    second.remove()
    assert list(temporary.iterdir()) == [other]


@pytest.mark.parametrize("words", ["8", "8 bananas", "0GB", "GB"])
def test_a_limit_that_is_no_size_is_refused(words: str, capsys: Capture) -> None:
    assert status_of(["run", "-p", "idnn", "-d", "synthetic", "--memory", words]) == 2
    assert f"{words!r} is not a size; use for example 500MB, 8GB or 8GiB" in capsys.readouterr().err
