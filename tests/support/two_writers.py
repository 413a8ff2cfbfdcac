"""Two processes that do the same at the same moment: ``python -m two_writers TASK FOLDER NAME``.

They wait for each other before every round, in files, so that they really race.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from asdbench.core.environment import environment
from asdbench.core.files import sizes_of, temporary_name, write_json
from asdbench.errors import RunError
from asdbench.messages.jobs import JobSpec
from asdbench.messages.results import ScoreRecord, Usage
from asdbench.results.once import keep_once
from asdbench.results.store import Store

NAMES = ("first", "second")
ROUNDS = 40


def race(task: str, folder: Path) -> list[list[str]]:
    """Run a task in two processes at once and return the lines that each has printed."""
    import tiny  # with torch, which writers of scores do without

    started = [
        subprocess.Popen(
            [sys.executable, "-m", "two_writers", task, str(folder), name],
            env=tiny.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for name in NAMES
    ]  # fmt: skip
    lines = []
    for process in started:
        output, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        lines.append(output.splitlines())
    return lines


def store_scores(store: Store, score_id: str, content: bytes) -> None:
    """Store made-up scores, with a time in their record that no other process has."""
    final = store.score_folder(score_id)
    folder = temporary_name(final)
    (folder / "deep").mkdir(parents=True)
    (folder / "detector.safetensors").write_bytes(content)
    (folder / "deep" / "other").write_bytes(b"equal")
    record = ScoreRecord(
        score_id=score_id,
        model_id="m",
        usage=Usage(seconds=time.monotonic(), peak_memory_bytes=1),
        ms_per_item=1.0,
        device="cpu",
        threads=1,
        environment=environment(),
        sizes=sizes_of(folder),
    )
    write_json(folder / "score.json", record)
    try:
        keep_once(
            folder, final, record="score.json", whole=lambda place: store.score_record(place.name) is not None,
            conflicts=store.root / "conflicts",
        )  # fmt: skip
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def meet(folder: Path, name: str) -> None:
    """Wait until the other process has come here too."""
    (folder / "meeting").mkdir(exist_ok=True)
    (folder / "meeting" / name).touch()
    deadline = time.monotonic() + 60
    while len(list((folder / "meeting").glob(f"{name.rpartition('.')[0]}.*"))) < len(NAMES):
        assert time.monotonic() < deadline, "the other process did not come"


def scores(folder: Path, name: str, *, equal: bool) -> None:
    """Store scores round by round and print ``round: the error``."""
    for number in range(ROUNDS):
        meet(folder, f"{number}.{name}")
        try:
            store_scores(Store(folder), f"s{number}", b"the same" if equal else name.encode())
        except RunError as error:
            sys.stdout.write(f"{number}: {error}\n")


def fit(folder: Path, name: str) -> None:
    """Run the fit job in ``job`` on a file system whose locks do not hold."""
    import asdbench.jobs.worker as worker

    worker.locked = contextlib.nullcontext  # type: ignore[attr-defined]
    spec = msgspec.msgpack.decode((folder / "job").read_bytes(), type=JobSpec)
    meet(folder, f"fit.{name}")
    event = worker.run_to_end(spec)
    assert event.status == "ok", event


def main(task: str, folder: str, name: str) -> None:
    place = Path(folder)
    if task == "fit":
        fit(place, name)
    else:
        scores(place, name, equal=task == "equal")


if __name__ == "__main__":
    main(*sys.argv[1:])
