"""The model of fault drills: the toy, with trouble that is not part of its recipe and comes only once.

A file in the drill's folder, named after a trouble, makes the first fit that finds it go wrong. The same command
afterwards runs the same jobs undisturbed, so their results must equal those of a run without any trouble.
"""

from __future__ import annotations

import os
import resource
import signal
import tempfile
import time
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Annotated

from drill_plugin import AT
from msgspec import Meta
from toy_model import Toy, ToyConfig

from asdbench import Items, Trainer
from asdbench.conformance.jobs import TroubleConfig, Troubled, write_ids

SMALL = 4096
"""Bytes, less than a model has."""


class DrilledConfig(ToyConfig, frozen=True, kw_only=True):
    """Options of the drilled toy."""

    folder: Annotated[str, Meta(description="folder of the troubles to come, after AT")] = ""


class Drilled(Toy):
    """The toy, which first goes wrong as a file in its folder says."""

    Config = DrilledConfig

    def fit(self, train: Items, held: Items, trainer: Trainer) -> None:
        """Train, after the trouble."""
        folder = Path(self.config.folder.removeprefix(AT))
        (folder / f"{os.getpgrp()}.group").touch()  # all that belongs to this job
        if (trouble := _taken(folder)) is not None:
            _suffer(trouble, folder, (train, held, trainer))
        super().fit(train, held, trainer)


def _taken(folder: Path) -> str | None:
    """Take one trouble, which no other job then finds; None: there is none."""
    for file in sorted(folder.glob("*.trouble")):
        try:
            file.rename(file.with_suffix(".taken"))
        except FileNotFoundError:  # another job was faster
            continue
        return file.stem
    return None


def _suffer(trouble: str, folder: Path, args: tuple[Items, Items, Trainer]) -> None:
    tempfile.mkdtemp()  # nobody removes it
    if trouble == "killed":
        (folder / "killed.shm").write_text(SharedMemory(create=True, size=1).name)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        write_ids(folder / "killed.ids", os.getpid())
        time.sleep(600)
    elif trouble == "disk":
        fill(folder.parent / "disk" / "filler")
    elif trouble == "small files":  # stands for a full disk: this process can write no larger ones
        resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL, SMALL))
    else:
        config = TroubleConfig(trouble=trouble, file=str(folder / f"{trouble}.ids"))  # type: ignore[arg-type]
        Troubled.fit(_Stub(config), *args)  # type: ignore[arg-type]


class _Stub:
    """What ``Troubled.fit`` reads of a model."""

    def __init__(self, config: TroubleConfig) -> None:
        self.config = config


def fill(file: Path) -> None:
    """Write to a file until its disk is full."""
    with file.open("wb", buffering=0) as filler:
        try:
            while True:
                filler.write(bytes(1024))
        except OSError:
            return
