"""Watches how much memory the processes of each job hold together.

A limit of the kernel on one process would not do: torch reserves far more addresses than it ever uses (``RLIMIT_AS``), and
a plugin can divide its memory among processes. Pages that belong to a file, for example a pack, do not count: the kernel
takes them back on demand.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

LOOK_EVERY_S = 0.2
"""Time between two looks, unless one takes more than a tenth of it."""
SHARE = 10
"""A look may take one part in so many of the time."""


class MemoryWatch:
    """Finds process groups that hold more memory than a limit.

    Args:
        limit_bytes: The limit; None: there is none.
    """

    def __init__(self, limit_bytes: int | None) -> None:
        self.limit_bytes = limit_bytes
        self._next_look = 0.0

    def above_limit(self, groups: Collection[int]) -> dict[int, int]:
        """Return the bytes held by each of the groups that is above the limit; empty between two looks."""
        started = time.monotonic()
        if self.limit_bytes is None or not groups or started < self._next_look:
            return {}
        found = {}
        for group, processes in _members(groups).items():
            # What processes share, for example what they were forked with, counts once for each here: a cheap upper bound.
            if _at_most(processes) > self.limit_bytes and (held := held_bytes(processes)) > self.limit_bytes:
                found[group] = held
        ended = time.monotonic()
        self._next_look = ended + max(LOOK_EVERY_S, SHARE * (ended - started))
        return found


def living(group: int) -> list[int]:
    """Return the living processes of a group."""
    return list(_members([group]).get(group, []))


def held_bytes(processes: Sequence[int]) -> int:
    """Return the memory that processes hold together; what they share with others counts by parts."""
    return sum(_sum(f"/proc/{each}/smaps_rollup", ("Pss_Anon:", "Pss_Shmem:")) for each in processes)


def _at_most(processes: Sequence[int]) -> int:
    return sum(_sum(f"/proc/{each}/status", ("RssAnon:", "RssShmem:")) for each in processes)


def _members(groups: Collection[int]) -> Mapping[int, list[int]]:
    found: dict[int, list[int]] = {}
    for process, group in _every_process():
        if group in groups:
            found.setdefault(group, []).append(process)
    return found


def _every_process() -> Iterator[tuple[int, int]]:
    """Yield every living process with its group."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):  # it has ended meanwhile
                # After the name, which may contain anything: state, parent, group ...
                state, _, group, *_ = (folder / "stat").read_text().rpartition(")")[2].split(None, 3)
                if state not in "ZX":  # dead, but its parent has not asked about it
                    yield int(folder.name), int(group)


def _sum(file: str, names: tuple[str, ...]) -> int:
    with contextlib.suppress(OSError):  # it has ended meanwhile
        lines = Path(file).read_text().splitlines()
        return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(names))
    return 0
