"""Jobs of 50 ms on the local executor, a round 40 of them one after the other; what they take beyond that is ours.

``python -m sides.short``. The model only keeps its core busy, and its parts import nothing that the harness does not.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec
from numpy.typing import NDArray
from torch import Tensor

from asdbench import Featurizer, ItemContext, Items, ItemView, Model, Outputs, Scorer, State, Trainer
from sides.rounds import Rounds

JOBS = 40
WORK_S = 0.05


class Samples(Featurizer):
    """The samples themselves."""

    def forward(self, raw: Tensor) -> Tensor:
        return raw


class Short(Model):
    """The mean of the samples; its fit computes for 50 ms."""

    def fit(self, train: Items, held: Items, trainer: Trainer) -> None:
        # Not a sleep, from which a busy machine wakes late.
        until = time.perf_counter() + WORK_S
        while time.perf_counter() < until:
            pass

    def outputs(self, items: ItemView) -> Mapping[str, Tensor]:
        return {"mean": items.raw().mean(dim=1, keepdim=True)}


class AsIs(Scorer, frozen=True, kw_only=True):
    """The output as it is."""

    learns = False
    on: str = "mean"

    def score(self, state: State, outputs: Outputs, context: ItemContext) -> NDArray:
        return outputs[self.on].astype(float)


def main() -> None:
    """Run the jobs of a round each time one is asked for."""
    from asdbench.conformance.jobs import ToyJobs
    from asdbench.jobs.executors.local import Local
    from asdbench.messages.capacity import Capacity

    rounds = Rounds()
    folder = Path(tempfile.mkdtemp())
    toys, executor = ToyJobs(folder), Local().open(Capacity(folder=str(folder)))
    part = msgspec.structs.replace

    def run(count: int) -> None:
        for _ in range(count):
            job = toys.fit()
            parts = {
                name: part(getattr(job.recipe, name), path=f"sides.short:{kind}", options=options)
                for name, kind, options in (
                    ("featurizer", "Samples", {}), ("model", "Short", {}), ("scorer", "AsIs", {"on": "mean"}),
                )
            }  # fmt: skip
            executor.submit(part(job, recipe=part(job.recipe, **parts)))
        ended = [event.status for event in executor.events() if event.status is not None]
        if ended != ["ok"] * count:
            raise RuntimeError(f"jobs ended with {ended}")

    run(1)  # starts the server
    rounds.send(jobs=JOBS, work_s=WORK_S)
    while True:
        rounds.begin()
        run(JOBS)
        rounds.end(clips=JOBS)


if __name__ == "__main__":
    main()
