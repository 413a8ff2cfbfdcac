"""The commands of SLURM: submit, list, describe and cancel tasks. No ``sacct``, which many clusters do not offer."""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from asdbench.errors import ConfigError
from asdbench.messages.progress import Status

COMMANDS = ("sbatch", "squeue", "scancel", "scontrol")
NO_INPUT = 66
"""Exit status of a task that does not see its packet; sysexits.h calls it EX_NOINPUT."""
STATES: Mapping[str, tuple[Status, str]] = {
    "OUT_OF_MEMORY": ("oom", "was killed by SLURM for memory; raise memory"),
    "TIMEOUT": ("timeout", "exceeded the time limit of its SLURM task; raise time"),
    "DEADLINE": ("timeout", "exceeded the deadline of its SLURM task"),
    "NODE_FAIL": ("crashed", "lost its node, which failed"),
    "BOOT_FAIL": ("crashed", "lost its node, which failed to boot"),
    "PREEMPTED": ("crashed", "was preempted by another task"),
    "CANCELLED": ("cancelled", "was cancelled with scancel"),
}
MEMORY = re.compile(r"exceeded (?:job |step )?memory limit|oom[-_ ]kill", re.IGNORECASE)
"""What SLURM writes to the log of a task that it kills for memory where the state does not say so."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Task:
    """One task of a job array."""

    array: str
    index: int

    def __str__(self) -> str:
        return f"{self.array}_{self.index}"


class Refused(ConfigError):  # noqa: N818 - like the other errors of a request
    """SLURM does not take the jobs."""


class Unreachable(Exception):  # noqa: N818 - a state that passes, not an error of ours
    """The controller does not answer."""


def require_commands() -> None:
    """Check that this machine can submit.

    Raises:
        ConfigError: It cannot.
    """
    if missing := [name for name in COMMANDS if shutil.which(name) is None]:
        raise ConfigError(
            f"executor slurm: {', '.join(missing)} not found on the PATH of this machine; run the command on a login node "
            "of the cluster, or install SLURM's commands (Debian: slurm-client). `asdbench run --shard I/N` needs none"
        )


def submit(words: Sequence[str], script: str) -> str:
    """Submit a job array and return its id.

    Raises:
        Unreachable: The controller does not answer.
        Refused: SLURM does not take them; the message says why.
    """
    # Tasks must import the same code as this process, wherever that was found.
    known = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = _run(["sbatch", "--parsable", *words], text=script, environment=known)
    if done.returncode:
        raise Refused(f"sbatch refuses the jobs: {done.stderr.strip()} (options: {' '.join(words)})")
    return done.stdout.strip().partition(";")[0]  # a federation adds the name of the cluster


def throttle(array: str, cap: int) -> None:
    """Let SLURM run at most ``cap`` tasks of an array at a time, from now on; those that run go on.

    Raises:
        Unreachable: The controller does not answer.
        Refused: SLURM does not change it; the message says why.
    """
    done = _run(["scontrol", "update", f"JobId={array}", f"ArrayTaskThrottle={cap}"])
    if done.returncode:
        why = (done.stderr or done.stdout).strip()
        raise Refused(f"scontrol does not let array {array} run {cap} tasks at a time: {why}")


def live_tasks() -> dict[Task, str]:
    """Return the tasks of this user that wait, run or are ending, with their state, for example ``RUNNING``.

    Raises:
        Unreachable: The controller does not answer.
    """
    # All of the user's: asked for an array that it has forgotten, squeue fails.
    done = _run(["squeue", "--noheader", "--array", f"--user={os.getuid()}", "--format=%F %K %T"])
    if done.returncode:
        raise Unreachable(done.stderr.strip())
    rows = (line.split() for line in done.stdout.splitlines())
    return {Task(array, int(index)): state for array, index, state in rows if index.isdecimal()}


def cancel_task(task: Task) -> None:
    """Cancel one task; one that has ended is ignored."""
    _cancel(str(task))


def cancel_named(name: str) -> None:
    """Cancel all tasks of this user that have a name."""
    _cancel(f"--user={os.getuid()}", f"--name={name}")


def fate_of(task: Task, *, log: Path) -> tuple[Status, str]:
    """Return why a task is gone, as far as SLURM still knows it, with the log of the task.

    Raises:
        Unreachable: The controller does not answer.
        ConfigError: The task did not see the folder of its packet.
    """
    fields = _described(task)
    node, code = fields.get("BatchHost", "its node"), fields.get("ExitCode", "?")
    state = fields.get("JobState", "")
    text = log.read_text(errors="replace") if log.exists() else None
    if code.partition(":")[0] == str(NO_INPUT) or (state == "FAILED" and text is None):
        raise ConfigError(
            f"task {task} of SLURM found no packet or could write no log on {node}, which does not seem to see "
            f"{log.parent}: all nodes must share the folder of the results; choose another with --out"
        )
    status, what = STATES.get(state, ("crashed", f"died with exit status {code} on {node}"))
    if text is not None and MEMORY.search(text):
        status, what = STATES["OUT_OF_MEMORY"]
    if not state and text is None:  # SLURM keeps nothing of a task that is cancelled while it waits
        status, what = "cancelled", "was cancelled with scancel before it started"
    elif not state:
        what = f"died; SLURM has forgotten task {task}"
    return status, f"{what} (SLURM task {task}, {state or 'unknown'}; log: {log})"


def _described(task: Task) -> dict[str, str]:
    done = _run(["scontrol", "--oneliner", "show", "job", str(task)])
    # A finished task is forgotten after a while (MinJobAge, five minutes by default), and one that never started at once.
    if done.returncode and not re.search("invalid job id|job .* not found", done.stdout + done.stderr, re.I):
        raise Unreachable(f"scontrol: {done.stderr.strip()}")
    words = done.stdout.split() if not done.returncode else []
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def _cancel(*words: str) -> None:
    try:
        done = _run(["scancel", "--quiet", *words])
    except Unreachable as error:
        _log.warning("%s; cancel what is left with: scancel %s", error, " ".join(words))
        return
    if done.returncode and done.stderr.strip():
        _log.warning("scancel %s: %s", " ".join(words), done.stderr.strip())


def _run(
    words: Sequence[str], *, text: str = "", environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    # In a session of its own, so that Ctrl-C, which reaches a whole process group, does not end it halfway.
    done = subprocess.run(
        words,
        input=text,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )
    if done.returncode and re.search(
        "unable to contact|socket timed out|connection refused", done.stderr, re.I
    ):
        raise Unreachable(f"{words[0]}: {done.stderr.strip()}")
    return done
