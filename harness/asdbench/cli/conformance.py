"""``asdbench conformance``."""

from __future__ import annotations

import click

from asdbench.cli.output import for_screen, print_json, size_text
from asdbench.cli.settings import SELECTOR, isolation_option, json_option
from asdbench.conformance.check import conformance as check_conformance
from asdbench.conformance.findings import Finding, Kind, Report
from asdbench.messages.isolation import Isolation
from asdbench.plugin.entries import Selector
from asdbench.plugin.registry import load_registry

CONFORMS, DOES_NOT = 0, 4
MARKS = {"passed": "ok", "failed": "FAILED", "skipped": "-"}


@click.command(epilog="Example: asdbench conformance logmel_knn --json")
@click.argument("plugin", metavar="NAME", type=SELECTOR)
@click.option(
    "-d",
    "--dataset",
    type=SELECTOR,
    default=None,
    help="Dataset that gives a method's shapes and options [default: a generated one].",
)
@click.option(
    "--kind",
    type=click.Choice(["method", "dataset", "featurizer", "scorer"]),
    default=None,
    help="What NAME is, where several things share the name [default: the first of these].",
)
@isolation_option
@json_option
def conformance(
    plugin: Selector, dataset: Selector | None, *, kind: Kind | None, isolation: Isolation, as_json: bool
) -> int:
    """Check whether a method, dataset, featurizer or scorer keeps its contract. Needs no data.

    A method is trained on a few made sounds, several times and briefly. The exit status is 4 if a check fails.
    """
    report = check_conformance(load_registry(), plugin, dataset=dataset, kind=kind, isolation=isolation)
    if as_json:
        print_json(report)
    else:
        click.echo(for_screen(_text(report)))
    return DOES_NOT if report.failed else CONFORMS


def _text(report: Report) -> str:
    head = f"{report.kind} {report.name} of plugin {report.plugin} ({report.distribution} {report.version})"
    where = f", as on {report.dataset}" if report.dataset else ""
    lines = [f"{head}{where}, plugin API {report.api}", *map(_line, report.findings), _cost(report)]
    failed = report.failed
    checks = "1 check" if len(failed) == 1 else f"{len(failed)} checks"
    lines.append(f"{checks} failed: {', '.join(failed)}" if failed else "it conforms")
    return "\n".join(lines)


def _line(finding: Finding) -> str:
    mend = f"\n  {'':<7} {'':<19} to mend it: {finding.mend}" if finding.mend else ""
    return f"  {MARKS[finding.outcome]:<7} {finding.check:<19} {finding.saw}{mend}"


def _cost(report: Report) -> str:
    parts = [f"{report.seconds:.1f} s in all"]
    if report.fit_seconds is not None:
        parts.append(f"{report.fit_seconds:.1f} s to fit")
    if report.ms_per_item is not None:
        parts.append(f"{report.ms_per_item:.1f} ms per item")
    parts.append(f"at most {size_text(report.peak_memory_bytes)} of memory")
    return f"{', '.join(parts)}; isolated by {report.isolated}"
