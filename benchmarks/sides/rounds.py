"""How a side speaks with its benchmark: a line in asks for a round, a line of JSON out tells of it."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from typing import Any


class Rounds:
    """Lets a program go one round further each time it is asked to."""

    def __init__(self) -> None:
        # Whatever a library prints must not be taken for an answer.
        self._answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        self._started = self._cpu = 0.0

    def begin(self) -> None:
        """Wait until a round is asked for; end the program when no more will be."""
        if not sys.stdin.readline():
            sys.exit(0)
        self._started, self._cpu = time.perf_counter(), time.process_time()

    def end(self, *, clips: int, **facts: Any) -> None:
        """Tell how long the round took, and of how many clips it was."""
        spent = {"seconds": time.perf_counter() - self._started, "cpu_s": time.process_time() - self._cpu}
        self.tell(clips=clips, **spent, **facts)

    def tell(self, **facts: Any) -> None:
        """Tell something, with the peak of the memory so far."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps(facts | {"peak_memory_bytes": peak}), file=self._answers, flush=True)
