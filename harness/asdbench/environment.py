"""Where a run runs: versions, hardware, commit. Belongs to every record."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

DISTRIBUTION = "asdbench"
NOT_INSTALLED = "not installed"
TOOLS = ("dev", "test")
"""Extras that nothing is computed with."""
ROOTS = ("harness", "plugins", "datasets", "leaderboards", "pyproject.toml")
"""What is installed of a source checkout."""


@functools.cache
def environment() -> dict[str, Any]:
    """Return Python, library versions, processor, cores, memory, GPUs, and the commit of a source checkout.

    ``uncommitted_changes`` tells whether the code of the checkout is another than that of its commit; it and the commit
    are None for an installed package.
    """
    commit, changed = _checkout()
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        **_accelerators(),
        "libraries": {DISTRIBUTION: _version(DISTRIBUTION), **required_by(DISTRIBUTION)},
        "commit": commit,
        "uncommitted_changes": changed,
    }


def required_by(distribution: str) -> dict[str, str]:
    """Return the versions of the libraries that a distribution needs, and of those of its extras that are installed."""
    try:
        requirements = importlib.metadata.requires(distribution) or []
    except importlib.metadata.PackageNotFoundError:  # run from its sources, or made by hand
        return {}
    versions: dict[str, str] = {}
    for requirement in requirements:
        name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
        extra = re.search(r"""extra *== *['"]([^'"]+)""", requirement)
        version = _version(name)
        if extra is None or (version != NOT_INSTALLED and extra[1] not in TOOLS):
            versions[name] = version
    return dict(sorted(versions.items()))


def differences(environments: Sequence[Mapping[str, Any]]) -> list[str]:
    """Name the hardware and software that is not the same in all environments, with its values."""
    kinds = ("python", "processor", "gpus", "cuda", "cudnn")
    told = [{kind: each.get(kind) for kind in kinds} | each.get("libraries", {}) for each in environments]
    lines = []
    for name in dict.fromkeys(name for each in told for name in each):
        values = sorted({_in_words(each.get(name)) for each in told})
        if len(values) > 1:
            lines.append(f"{name} {' and '.join(values)}")
    return lines


def _in_words(value: object) -> str:
    words = ", ".join(map(str, value)) if isinstance(value, list) else str(value or "")
    return words or "none"


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


def _accelerators() -> dict[str, Any]:
    import torch  # heavy, and only needed here

    return {
        "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
    }


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return NOT_INSTALLED


def _checkout() -> tuple[str | None, bool | None]:
    """Return the commit of the checkout that this file belongs to, and whether its code was changed since."""
    top, commit = _git("rev-parse", "--show-toplevel", "HEAD", at=Path(__file__).resolve().parent) or ["", ""]
    if not top or not (Path(top) / "harness").is_dir():
        return None, None
    changed = _git("status", "--porcelain", "--", *ROOTS, at=Path(top))
    return commit, None if changed is None else bool(changed)


def _git(*words: str, at: Path) -> list[str] | None:
    """Return the lines of git's answer; None where there is no git, no repository or no answer."""
    try:
        return subprocess.run(
            ["git", *words], cwd=at, capture_output=True, text=True, check=True, timeout=10
        ).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return None
