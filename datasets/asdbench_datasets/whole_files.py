"""Generated files that appear complete: a run that is killed leaves no half-written file under a final name."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to; when the block ends well, the file is renamed to ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, where a rename is atomic; the process id separates runs that generate the same file.
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    yield partial
    partial.replace(path)


def save_array(path: Path, array: NDArray[Any]) -> None:
    """Write an array as ``.npy``."""
    import numpy as np

    # Through a handle: given a path, np.save would append .npy to the temporary name.
    with written_whole(path) as partial, partial.open("wb") as handle:
        np.save(handle, array, allow_pickle=False)
