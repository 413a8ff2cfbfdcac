"""What a job's process may open, before it imports a plugin: Python and its libraries, what the job reads, its own folders.

Labels, official names, other results and the network stay out of reach. Landlock of the Linux kernel enforces it; where
there is none, a hook of Python does, which code outside of Python (libraries in C, ``ctypes``) does not pass.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from asdbench.errors import ConfigError, RunError
from asdbench.jobs import landlock
from asdbench.messages.isolation import Isolated, Isolation

SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/etc", "/opt", "/nix")
"""Programs and libraries."""
KERNEL = (Path("/proc"), Path("/sys"), Path("/run/nvidia-persistenced"))
"""What the kernel and drivers tell. Landlock closes the memory of other processes in /proc."""
_PROCESS = re.compile(r"/proc/(\d+)(?:/|$)")
DEVICES = tuple(
    Path("/dev", name)
    for name in ("null", "zero", "full", "random", "urandom", "tty", "shm", "fd", "dri", "kfd", "nvidia-caps")
)
"""Null, random numbers, shared memory, GPUs; not all of /dev, where root may read disks."""
GPUS = "nvidia*"
"""Devices of the GPUs in /dev, by pattern."""
REFUSED = (
    "this kernel cannot shut jobs in; Landlock needs Linux 5.13 or later, with landlock among its security modules. "
    "--isolation auto falls back to a hook of Python"
)
READING = frozenset({"os.listdir", "os.scandir", "os.chdir", "ctypes.dlopen"})
WRITING = frozenset({
    "os.mkdir", "os.rmdir", "os.remove", "os.rename", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown",
    "os.utime", "sqlite3.connect",
})  # fmt: skip
"""Events of Python whose first one or two arguments are paths; ``open`` can be either kind."""
LEAVING = frozenset({
    "socket.connect", "socket.bind", "socket.sendto", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn",
    "os.spawn",
})  # fmt: skip
"""Events of Python that use the network, or start a program that the hook would not follow."""


def check_available(isolation: Isolation) -> None:
    """Check that this machine can shut a job in as it is required to.

    Raises:
        ConfigError: Landlock is required and the kernel has none.
    """
    if isolation == "required" and not landlock.version():
        raise ConfigError(f"--isolation required: {REFUSED}")


def isolate(
    isolation: Isolation, *, readable: Iterable[Path], writable: Iterable[Path], hidden: Sequence[Path] = ()
) -> Isolated:
    """Shut this process in, as far as the machine can, and return how; the way out is closed for good.

    To be called before a thread is started: Landlock binds the calling thread and what it starts.

    Args:
        isolation: ``none`` leaves it open; ``required`` accepts nothing below Landlock.
        readable: Files and folders that the job reads, beside Python and its libraries.
        writable: Its own folders.
        hidden: Folders that no entry of the path for imports may open up, though they are below it.

    Raises:
        RunError: Landlock is required and the kernel has none.
    """
    if isolation == "none":
        return "none"
    closed = [path.resolve() for path in hidden]
    code = [each for place in _code() for each in _without(place, closed)]
    can_read = [*KERNEL, *code, *(path.resolve() for path in readable)]
    can_write = [*DEVICES, *Path("/dev").glob(GPUS), *(path.resolve() for path in writable)]
    if isolation != "audit":
        try:
            landlock.restrict(readable=can_read, writable=can_write)
        except OSError as error:
            if isolation == "required":
                raise RunError(f"--isolation required: {REFUSED} ({error})") from error
        else:
            return "landlock"
    _watch(readable=can_read, writable=can_write)
    return "audit"


def _code() -> list[Path]:
    """Return where programs, libraries and modules are."""
    places = [*SYSTEM, sys.prefix, sys.base_prefix, *filter(None, sys.path), *_editable()]
    return sorted({found for place in places if (found := Path(place).resolve()).exists()})


def _editable() -> Iterator[str]:
    """Yield the folders of packages that an editable installation finds elsewhere than on the path."""
    for finder in sys.meta_path:
        mapping = getattr(sys.modules.get(getattr(finder, "__module__", "")), "MAPPING", {})
        yield from mapping.values()


def _without(place: Path, hidden: Sequence[Path]) -> Iterator[Path]:
    if place in hidden:
        return
    if not any(folder.is_relative_to(place) for folder in hidden):
        yield place
        return
    for child in place.iterdir():
        yield from _without(child, hidden)


def _watch(*, readable: Sequence[Path], writable: Sequence[Path]) -> None:
    """Let Python refuse whatever would open another path; a hook cannot be taken away again."""
    own = tuple(map(str, writable))
    known = (*map(str, readable), *own)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in LEAVING:
            raise PermissionError(errno.EACCES, f"a job must not start programs or use the network ({event})")
        if event in READING or event in WRITING or event == "open":
            allowed = own if event in WRITING or (event == "open" and writes(*arguments[1:])) else known
            for argument in arguments[:2]:
                if isinstance(argument, str | bytes | os.PathLike):
                    _check(os.fsdecode(argument), allowed=allowed)

    sys.addaudithook(hook)


def writes(mode: str | None, flags: int) -> bool:
    """Return whether the event ``open`` of Python with this mode and these flags is to write."""
    return bool(flags & (os.O_WRONLY | os.O_RDWR)) or bool(mode and set(mode) & set("wax+"))


def _check(path: str, *, allowed: Sequence[str]) -> None:
    # A relative path starts from a folder that was opened, or changed to, under this hook; unless it climbs.
    if not Path(path).is_absolute() and ".." not in Path(path).parts:
        return
    real = os.path.realpath(path)
    of_another = (process := _PROCESS.match(real)) is not None and int(process[1]) != os.getpid()
    if of_another or not any(real == place or real.startswith(f"{place}{os.sep}") for place in allowed):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
