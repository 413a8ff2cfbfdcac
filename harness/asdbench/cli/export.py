"""``asdbench export``: a detector as one ONNX file, for machines without Python."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from asdbench.cli.output import print_json
from asdbench.cli.settings import WholeNumber, json_option
from asdbench.plugin.registry import load_registry

if TYPE_CHECKING:  # they import torch
    from asdbench.machine.export import Exported


@click.command(epilog="Example: asdbench export --detector press.safetensors --onnx press.onnx")
@click.option(
    "--detector", "file", required=True, type=click.Path(dir_okay=False, path_type=Path),
    help="A file that `asdbench fit` wrote.",
)  # fmt: skip
@click.option(
    "--onnx",
    "to",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The ONNX file to write.",
)
@click.option(
    "--machine", default=None, help="Machine whose threshold is inside, if the detector knows several."
)
@click.option(
    "--data", type=click.Path(exists=True, path_type=Path), default=None,
    help="Recordings to compare both on [default: generated tones in noise].",
)  # fmt: skip
@click.option("--threads", type=WholeNumber(1), default=1, show_default=True, help="CPU threads.")
@json_option
def export(
    *, file: Path, to: Path, machine: str | None, data: Path | None, threads: int, as_json: bool
) -> None:
    """Export a detector as one ONNX file: a wave in, its score and verdict out, with the threshold inside.

    The file takes one segment of the length and at the rate that the detector was fitted to. It is compared with the
    detector by onnxruntime, and written only if scores and verdicts are alike. Needs the extra `onnx`.
    """
    from asdbench.machine.export import export as export_detector
    from asdbench.machine.export import waves_of
    from asdbench.machine.file import load

    registry = load_registry()
    with contextlib.redirect_stdout(sys.stderr):
        own = load(file, registry, device="cpu")
        waves = [] if data is None else waves_of(own, data, registry=registry)
        found = export_detector(own, to, machine=machine, waves=waves, threads=threads)
    if as_json:
        print_json(found)
    else:
        click.echo("\n".join(_lines(found)))


def _lines(found: Exported) -> Iterator[str]:
    seconds = found.length / found.sample_rate
    yield (
        f"{found.method} for machine {found.machine}: a wave of {found.length} samples ({seconds:g} s at "
        f"{found.sample_rate} Hz) -> score, anomaly if above {found.threshold:.6g}"
    )
    yield found.promise
    yield (
        f"equal scores and verdicts on {found.compared_on} waves (largest difference {found.difference:.1e} of the score "
        "or of the deviation of held-out scores)"
    )
    yield f"{found.megabytes:.2f} MB; {found.torch_ms:.2f} ms per wave with torch, {found.onnx_ms:.2f} ms with onnxruntime"
    yield f"wrote {found.file}"
