"""Checkpoint files of encoders: pickles of tensors, read without executing anything and compared with the network."""

from __future__ import annotations

import pickle
import re
import struct
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asdbench import ConfigError
from asdbench.blocks import is_torchscript

ZIP, PICKLE = b"PK\x03\x04", b"\x80\x02"
DAMAGE = (
    pickle.UnpicklingError, OSError, EOFError, RuntimeError, ValueError, KeyError, IndexError, TypeError, AttributeError,
    AssertionError, OverflowError, MemoryError, struct.error,
)  # fmt: skip
"""What reading a damaged file may raise: the unpickler follows whatever instructions the bytes happen to be."""
CODE = re.compile(r"unsupported (global|class)|unrecognized function|can only build", re.IGNORECASE)
"""What torch says of a pickle that names a function or a class, other than those of tensors."""


def read_checkpoint(path: Path, *, hint: str) -> Mapping[str, Any]:
    """Return the dict of a file that ``torch.save`` wrote.

    Args:
        path: The file.
        hint: What to give instead, for messages.

    Raises:
        ConfigError: The file is truncated or no checkpoint, or needs code to be read.
    """
    _check_kind(path, hint=hint)
    try:
        with warnings.catch_warnings():
            # Of a pickle in another protocol, which is read where it can be; the warning asks to file an issue with torch.
            warnings.simplefilter("ignore", UserWarning)
            content = torch.load(path, map_location="cpu", weights_only=True)
    except DAMAGE as error:
        if isinstance(error, pickle.UnpicklingError) and CODE.search(str(error)):
            raise ConfigError(
                f"weights={path} needs code to be read, and none of it was executed: a checkpoint holds tensors, numbers "
                f"and text; {hint}"
            ) from error
        raise ConfigError(
            f"weights={path} ({path.stat().st_size} bytes) is damaged, for example truncated: download it again, or {hint}"
        ) from error
    if not isinstance(content, dict):
        raise ConfigError(f"weights={path} holds a {type(content).__name__}, not a dict; {hint}")
    return content


def _check_kind(path: Path, *, hint: str) -> None:
    """Check that a file starts like one of ``torch.save``, because the unpickler takes any bytes for instructions."""
    with path.open("rb") as file:
        start = file.read(len(ZIP))
    # Before 2020, torch.save wrote pickles one after another and no zip archive.
    if not start.startswith((ZIP, PICKLE)):
        found = f"starts with {start!r}" if start else "is empty"
        raise ConfigError(f"weights={path} {found}, so it is not a file of torch.save; {hint}")
    if is_torchscript(path):
        raise ConfigError(
            f"weights={path} is a TorchScript archive, which encoder_knn[encoder=...] reads; for this method, {hint}"
        )


def check_tensors(
    tensors: Mapping[str, Any], ours: Mapping[str, Tensor], *, path: Path, of: str, says: str, hint: str
) -> None:
    """Check that a file has the tensors of a network, in their shapes.

    Args:
        tensors: Those of the file.
        ours: Those of the network.
        path: The file, for messages.
        of: Which network it is, for messages: ``the BEATs that its cfg describes``.
        says: What gives its sizes, for messages: ``its cfg describes``.
        hint: What to give instead, for messages.

    Raises:
        ConfigError: One is missing, is not of this network, has another shape, or is not finite.
    """
    missing, extra = sorted(ours.keys() - tensors.keys()), sorted(tensors.keys() - ours.keys())
    if missing or extra:
        raise ConfigError(
            f"weights={path} are not those of {of}: {_first('lacks', missing)}"
            f"{'; ' if missing and extra else ''}{_first('has unknown', extra)}; {hint}"
        )
    for name, tensor in tensors.items():
        found = list(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
        if found != list(ours[name].shape):
            raise ConfigError(
                f"weights={path}: {name} is {found}, {says} {list(ours[name].shape)}: the file is of another "
                f"size than it says; {hint}"
            )
        if not bool(torch.isfinite(tensor).all()):
            raise ConfigError(
                f"weights={path}: {name} has values that are not finite (NaN or infinite); {hint}"
            )


def _first(what: str, names: list[str]) -> str:
    if not names:
        return ""
    return f"{what} {len(names)} tensor{'s' if len(names) > 1 else ''} (first: {names[0]})"
