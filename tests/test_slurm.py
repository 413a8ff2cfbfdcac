"""The executor for SLURM on a real cluster of two nodes on loopback; what needs none is in test_slurm_commands.py."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import tiny
from slurm import NODES, Slurm, kill, wait_for

from asdbench import ConfigError, RunDocument, Selector
from asdbench.conformance.jobs import ToyJobs
from asdbench.jobs.executors.base import ExecutorOptions
from asdbench.jobs.executors.slurm import Slurm as Options
from asdbench.messages.capacity import Capacity
from asdbench.results.store import Store
from asdbench.testing import ExecutorContract

pytest.register_assert_rewrite("drill")

from drill import FaultDrill  # noqa: E402

pytestmark = pytest.mark.cluster
METHOD = Selector("toy_by_machine", {"epochs": "6", "pause_s": "0.1"})
Start = Callable[[Path], subprocess.Popen[str]]
Undisturbed = tuple[RunDocument, dict[str, bytes]]
QUICK = {"poll_s": "0.2", "grace_s": "1"}


@pytest.fixture(autouse=True)
def reachable(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lead the commands of SLURM to the cluster of the tests."""
    for name, value in slurm.environment.items():
        monkeypatch.setenv(name, value)


class TestSlurm(ExecutorContract):
    @pytest.fixture
    def options(self) -> ExecutorOptions:
        return Options(poll_s=0.2, grace_s=1.0)


@pytest.mark.faults
class TestDrill(FaultDrill):
    # Several jobs a task, because each task loads torch.
    words = (("--executor", "slurm[poll_s=0.2,grace_s=1,memory=8G,jobs_per_task=6]", "-j", "2"),)
    goes_on = True


def words(folder: Path, cache: Path) -> list[str]:
    options = ",".join(f"{name}={value}" for name, value in QUICK.items())
    run = ["run", "-p", str(METHOD), "-d", str(tiny.DATASET), "--out", str(folder), "-j", "2"]
    return tiny.command(*run, "--checkpoint-every", "0", "--executor", f"slurm[{options}]", cache=cache)


