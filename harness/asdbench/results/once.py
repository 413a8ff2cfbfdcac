"""Results that are written once: of two writers of one result the first counts, and the second must agree with it.

Jobs are deterministic, so a node that was given up and its replacement write the same. Where they do not, something that
nobody thought of changes the results, and neither of the two may disappear.
"""

from __future__ import annotations

import contextlib
import filecmp
import shutil
from collections.abc import Callable
from pathlib import Path

from asdbench.core.files import PART, settle, sizes_of, writer_id
from asdbench.errors import RunError


def keep_once(
    temporary: Path, folder: Path, *, record: str, whole: Callable[[Path], bool], conflicts: Path
) -> None:
    """Give a finished temporary folder its final name, unless a whole result is there by then.

    Equal results differ at most in their record, which has times and the machine; the temporary folder then stays.

    Args:
        temporary: The finished folder, beside the final place.
        folder: The final place.
        record: Name of the file that describes the result.
        whole: Says whether a folder has all that belongs to a result; one that has not is replaced.
        conflicts: Where ours is kept if another process has stored something else.

    Raises:
        RunError: Another process has stored something else.
        OSError: The disk is full or not writable.
    """
    while True:
        with contextlib.suppress(FileExistsError):
            settle(temporary, folder)
            return
        if whole(folder):
            break
        _move_aside(folder, whole=whole)
    if different := _differences(temporary, folder, record=record):
        kept = conflicts / f"{folder.name}.{writer_id()}"
        kept.parent.mkdir(parents=True, exist_ok=True)
        temporary.rename(kept)
        raise RunError(
            f"{folder} was stored by another process meanwhile, with other content ({', '.join(different)}); this "
            f"result is kept in {kept}. Compare the environments in both {record}, then delete the one that is wrong"
        )


def _move_aside(folder: Path, *, whole: Callable[[Path], bool]) -> None:
    """Move a damaged result out of the way and delete it."""
    aside = folder.with_name(f".{folder.name}.{writer_id()}{PART}")
    with contextlib.suppress(FileNotFoundError):  # another writer was faster
        folder.rename(aside)
        # Between the look and the rename another writer may have replaced it by a whole one, which goes back.
        if whole(aside):
            with contextlib.suppress(FileExistsError):
                settle(aside, folder)
    shutil.rmtree(aside, ignore_errors=True)


def _differences(ours: Path, theirs: Path, *, record: str) -> list[str]:
    """Return the files that differ between two results, their records aside."""
    names = (sizes_of(ours).keys() | sizes_of(theirs).keys()) - {record}
    return sorted(name for name in names if not _equal(ours / name, theirs / name))


def _equal(ours: Path, theirs: Path) -> bool:
    if not (ours.exists() and theirs.exists()):
        return False
    if filecmp.cmp(ours, theirs, shallow=False):
        return True
    if ours.suffix != ".parquet":
        return False
    import pyarrow.parquet as pq  # a plan only asks what is there

    # Other versions of the writers may lay out equal values in other bytes.
    return bool(pq.read_table(ours).equals(pq.read_table(theirs)))
