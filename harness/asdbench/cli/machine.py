"""``asdbench fit`` and ``asdbench score``: a detector for one's own machine, without a run."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asdbench.cli import FAILED, OK
from asdbench.cli.output import print_json
from asdbench.cli.own import (
    Alarms,
    Duration,
    computing_options,
    device_of,
    fit_lines,
    label_options,
    promise_options,
    quality_lines,
    reading_options,
    source_of,
)
from asdbench.cli.settings import SELECTOR, WholeNumber, cache_option, json_option
from asdbench.plugin.entries import Selector
from asdbench.plugin.registry import Registry, load_registry

if TYPE_CHECKING:  # they import torch
    from asdbench.cli.progress import ProgressBars
    from asdbench.machine.file import OwnDetector
    from asdbench.machine.fitting import Fitted
    from asdbench.machine.scoring import Judged, Judgement


@click.command(
    epilog="Example: asdbench fit -p logmel_knn --data press --false-alarms 1% --out press.safetensors"
)
@click.option("-p", "--plugin", "method", type=SELECTOR, required=True, help="Method to fit.")
@reading_options
@label_options
@promise_options
@click.option(
    "--alarms", type=Alarms(), default=None,
    help="False alarms that you accept in a stream of recordings, for example 1/week; needs --every.",
)  # fmt: skip
@click.option(
    "--every", type=Duration(), default=None, help="Time from one recording to the next, for example 10s."
)
@click.option("--name", default=None, help="Name of the machine [default: that of the folder].")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), default=None,
    help="The detector file [default: NAME.safetensors].",
)  # fmt: skip
@click.option(
    "--machine", default=None, help="The one to fit to, where the folder has several [default: all]."
)
@computing_options
@cache_option
@json_option
def fit(
    *, method: Selector, data: Path, background: str | None, channel: Any, clip_s: float | None, rate: int | None,
    labels: str, normal: str, anomaly: str, false_alarms: float, confidence: float, hold: float, seed: int,
    alarms: tuple[float, Any] | None, every: float | None, name: str | None, out: Path | None, machine: str | None,
    threads: int, device: str, cache: Path, as_json: bool,
) -> None:  # fmt: skip
    """Fit a detector to normal recordings, and set its threshold so that few others raise a false alarm.

    The rate of false alarms holds for recordings made like those in the folder, with the confidence that you ask for. Where
    these are too few to promise it, the command says what they can promise. With --alarms, the last recordings by name are
    held out, and the detector says how many strange ones in a row raise an alarm.
    """
    from asdbench.cli.progress import ProgressBars
    from asdbench.machine.alarms import Wanted
    from asdbench.machine.fitting import FitRequest
    from asdbench.machine.fitting import fit as fit_detector

    if (alarms is None) != (every is None):
        raise click.UsageError(
            "--alarms and --every belong together, for example --alarms 1/week --every 10s"
        )

    named = name or data.resolve().name
    file = out or Path(f"{named}.safetensors")
    with ProgressBars(quiet=as_json) as bars, contextlib.redirect_stdout(sys.stderr):
        request = FitRequest(
            method=method,
            source=source_of(data, channel, clip_s=clip_s, rate=rate, labels=(labels, normal, anomaly)),
            name=named,
            cache=cache,
            background=background,
            only=machine,
            false_alarms=false_alarms,
            confidence=confidence,
            hold=hold,
            alarms=Wanted(count=alarms[0], period=alarms[1], every_s=every) if alarms and every else None,
            seed=seed,
            device=device_of(device),
            threads=threads,
            on_progress=bars.preparing,
        )
        fitted = fit_detector(load_registry(), request)
        fitted.own.save(file)
    if as_json:
        print_json(_fitted(fitted, file))
        return
    click.echo("\n".join(fit_lines(fitted, file)))


@click.command(
    epilog="Example: asdbench score --detector press.safetensors press/test --figure strangest.png"
)
@click.argument("places", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--detector", "file", required=True, type=click.Path(dir_okay=False, path_type=Path),
    help="A file that `asdbench fit` wrote.",
)  # fmt: skip
@click.option(
    "--machine", default=None, help="Machine that all recordings are of, if the detector knows several."
)
@label_options
@click.option(
    "--figure", type=click.Path(dir_okay=False, path_type=Path), default=None,
    help="Draw the strangest recording: where in time and frequency it is strange.",
)  # fmt: skip
@click.option(
    "--bands", type=WholeNumber(0, 64), default=8, show_default=True,
    help="Bands of frequencies in the figure, 0 for none; each costs as much as scoring all segments, and at least 16.",
)  # fmt: skip
@computing_options
@json_option
def score(
    *, places: tuple[Path, ...], file: Path, machine: str | None, labels: str, normal: str, anomaly: str,
    figure: Path | None, bands: int, threads: int, device: str, as_json: bool,
) -> int:  # fmt: skip
    """Score PLACES, recordings or folders of them: score, p-value and verdict of each.

    The p-value is the share of normal recordings that are at least as strange. The exit status is 1 if a recording has no
    verdict: it cannot be read, or is of a machine that the detector does not know.
    """
    from asdbench.cli.progress import ProgressBars
    from asdbench.machine.file import load
    from asdbench.machine.scoring import judge

    registry = load_registry()
    with ProgressBars(quiet=as_json) as bars, contextlib.redirect_stdout(sys.stderr):
        own = load(file, registry, device=device_of(device))
        found = judge(
            own,
            places,
            registry=registry,
            labels=source_of(places[0], 0, clip_s=None, rate=None, labels=(labels, normal, anomaly)),
            machine=machine,
            threads=threads,
            on_progress=bars.preparing,
        )
        strangest = min(
            (each for each in found.recordings if each.p_value is not None),
            key=lambda each: (each.p_value or 0, -(each.score or 0)),
            default=None,
        )
        if figure is not None and strangest is not None:
            _draw(strangest, own=own, registry=registry, bands=bands, threads=threads, bars=bars, to=figure)
    if as_json:
        print_json(found)
    else:
        click.echo("\n".join(_score_lines(found)))
    return FAILED if any(each.verdict == "none" for each in found.recordings) else OK


def _draw(
    strangest: Judged,
    *,
    own: OwnDetector,
    registry: Registry,
    bands: int,
    threads: int,
    bars: ProgressBars,
    to: Path,
) -> None:
    from asdbench.machine.occlusion import drops
    from asdbench.machine.picture import draw
    from asdbench.machine.scoring import wave_of

    wave = wave_of(registry, own, file=Path(strangest.file))
    claim = own.header.classes.index(strangest.machine)
    found = drops(own, wave, claim=claim, bands=bands, threads=threads, on_progress=bars.preparing)
    draw(strangest, wave, own=own, drops=found, to=to)


def _fitted(fitted: Fitted, file: Path) -> dict[str, Any]:
    own = fitted.own
    promises = [(name, own.promise(claim)) for claim, name in enumerate(own.header.classes[: own.header.own])]
    return {
        "file": str(file),
        "detector": own.header,
        "promises": [
            {
                "name": name,
                "held_out": promise.recordings,
                "wanted": promise.wanted,
                "promised": promise.rate,
                "confidence": promise.confidence,
                "kept": promise.kept,
            }
            for name, promise in promises
        ],
        "streams": [own.stream(claim) for claim, _ in enumerate(promises)],
        "quality": fitted.quality,
        "notes": fitted.notes,
    }


def _score_lines(found: Judgement) -> Iterator[str]:
    for machine, promise in found.promises.items():
        yield f"machine {machine}: {promise}"
    for machine, rule in found.rules.items():
        yield f"machine {machine}: {rule}"
    yield f"{'verdict':<10} {'p-value':>8} {'score':>12}  recording"
    for each in found.recordings:
        yield from _recording_lines(each)
    for alarm in found.alarms:
        row = f"{alarm.recordings} strange recordings in a row, {alarm.first} to {alarm.last}"
        yield f"ALARM: machine {alarm.machine}, raised by {alarm.raised} ({row})"
    yield from quality_lines(found.quality)
    for drift in found.drift:
        if drift.found:
            yield (
                f"warning: the recordings of machine {drift.machine} drift away from those that the threshold was set with "
                f"(martingale {drift.capital:.3g}, limit {drift.limit:g}): the false-alarm rate does not hold; fit again"
            )


def _recording_lines(each: Judged) -> Iterator[str]:
    if each.score is None or each.p_value is None:
        yield f"{each.verdict:<10} {'':>8} {'':>12}  {each.file}"
    else:
        strangest = max(each.segments, key=lambda segment: segment.score)
        where = f"  (strangest at {strangest.start_s:g} s)" if len(each.segments) > 1 else ""
        yield f"{each.verdict:<10} {each.p_value:>8.4f} {each.score:>12.5g}  {each.file}{where}"
    yield from (f"{'':<10}   {note}" for note in each.notes)
