"""The process that checks a plugin: it gives up its rights like a job before it imports the plugin."""

from __future__ import annotations

import logging
import os
import resource
import sys
import tempfile
from pathlib import Path

import msgspec

from asdbench.conformance.datasets import check_dataset
from asdbench.conformance.featurizers import check_featurizer
from asdbench.conformance.findings import Checklist
from asdbench.conformance.methods import check_method
from asdbench.conformance.scorers import check_scorer
from asdbench.conformance.tasks import (
    Answer,
    DatasetTask,
    FeaturizerTask,
    Message,
    MethodTask,
    ScorerTask,
    Task,
)
from asdbench.conformance.watching import Globals, Watch
from asdbench.core.environment import environment
from asdbench.detector.assembly import arithmetic
from asdbench.jobs.isolation import isolate


def check(message: bytes) -> bytes:
    """Check the plugin of a ``Message`` and return an ``Answer``."""
    given = msgspec.msgpack.decode(message, type=Message)
    folder = Path(given.folder)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s")
    logging.getLogger("asdbench.conformance").setLevel(logging.INFO)
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    sys.dont_write_bytecode = True  # would be a refused access with each module
    environment()  # asks other programs, and keeps the answer
    watch = Watch(folder=folder)
    watch.start()
    isolated = isolate(given.isolation, readable=[folder, *map(Path, given.readable)], writable=[folder])
    checks = Checklist(watch.refused)
    with arithmetic(threads=1):
        seconds, ms_per_item = _checked(given.task, checks, folder=folder)
    checks.run("files", watch.kept_to_its_folder)
    checks.run("network", watch.kept_off_the_network)
    return msgspec.msgpack.encode(
        Answer(
            findings=checks.findings,
            isolated=isolated,
            fit_seconds=seconds,
            ms_per_item=ms_per_item,
            peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            * 1024,  # Linux counts in KiB
        )
    )


def _checked(task: Task, checks: Checklist, *, folder: Path) -> tuple[float | None, float | None]:
    before = Globals()
    match task:
        case MethodTask():
            return check_method(task, checks, folder=folder)
        case ScorerTask():
            check_scorer(task, checks)
        case FeaturizerTask():
            check_featurizer(task, checks, folder=folder)
        case DatasetTask():
            check_dataset(task, checks)
    checks.run("globals", before.unchanged)
    return None, None
