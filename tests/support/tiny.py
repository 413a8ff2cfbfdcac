"""Tiny runs for tests: generated sounds of two machines, the toy method, seconds on one core."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toy_plugin import registry

from asdbench import RunDocument, Selector
from asdbench.jobs.job import compute
from asdbench.jobs.keeping import known_outputs
from asdbench.jobs.storing import stored
from asdbench.messages.jobs import JobSpec
from asdbench.messages.progress import Event, OnProgress, Progress, ignore_progress
from asdbench.results.record import decode
from asdbench.results.store import Store
from asdbench.runs.request import Request
from asdbench.runs.run import run

DATASET = Selector(
    "synthetic",
    {"machines": "fan+valve", "ids": "2", "train_clips": "6", "test_clips": "4", "length_s": "1"},
)
LOSO = Selector("synthetic", {**DATASET.options, "protocol": "loso", "by": "section"})
ROOT = Path(__file__).parents[2]


class Silent:
    """An observer that remembers what was reported to it."""

    def __init__(self) -> None:
        self.ended: list[tuple[int, int]] = []
        self.seen: list[str] = []

    def preparing(self, progress: Progress) -> None:
        """Data are being prepared."""
        self.seen.append(progress.stage)

    def jobs(self, done: int, total: int, *, left: Mapping[str, int]) -> None:
        """Jobs have ended."""
        self.ended.append((done, total))

    def job(self, title: str, progress: Progress | None) -> None:
        """A job has made progress."""
        if progress is not None:
            self.seen.append(title)


def run_job_here(job: JobSpec, on_progress: OnProgress = ignore_progress) -> None:
    """Run a job in this process, where a test may have replaced parts, and put its result into the store."""
    store = Store(Path(job.store))
    folder = store.place_for(job)
    for each in (folder, store.work_folder(job.model_id)):
        each.mkdir(parents=True, exist_ok=True)
    known = known_outputs(job, on_progress=on_progress)
    compute(job, folder, on_progress=on_progress, known=known)
    assert stored(job, folder, ended=Event(job_id=job.job_id, status="ok")).status == "ok"


def request(folder: Path, *methods: Selector, cache: Path, **options: Any) -> Request:
    """Return a request that keeps its results in ``folder``."""
    writes = any("file" in method.options for method in methods)  # outside of the folder of its job
    defaults: dict[str, Any] = {
        "isolation": "none" if writes else "auto",
        "threads": 1,
        "device": "cpu",
        "dataset": DATASET,
        "resume_every_s": 0.0,
    }
    return Request(
        methods=methods or [Selector("toy")],
        data_root=folder / "data",
        cache=cache,
        out=folder,
        **(defaults | options),
    )


def go(folder: Path, *methods: Selector, cache: Path, **options: Any) -> RunDocument:
    """Run a small request in a folder, and return its document."""
    return run(request(folder, *methods, cache=cache, **options), registry(), observer=Silent())


def table_of(document: RunDocument) -> str:
    """Return the table that ``asdbench run`` prints for a document."""
    text: str = registry().build("table", "results")(document)
    return text


def command(*words: str, cache: Path) -> list[str]:
    """Return a command line of asdbench that knows the toy."""
    return [
        sys.executable,
        "-m",
        "toy_command",
        *words,
        "--cache",
        str(cache),
        "--threads",
        "1",
        "--device",
        "cpu",
    ]


def environment() -> dict[str, str]:
    """Return the environment for ``command``."""
    roots = [ROOT / part for part in ("harness", "plugins", "datasets", "leaderboards", "tests/support")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(map(str, roots)), "PYTHONWARNINGS": "default"}


def run_json(*words: str, cache: Path) -> RunDocument:
    """Run ``asdbench run ... --json``, which must succeed, in a process of its own; return its document."""
    done = subprocess.run(
        command("run", *words, "--json", cache=cache),
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return decode(done.stdout.encode(), RunDocument)


def replaced(request: Request, **options: Any) -> Request:
    """Return a request with other options."""
    return dataclasses.replace(request, **options)
