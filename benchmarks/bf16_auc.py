"""Does bf16 change AUC? Trains ASD-AFPA on the synthetic data in both precisions and shows means and spreads.

``python benchmarks/bf16_auc.py --out FOLDER [--seeds 3]``; run the same command to resume a stopped run.
The difference of the means is shown with its standard error over seeds.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from asdbench import RunDocument, Selector, load_registry
from asdbench.messages.progress import Progress
from asdbench.runs.request import Request
from asdbench.runs.run import run

METHOD, DATASET = "stgram_afpa", "synthetic"
PRECISIONS = ("fp32", "bf16")


class Lines:
    """An observer that prints a line for each job that ends."""

    def preparing(self, progress: Progress) -> None:
        """Print nothing: this takes seconds."""

    def jobs(self, done: int, total: int, *, left: Mapping[str, int]) -> None:
        """Print how many jobs have ended."""
        print(f"{done} of {total} jobs", flush=True)

    def job(self, title: str, progress: Progress | None) -> None:
        """Print nothing for the steps of a job."""


def main() -> None:
    """Run both precisions and print their results."""
    arguments = _arguments()
    request = Request(
        methods=[Selector(METHOD, {"precision": precision}) for precision in PRECISIONS],
        dataset=Selector(DATASET),
        data_root=arguments.out,
        cache=arguments.out / "cache",
        out=arguments.out / "runs",
        seeds=tuple(range(1, arguments.seeds + 1)),
        slots=arguments.jobs,
        device="cpu",
    )
    document = run(request, load_registry(), observer=Lines())
    for metric in ("auc", "pauc"):
        _show(metric, _averages(document, metric))


def _averages(document: RunDocument, metric: str) -> list[Sequence[float]]:
    """Return each precision's average over all machines, one per seed."""
    rows = [row for row in document.results if row.metric == metric and row.is_whole]
    return [[value for value in row.per_seed if value is not None] for row in rows]


def _show(metric: str, averages: list[Sequence[float]]) -> None:
    for precision, values in zip(PRECISIONS, averages, strict=True):
        each = ", ".join(f"{100 * value:.2f}" for value in values)
        print(f"{metric} {precision}: {_mean(values):.2f} ± {_deviation(values):.2f} % over seeds ({each})")
    fp32, bf16 = averages
    error = (sum(_deviation(values) ** 2 / len(values) for values in averages)) ** 0.5
    print(f"{metric}: bf16 - fp32 = {_mean(bf16) - _mean(fp32):+.2f} ± {error:.2f} % (standard error)")


def _mean(values: Sequence[float]) -> float:
    return 100 * statistics.mean(values)


def _deviation(values: Sequence[float]) -> float:
    return 100 * statistics.stdev(values)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True, help="folder for data and results")
    parser.add_argument("--seeds", type=int, default=3, help="how many, at least 2")
    parser.add_argument("--jobs", type=int, default=1, help="jobs at once")
    arguments = parser.parse_args()
    if arguments.seeds < 2:
        parser.error("a spread needs at least 2 seeds")
    return arguments


if __name__ == "__main__":
    main()
