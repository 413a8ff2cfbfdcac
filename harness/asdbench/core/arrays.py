"""Arrays in ``.npy`` files that anything may have happened to."""

from __future__ import annotations

import tokenize
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DAMAGE = (
    OSError, TypeError, EOFError, OverflowError, SyntaxError, RecursionError, MemoryError, tokenize.TokenError,
)  # fmt: skip
"""What ``numpy.load`` raises beside a ``ValueError``: the header is a line of Python, whose errors pass through."""


def array_in(file: Path) -> NDArray[Any]:
    """Return the array in a ``.npy`` file, read without pickle.

    Raises:
        ValueError: The file is missing, damaged or shorter than its header says, or holds objects or several arrays.
    """
    try:
        # Mapped first: a header may claim any size, and memory for it would be taken before the bytes are missed.
        loaded = np.load(file, mmap_mode="r", allow_pickle=False)
    except DAMAGE as error:
        raise ValueError(str(error)) from error
    if not isinstance(loaded, np.ndarray):
        loaded.close()
        raise ValueError("it holds several arrays, as an npz file does; save one array")
    return np.array(loaded)
