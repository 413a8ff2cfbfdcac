"""A real SLURM on loopback: munged, a controller and two nodes of one partition, in a folder and on ports of their own.

The nodes pretend to have four cores and 32 GB each. Nothing is accounted, so ``sacct`` knows nothing, as on many clusters.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel")
NODES = ("n1", "n2")
CONFIGURATION = """\
ClusterName=asdbench
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={controller}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,sched_min_interval=0,batch_sched_delay=0
MpiDefault=none
ReturnToService=1
DefMemPerCPU=1000
SlurmdTimeout=5
UnkillableStepTimeout=10
"""


@dataclass(kw_only=True)
class Slurm:
    """A running cluster; ``environment`` leads the commands of SLURM to it."""

    folder: Path
    _daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def start(self) -> None:
        """Start everything and wait until both nodes take jobs."""
        write_configuration(self.folder)
        socket_file = self.folder / "munge.socket"
        self._start(
            "munged", "munged", "--foreground", "--force", f"--key-file={self.folder}/munge.key",
            f"--socket={socket_file}", f"--pid-file={self.folder}/munged.pid",
            f"--log-file={self.folder}/munged.log", f"--seed-file={self.folder}/munged.seed",
        )  # fmt: skip
        wait_for(socket_file.exists, "munged did not start")
        self.start_controller()
        for node in NODES:
            self._start(f"slurmd-{node}", "slurmd", "-D", "-N", node)
        wait_for(lambda: self.states() == ["idle", "idle"], f"the nodes did not start: {self.states()}")

    def start_controller(self) -> None:
        self._start("slurmctld", "slurmctld", "-D")

    def stop_controller(self) -> None:
        self._stop("slurmctld")

    def processes(self) -> list[int]:
        """Return the ids of the processes that the cluster has started for jobs."""
        mark = f"SLURM_CONF={self.folder}/slurm.conf".encode()
        return [
            number
            for place in Path("/proc").glob("[0-9]*")
            if (number := int(place.name)) and mark in (found := environment_of(number)) and b"SLURM_JOB_ID=" in found
        ]  # fmt: skip

    def states(self) -> list[str]:
        return self.run("sinfo", "--noheader", "--Node", "--format=%t").split()

    def run(self, *words: str) -> str:
        """Run a command of SLURM and return what it prints; empty while the controller is away."""
        done = subprocess.run(
            words, env=os.environ | self.environment, capture_output=True, text=True, check=False
        )
        return done.stdout

    def end_jobs(self) -> None:
        """Cancel and kill what was submitted."""
        self.run("scancel", f"--user={os.environ.get('USER', 'root')}")
        for process in self.processes():
            kill(process)

    def close(self) -> None:
        """End all jobs and daemons."""
        self.end_jobs()
        for name in reversed(list(self._daemons)):
            self._stop(name)

    def _start(self, name: str, *words: str) -> None:
        known = os.environ | self.environment | {"PATH": search_path()}
        with (self.folder / f"{name}.log").open("ab") as log:
            self._daemons[name] = subprocess.Popen(
                words, env=known, stdout=log, stderr=log, start_new_session=True
            )

    def _stop(self, name: str) -> None:
        daemon = self._daemons.pop(name)
        daemon.terminate()
        try:
            daemon.wait(10)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()


def missing() -> list[str]:
    """Return the programs that a cluster needs and this machine lacks."""
    return [name for name in PROGRAMS if shutil.which(name, path=search_path()) is None]


def search_path() -> str:
    return os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])


def write_configuration(folder: Path) -> None:
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o600)
    (folder / "state").mkdir()
    controller, *nodes = free_ports(1 + len(NODES))
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    lines = CONFIGURATION.format(folder=folder, controller=controller, user=user)
    for name, port in zip(NODES, nodes, strict=True):
        lines += (
            f"NodeName={name} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port} CPUs=4 RealMemory=32000\n"
        )
    (folder / "slurm.conf").write_text(f"{lines}PartitionName=main Nodes=ALL Default=YES State=UP\n")


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def environment_of(process: int) -> bytes:
    try:
        return Path("/proc", str(process), "environ").read_bytes()
    except OSError:
        return b""


def kill(process: int) -> None:
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return


def wait_for(there: Callable[[], bool], otherwise: str, *, seconds: float = 60) -> None:
    """Wait until something is the case."""
    deadline = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.05)
