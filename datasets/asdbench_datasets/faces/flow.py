"""Optical flow between two frames, and the small picture of u, v and strain that datasets of faces use.

A flow is float32 ``[height, width, 2]``: how far each point of the first frame moves to the right (u) and down (v), in
pixels. OpenCV and scikit-image are imported only when a flow is computed (``pip install 'asdbench[faces]'``).
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from asdbench import DataError, read_array

Algorithm = Literal["tvl1", "farneback"]
Picture = NDArray[np.float32]
REMEDY = "pip install 'asdbench[faces]'"
LEAST_SIDE = 2
"""Pixels; a side of one pixel has no slope."""
LARGEST = 1e15
"""Largest accepted value of a flow, so that its squares and sums are finite in single precision."""


def optical_flow(onset: Picture, apex: Picture, *, algorithm: Algorithm) -> Picture:
    """Return the flow ``[height, width, 2]`` from one grey frame ``[height, width]`` to another.

    Both are divided by the largest value of the two, since a 12-bit camera uses only a sixteenth of 16 bits.
    ``tvl1`` comes from scikit-image, or from OpenCV's contributed modules if these are installed instead;
    ``farneback`` comes from OpenCV.

    Raises:
        DataError: The frames differ in size, or no library for the flow is installed.
    """
    if onset.shape != apex.shape:
        raise DataError(f"onset and apex differ in size: {list(onset.shape)} and {list(apex.shape)}")
    peak = max(float(onset.max()), float(apex.max())) or 1.0
    first, second = ((frame / np.float32(peak)).astype(np.float32) for frame in (onset, apex))
    return _farneback(first, second) if algorithm == "farneback" else _tvl1(first, second)


def read_frames(paths: Sequence[Path]) -> list[Picture]:
    """Return images with 8 or 16 bits as grey values ``[height, width]`` in 0..1.

    Raises:
        DataError: A file is not such an image or has a side of one pixel, has other bits than the first, or OpenCV is
            not installed.
    """
    images = [_grey(path) for path in paths]
    for path, image in zip(paths, images, strict=True):
        if image.dtype != images[0].dtype:
            raise DataError(f"{path} has {image.dtype} pixels, but {paths[0]} has {images[0].dtype}")
    return [(image / np.float32(np.iinfo(image.dtype).max)).astype(np.float32) for image in images]


def read_flow(path: Path) -> Picture:
    """Return a flow that was computed elsewhere, ``[height, width, 2 or 3]``: u, v and perhaps optical strain.

    A ``.npy`` holds the array (also ``[2 or 3, height, width]``). An image holds u in red, v in green and strain in blue,
    with any zero and any scale.

    Raises:
        DataError: The file is damaged, or is not a flow.
    """
    flow = read_array(path) if path.suffix.lower() == ".npy" else _flow_image(path)
    # If both ends could be channels, the last axis counts, as documented.
    if flow.ndim == 3 and flow.shape[0] in (2, 3) and flow.shape[2] not in (2, 3):
        flow = np.moveaxis(flow, 0, -1)
    if flow.ndim != 3 or flow.shape[2] not in (2, 3) or flow.dtype.kind not in "fiu" or 0 in flow.shape:
        raise DataError(
            f"{path} should hold a flow, numbers [height, width, 2 or 3]; found {flow.dtype} {list(flow.shape)}"
        )
    _check_sides(path, flow)
    # Not `> LARGEST).any()`, which NaN would pass.
    if not (np.abs(flow.astype(np.float64)) <= LARGEST).all():
        raise DataError(f"{path} has values that are not finite or beyond {LARGEST:g}")
    return flow.astype(np.float32)


def largest_motion(frames: Sequence[Picture], *, algorithm: Algorithm = "farneback") -> int:
    """Return the number of the frame whose flow from the first one has the largest mean length.

    Raises:
        DataError: There is only one frame, or the flow cannot be computed.
    """
    if len(frames) < 2:
        raise DataError(f"finding an apex needs at least two frames, found {len(frames)}")
    lengths = [
        float(np.hypot(*np.moveaxis(optical_flow(frames[0], frame, algorithm=algorithm), -1, 0)).mean())
        for frame in frames[1:]
    ]
    return 1 + int(np.argmax(lengths))


def flow_picture(flow: Picture, *, size: int, channels: int, normalise: bool = True) -> Picture:
    """Return ``[size, size, channels]``: u, v and, as third channel, optical strain.

    If the flow comes with strain, that is used; else strain is computed from the flow at its full size. Sides shrink by
    averaging areas. Each channel is then scaled to mean 0 and, unless it is constant, largest absolute value 1.
    """
    maps = flow[..., :channels]
    if channels == 3 and flow.shape[2] == 2:
        maps = np.concatenate([flow, optical_strain(flow)[..., None]], axis=2)
    small = resized(maps, size)
    return normalised(small) if normalise else small


def optical_strain(flow: Picture) -> Picture:
    """Return ``sqrt(e_xx^2 + e_yy^2 + 2 e_xy^2)`` of a flow, ``[height, width]``, with ``e_xy = (du/dy + dv/dx) / 2``."""
    # np.gradient gives the axes in order: rows (down) first.
    u_down, u_right = np.gradient(flow[..., 0])
    v_down, v_right = np.gradient(flow[..., 1])
    shear = (u_down + v_right) / 2
    return np.asarray(np.sqrt(u_right**2 + v_down**2 + 2 * shear**2), dtype=np.float32)


def resized(maps: Picture, size: int) -> Picture:
    """Return maps ``[height, width, channels]`` as ``[size, size, channels]``; each value is the mean of its area."""
    height, width = maps.shape[:2]
    if (height, width) == (size, size):
        return maps
    rows, columns = _areas(height, size), _areas(width, size)
    small = np.einsum("ih,hwc,jw->ijc", rows, maps, columns, optimize=True)
    return np.asarray(small, dtype=np.float32)


def normalised(maps: Picture) -> Picture:
    """Return each channel with mean 0 and, unless it is constant, largest absolute value 1."""
    centred = maps - maps.mean(axis=(0, 1), keepdims=True)
    peak = np.abs(centred).max(axis=(0, 1), keepdims=True)
    # Only rounding errors remain of a constant channel.
    even = peak <= 1e-6 * np.abs(maps).max(axis=(0, 1), keepdims=True)
    return np.where(even, 0, centred / np.where(even, 1, peak)).astype(np.float32)


def _areas(before: int, after: int) -> NDArray[np.float64]:
    """Return weights ``[after, before]``: the share of each new cell that each old one covers."""
    # Each row of the weights sums to 1, whether the side shrinks or grows.
    edges = np.arange(after + 1) * (before / after)
    cells = np.arange(before)
    covered = np.minimum(edges[1:, None], cells + 1) - np.maximum(edges[:-1, None], cells)
    return np.asarray(covered.clip(min=0) * (after / before))


def _farneback(onset: Picture, apex: Picture) -> Picture:
    opencv = _opencv("flow=farneback")
    first, second = ((frame * 255).round().astype(np.uint8) for frame in (onset, apex))
    # Pyramid scale 0.5, 3 levels, window 15, 3 iterations, neighbourhood 5 with sigma 1.2: the values of
    # OpenCV's tutorial, as the paper gives none.
    flow = opencv.calcOpticalFlowFarneback(first, second, None, 0.5, 3, 15, 3, 5, 1.2, 0)
    return np.asarray(flow, dtype=np.float32)


def _tvl1(onset: Picture, apex: Picture) -> Picture:
    registration = _found("skimage.registration")
    if registration is not None:
        # scikit-image gives rows before columns, OpenCV the reverse.
        down, right = registration.optical_flow_tvl1(onset, apex)
        return np.stack([right, down], axis=2).astype(np.float32)
    opencv = _found("cv2")
    if hasattr(opencv, "optflow"):
        first, second = ((frame * 255).round().astype(np.uint8) for frame in (onset, apex))
        flow = opencv.optflow.DualTVL1OpticalFlow_create().calc(first, second, None)
        return np.asarray(flow, dtype=np.float32)
    raise DataError(
        f"flow=tvl1 needs scikit-image ({REMEDY}) or OpenCV with its contributed modules; "
        "flow=farneback needs only OpenCV"
    )


def _grey(path: Path) -> NDArray[Any]:
    opencv = _opencv(f"{path} is an image")
    # Without ANYDEPTH, OpenCV would silently reduce 16 bits to 8.
    image = _decoded(opencv, path, flags=opencv.IMREAD_GRAYSCALE | opencv.IMREAD_ANYDEPTH)
    if image.dtype.kind != "u":
        raise DataError(f"{path} has {image.dtype} pixels; a frame should have 8 or 16 bits per pixel")
    _check_sides(path, image)
    return image


def _flow_image(path: Path) -> NDArray[Any]:
    opencv = _opencv(f"{path} is an image")
    # OpenCV gives blue first; u is in red.
    flow = _decoded(opencv, path, flags=opencv.IMREAD_COLOR | opencv.IMREAD_ANYDEPTH)[..., ::-1]
    if (flow == flow[..., :1]).all():
        raise DataError(f"{path} is a grey image; a flow image has u in red, v in green and strain in blue")
    return flow


def _check_sides(path: Path, picture: NDArray[Any]) -> None:
    height, width = picture.shape[:2]
    if min(height, width) < LEAST_SIDE:
        raise DataError(f"{path} has {height} x {width} pixels; each side needs at least {LEAST_SIDE}")


def _decoded(opencv: Any, path: Path, *, flags: int) -> NDArray[Any]:
    try:
        content = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    image = opencv.imdecode(content, flags) if content.size else None
    if image is None:
        raise DataError(f"{path} is not an image that OpenCV can decode")
    return np.asarray(image)


def _opencv(purpose: str) -> Any:
    opencv = _found("cv2")
    if opencv is None:
        raise DataError(f"{purpose}, which needs OpenCV: {REMEDY}")
    return opencv


def _found(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        return None
