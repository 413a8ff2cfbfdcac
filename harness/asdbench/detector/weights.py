"""Tensors on disk: safetensors files, written atomically. No pickle is ever written or loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file as write
from torch import Tensor

from asdbench.core.files import writing
from asdbench.errors import RunError


def save_file(tensors: Mapping[str, Tensor], path: Path, *, note: str = "") -> None:
    """Write named tensors, with ``note`` in the file's header.

    Raises:
        RunError: The disk is full or not writable.
    """
    # The format has no memory layouts and no shared storage, so each tensor is stored separately, in row order.
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with writing(path) as temporary:
        try:
            write(plain, temporary, metadata={"note": note})
        except SafetensorError as error:
            # As an OSError, ``writing`` reports it like any other failed write, with the free space if the disk is full.
            raise OSError(_errno_of(error), str(error)) from error


def load_file(path: Path) -> tuple[dict[str, Tensor], str]:
    """Return the named tensors, on the CPU, and the note.

    Raises:
        RunError: The file is damaged.
    """
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            return tensors, (file.metadata() or {}).get("note", "")
    except (SafetensorError, OSError) as error:
        raise RunError(f"{path} is damaged or not a weight file: {error}; delete it to start over") from error


def _errno_of(error: SafetensorError) -> int:
    # safetensors is written in Rust and gives the number only in its text: "No space left on device (os error 28)".
    _, _, rest = str(error).partition("os error ")
    digits = rest.split(")")[0]
    return int(digits) if digits.isdigit() else 5
