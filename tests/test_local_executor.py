"""The local executor beyond the contract: limits of memory, and what jobs leave behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
import toy_model

from asdbench import ItemView, Selector, run_to_end
from asdbench.cli import status_of
from asdbench.conformance.jobs import ToyJobs
from asdbench.jobs.executors.local import Local, LocalExecutor, _visible
from asdbench.jobs.executors.memory import MemoryWatch, held_bytes, living
from asdbench.jobs.executors.scratch import PREFIX, Scratch
from asdbench.jobs.processes import start_server
from asdbench.messages.capacity import Capacity, Needs
from asdbench.messages.progress import Event
from asdbench.results.store import Store
from asdbench.runs.needs import KnownNeeds
from asdbench.runs.plan import Planned, plan_run
from asdbench.testing.executors import statuses

Capture = pytest.CaptureFixture[str]
MIB = 1 << 20
HOLDS = "import sys, time; kept = b'x' * int(sys.argv[1]); print(flush=True); time.sleep(600)"


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of temporary files of its own."""
    start_server()  # the socket of the server is a temporary file, too
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


def pretending(folder: Path, gpus: int) -> LocalExecutor:
    """Return an executor that places jobs as on GPUs of 16 GB."""
    return Local(pretended_gpus=gpus).open(Capacity(slots=2, folder=str(folder)))


def test_a_job_that_lacks_memory_beside_another_on_a_gpu_runs_again_alone(tmp_path: Path) -> None:
    jobs, marker, executor = ToyJobs(tmp_path), tmp_path / "marker", pretending(tmp_path, 1)
    failing, other = jobs.fit("full_once", file=marker), jobs.fit("wait", file=marker)
    try:
        for job in (failing, other):
            executor.submit(job, Needs(gpu_bytes=10**9))
        ends = [(event.job_id, event.status) for event in statuses(executor)]
    finally:
        executor.close()
    assert ends == [(other.job_id, "ok"), (failing.job_id, "ok")]
    assert marker.read_text() == "0"


def test_a_job_that_was_alone_on_its_gpu_is_out_of_memory_at_once_and_every_gpu_is_used(
    tmp_path: Path,
) -> None:
    jobs, executor = ToyJobs(tmp_path), pretending(tmp_path, 2)
    markers = [tmp_path / "first", tmp_path / "second"]
    try:
        for marker in markers:
            executor.submit(jobs.fit("full_once", file=marker))
        assert [(event.status, event.fault) for event in statuses(executor)] == [("oom", "gpu_memory")] * 2
    finally:
        executor.close()
    assert sorted(marker.read_text() for marker in markers) == ["0", "1"]


def test_of_the_gpus_that_the_user_allows_each_is_named_as_the_user_names_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,GPU-7a")
    assert [_visible(gpu) for gpu in range(2)] == ["5", "GPU-7a"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert _visible(3) == "3"


@pytest.mark.parametrize(
    ("error", "status", "fault"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "oom", "gpu_memory"),
        (RuntimeError("CUDA error: out of memory"), "oom", "gpu_memory"),
        (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), "oom", "gpu_memory"),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), "error", "gpu"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), "error", "gpu"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "oom", None),
        (MemoryError("no more"), "oom", None),
        (ValueError("too few items"), "error", None),
    ],
)
def test_a_fault_of_the_gpu_is_distinguished_from_one_of_the_job(
    error: Exception, status: str, fault: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr("asdbench.jobs.worker.compute", failing)
    event = run_to_end(ToyJobs(tmp_path).fit())
    assert (event.status, event.fault) == (status, fault)


def test_a_job_of_another_executor_has_a_folder_of_its_own_for_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def where(*arguments: object, **options: object) -> None:
        with tempfile.NamedTemporaryFile(delete=False) as file:
            raise ValueError(str(Path(file.name).parent))

    monkeypatch.setattr("asdbench.jobs.worker.compute", where)
    used = [Path(run_to_end(ToyJobs(tmp_path / name).fit()).message.rpartition(" ")[2]) for name in "ab"]
    assert len({*used, Path(tempfile.gettempdir())}) == 3
    assert not any(folder.exists() for folder in used)


def test_scores_are_computed_in_smaller_batches_where_the_gpu_lacks_memory(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = toy_model.Toy.outputs

    def scarce(most: int) -> Any:
        def outputs(self: toy_model.Toy, items: ItemView) -> Any:
            if len(items) > most:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return whole(self, items)

        return outputs

    [case] = plan_run(tiny.request(tmp_path, cache=cache), tiny.registry(), observer=tiny.Silent()).cases
    tiny.run_job_here(case.fit)
    tables, rules = [], []
    for most in (16, 5):
        monkeypatch.setattr(toy_model.Toy, "outputs", scarce(most))
        tiny.run_job_here(case.score)
        tables.append(Store(tmp_path).scores(case.score.job_id))
        record = Store(tmp_path).score_record(case.score.job_id)
        assert record is not None
        rules.append([rule for rule in record.rules if "at a time" in rule])
        shutil.rmtree(tmp_path / "scores")
    assert rules == [[], ["outputs of 4 items at a time, for want of memory on the GPU"]]
    np.testing.assert_allclose(tables[1]["score"], tables[0]["score"], rtol=1e-6)
    monkeypatch.setattr(toy_model.Toy, "outputs", scarce(0))
    with pytest.raises(torch.OutOfMemoryError, match="CUDA out of memory"):
        tiny.run_job_here(case.score)


def test_what_jobs_used_is_remembered_for_jobs_like_them(cache: Path, tmp_path: Path) -> None:
    def planned(folder: str, *methods: Selector, **options: Any) -> Planned:
        request = tiny.request(tmp_path / folder, *methods, cache=cache, **options)
        return plan_run(request, tiny.registry(), observer=tiny.Silent())

    first = planned("first")
    [case] = first.cases
    unknown = KnownNeeds(first).of(case.fit)
    assert (unknown.seconds, unknown.memory_bytes, unknown.gpu_bytes) == (None, None, None)
    for job in (case.fit, case.score):
        tiny.run_job_here(job)
    KnownNeeds(first).remember([case.fit.job_id])
    fitted = Store(tmp_path / "first").fit_record(case.fit.job_id)
    assert fitted is not None
    [other] = planned("other", seeds=[7]).cases
    known = KnownNeeds(planned("other")).of(other.fit)
    usage = fitted.usage
    assert (known.seconds, known.memory_bytes, known.gpu_bytes) == (usage.seconds, usage.peak_memory_bytes, 0)
    assert known.alike == unknown.alike
    longer = planned("longer", Selector("toy", {"epochs": "9"}))
    guessed = KnownNeeds(longer).of(longer.cases[0].fit)
    assert (guessed.memory_bytes, guessed.alike == known.alike) == (usage.peak_memory_bytes, False)
    assert KnownNeeds(first).of(case.score).seconds is None  # it was not among those to remember


@pytest.mark.parametrize("words", ["8", "8 bananas", "0GB", "GB"])
def test_a_limit_that_is_no_size_is_refused(words: str, capsys: Capture) -> None:
    assert status_of(["run", "-p", "idnn", "-d", "synthetic", "--memory", words]) == 2
    assert f"{words!r} is not a size; use for example 500MB, 8GB or 8GiB" in capsys.readouterr().err
