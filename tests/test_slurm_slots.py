"""The executor for SLURM keeps to ``-j`` over all its arrays, on a queue that is pretended within this process."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from asdbench.conformance.jobs import ToyJobs
from asdbench.jobs.executors import slurm_commands
from asdbench.jobs.executors.slurm import Slurm, SlurmExecutor
from asdbench.jobs.packets import read_packet, write_end
from asdbench.messages.capacity import Capacity
from asdbench.messages.happenings import JobCounts, RunEvent
from asdbench.messages.jobs import JobSpec
from asdbench.messages.progress import Event
from asdbench.runs.journal import Journal

COUNTS = JobCounts(total=6, done=0, running=0, failed=0, inapplicable=0, left=6)


class Queue:
    """Answers the commands: at each squeue, tasks that ran have ended, and each array starts what its cap allows."""

    def __init__(self) -> None:
        self.caps: dict[str, int] = {}
        self.folders: dict[str, Path] = {}
        self.pending: list[tuple[str, int]] = []
        self.running: list[tuple[str, int]] = []
        self.calls: Counter[str] = Counter()
        self.sent: list[str] = []
        """Jobs of all arrays."""
        self.changed: list[tuple[str, int]] = []
        """Arrays with their new cap."""
        self.busy: list[int] = []
        """How many tasks ran after each squeue."""
        self.slow: set[str] = set()
        """Arrays whose tasks do not end."""
        self.throttles = True
        """Whether it lets scontrol change a cap."""

    def run(self, words: Sequence[str], **more: object) -> subprocess.CompletedProcess[str]:
        """Stand for ``slurm_commands._run``."""
        self.calls[words[0]] += 1
        answer, refused = "", False
        match words[0]:
            case "sbatch":
                answer = self.submitted(dict(word.partition("=")[::2] for word in words))
            case "scancel":
                self.pending, self.running = [], []
            case "scontrol" if words[1] == "update":
                refused = not self.throttles
                if not refused:
                    self.changed.append((words[2].partition("=")[2], int(words[3].partition("=")[2])))
                    self.caps.update([self.changed[-1]])
            case "squeue":
                self.go_on()
                rows = [(*task, "RUNNING") for task in self.running]
                rows += [(*task, "PENDING") for task in self.pending]
                answer = "".join(f"{array} {index} {state}\n" for array, index, state in rows)
        error = "Access/permission denied" if refused else ""
        return subprocess.CompletedProcess(words, int(refused), answer, error)

    def submitted(self, words: dict[str, str]) -> str:
        array = str(len(self.caps) + 1)
        last, _, cap = words["--array"].removeprefix("0-").partition("%")
        self.caps[array], self.folders[array] = int(cap), Path(words["--output"]).parent
        for index in range(int(last) + 1):
            self.pending.append((array, index))
            self.sent += [job.job_id for job in read_packet(self.folders[array] / f"{index}.packet").jobs]
        return array

    def go_on(self) -> None:
        for array, index in [task for task in self.running if task[0] not in self.slow]:
            for job in read_packet(self.folders[array] / f"{index}.packet").jobs:
                write_end(self.folders[array], Event(job_id=job.job_id, status="ok"))
        self.running = [task for task in self.running if task[0] in self.slow]
        for task in list(self.pending):
            if sum(each[0] == task[0] for each in self.running) < self.caps[task[0]]:
                self.pending.remove(task)
                self.running.append(task)
        self.busy.append(len(self.running))


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Queue:
    made = Queue()
    monkeypatch.setattr(slurm_commands, "_run", made.run)
    monkeypatch.setattr(slurm_commands, "require_commands", lambda: None)
    return made


@pytest.fixture
def opens(tmp_path: Path) -> Callable[..., SlurmExecutor]:
    """What opens an executor with a number of slots."""

    def opens(slots: int, jobs_per_task: int = 1) -> SlurmExecutor:
        options = Slurm(poll_s=0.001, grace_s=0.0, jobs_per_task=jobs_per_task)
        return options.open(Capacity(slots=slots, folder=str(tmp_path / "out")))

    return opens


def fits(folder: Path, count: int, *, methods: int = 1) -> list[JobSpec]:
    """Return fit jobs of several methods in turn."""
    jobs = ToyJobs(folder)
    made = [jobs.fit() for _ in range(count)]
    return [
        msgspec.structs.replace(
            job, recipe=msgspec.structs.replace(job.recipe, method=f"method{number % methods}")
        )
        for number, job in enumerate(made)
    ]


def run(executor: SlurmExecutor, jobs: Sequence[JobSpec]) -> Counter[str]:
    """Run fits, each of which releases a score, as a run does; return the number of jobs of each kind that succeeded."""
    left = {job.job_id: job for job in jobs}
    for job in jobs:
        executor.submit(job)
    ended: Counter[str] = Counter()
    for event in executor.events():
        if event.status is not None:
            assert event.status == "ok"
            job = left.pop(event.job_id)
            ended[job.kind] += 1
            if job.kind == "fit":
                score = msgspec.structs.replace(job, job_id=f"{job.job_id}-score", kind="score")
                left[score.job_id] = score
                executor.submit(score)
    return ended


def test_three_methods_and_their_scores_share_the_slots(
    queue: Queue, opens: Callable[..., SlurmExecutor], tmp_path: Path
) -> None:
    assert run(opens(2), fits(tmp_path, 15, methods=3)) == {"fit": 15, "score": 15}
    assert max(queue.busy) == 2
    # Slots that become free go to the arrays that wait; here a task ends at each look, and 15 looks are the fewest.
    assert queue.busy.count(2) >= 12
    assert len(queue.busy) <= 22


def test_many_fits_are_one_array_and_released_scores_few_more(
    queue: Queue, opens: Callable[..., SlurmExecutor], tmp_path: Path
) -> None:
    assert run(opens(6), fits(tmp_path, 60)) == {"fit": 60, "score": 60}
    assert max(queue.busy) == 6
    assert queue.calls["sbatch"] <= 4
    assert len(queue.busy) <= 26


def test_released_scores_share_tasks_while_the_slots_are_taken(
    queue: Queue, opens: Callable[..., SlurmExecutor], tmp_path: Path
) -> None:
    executor = opens(2, jobs_per_task=4)
    queue.slow = {"1"}
    [hanging, *others] = fits(tmp_path, 9, methods=2)[::-1]
    executor.submit(hanging)
    executor._send_all()
    for job in others:
        executor.submit(job)
    executor._send_all()
    assert queue.caps == {"1": 1, "2": 1}
    assert sorted(len(packet.left) for packet in executor._tasks.packets) == [1, 2, 2]
    assert len(executor._queue) == 4
    executor.close()


def test_a_later_command_gives_the_arrays_of_a_killed_one_its_own_slots(
    queue: Queue, opens: Callable[..., SlurmExecutor], tmp_path: Path
) -> None:
    jobs = fits(tmp_path, 12, methods=2)
    killed = opens(8)
    for job in jobs:
        killed.submit(job)
    killed._send_all()
    assert queue.caps == {"1": 6, "2": 2}
    queue.busy.clear()
    assert run(opens(3), jobs) == {"fit": 12, "score": 12}
    assert queue.changed[:2] == [("1", 3), ("2", 1)]  # none can have less than one
    assert queue.busy[0] == 8  # what runs goes on
    assert max(queue.busy[1:]) == 3
    assert len(queue.sent) == len(set(queue.sent)) == 24  # no fit was submitted again


def test_where_slurm_changes_no_cap_the_slots_still_hold(
    queue: Queue, opens: Callable[..., SlurmExecutor], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    queue.throttles = False
    assert run(opens(3), fits(tmp_path, 14, methods=2)) == {"fit": 14, "score": 14}
    assert max(queue.busy) == 3
    assert "scontrol does not let array 2 run" in caplog.text
    assert queue.calls["scontrol"] == caplog.text.count("does not let array")  # asked once of each array


def test_closing_cancels_all_arrays_and_submits_nothing_that_waits(
    queue: Queue, opens: Callable[..., SlurmExecutor], tmp_path: Path
) -> None:
    executor = opens(1)
    for job in fits(tmp_path, 6, methods=3):
        executor.submit(job)
    next(executor.events())
    executor.close()
    assert (queue.pending, queue.running) == ([], [])
    assert list(executor.events()) == []
    assert queue.calls["sbatch"] == 1


class Kept:
    """Keeps the events of a journal."""

    def __init__(self) -> None:
        self.events: list[RunEvent] = []

    def event(self, event: RunEvent) -> None:
        """Keep one."""
        self.events.append(event)


def test_jobs_whose_task_runs_count_as_running(
    queue: Queue, opens: Callable[..., SlurmExecutor], tmp_path: Path
) -> None:
    executor, kept = opens(2, jobs_per_task=2), Kept()
    journal = Journal("run", [kept])
    for job in fits(tmp_path, 6):
        executor.submit(job)
    events = executor.events()
    queue.slow = {"1"}
    for event in (next(events), next(events)):
        assert event.status is None
        journal.job(event, title=f"fit {event.job_id}", counts=COUNTS, left={"fit": 6})
    assert [event.job for event in kept.events] == ["0001", "0003"]  # the first of each task
    assert [event.progress.stage for event in kept.events if event.progress] == [
        "SLURM task 1_0",
        "SLURM task 1_1",
    ]
    assert [(event.jobs.running, event.jobs.left) for event in kept.events] == [(1, 5), (2, 4)]
    executor.close()


def test_a_command_waits_for_the_tasks_of_another_one_which_removes_what_it_has_read(
    queue: Queue, opens: Callable[..., SlurmExecutor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asdbench.jobs.executors.slurm._has_result", lambda job: True)
    gone = tmp_path / "out/executors/slurm/gone/array.json"
    gone.parent.mkdir(parents=True)
    gone.symlink_to(tmp_path / "removed")  # listed, and no longer there when it is read
    queue.slow = {"1"}
    jobs, commands = fits(tmp_path, 2), [opens(2), opens(2)]
    waiting = []
    for executor in commands:
        for job in jobs:
            executor.submit(job)
        waiting.append(executor.events())
        assert next(waiting[-1]).progress is not None
    assert queue.calls["sbatch"] == 1
    queue.slow.clear()
    for events in waiting:
        assert {event.job_id: event.status for event in events if event.status} == dict.fromkeys(
            queue.sent, "ok"
        )
    assert list(tmp_path.glob("out/executors/slurm/*/*.packet")) == []
