"""The executor for SLURM without a cluster: what it asks for, what it makes of SLURM's answers, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny

from asdbench import ConfigError, Selector
from asdbench.cli import status_of
from asdbench.conformance.jobs import ToyJobs
from asdbench.jobs.executors.slurm import Slurm
from asdbench.jobs.executors.slurm_commands import (
    COMMANDS,
    Refused,
    Task,
    Unreachable,
    fate_of,
    live_tasks,
    submit,
    throttle,
)
from asdbench.messages.capacity import Capacity, Needs
from asdbench.runs.plan import resources_of

Capture = pytest.CaptureFixture[str]
GIB = 1 << 30
CAPACITY = Capacity(slots=3, threads=2, folder="out")


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of pretended commands of SLURM, which all succeed in silence."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in COMMANDS:
        pretend(folder, name, "exit 0")
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


def pretend(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def described(state: str, code: str = "0:0") -> str:
    return f"echo 'JobId=7 ArrayTaskId=0 JobState={state} Reason=None ExitCode={code} BatchHost=n2'"


@pytest.mark.parametrize(
    ("answer", "text", "status", "message"),
    [
        (described("OUT_OF_MEMORY", "0:125"), "", "oom", "was killed by SLURM for memory"),
        (described("FAILED", "0:9"), "error: Exceeded job memory limit", "oom", "was killed by SLURM for memory"),
        (described("FAILED", "0:9"), "Detected 1 oom-kill event(s)", "oom", "was killed by SLURM for memory"),
        (described("TIMEOUT", "0:15"), "", "timeout", "exceeded the time limit of its SLURM task"),
        (described("NODE_FAIL"), "", "crashed", "lost its node, which failed"),
        (described("PREEMPTED"), "", "crashed", "was preempted"),
        (described("CANCELLED", "0:15"), "", "cancelled", "was cancelled with scancel"),
        (described("FAILED", "3:0"), "", "crashed", "died with exit status 3:0 on n2"),
        (described("COMPLETED"), "", "crashed", "died with exit status 0:0 on n2"),
        ("echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1", "", "crashed", "SLURM has forgotten"),
    ],
)  # fmt: skip
def test_the_fate_of_a_task_names_its_cause_and_its_log(
    answer: str, text: str, status: str, message: str, commands: Path, tmp_path: Path
) -> None:
    pretend(commands, "scontrol", answer)
    (log := tmp_path / "0.log").write_text(text)
    found = fate_of(Task("7", 0), log=log)
    assert found[0] == status
    assert message in found[1]
    assert "SLURM task 7_0" in found[1]
    assert f"log: {log})" in found[1]


@pytest.mark.parametrize(
    "answer", ["echo 'Job 7_0 not found'; exit 1", "echo 'Invalid job id specified' >&2; exit 1"]
)
def test_a_task_that_slurm_does_not_know_and_that_has_no_log_was_cancelled_before_it_started(
    answer: str, commands: Path, tmp_path: Path
) -> None:
    pretend(commands, "scontrol", answer)
    status, message = fate_of(Task("7", 0), log=tmp_path / "0.log")
    assert status == "cancelled"
    assert "was cancelled with scancel before it started (SLURM task 7_0" in message


@pytest.mark.parametrize(("code", "writes_log"), [("66:0", True), ("0:53", False)])
def test_a_task_that_does_not_see_the_folder_is_an_error_of_the_request(
    code: str, writes_log: bool, commands: Path, tmp_path: Path
) -> None:
    pretend(commands, "scontrol", described("FAILED", code))
    log = tmp_path / "0.log"
    if writes_log:
        log.touch()
    with pytest.raises(
        ConfigError, match=rf"on n2, which does not seem to see {tmp_path}: all nodes must share"
    ):
        fate_of(Task("7", 0), log=log)


def test_a_controller_that_does_not_answer_is_no_fate(commands: Path, tmp_path: Path) -> None:
    for name in ("scontrol", "squeue", "sbatch"):
        pretend(
            commands, name, "echo 'error: Unable to contact slurm controller (connect failure)' >&2; exit 1"
        )
    with pytest.raises(Unreachable, match="Unable to contact"):
        fate_of(Task("7", 0), log=tmp_path / "0.log")
    with pytest.raises(Unreachable, match="Unable to contact"):
        live_tasks()
    with pytest.raises(Unreachable, match="Unable to contact"):
        submit([], "")


def test_the_queue_is_read_task_by_task(commands: Path) -> None:
    pretend(commands, "squeue", "printf '7 0 RUNNING\\n7 12 PENDING\\n9 N/A RUNNING\\n'")
    assert live_tasks() == {Task("7", 0): "RUNNING", Task("7", 12): "PENDING"}


def test_what_sbatch_refuses_is_an_error_with_its_words(commands: Path) -> None:
    pretend(commands, "sbatch", "echo 'sbatch: error: Invalid account' >&2; exit 1")
    with pytest.raises(Refused, match=r"Invalid account \(options: --account=none\)"):
        submit(["--account=none"], "")


def test_the_cap_of_an_array_is_changed_with_scontrol(commands: Path, tmp_path: Path) -> None:
    pretend(commands, "scontrol", f'echo "$@" > {tmp_path}/words')
    throttle("7", 3)
    assert (tmp_path / "words").read_text() == "update JobId=7 ArrayTaskThrottle=3\n"
    pretend(commands, "scontrol", "echo 'Access/permission denied' >&2; exit 1")
    with pytest.raises(Refused, match="let array 7 run 3 tasks at a time: Access/permission denied"):
        throttle("7", 3)


def test_without_slurm_the_command_says_what_to_do_instead(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    words = [
        "run",
        "-p",
        "idnn",
        "-d",
        "synthetic",
        "--cache",
        str(tmp_path / "c"),
        "--out",
        str(tmp_path / "o"),
    ]
    assert status_of([*words, "--executor", "slurm"]) == 2
    error = capsys.readouterr().err
    assert "sbatch, squeue, scancel, scontrol not found" in error
    assert "`asdbench run --shard I/N` needs none" in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "limits", "needs", "words"),
    [
        ({}, {}, [Needs()], ["--cpus-per-task=2"]),
        (
            {"partition": "gpu", "account": "lab", "cpus": 8, "memory": "20G", "time": "1:00:00", "gpus": "a100:1"},
            {"device": "cuda", "timeout_s": 60.0},
            [Needs()],
            ["--partition=gpu", "--account=lab", "--cpus-per-task=8", "--mem=20G", "--time=1:00:00", "--gres=gpu:a100:1"],
        ),
        ({}, {"device": "cuda"}, [Needs()], ["--cpus-per-task=2", "--gres=gpu:1"]),
        ({}, {"timeout_s": 90.0}, [Needs()], ["--cpus-per-task=2", "--time=13"]),
        ({}, {"memory_bytes": 3 * GIB}, [Needs(memory_bytes=9 * GIB)], ["--cpus-per-task=2", "--mem=4G"]),
        (
            {},
            {},
            [Needs(seconds=30.0, memory_bytes=2 * GIB), Needs(seconds=60.0, memory_bytes=4 * GIB)],
            ["--cpus-per-task=2", "--mem=6G", "--time=18"],
        ),
        ({}, {}, [Needs(seconds=30.0, memory_bytes=GIB), Needs()], ["--cpus-per-task=2"]),
        ({"sbatch": "--qos=night --comment='two words'"}, {}, [Needs()],
         ["--cpus-per-task=2", "--qos=night", "--comment=two words"]),
    ],
)  # fmt: skip
def test_a_task_asks_for_what_its_jobs_need(
    options: dict[str, object], limits: dict[str, object], needs: list[Needs], words: list[str]
) -> None:
    capacity = Capacity(**({"threads": 2, "folder": "out"} | limits))  # type: ignore[arg-type]
    assert Slurm(**options).words(needs, capacity=capacity, jobs=2) == words  # type: ignore[arg-type]


def test_jobs_on_a_cluster_may_have_the_gpu_that_this_machine_lacks(tmp_path: Path) -> None:
    request = tiny.request(tmp_path, cache=tmp_path, device="cuda", executor=Selector("slurm"))
    assert resources_of(request).device == "cuda"


def test_jobs_share_tasks_only_where_all_slots_are_taken(commands: Path, tmp_path: Path) -> None:
    pretend(commands, "sbatch", f'echo "$@" >> {tmp_path}/submitted; cat > {tmp_path}/script; echo 7')
    jobs = ToyJobs(tmp_path)
    executor = Slurm(jobs_per_task=4).open(Capacity(slots=3, folder=str(tmp_path / "out")))
    for _ in range(7):
        executor.submit(jobs.fit())
    executor._send_all()
    [submitted] = (tmp_path / "submitted").read_text().splitlines()
    assert "--array=0-2%3" in submitted  # packets of 3, 3 and 1
    assert [len(packet.left) for packet in executor._tasks.packets] == [3, 3, 1]
    assert "-m asdbench.jobs.task" in (tmp_path / "script").read_text()
    executor.close()


def test_jobs_that_slurm_does_not_take_wait_while_others_run(
    commands: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pretend(commands, "sbatch", "echo 7")
    jobs = ToyJobs(tmp_path)
    executor = Slurm().open(Capacity(slots=2, folder=str(tmp_path / "out")))
    executor.submit(jobs.fit())
    executor._send_all()
    pretend(commands, "sbatch", "echo 'error: Job violates accounting/QOS policy' >&2; exit 1")
    executor.submit(jobs.fit())
    executor._send_all()
    assert "Job violates accounting/QOS policy" in caplog.text
    assert len(executor._queue) == 1
    executor._tasks.packets.clear()
    with pytest.raises(Refused, match="QOS policy"):
        executor._send_all()
    executor.close()
