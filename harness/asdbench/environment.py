"""Where a run runs: versions, hardware, commit. Belongs to every record."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

LIBRARIES = (
    "asdbench",
    "torch",
    "numpy",
    "scipy",
    "scikit-learn",
    "librosa",
    "soundfile",
    "pandas",
    "pluggy",
    "msgspec",
)


@functools.cache
def environment() -> dict[str, Any]:
    """Return Python, library versions, processor, cores, memory, GPUs and the commit of a source checkout."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "gpus": _gpus(),
        "libraries": {name: _version(name) for name in LIBRARIES},
        "commit": _commit(),
    }


def available_memory() -> float:
    """Return the bytes that may still be used, by this machine and by this process's control group."""
    return min(_free_of_machine(), _free_of_group())


def _free_of_group() -> float:
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = ((group / name).read_text().strip() for name in ("memory.max", "memory.current"))
    except OSError:  # no control groups, or an older kind
        return float("inf")
    return float("inf") if limit == "max" else max(0, int(limit) - int(used))


def _free_of_machine() -> int:
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _gpus() -> list[str]:
    import torch  # heavy, and only needed here

    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _commit() -> str | None:
    """Return the commit of the checkout that this file belongs to, None for an installed package."""
    here = Path(__file__).resolve().parent
    try:
        answer = subprocess.run(
            ["git", "rev-parse", "--show-toplevel", "HEAD"],
            cwd=here, capture_output=True, text=True, check=True, timeout=10,
        ).stdout.split()  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return answer[-1] if len(answer) == 2 and (Path(answer[0]) / "harness").is_dir() else None
