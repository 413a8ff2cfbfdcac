"""Does bf16 change AUC? Trains ASD-AFPA on the synthetic data in both precisions and shows means and spreads.

``python benchmarks/bf16_auc.py --out FOLDER [--seeds 3]``; a run that was stopped goes on from where it was.
The difference of the means stands beside its standard error over seeds.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path

from asdbench.evaluate import Evaluation
from asdbench.metrics.table import Result
from asdbench.registry import load_registry
from asdbench.report import Report
from asdbench.runner import Request, run
from asdbench.training import Progress

METHOD, DATASET = "stgram_afpa", "synthetic"
PRECISIONS = ("fp32", "bf16")


class Lines:
    """An observer who writes a line for each job that ends."""

    def preparing(self, what: str, done: int, total: int) -> None:
        """Say nothing: that takes seconds."""

    def jobs(self, done: int, total: int) -> None:
        """Say how many jobs have ended."""
        print(f"{done} of {total} jobs", flush=True)

    def job(self, title: str, progress: Progress | None) -> None:
        """Say nothing of the steps between."""


def main() -> None:
    """Run both precisions and print what they came to."""
    arguments = _arguments()
    request = Request(
        methods=[(METHOD, {"precision": precision}) for precision in PRECISIONS],
        dataset=(DATASET, {}),
        data_root=arguments.out,
        cache=arguments.out / "cache",
        out=arguments.out / "runs",
        seeds=tuple(range(1, arguments.seeds + 1)),
        slots=arguments.jobs,
        device="cpu",
    )
    report = run(request, load_registry(), Lines())
    for metric in ("auc", "pauc"):
        _show(metric, _averages(report, metric))


def _averages(report: Report, metric: str) -> list[Sequence[float]]:
    """Return each precision's average over all machines, one per seed."""
    results = [_of_everything(evaluation, metric) for evaluation in report.evaluations]
    return [[value for value in result.per_seed if value is not None] for result in results]


def _of_everything(evaluation: Evaluation, metric: str) -> Result:
    return next(
        result for result in evaluation.results if result.metric == metric and not any(result.groups.values())
    )


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
