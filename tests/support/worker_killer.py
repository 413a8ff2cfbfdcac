"""A model whose fit kills the process that runs its executor, as a fault of memory or of the machine would."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from asdbench import Items, Trainer
from asdbench.conformance.jobs import Troubled


class Killer(Troubled):
    """Its process was forked by a server, which that process has started."""

    def fit(self, train: Items, held: Items, trainer: Trainer) -> None:
        """Kill it."""
        server = Path(f"/proc/{os.getppid()}/stat").read_text().rpartition(")")[2].split()
        os.kill(int(server[1]), signal.SIGKILL)
        time.sleep(60)
