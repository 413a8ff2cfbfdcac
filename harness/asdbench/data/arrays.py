"""Arrays in files of users."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from asdbench.core.arrays import array_in
from asdbench.errors import DataError


def read_array(file: Path) -> NDArray[Any]:
    """Return the array in a ``.npy`` file, read without pickle.

    Raises:
        DataError: The file is missing, damaged or shorter than its header says, or holds objects or several arrays.
    """
    try:
        return array_in(file)
    except ValueError as error:
        raise DataError(f"{file} cannot be read as an array: {error}") from error
