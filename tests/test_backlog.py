"""Jobs on pretended GPUs: what is learned of their needs, and which failures are not blamed at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from asdbench.conformance.jobs import ToyJobs
from asdbench.jobs.executors.backlog import Attempt, Backlog
from asdbench.messages.capacity import Needs
from asdbench.messages.jobs import JobSpec
from asdbench.messages.progress import Event

GB = 10**9
Jobs = list[JobSpec]


@pytest.fixture
def jobs(tmp_path: Path) -> Jobs:
    made = ToyJobs(tmp_path)
    return [made.fit() for _ in range(4)]


def started(backlog: Backlog) -> list[Attempt]:
    found = []
    while (attempt := backlog.start()) is not None:
        found.append(attempt)
    return found


def ends(backlog: Backlog, attempt: Attempt, status: Any = "ok", **fields: Any) -> bool:
    """End a job; return whether it will run again."""
    again = backlog.runs_again(attempt, Event(job_id=attempt.job.job_id, status=status, **fields))
    backlog.give_back(attempt)
    return again


def gpus_of(attempts: list[Attempt]) -> list[int | None]:
    return [attempt.place.gpu for attempt in attempts if attempt.place is not None]


def test_the_first_job_of_its_like_runs_alone_and_what_it_used_packs_the_others(jobs: Jobs) -> None:
    backlog = Backlog(4, gpus=[16 * GB])
    for job in jobs:
        backlog.add(job, Needs(alike="toy"))
    [first] = started(backlog)
    assert (first.job, first.shared, len(backlog)) == (jobs[0], False, 3)
    assert not ends(backlog, first, gpu_bytes=5 * GB)
    assert [attempt.job for attempt in started(backlog)] == jobs[1:3]  # two of 6.35 GB, a third does not fit


def test_what_one_kind_of_job_used_says_nothing_of_others(jobs: Jobs) -> None:
    backlog = Backlog(4, gpus=[16 * GB])
    for job, alike in zip(jobs, ("", "", "toy", "other"), strict=True):
        backlog.add(job, Needs(alike=alike))
    for job in jobs:
        [attempt] = started(backlog)
        assert attempt.job == job
        ends(backlog, attempt, gpu_bytes=GB)


def test_what_is_remembered_packs_from_the_start(jobs: Jobs) -> None:
    backlog = Backlog(4, gpus=[16 * GB, 16 * GB])
    for job in jobs:
        backlog.add(job, Needs(gpu_bytes=5 * GB))
    assert gpus_of(started(backlog)) == [0, 1, 0, 1]


def shared_by(jobs: Jobs, count: int) -> tuple[Backlog, list[Attempt]]:
    """Return jobs that share the only GPU."""
    backlog = Backlog(4, gpus=[16 * GB])
    for job in jobs[:count]:
        backlog.add(job, Needs(gpu_bytes=GB))
    return backlog, started(backlog)


@pytest.mark.parametrize(
    ("status", "fault", "again"),
    [
        ("oom", "gpu_memory", True),
        ("error", "gpu", True),
        ("crashed", None, True),
        ("oom", None, False),  # of the host
        ("error", None, False),
        ("timeout", None, False),
        ("cancelled", None, False),
        ("ok", None, False),
    ],
)
def test_a_job_that_fails_beside_another_on_the_gpu_runs_once_more_alone(
    status: str, fault: str | None, again: bool, jobs: Jobs, caplog: pytest.LogCaptureFixture
) -> None:
    backlog, [first, second] = shared_by(jobs, 2)
    assert ends(backlog, first, status, fault=fault) is again
    assert [record.message for record in caplog.records] == [
        "fit troubled runs again, alone on its GPU: "
    ] * again
    if not again:
        assert len(backlog) == 0
        return
    assert started(backlog) == []  # the other still runs there
    assert not ends(backlog, second)
    [repeated] = started(backlog)
    assert (repeated.job, repeated.must_be_alone, repeated.shared) == (jobs[0], True, False)
    backlog.add(jobs[2], Needs(gpu_bytes=GB))
    assert started(backlog) == []
    assert not ends(backlog, repeated, status, fault=fault)  # now it is to blame
    assert [attempt.job for attempt in started(backlog)] == [jobs[2]]


def test_an_error_beside_a_cuda_error_is_not_blamed_at_once(jobs: Jobs) -> None:
    backlog, [first, second, third] = shared_by(jobs, 3)
    assert ends(backlog, first, "error", fault="gpu")
    assert ends(backlog, second, "error")
    assert not ends(backlog, third)  # it has come through
    for job in (jobs[1], jobs[0]):
        [attempt] = started(backlog)
        assert attempt.job == job
        assert not ends(backlog, attempt, "error")


def test_a_job_on_another_gpu_is_not_concerned(jobs: Jobs) -> None:
    backlog = Backlog(4, gpus=[16 * GB, 16 * GB])
    for job in jobs[:2]:
        backlog.add(job, Needs())
    first, second = started(backlog)
    assert gpus_of([first, second]) == [0, 1]
    assert not ends(backlog, first, "error", fault="gpu")
    assert not ends(backlog, second, "error")


def test_without_gpus_nothing_runs_again(jobs: Jobs) -> None:
    backlog = Backlog(4)
    for job in jobs:
        backlog.add(job, Needs())
    for attempt in started(backlog):
        assert not ends(backlog, attempt, "crashed")


def test_a_job_that_waits_to_run_again_can_be_withdrawn(jobs: Jobs) -> None:
    backlog, [first, _] = shared_by(jobs, 2)
    assert ends(backlog, first, "crashed")
    assert backlog.withdraw(jobs[0].job_id)
    assert not backlog.withdraw(jobs[0].job_id)
    assert len(backlog) == 0
