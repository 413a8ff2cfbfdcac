"""Jobs on machines without a shared folder: what a job reads is sent with it, and its result comes back as bytes."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from asdbench.core.files import write_error
from asdbench.jobs.storing import stored
from asdbench.messages.jobs import JobSpec
from asdbench.messages.progress import Event
from asdbench.messages.rows import RowSet
from asdbench.recipes.recipe import PARTS, Part, Recipe
from asdbench.results.store import Store

SETS = ("train", "held", "validation", "test")
Files = Mapping[str, bytes]
"""Content by path: on the machine that sends them absolute, in a result relative to its folder."""


class Carrier:
    """Sends what jobs read: a pack, a table of rows and a pinned file once, a model to the job that scores with it.

    Args:
        put: Keeps files where all workers reach them, and returns a reference.
    """

    def __init__(self, put: Callable[[Files], Any]) -> None:
        self._put = put
        self._known: dict[str, Any] = {}

    def sent(self, job: JobSpec) -> list[Any]:
        """Return references to all files that a job reads."""
        tables = [rows.table for rows in job.row_sets]
        pinned = [file for name in PARTS for file in _pinned(getattr(job.recipe, name)).values()]
        places = list(dict.fromkeys(filter(None, [job.pack, *tables, *pinned])))
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

        def moved_rows(rows: RowSet) -> RowSet:
            return msgspec.structs.replace(rows, table=moved(rows.table))

        imitation = job.imitation
        if imitation is not None:
            imitation = msgspec.structs.replace(imitation, others=moved_rows(imitation.others))
        yield msgspec.structs.replace(
            job,
            recipe=_moved_recipe(job.recipe, moved),
            pack=moved(job.pack),
            store=moved(job.store),
            keep="",  # that folder is on the machine which sent the job
            imitation=imitation,
            **{name: moved_rows(getattr(job, name)) for name in SETS},
        )


def result_of(job: JobSpec) -> Files:
    """Return the files of a job's result, relative to its folder; empty if there is none."""
    folder = _result(job, kind=job.kind)
    return {str(Path(name).relative_to(folder)): content for name, content in _files(folder).items()}


def keep(job: JobSpec, files: Files, *, ended: Event) -> Event:
    """Put a result that came back into the store.

    Returns:
        How the job ended, or why its result could not be stored.
    """
    folder = Store(Path(job.store)).place_for(job)
    try:
        _write(folder, files)
    except OSError as error:
        ended = msgspec.structs.replace(ended, status="error", message=str(write_error(folder, error)))
    return stored(job, folder, ended=ended)


def _pinned(part: Part) -> dict[str, str]:
    """Return the options of a part that pin files, with the places of these files."""
    places = {name: part.options[name] for name in part.pinned()}
    return {
        name: place for name, place in places.items() if isinstance(place, str) and Path(place).is_absolute()
    }


def _moved_recipe(recipe: Recipe, moved: Callable[[str], str]) -> Recipe:
    """Return a recipe whose pinned files are elsewhere."""
    parts: dict[str, Part] = {name: getattr(recipe, name) for name in PARTS}
    places = {
        name: {option: moved(file) for option, file in _pinned(part).items()} for name, part in parts.items()
    }
    # Of all files a job may read those alone that options of the user's name.
    named = {f"{name}.{option}": file for name, files in places.items() for option, file in files.items()}
    return msgspec.structs.replace(
        recipe,
        changed=recipe.changed | named,
        **{
            name: msgspec.structs.replace(part, options=part.options | places[name])
            for name, part in parts.items()
        },
    )


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
