"""Tiny runs for tests: made sounds of two machines, the toy method, seconds on one core."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import toy_plugin

from asdbench.registry import Plugin, Registry, load_registry
from asdbench.runner import Request
from asdbench.training import Progress

DATASET = (
    "synthetic",
    {"machines": "fan+valve", "ids": "2", "train_clips": "6", "test_clips": "4", "length_s": "1"},
)
WORDS = "synthetic[machines=fan+valve,ids=2,train_clips=6,test_clips=4,length_s=1]"
ROOT = Path(__file__).parents[2]


class Silent:
    """An observer that remembers what it was told."""

    def __init__(self) -> None:
        self.ended: list[tuple[int, int]] = []
        self.seen: list[str] = []

    def preparing(self, what: str, done: int, total: int) -> None:
        """Data are being prepared."""
        self.seen.append(what)

    def jobs(self, done: int, total: int) -> None:
        """Jobs have ended."""
        self.ended.append((done, total))

    def job(self, title: str, progress: Progress | None) -> None:
        """A job got further."""
        if progress is not None:
            self.seen.append(title)


def registry() -> Registry:
    """Return the installed plugins and the toy."""
    loaded = load_registry()
    loaded.add(Plugin(name="toy"), toy_plugin)
    return loaded


def request(folder: Path, *methods: tuple[str, dict[str, str]], cache: Path, **options: Any) -> Request:
    """Return a request that keeps its results in ``folder``."""
    defaults: dict[str, Any] = {"threads": 1, "device": "cpu", "dataset": DATASET, "resume_every_s": 0.0}
    return Request(
        methods=methods or [("toy", {})],
        data_root=folder / "data",
        cache=cache,
        out=folder,
        **(defaults | options),
    )


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


def run_json(*words: str, cache: Path) -> tuple[int, dict[str, Any], str]:
    """Run ``asdbench run ... --json`` in a process of its own; return status, document and standard error."""
    done = subprocess.run(
        command("run", *words, "--json", cache=cache),
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr


def replaced(request: Request, **options: Any) -> Request:
    """Return a request with other options."""
    return dataclasses.replace(request, **options)
