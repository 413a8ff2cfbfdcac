"""How many tasks of each array SLURM may run at a time, so that all arrays of a command together stay within ``-j``."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from asdbench.jobs.executors import slurm_commands as commands
from asdbench.jobs.executors.slurm_commands import Refused

_log = logging.getLogger(__name__)


class Caps:
    """Divides the slots among arrays: each runs as many tasks as its cap allows, and the caps add up to the slots.

    In all methods, ``left`` counts the tasks of each array that have not ended, the oldest array first.

    Args:
        slots: Most tasks at the same time.
    """

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._caps: dict[str, int] = {}
        self._fixed: set[str] = set()
        """Arrays whose cap SLURM does not change."""

    def add(self, array: str, cap: int) -> None:
        """Count an array that was submitted with this cap."""
        self._caps[array] = cap

    def adopt(self, left: Mapping[str, int]) -> None:
        """Count the arrays of an earlier command, which may have had another ``-j``; each keeps one task at least.

        Raises:
            Unreachable: The controller does not answer.
        """
        free = self._slots
        for array, tasks in left.items():
            self._caps[array] = tasks
            if tasks > 1:
                self._set(array, max(1, min(tasks, free)))
            free -= self._caps[array]

    def share(self, left: Mapping[str, int]) -> int:
        """Give free slots to the arrays with more tasks than their cap, and return the slots that are left for others.

        Raises:
            Unreachable: The controller does not answer.
        """
        free = self._slots - sum(min(tasks, self._caps[array]) for array, tasks in left.items())
        for array, tasks in left.items():
            before = self._caps[array]
            if free > 0 and tasks > before and array not in self._fixed:
                self._set(array, min(tasks, before + free))
                free -= self._caps[array] - before
        return free

    def _set(self, array: str, cap: int) -> None:
        try:
            commands.throttle(array, cap)
        except Refused as error:
            self._fixed.add(array)
            _log.warning("%s", error)
        else:
            self._caps[array] = cap
