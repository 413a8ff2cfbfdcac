"""``asdbench fit`` and ``asdbench score``: a detector for one's own machine, without a run."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from asdbench.cli import FAILED, OK
from asdbench.cli.output import print_json
from asdbench.cli.settings import FOLDER, SELECTOR, WholeNumber, cache_option, json_option
from asdbench.core.environment import has_gpu
from asdbench.plugin.entries import Selector
from asdbench.plugin.registry import load_registry

if TYPE_CHECKING:  # they import torch
    from asdbench.machine.fitting import Fitted
    from asdbench.machine.recordings import Source
    from asdbench.machine.scoring import Judged, Judgement

Command = TypeVar("Command", bound=Callable[..., Any])


class Share(click.ParamType[float]):
    """A share between 0 and 1: ``1%`` or ``0.01``."""

    name = "SHARE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the share."""
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"(\d*\.?\d+)(%?)", str(value).strip())
        share = float(match[1]) / (100 if match[2] else 1) if match else 0.0
        if not 0 < share < 1:
            self.fail(f"{value!r} is not a share between 0 and 1; use for example 1% or 0.01", param, ctx)
        return share


class Channel(click.ParamType[Any]):
    """A channel, or how channels become one."""

    name = "N|mean|loudest"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | Literal["mean", "loudest"]:
        """Return the number of the channel, or the word."""
        text = str(value)
        if text == "mean":
            return "mean"
        if text == "loudest":
            return "loudest"
        if not text.isdecimal():
            self.fail(f"{value!r} is no channel; use a number from 0, mean or loudest", param, ctx)
        return int(text)


def label_options(command: Command) -> Command:
    """Add how labels of test recordings are known."""
    for name, meaning in (
        ("anomaly", "Patterns of the names of anomalous test recordings, joined by +, for example bad*."),
        ("normal", "Patterns of the names of normal test recordings, joined by +."),
        ("labels", "CSV with the columns file and label; it wins over patterns and names."),
    ):
        command = click.option(f"--{name}", default="", help=meaning)(command)
    return command


def computing_options(command: Command) -> Command:
    """Add where and with how many threads to compute."""
    command = click.option(
        "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", envvar="ASDBENCH_DEVICE",
        show_default=True, help="Where to compute; auto uses a GPU if there is one.",
    )(command)  # fmt: skip
    return click.option("--threads", type=WholeNumber(1), default=1, show_default=True, help="CPU threads.")(
        command
    )


def reading_options(command: Command) -> Command:
    """Add where a user's recordings are, and how they are read."""
    for option in (
        click.option("--rate", type=WholeNumber(100), default=None, help="Sample rate in Hz [default: the most common]."),
        click.option(
            "--clip", "clip_s", type=click.FloatRange(0.01), default=None,
            help="Seconds of a segment of a recording [default: the shortest recording, or what the method uses].",
        ),
        click.option("--channel", type=Channel(), default=0, show_default=True, help="Channel to read."),
        click.option(
            "--background", default=None, metavar="FOLDER|synthetic",
            help="Recordings of other machines, for methods that tell machines apart.",
        ),
        click.option(
            "--data", type=FOLDER, required=True,
            help="Folder of normal recordings, or with folders train and test.",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def promise_options(command: Command) -> Command:
    """Add what is promised about false alarms."""
    for option in (
        click.option("--seed", type=WholeNumber(0), default=42, show_default=True, help="Random seed."),
        click.option(
            "--hold", type=Share(), default="30%", show_default=True,
            help="Share of the recordings that nothing is trained on, to set the threshold with.",
        ),
        click.option(
            "--confidence", type=Share(), default="95%", show_default=True, help="Confidence that this rate holds."
        ),
        click.option(
            "--false-alarms", type=Share(), default="5%", show_default=True,
            help="Largest share of normal recordings that may raise an alarm.",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


@click.command(
    epilog="Example: asdbench fit -p logmel_knn --data press --false-alarms 1% --out press.safetensors"
)
@click.option("-p", "--plugin", "method", type=SELECTOR, required=True, help="Method to fit.")
@reading_options
@label_options
@promise_options
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
    name: str | None, out: Path | None, machine: str | None, threads: int, device: str, cache: Path, as_json: bool,
) -> None:  # fmt: skip
    """Fit a detector to normal recordings, and set its threshold so that few others raise a false alarm.

    The rate of false alarms holds for recordings made like those in the folder, with the confidence that you ask for. Where
    these are too few to promise it, the command says what they can promise.
    """
    from asdbench.cli.progress import ProgressBars
    from asdbench.machine.fitting import FitRequest
    from asdbench.machine.fitting import fit as fit_detector

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
    help="Draw the strangest recording: where in time it is strange.",
)  # fmt: skip
@computing_options
@json_option
def score(
    *, places: tuple[Path, ...], file: Path, machine: str | None, labels: str, normal: str, anomaly: str,
    figure: Path | None, threads: int, device: str, as_json: bool,
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
            from asdbench.machine.picture import draw
            from asdbench.machine.scoring import wave_of

            draw(strangest, wave_of(registry, own, file=Path(strangest.file)), own=own, to=figure)
    if as_json:
        print_json(found)
    else:
        click.echo("\n".join(_score_lines(found)))
    return FAILED if any(each.verdict == "none" for each in found.recordings) else OK


def source_of(
    data: Path,
    channel: Any,
    *,
    clip_s: float | None,
    rate: int | None,
    labels: tuple[str, str, str] = ("", "", ""),
) -> Source:
    """Return where recordings are; ``labels``: a table, and patterns of normal and of anomalous ones."""
    from asdbench.machine.recordings import Source

    table, normal, anomaly = labels
    return Source(
        path=data,
        channel=channel,
        clip_s=clip_s,
        sample_rate=rate,
        labels=table,
        normal=normal,
        anomaly=anomaly,
    )


def device_of(wanted: str) -> str:
    """Return the device to compute on."""
    if wanted == "auto":
        return "cuda" if has_gpu() else "cpu"
    return wanted


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
        "quality": fitted.quality,
        "notes": fitted.notes,
    }


def fit_lines(fitted: Fitted, file: Path) -> Iterator[str]:
    """Yield what a fit showed, and where its detector is."""
    header = fitted.own.header
    yield (
        f"{header.method} fitted to {header.recordings} recordings of {header.name}, in segments of "
        f"{header.length / header.sample_rate:g} s at {header.sample_rate} Hz"
    )
    for claim, machine in enumerate(header.classes[: header.own]):
        yield f"machine {machine}: {fitted.own.promise(claim)}"
    yield from _quality_lines(fitted.quality)
    yield from (f"warning: {note}" for note in fitted.notes)
    yield f"wrote {file}"


def _quality_lines(found: Any) -> Iterator[str]:
    for each in found:
        yield (
            f"machine {each.machine}: AUC {each.auc}, F1 {each.f1}, {each.false_alarms} of {each.normals} normal "
            f"recordings raise an alarm, {each.missed} of {each.anomalies} anomalies are missed"
        )


def _score_lines(found: Judgement) -> Iterator[str]:
    for machine, promise in found.promises.items():
        yield f"machine {machine}: {promise}"
    yield f"{'verdict':<10} {'p-value':>8} {'score':>12}  recording"
    for each in found.recordings:
        yield from _recording_lines(each)
    yield from _quality_lines(found.quality)
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
