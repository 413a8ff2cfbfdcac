"""Contract tests for executors."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from asdbench.conformance.jobs import ToyJobs, Trouble
from asdbench.jobs.executors.base import Executor, ExecutorOptions
from asdbench.messages.capacity import Capacity, Needs
from asdbench.messages.jobs import JobSpec
from asdbench.messages.progress import Event
from asdbench.results.store import Store

Opens = Callable[..., Executor]
ENDS: dict[Trouble, tuple[str, str]] = {
    "": ("ok", ""),
    "print": ("ok", ""),
    "raise": ("error", "the job broke"),
    "memory": ("oom", "no more memory"),
    "exit": ("crashed", ""),
    "segfault": ("crashed", ""),
}
"""Status of each kind of job, and what its message contains."""


class ExecutorContract:
    """Inherit this class and define the fixture ``options``, an instance of the executor's ``Config``.

    The tests use the protocol and the store alone, so jobs may run anywhere that reaches the folder of the results.

    Example:
        ``class TestMyExecutor(ExecutorContract)`` with a fixture ``options`` that returns ``MyExecutor(queue="short")``.
    """

    timeout_s = 10.0
    """Time limit in the test of a job that hangs; the start of a job, with its imports, must fit into it."""
    ends_within_s = 20.0
    """How long a process may outlive its job's last event, or the closing of its executor."""

    @pytest.fixture
    def options(self) -> ExecutorOptions:
        """The options of the executor to test."""
        raise NotImplementedError("define a fixture `options`")

    def is_alive(self, process_id: int) -> bool:
        """Return whether a process of a job runs; override it where jobs run on other machines."""
        try:
            state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return False
        return state != "Z"  # a dead process that its parent has not asked about

    @pytest.fixture
    def jobs(self, tmp_path: Path) -> ToyJobs:
        """What makes small jobs."""
        return ToyJobs(tmp_path)

    @pytest.fixture
    def opens(self, options: ExecutorOptions, tmp_path: Path) -> Iterator[Opens]:
        """What opens an executor of two slots, with other values of ``Capacity`` on request; all are closed at the end."""
        opened: list[Executor] = []

        def opens(**limits: Any) -> Executor:
            capacity = Capacity(**{"slots": 2, "folder": str(tmp_path / "out"), **limits})
            opened.append(options.open(capacity))
            return opened[-1]

        yield opens
        for executor in opened:
            executor.close()

    def test_every_job_ends_with_exactly_one_status_however_it_ends(
        self, opens: Opens, jobs: ToyJobs
    ) -> None:
        """A job that succeeds has its result in the store when its event arrives."""
        executor = opens()
        submitted = {trouble: jobs.fit(trouble) for trouble in ENDS}
        for job in submitted.values():
            executor.submit(job, Needs(seconds=1.0, memory_bytes=10**8))
        ended: dict[str, Event] = {}
        for event in executor.events():
            if event.status is not None:
                assert event.job_id not in ended, f"{event.job_id} ended twice"
                ended[event.job_id] = event
                if event.status == "ok":
                    assert Store(jobs.store).fit_record(event.job_id) is not None
        assert ended.keys() == {job.job_id for job in submitted.values()}
        for trouble, (status, message) in ENDS.items():
            event = ended[submitted[trouble].job_id]
            assert (event.status, message in event.message) == (status, True), event
            assert (event.message == "") == (status == "ok"), event

    def test_a_job_that_hangs_ends_at_its_time_limit(
        self, opens: Opens, jobs: ToyJobs, tmp_path: Path
    ) -> None:
        """Even if it ignores the request to end, and with the processes that it started."""
        executor = opens(timeout_s=self.timeout_s)
        executor.submit(jobs.fit("hang", file=tmp_path / "ids"))
        [end] = statuses(executor)
        assert end.status == "timeout"
        assert f"{self.timeout_s:g} s" in end.message
        self.check_gone(tmp_path / "ids")

    def test_jobs_are_submitted_and_cancelled_between_events(
        self, opens: Opens, jobs: ToyJobs, tmp_path: Path
    ) -> None:
        """A running and a queued job end once as cancelled; unknown and ended ones are ignored."""
        executor, ids = opens(), tmp_path / "ids"
        hanging, first = jobs.fit("hang", file=ids), jobs.fit("wait", file=ids)
        executor.submit(hanging)
        executor.submit(first)
        events = (event for event in executor.events() if event.status is not None)
        assert (end := next(events)).job_id == first.job_id, end
        later: list[JobSpec] = [jobs.fit("hang", file=tmp_path / "later"), jobs.fit()]
        for job in later:
            executor.submit(job)
        for job_id in (later[0].job_id, hanging.job_id, hanging.job_id, first.job_id, "nobody"):
            executor.cancel(job_id)
        ended = sorted((event.job_id, event.status) for event in events)
        expected = [
            (hanging.job_id, "cancelled"),
            (later[0].job_id, "cancelled"),
            (later[1].job_id, "ok"),
        ]
        assert ended == expected
        self.check_gone(ids)

    def test_closing_in_the_middle_leaves_no_process(
        self, opens: Opens, jobs: ToyJobs, tmp_path: Path
    ) -> None:
        """It may be closed twice, and yields no event afterwards."""
        executor, ids = opens(), tmp_path / "ids"
        executor.submit(jobs.fit("hang", file=ids))
        executor.submit(jobs.fit("wait", file=ids))
        executor.submit(jobs.fit("wait", file=tmp_path / "never"))
        next(event for event in executor.events() if event.status is not None)
        executor.close()
        executor.close()
        assert list(executor.events()) == []
        self.check_gone(ids)

    def test_a_process_that_a_job_leaves_behind_is_ended(
        self, opens: Opens, jobs: ToyJobs, tmp_path: Path
    ) -> None:
        """The job itself has succeeded."""
        executor = opens()
        executor.submit(jobs.fit("child", file=tmp_path / "ids"))
        assert [event.status for event in statuses(executor)] == ["ok"]
        executor.close()
        self.check_gone(tmp_path / "ids")

    def test_a_job_that_has_ended_may_be_submitted_again(
        self, opens: Opens, jobs: ToyJobs, tmp_path: Path
    ) -> None:
        """As after a failure that may pass."""
        executor, job = opens(), jobs.fit("raise")
        for _ in range(2):
            executor.submit(job)
            assert [(event.job_id, event.status) for event in statuses(executor)] == [(job.job_id, "error")]

    def test_an_executor_without_jobs_has_no_events(self, opens: Opens) -> None:
        """Opening starts nothing."""
        executor = opens()
        assert list(executor.events()) == []
        executor.close()

    def check_gone(self, ids: Path) -> None:
        """Check that the processes whose ids a job wrote are gone, soon."""
        deadline = time.monotonic() + self.ends_within_s
        process_ids = [int(word) for word in ids.read_text().split()]
        assert process_ids
        while left := [each for each in process_ids if self.is_alive(each)]:
            assert time.monotonic() < deadline, f"processes {left} are left of {process_ids}"
            time.sleep(0.05)
        assert os.getpid() not in process_ids


def statuses(executor: Executor) -> list[Event]:
    """Return the events that end jobs, until nothing is queued or running."""
    return [event for event in executor.events() if event.status is not None]
