"""``asdbench check``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from asdbench import find_run, json_option, out_option, print_json

if TYPE_CHECKING:
    from asdbench_leaderboards.regression.gate import Check, GateReport

OK, WORSE = 0, 3


@click.command(epilog="Example: asdbench check --baseline baseline.json latest")
@click.argument("run", default="latest")
@click.option(
    "--baseline",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="File of the baseline, which --update writes.",
)
@click.option("--update", is_flag=True, help="Write the baseline from RUN instead of checking it.")
@click.option(
    "--margin",
    type=click.FloatRange(0, 100),
    default=0.1,
    show_default=True,
    help="Losses up to so many points never count.",
)
@click.option("--times/--no-times", default=True, help="Also compare the times to train and to score.")
@out_option("Folder of the results.")
@json_option
def check(
    *, run: str, baseline: Path, update: bool, margin: float, times: bool, out: Path, as_json: bool
) -> int:
    """Check that RUN is not worse than a baseline, beyond the noise of its seeds.

    RUN is an identifier from `asdbench runs list`, or `latest`. The status is 3 if a metric of a machine type or of the
    whole dataset is worse, a model has more parameters or operations, or a method, machine type or seed is missing.
    """
    from asdbench_leaderboards.regression.baseline import baseline_of, read_baseline, write_baseline
    from asdbench_leaderboards.regression.gate import check_run

    document = find_run(out, run)
    if update:
        written = baseline_of(document)
        write_baseline(baseline, written)
        names = ", ".join(each.method for each in written.methods)
        print_json(written) if as_json else click.echo(f"{baseline}: run {written.run}, {names}")
        return OK
    report = check_run(document, read_baseline(baseline), margin=margin / 100, times=times)
    print_json(report) if as_json else click.echo("\n".join(_lines(report)))
    return WORSE if report.failed else OK


def _lines(report: GateReport) -> Iterator[str]:
    from tabulate import tabulate

    from asdbench_leaderboards.regression.costs import TIMES

    worse = [each for each in report.checks if each.worse]
    shown = worse or [each for each in report.checks if not each.machine]
    if shown:
        headers = [
            "method",
            "machine",
            "metric %",
            "baseline",
            "now",
            "difference",
            "p (Holm)",
            "noise of",
            "",
        ]
        yield tabulate(map(_row, shown), headers=headers, disable_numparse=True)
    for cost in report.costs:
        if cost.worse:
            unit = " times the reference work" if cost.cost in TIMES else ""
            yield (
                f"{cost.method}: {cost.cost} {cost.value:,.6g}{unit}, in the baseline {cost.baseline:,.6g}, "
                f"at most {cost.limit:,.6g} allowed: WORSE"
            )
    yield from (f"missing: {what}" for what in report.missing)
    failures = len(worse) + len(report.missing) + sum(cost.worse for cost in report.costs)
    values = f"{len(report.checks)} values of run {report.run} beside baseline run {report.baseline}"
    yield f"{values}: {f'{failures} failures' if failures else 'none is worse'}"


def _row(found: Check) -> list[str]:
    return [
        found.method,
        found.machine or "all",
        found.metric,
        f"{100 * found.baseline:.2f}",
        f"{100 * found.value:.2f}",
        f"{100 * (found.value - found.baseline):+z.2f} [{100 * found.low:z.2f}, {100 * found.high:z.2f}]",
        f"{found.p:.3f}",
        found.noise,
        "WORSE" if found.worse else "",
    ]