@pytest.fixture
def start(cache: Path) -> Iterator[Start]:
    """What starts a run on SLURM in a process of its own."""
    started = []

    def start(folder: Path) -> subprocess.Popen[str]:
        started.append(
            subprocess.Popen(
                words(folder, cache), env=tiny.environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        )  # fmt: skip
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def bits(folder: Path, document: RunDocument) -> dict[str, bytes]:
    """Return all weights and scores, and the tables of the record; a disturbed run leaves a record of its own."""
    places = [
        folder / "models",
        folder / "scores",
        *(folder / "records" / name for name in document.records.values()),
    ]
    files = [file for place in places for file in place.rglob("*.*") if file.suffix != ".json"]
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Undisturbed:
    """What the executor ``local`` gives."""
    folder = tmp_path_factory.mktemp("local")
    document = tiny.go(folder, METHOD, cache=cache)
    return document, bits(folder, document)


def check_equal(folder: Path, cache: Path, undisturbed: Undisturbed, **options: str) -> None:
    """Finish the run on SLURM and compare it."""
    executor = Selector("slurm", QUICK | options)
    document = tiny.go(folder, METHOD, cache=cache, executor=executor, slots=1)
    expected, files = undisturbed
    assert document.results == expected.results
    assert [(job.id, job.status) for job in document.jobs] == [(job.id, "ok") for job in expected.jobs]
    assert bits(folder, document) == files
    assert not (folder / "conflicts").exists()


def is_training(folder: Path, job_id: str = "*") -> bool:
    return any(folder.glob(f"work/{job_id}/resume.safetensors"))


def tasks(slurm: Slurm, *words: str) -> list[str]:
    """Return the tasks in the queue, as ``array_index``."""
    return slurm.run("squeue", "--noheader", "--array", "--format=%F_%K", *words).split()


def test_a_cancelled_task_and_a_killed_job_lose_nothing(
    slurm: Slurm, start: Start, cache: Path, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    first, second = [job.id for job in undisturbed[0].jobs if job.kind == "fit"]
    process = start(tmp_path)
    wait_for(lambda: len(tasks(slurm)) == 2, "two tasks were not submitted", seconds=120)
    slurm.run("scancel", max(tasks(slurm)))
    wait_for(lambda: is_training(tmp_path, first), "no training started", seconds=120)
    kill(max(slurm.processes()))  # the youngest runs the job
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 1, errors
    killed, cancelled = (Store(tmp_path).failure(job_id) for job_id in (first, second))
    assert killed is not None
    assert (killed.status, "died with signal 9" in killed.message) == ("crashed", True), killed
    assert cancelled is not None
    assert (cancelled.status, "was cancelled with scancel" in cancelled.message) == ("cancelled", True), (
        cancelled
    )
    check_equal(tmp_path, cache, undisturbed, jobs_per_task="2")


def test_a_controller_that_is_restarted_is_waited_for(
    slurm: Slurm, start: Start, cache: Path, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    process = start(tmp_path)
    wait_for(lambda: is_training(tmp_path), "no training started", seconds=120)
    slurm.stop_controller()
    slurm.start_controller()
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    check_equal(tmp_path, cache, undisturbed)


def test_ctrl_c_cancels_and_what_runs_after_a_kill_is_waited_for(
    slurm: Slurm, start: Start, cache: Path, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    process = start(tmp_path)
    wait_for(lambda: is_training(tmp_path), "no training started", seconds=120)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert tasks(slurm) == []
    wait_for(lambda: slurm.processes() == [], "processes are left")
    process = start(tmp_path)
    wait_for(lambda: len(tasks(slurm, "--states=RUNNING")) == 2, "two tasks did not start", seconds=120)
    wait_for(lambda: any(tmp_path.glob("executors/slurm/*/array.json")), "the array was not noted")
    process.kill()
    process.communicate()
    before = set(tasks(slurm, "--states=all"))
    check_equal(tmp_path, cache, undisturbed)
    assert len(set(tasks(slurm, "--states=all")) - before) == 2  # the scores; no fit was submitted again


def test_a_slot_that_becomes_free_goes_to_the_array_that_waits(slurm: Slurm, tmp_path: Path) -> None:
    executor = Options(poll_s=0.2, grace_s=1.0).open(Capacity(slots=2, folder=str(tmp_path / "out")))
    jobs = ToyJobs(tmp_path)
    first, second, third = (jobs.fit("wait", file=tmp_path / name) for name in ("first", "others", "others"))
    executor.submit(first)
    for job in (second, third):
        other = msgspec.structs.replace(job.recipe, method="other")
        executor.submit(msgspec.structs.replace(job, recipe=other))
    events = executor.events()
    running = (event.job_id for event in events if event.progress is not None)
    assert {next(running), next(running)} == {first.job_id, second.job_id}
    assert len(tasks(slurm, "--states=RUNNING")) == 2
    assert len(tasks(slurm, "--states=PENDING")) == 1
    (tmp_path / "first").touch()
    assert next(running) == third.job_id
    wait_for(lambda: len(tasks(slurm, "--states=RUNNING")) == 2, "two tasks did not run together")
    (tmp_path / "others").touch()
    assert [event.status for event in events] == ["ok", "ok"]
    executor.close()


def bring_back(slurm: Slurm, node: str) -> None:
    """Let a node work again, when nothing of its tasks is left: SLURM refuses to start a task where it still runs."""
    wait_for(lambda: slurm.processes() == [], f"processes are left on {node}", seconds=120)
    slurm.run("scontrol", "update", f"nodename={node}", "state=resume")
    wait_for(lambda: slurm.states() == ["idle"] * len(NODES), f"{node} did not come back", seconds=180)


@pytest.fixture
def lose_a_node(slurm: Slurm) -> Iterator[Callable[[], str]]:
    """What lets a node fail on which a task runs, and returns it; it works again after the test, however that ends."""
    lost: list[str] = []

    def lose() -> str:
        node = slurm.run("squeue", "--noheader", "--states=RUNNING", "--format=%N").split()[0]
        slurm.run("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
        lost.append(node)
        return node

    yield lose
    slurm.end_jobs()
    for node in lost:
        bring_back(slurm, node)


def test_the_task_of_a_node_that_fails_is_submitted_again_by_slurm(
    slurm: Slurm, start: Start, cache: Path, tmp_path: Path, undisturbed: Undisturbed,
    lose_a_node: Callable[[], str],
) -> None:  # fmt: skip
    process = start(tmp_path)
    wait_for(lambda: is_training(tmp_path), "no training started", seconds=120)
    lose_a_node()
    wait_for(lambda: tasks(slurm, "--states=PENDING") != [], "nothing was submitted again")
    for task in tasks(slurm, "--states=PENDING"):
        slurm.run("scontrol", "update", f"jobid={task}", "starttime=now")  # else it waits for two minutes
    _, errors = process.communicate(timeout=400)
    # On a busy machine SLURM may take the end of the script that it killed for that of the task. Its jobs are then lost, as
    # with any crash, and the same command goes on.
    if process.returncode == 1:
        process = start(tmp_path)
        _, errors = process.communicate(timeout=400)
    assert process.returncode == 0, errors
    check_equal(tmp_path, cache, undisturbed)


def test_where_slurm_submits_nothing_again_the_failed_node_is_named(
    lose_a_node: Callable[[], str], tmp_path: Path
) -> None:
    executor = Options(poll_s=0.2, grace_s=1.0, sbatch="--no-requeue").open(
        Capacity(slots=1, folder=str(tmp_path / "out"))
    )
    executor.submit(ToyJobs(tmp_path).fit("hang", file=tmp_path / "ids"))

    def lose_it() -> None:
        wait_for((tmp_path / "ids").exists, "no job started")
        lose_a_node()

    (loser := threading.Thread(target=lose_it)).start()
    [end] = [event for event in executor.events() if event.status is not None]
    loser.join()
    executor.close()
    assert end.status == "crashed"
    assert "lost its node, which failed (SLURM task" in end.message
    assert ".log)" in end.message


def test_a_task_that_takes_too_much_memory_is_reported_with_its_log(tmp_path: Path) -> None:
    executor = Options(poll_s=0.2, grace_s=1.0, memory="50M").open(
        Capacity(slots=1, folder=str(tmp_path / "out"))
    )
    executor.submit(ToyJobs(tmp_path).fit("wait", file=tmp_path / "never"))
    [end] = [event for event in executor.events() if event.status is not None]
    executor.close()
    assert end.status == "oom"
    assert "was killed by SLURM for memory" in end.message
    log = Path(end.message.rpartition("log: ")[2].rstrip(")"))
    assert "exceeded memory limit" in log.read_text()


def test_a_folder_that_a_task_does_not_see_is_refused(slurm: Slurm, tmp_path: Path) -> None:
    executor = Options(poll_s=0.2, grace_s=0.5, sbatch="--hold").open(
        Capacity(slots=1, folder=str(tmp_path / "out"))
    )
    executor.submit(ToyJobs(tmp_path).fit())
    executor._send_all()
    [packet] = tmp_path.glob("out/executors/slurm/*/0.packet")
    packet.unlink()
    slurm.run("scontrol", "release", slurm.run("squeue", "--noheader", "--format=%F").strip())
    with pytest.raises(ConfigError, match=r"does not seem to see .*: all nodes must share the folder"):
        list(executor.events())
    executor.close()


def test_what_slurm_refuses_is_reported_with_its_reason(tmp_path: Path) -> None:
    executor = Options(partition="nowhere").open(Capacity(folder=str(tmp_path / "out")))
    executor.submit(ToyJobs(tmp_path).fit())
    with pytest.raises(ConfigError, match=r"sbatch refuses the jobs: .*invalid partition specified: nowhere"):
        list(executor.events())
    executor.close()
    assert not list((tmp_path / "out").rglob("*.packet"))
