"""The figures of a run as images that a page holds in itself."""

from __future__ import annotations

import base64
import struct
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from asdbench import NothingToDraw, PluginError, RecordedRun, Registry, draw_one

DOTS_PER_INCH = 150
"""Of the image files."""
CSS_DOTS_PER_INCH = 96
"""Of lengths on a page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A figure of a run."""

    name: str
    summary: str
    data: str
    """The image as a ``data:`` address."""
    width: int
    """On the page, in its pixels."""
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """The figures of a run, the names of those that it has no data for, and why others could not be drawn."""

    drawn: Sequence[Picture]
    left_out: Sequence[str]
    broken: Mapping[str, str]


def pictures_of(registry: Registry, run: RecordedRun) -> Pictures:
    """Draw every figure that the plugins offer."""
    drawn: list[Picture] = []
    left_out: list[str] = []
    broken: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in registry.names("figure"):
            file = Path(folder, f"{name}.png")
            try:
                has_data = draw_one(registry, run, name=name, path=file)
            except NothingToDraw:
                has_data = False
            except PluginError as error:
                # One broken figure must not take the report from its reader, who sees the cause instead.
                broken[name] = str(error)
                continue
            if has_data:
                drawn.append(_picture(name, registry.summary("figure", name), content=file.read_bytes()))
            else:
                left_out.append(name)
    return Pictures(drawn=drawn, left_out=left_out, broken=broken)


def _picture(name: str, summary: str, *, content: bytes) -> Picture:
    # The header of a PNG has its width and height, which keep the page from jumping while it is shown.
    width, height = struct.unpack(">II", content[16:24])
    return Picture(
        name=name,
        summary=summary,
        data=f"data:image/png;base64,{base64.b64encode(content).decode()}",
        width=round(width * CSS_DOTS_PER_INCH / DOTS_PER_INCH),
        height=round(height * CSS_DOTS_PER_INCH / DOTS_PER_INCH),
    )
