"""``asdbench best``."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asdbench.cli.output import print_json
from asdbench.cli.own import (
    computing_options,
    device_of,
    fit_lines,
    promise_options,
    reading_options,
    source_of,
)
from asdbench.cli.settings import SELECTOR, cache_option, json_option
from asdbench.plugin.entries import Selector
from asdbench.plugin.registry import load_registry

if TYPE_CHECKING:  # it imports torch
    from asdbench.machine.best import Choice


@click.command(epilog="Example: asdbench best --data press --out press.safetensors")
@click.option(
    "-p", "--plugin", "methods", type=SELECTOR, multiple=True,
    help="Method to try; repeatable [default: log-mel and modulation statistics, which train no network].",
)  # fmt: skip
@reading_options
@promise_options
@click.option(
    "--machine", default=None, help="The one to fit to, where the folder has several [default: all]."
)
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), default=None,
    help="Write the detector of the chosen method to this file [default: none is written].",
)  # fmt: skip
@computing_options
@cache_option
@json_option
def best(
    *, methods: tuple[Selector, ...], data: Path, background: str | None, channel: Any, clip_s: float | None,
    rate: int | None, false_alarms: float, confidence: float, hold: float, seed: int, machine: str | None,
    out: Path | None, threads: int, device: str, cache: Path, as_json: bool,
) -> None:  # fmt: skip
    """Choose a method for a machine without labels: the one that finds most of the faults put into held-out recordings.

    Says so if the recordings cannot tell which method is the best.
    """
    from asdbench.cli.progress import ProgressBars
    from asdbench.machine.best import CHEAP, choose
    from asdbench.machine.fitting import FitRequest

    registry = load_registry()
    offered = registry.names("method")
    candidates = methods or tuple(Selector(name) for name in CHEAP if name in offered)
    for candidate in candidates:
        registry.method(candidate.name)
    with ProgressBars(quiet=as_json) as bars, contextlib.redirect_stdout(sys.stderr):
        request = FitRequest(
            method=candidates[0],
            source=source_of(data, channel, clip_s=clip_s, rate=rate),
            name=data.resolve().name,
            cache=cache,
            background=background,
            only=machine,
            false_alarms=false_alarms,
            confidence=confidence,
            hold=hold,
            seed=seed,
            device=device_of(device),
            threads=threads,
            on_progress=bars.preparing,
        )
        choice, fitted = choose(registry, request, methods=candidates)
        if out is not None:
            fitted.own.save(out)
    if as_json:
        print_json(choice)
        return
    lines = [*_lines(choice), *(fit_lines(fitted, out) if out is not None else ())]
    click.echo("\n".join(lines))


def _lines(choice: Choice) -> Iterator[str]:
    yield f"faults in {choice.recordings} held-out recordings:"
    width = max(len(each.method) for each in choice.candidates)
    for each in choice.candidates:
        found = f"AUC {each.objective}, {each.seconds:.1f} s" if each.objective is not None else each.reason
        yield f"  {each.method:<{width}}  {found}"
    if choice.fusion is not None:
        yield f"  {'min-fusion':<{width}}  AUC {choice.fusion} (strange only if all candidates say so)"
    yield f"pick: {choice.pick}" if choice.certain else f"cannot tell which is the best; first: {choice.pick}"
    yield f"  {choice.why}"
