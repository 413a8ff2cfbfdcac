"""Writes the report of a run."""

from __future__ import annotations

from pathlib import Path

from asdbench import Config, Registry, read_run, write_bytes
from asdbench_leaderboards.report.page import report_page
from asdbench_leaderboards.report.pictures import pictures_of


class Report(Config, frozen=True, kw_only=True):
    """What was written: the output of ``asdbench report --json``."""

    run: str
    file: str
    bytes: int
    methods: list[str]
    figures: list[str]
    left_out: list[str]
    """Figures that the run has no data for."""
    broken: dict[str, str]
    """Figure that could not be drawn -> why."""


def write_report(registry: Registry, out: Path, *, run: str, to: Path | None = None) -> Report:
    """Write the report of a run; a file that is there is replaced only by a whole report.

    Args:
        registry: The loaded plugins, whose figures are drawn.
        out: Folder of the results.
        run: Identifier of the run, or ``latest``.
        to: The file; None: ``figures/<run>/report.html`` in the folder of the results.

    Raises:
        RunError: There is no such run, one of its records is missing or damaged, or the file cannot be written.
    """
    recorded = read_run(out, run)
    document = recorded.document
    file = to or out / "figures" / document.run.id / "report.html"
    pictures = pictures_of(registry, recorded)
    content = report_page(recorded, pictures).encode()
    write_bytes(file, content)
    return Report(
        run=document.run.id,
        file=str(file),
        bytes=len(content),
        methods=list(document.methods),
        figures=[picture.name for picture in pictures.drawn],
        left_out=list(pictures.left_out),
        broken=dict(pictures.broken),
    )
