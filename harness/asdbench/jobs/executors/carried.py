"""Jobs on machines without a shared folder: what a job reads is sent with it, and its result comes back as bytes."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from asdbench.messages.jobs import JobSpec
from asdbench.messages.rows import RowSet
from asdbench.results.store import Store

SETS = ("train", "held", "validation", "test")
Files = Mapping[str, bytes]
"""Content by path: on the machine that sends them absolute, in a result relative to its folder."""


class Carrier:
    """Sends what jobs read: a pack and a table of rows once, a model to the job that scores with it.

    Args:
        put: Keeps files where all workers reach them, and returns a reference.
    """

    def __init__(self, put: Callable[[Files], Any]) -> None:
        self._put = put
        self._known: dict[str, Any] = {}

    def sent(self, job: JobSpec) -> list[Any]:
        """Return references to all files that a job reads."""
        places = [job.pack, *dict.fromkeys(filter(None, (getattr(job, name).table for name in SETS)))]
        for place in places:
            if place not in self._known:
                self._known[place] = self._put(_files(Path(place)))
        model = [self._put(_files(_result(job, kind="fit")))] if job.kind == "score" else []
        return [*(self._known[place] for place in places), *model]


@contextlib.contextmanager
def unpacked(job: JobSpec, inputs: tuple[Files, ...]) -> Iterator[JobSpec]:
    """Write what was sent into a temporary folder, and yield the job that reads and writes there."""
    with tempfile.TemporaryDirectory(prefix="asdbench-sent-") as folder:
        for files in inputs:
            _write(Path(folder), {name.lstrip("/"): content for name, content in files.items()})

        def moved(place: str) -> str:
            return f"{folder}{place}" if place else ""

        sets: dict[str, RowSet] = {name: getattr(job, name) for name in SETS}
        yield msgspec.structs.replace(
            job,
            pack=moved(job.pack),
            store=moved(job.store),
            keep="",  # that folder is on the machine which sent the job
            **{name: msgspec.structs.replace(rows, table=moved(rows.table)) for name, rows in sets.items()},
        )


def result_of(job: JobSpec) -> Files:
    """Return the files of a job's result, relative to its folder; empty if there is none."""
    folder = _result(job, kind=job.kind)
    return {str(Path(name).relative_to(folder)): content for name, content in _files(folder).items()}


def keep(job: JobSpec, files: Files) -> None:
    """Put a result that came back into the store."""
    with Store(Path(job.store)).filling(_result(job, kind=job.kind)) as folder:
        _write(folder, files)


def _result(job: JobSpec, *, kind: str) -> Path:
    store = Store(Path(job.store))
    return store.model_folder(job.model_id) if kind == "fit" else store.score_folder(job.job_id)


def _files(place: Path) -> Files:
    files = [place] if place.is_file() else sorted(file for file in place.rglob("*") if file.is_file())
    return {str(file): file.read_bytes() for file in files}


def _write(folder: Path, files: Files) -> None:
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
