"""What a process does beside its work: files outside its folder, the network, global settings and random numbers."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from asdbench.conformance.findings import Unmet
from asdbench.jobs.isolation import DEVICES, WRITING, writes

CONNECTING = ("socket.connect", "socket.bind", "socket.sendto")
NETWORK = frozenset({*CONNECTING, "socket.getaddrinfo", "socket.gethostbyname"})
"""Events of Python that reach for the network."""

LOOK_FOR_IPV6 = ("socket.bind", "::1", 0)
"""What urllib3 does when it is imported, and with it each dataset that can be downloaded; nothing is sent."""


@dataclass(kw_only=True)
class Watch:
    """A hook of Python that notes what leaves the folder of a job, also where the plugin catches the refusal."""

    folder: Path
    files: list[str] = field(default_factory=list)
    network: list[str] = field(default_factory=list)

    def start(self) -> None:
        """Watch from now on; there is no way to stop."""
        allowed = tuple(str(path.resolve()) for path in (self.folder, *DEVICES))

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            if event in NETWORK and not _is_local(event, arguments):
                self.network.append(f"{event} {_address(event, arguments)}")
                raise PermissionError(f"a job must not use the network ({self.network[-1]})")
            self.files.extend(path for path in _written(event, arguments) if not _within(path, allowed))

        sys.addaudithook(hook)

    def refused(self, error: BaseException) -> bool:
        """Return whether an error is a refused access, and note it."""
        if not isinstance(error, PermissionError):
            return False
        if error.filename is not None and not self.network:
            self.files.append(os.fsdecode(error.filename))
        return bool(self.files or self.network)

    def kept_to_its_folder(self) -> str:
        """Check that nothing outside the folder was opened that a job must not open."""
        if self.files:
            raise Unmet(
                f"it reached for {_listed(self.files)}, outside the folder of its job",
                mend="keep what is learned in parameters and buffers; temporary files belong into tempfile.gettempdir()",
            )
        return "nothing outside the folder of the job was written"

    def kept_off_the_network(self) -> str:
        """Check that the network was not used."""
        if self.network:
            raise Unmet(
                f"it used the network: {_listed(self.network)}",
                mend="ship what is needed with the plugin, or let users name a file in an option",
            )
        return "no connection was opened, no name was looked up"


class Globals:
    """The global settings of torch and the random states of numpy and Python at one moment."""

    def __init__(self) -> None:
        self._values = {name: read() for name, (read, _) in _SETTINGS.items()}
        self._changed: list[str] = []

    def restore(self) -> None:
        """Put back those that changed, and note which."""
        for name, (read, write) in _SETTINGS.items():
            before, now = self._values[name], read()
            if repr(before) != repr(now):
                self._changed.append(f"{name} ({_short(before)} before, {_short(now)} after)")
                write(before)

    def unchanged(self) -> str:
        """Check that all are as they were, at this moment and at every ``restore``.

        Torch's own random state is not among them: the harness seeds it for every stage.
        """
        self.restore()
        if self._changed:
            raise Unmet(
                f"it changed {_listed(self._changed)}",
                mend="pass dtype, device and generators explicitly; np.random.default_rng(seed) and torch.Generator have "
                "states of their own",
            )
        return "torch's defaults and the random states of numpy and Python are as before"


def _random_state() -> tuple[Any, ...]:
    kind, keys, place, *rest = np.random.get_state(legacy=True)
    return kind, keys.tobytes(), place, *rest  # type: ignore[union-attr]


def _set_random_state(state: tuple[Any, ...]) -> None:
    kind, keys, *rest = state
    np.random.set_state((kind, np.frombuffer(keys, dtype=np.uint32), *rest))


_SETTINGS: Mapping[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {
    "torch's default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "torch's default device": (torch.get_default_device, torch.set_default_device),
    "torch's threads": (torch.get_num_threads, torch.set_num_threads),
    "torch's deterministic algorithms": (
        torch.are_deterministic_algorithms_enabled,
        torch.use_deterministic_algorithms,
    ),
    "torch's gradient mode": (torch.is_grad_enabled, torch._C._set_grad_enabled),
    "torch.backends.cudnn.benchmark": (
        lambda: torch.backends.cudnn.benchmark,
        lambda on: setattr(torch.backends.cudnn, "benchmark", on),
    ),
    "torch.backends.cudnn.deterministic": (
        lambda: torch.backends.cudnn.deterministic,
        lambda on: setattr(torch.backends.cudnn, "deterministic", on),
    ),
    "numpy's random state": (_random_state, _set_random_state),
    "numpy's error handling": (np.geterr, lambda how: np.seterr(**how)),
    "Python's random state": (random.getstate, random.setstate),
    "the working directory": (os.getcwd, os.chdir),
}


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) < 60 else "one state"


def _written(event: str, arguments: tuple[Any, ...]) -> Iterator[str]:
    """Yield the paths that an event of Python changes."""
    if event == "open":
        path, mode, flags = arguments
        # ``os.open`` has no mode, and may start from a folder that the event does not name.
        known = mode is not None or (isinstance(path, str) and Path(path).is_absolute())
        if known and writes(mode, flags) and isinstance(path, str | bytes | os.PathLike):
            yield os.fsdecode(path)
    elif event in WRITING:
        folder = arguments[-1] if len(arguments) > 1 and event != "os.truncate" else -1
        for path in arguments[:2]:
            # A relative path in a folder that was opened is under what was checked then.
            if isinstance(path, str | bytes | os.PathLike) and (
                Path(os.fsdecode(path)).is_absolute() or not isinstance(folder, int) or folder < 0
            ):
                yield os.fsdecode(path)


def _within(path: str, allowed: Sequence[str]) -> bool:
    real = os.path.realpath(path)
    return any(real == place or real.startswith(f"{place}{os.sep}") for place in allowed)


def _is_local(event: str, arguments: tuple[Any, ...]) -> bool:
    if event not in CONNECTING:
        return False
    # A socket with a path in place of an address stays on this machine, and the file is watched.
    return isinstance(arguments[1], str | bytes) or (event, *arguments[1][:2]) == LOOK_FOR_IPV6


def _address(event: str, arguments: tuple[Any, ...]) -> str:
    place = arguments[1] if event in CONNECTING else arguments[0]
    return ":".join(map(str, place)) if isinstance(place, tuple) else str(place)


def _listed(things: Sequence[str]) -> str:
    different = list(dict.fromkeys(things))
    more = f" and {len(different) - 3} more" if len(different) > 3 else ""
    return ", ".join(different[:3]) + more
