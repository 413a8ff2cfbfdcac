"""What ``fit``, ``score`` and ``best`` share: their options, and how they show a fit."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from asdbench.cli.settings import FOLDER, WholeNumber
from asdbench.core.environment import has_gpu

if TYPE_CHECKING:  # they import torch
    from asdbench.machine.fitting import Fitted
    from asdbench.machine.grading import Quality
    from asdbench.machine.recordings import Source

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


class Alarms(click.ParamType[Any]):
    """A number of alarms in a period: ``1/week``."""

    name = "N/hour|day|week|month|year"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, str]:
        """Return the number and the period."""
        match = re.fullmatch(r"(\d*\.?\d+)/(hour|day|week|month|year)", str(value).strip())
        if match is None or float(match[1]) == 0:
            self.fail(
                f"{value!r} is no rate of alarms; use for example 1/week, 2/month or 0.5/day", param, ctx
            )
        return float(match[1]), match[2]


class Duration(click.ParamType[float]):
    """Seconds: ``10s``, ``5min`` or ``1h``."""

    name = "DURATION"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds."""
        match = re.fullmatch(r"(\d*\.?\d+)(s|min|h)", str(value).strip())
        if match is None or float(match[1]) == 0:
            self.fail(f"{value!r} is no duration; use for example 10s, 5min or 1h", param, ctx)
        return float(match[1]) * {"s": 1, "min": 60, "h": 3600}[match[2]]


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


def fit_lines(fitted: Fitted, file: Path) -> Iterator[str]:
    """Yield what a fit showed, and where its detector is."""
    header = fitted.own.header
    yield (
        f"{header.method} fitted to {header.recordings} recordings of {header.name}, in segments of "
        f"{header.length / header.sample_rate:g} s at {header.sample_rate} Hz"
    )
    for claim, machine in enumerate(header.classes[: header.own]):
        yield f"machine {machine}: {fitted.own.promise(claim)}"
        if stream := fitted.own.stream(claim):
            yield f"machine {machine}: {stream}"
    yield from quality_lines(fitted.quality)
    yield from (f"warning: {note}" for note in fitted.notes)
    yield f"wrote {file}"


def quality_lines(found: Sequence[Quality]) -> Iterator[str]:
    """Yield how well labelled recordings of each machine are separated."""
    for each in found:
        yield (
            f"machine {each.machine}: AUC {each.auc}, F1 {each.f1}, {each.false_alarms} of {each.normals} normal "
            f"recordings raise an alarm, {each.missed} of {each.anomalies} anomalies are missed"
        )
