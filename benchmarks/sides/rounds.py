"""How a side communicates with its benchmark: a line in requests a round, a line of JSON out reports it."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from typing import Any


class Rounds:
    """Lets a program do a round each time one is requested."""

    def __init__(self) -> None:
        # Whatever a library prints must not be taken for an answer.
        self._answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        self._started = self._cpu = 0.0

    def begin(self) -> None:
        """Wait until a round is requested; end the program when no more are."""
        if not sys.stdin.readline():
            sys.exit(0)
        self._started, self._cpu = time.perf_counter(), time.process_time()

    def end(self, *, clips: int, **facts: Any) -> None:
        """Report how long the round took, and its number of clips."""
        spent = {"seconds": time.perf_counter() - self._started, "cpu_s": time.process_time() - self._cpu}
        self.send(clips=clips, **spent, **facts)

    def send(self, **facts: Any) -> None:
        """Send facts, with the peak memory so far."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps(facts | {"peak_memory_bytes": peak}), file=self._answers, flush=True)
