"""Where a run takes place: versions, hardware, commit. Part of every record."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from asdbench.core.config import Config

DISTRIBUTION = "asdbench"
NOT_INSTALLED = "not installed"
TOOLS = ("dev", "test")
"""Extras that do not influence results."""
ROOTS = ("harness", "plugins", "datasets", "leaderboards", "pyproject.toml")
"""The installed parts of a source checkout."""


class Environment(Config, frozen=True, kw_only=True):
    """Versions and hardware behind a result."""

    python: str
    platform: str
    processor: str
    cores: int
    """Cores available to the process."""
    memory_bytes: int
    gpus: list[str] = []
    cuda: str | None = None
    """CUDA version that torch was built for."""
    cudnn: int | None = None
    """Known only if torch is loaded, which planning avoids."""
    libraries: dict[str, str] = {}
    commit: str | None = None
    """Of the source checkout; None for an installed package."""
    uncommitted_changes: bool | None = None
    """Whether the code of the checkout differs from its commit; None for an installed package."""


@functools.cache
def environment() -> Environment:
    """Return the versions and hardware of this process, without loading torch."""
    libraries, commit, changed = software()
    return Environment(
        python=platform.python_version(),
        platform=platform.platform(),
        processor=_processor(),
        cores=len(cores()),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        gpus=_gpus(),
        cuda=built_for("cuda"),
        cudnn=_cudnn(),
        libraries=libraries,
        commit=commit,
        uncommitted_changes=changed,
    )


@functools.cache
def software() -> tuple[dict[str, str], str | None, bool | None]:
    """Return the libraries, commit and uncommitted changes of an ``Environment``.

    Reading them takes as long as a short job, so the server that workers are forked from does it once for all of them.
    """
    return {DISTRIBUTION: version_of(DISTRIBUTION), **required_by(DISTRIBUTION)}, *_checkout()


def cores() -> list[int]:
    """Return the cores available to this process."""
    # Not os.cpu_count(): containers and schedulers often allow fewer cores than the machine has.
    return sorted(os.sched_getaffinity(0))


def built_for(kind: Literal["cuda", "hip"]) -> str | None:
    """Return the version of CUDA or HIP that the installed torch was built for; None if it was not.

    Read from torch's version file: importing torch takes seconds, and the planning process does not need it.
    """
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    file = Path(spec.origin).with_name("version.py")
    # The line is "cuda: Optional[str] = '13.0'", or "= None" in a CPU build.
    match = re.search(rf"^{kind}\b[^=]*= *['\"]([^'\"]+)", file.read_text("utf-8"), flags=re.MULTILINE)
    return match[1] if match else None


def has_gpu() -> bool:
    """Return whether this machine has a GPU that processes can see."""
    # NVIDIA's driver; a GPU under WSL 2; AMD's driver.
    return any(Path("/dev").glob("nvidia[0-9]*")) or any(
        Path(node).exists() for node in ("/dev/dxg", "/dev/kfd")
    )


def required_by(distribution: str) -> dict[str, str]:
    """Return the versions of a distribution's requirements, and of its extras as far as they are installed."""
    try:
        requirements = importlib.metadata.requires(distribution) or []
    except importlib.metadata.PackageNotFoundError:  # run from its sources without being installed
        return {}
    versions: dict[str, str] = {}
    for requirement in requirements:
        # A requirement is like "pandas>=2.2" or 'timm>=1.0; extra == "pretrained"'.
        name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
        extra = re.search(r"""extra *== *['"]([^'"]+)""", requirement)
        version = version_of(name)
        if extra is None or (version != NOT_INSTALLED and extra[1] not in TOOLS):
            versions[name] = version
    return dict(sorted(versions.items()))


def differences(environments: Sequence[Environment]) -> list[str]:
    """Return one line for each hardware or software item that differs between the environments, with its values.

    Of the libraries, only those that all environments have count.
    """
    kinds = ("python", "processor", "gpus", "cuda", "cudnn")
    # A library that one of them lacked did nothing for the results, or they could not have been computed there.
    shared = set.intersection(*(_installed(each) for each in environments)) if environments else set()
    seen = [
        {kind: getattr(each, kind) for kind in kinds}
        | {name: version for name, version in each.libraries.items() if name in shared}
        for each in environments
    ]
    lines = []
    for name in dict.fromkeys(name for each in seen for name in each):
        values = sorted({_text(each.get(name)) for each in seen})
        if len(values) > 1:
            lines.append(f"{name} {' and '.join(values)}")
    return lines


def _installed(environment: Environment) -> set[str]:
    return {name for name, version in environment.libraries.items() if version != NOT_INSTALLED}


def _text(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value or "")
    return text or "none"


def available_memory() -> float:
    """Return the free bytes of memory, limited by this machine and by this process's control group."""
    return min(_free_of_machine(), _free_of_group())


def _free_of_group() -> float:
    # Exceeding this limit kills the process, even if the machine has free memory.
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = ((group / name).read_text().strip() for name in ("memory.max", "memory.current"))
    except OSError:  # no control groups, or version 1
        return float("inf")
    return float("inf") if limit == "max" else max(0, int(limit) - int(used))


def _free_of_machine() -> int:
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text().splitlines():
            # Not MemFree, which excludes caches that the kernel gives up on demand.
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
    """Return the GPU models: those visible to torch if it is loaded, otherwise those listed by the driver."""
    if (torch := sys.modules.get("torch")) is not None:
        return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    models = []
    for file in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        lines = dict(line.split(":", 1) for line in file.read_text().splitlines() if ":" in line)
        models.append(lines.get("Model", "unknown GPU").strip())
    return models


def _cudnn() -> int | None:
    torch = sys.modules.get("torch")
    version: int | None = torch.backends.cudnn.version() if torch is not None else None
    return version


def version_of(name: str) -> str:
    """Return the version of an installed distribution."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return NOT_INSTALLED


def _checkout() -> tuple[str | None, bool | None]:
    """Return the commit of the checkout that this file belongs to, and whether its code has changed since."""
    # An installed copy may be inside an unrelated repository, for example in a project's .venv; only ours has harness/.
    top, commit = _git("rev-parse", "--show-toplevel", "HEAD", at=Path(__file__).resolve().parent) or ["", ""]
    if not top or not (Path(top) / "harness").is_dir():
        return None, None
    changed = _git("status", "--porcelain", "--", *ROOTS, at=Path(top))
    return commit, None if changed is None else bool(changed)


def _git(*words: str, at: Path) -> list[str] | None:
    """Return the lines of git's output; None without git, a repository or an answer in time."""
    try:
        return subprocess.run(
            ["git", *words], cwd=at, capture_output=True, text=True, check=True, timeout=10
        ).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return None
