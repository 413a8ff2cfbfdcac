"""Generated files that appear complete: a run that is killed leaves no half-written file under a final name."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from numpy.typing import NDArray

T = TypeVar("T")


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


def each_written(
    things: Sequence[T], write: Callable[[T], None], *, progress: Callable[[int, int], None]
) -> None:
    """Write a file for each thing, as many at a time as there are cores, and report how many are written of how many.

    An error, or Ctrl-C, ends it when the files that are just being written are whole.
    """
    # Generating and writing leave Python's lock for most of the time; more threads than cores would only fight for it.
    pool = ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0)))
    try:
        for done, _ in enumerate(pool.map(write, things), start=1):
            progress(done, len(things))
    finally:
        pool.shutdown(cancel_futures=True)
