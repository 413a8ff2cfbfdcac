"""The store: models, scores, failures and records of runs as plain files. Truth is what lies here and is whole.

<root>/models/<model_id>/   fit.json, model.safetensors, checkpoints/
<root>/scores/<score_id>/   score.json, scores.parquet, detector.safetensors: featurizer, model and scorer as fitted, of the
                            last checkpoint whichever counts, so that what scored can be loaded from one file
<root>/work/<model_id>/     resume file and checkpoints of a fit that has not ended
<root>/failures/<job_id>.json
<root>/records/<record_id>/ record.json, items.parquet, validation.parquet (where the protocol has validation items),
                            held.parquet (where normal items were held out)
<root>/runs/<run_id>.json   what was asked for, and what came out
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
import pandas as pd

from asdbench.atomic import new_folder, write_bytes
from asdbench.errors import RunError
from asdbench.resume import EpochLog
from asdbench.values import Config

Status = Literal["ok", "error", "timeout", "oom", "crashed", "inapplicable", "blocked", "planned"]
T = TypeVar("T", bound=Config)
OLD = ".old.part"
"""How the name of a folder ends that makes room for another."""


class Cost(Config, frozen=True, kw_only=True):
    """What a job took."""

    seconds: float
    peak_memory_bytes: int
    peak_device_bytes: int = 0


class FitRecord(Config, frozen=True, kw_only=True):
    """What a fit job leaves beside its weights."""

    model_id: str
    log: list[EpochLog]
    checkpoints: list[int]
    """Epochs of the last stage whose states are kept, the final one last."""
    stage: str
    parameters: int
    stored: int
    flops: int
    feature_shape: list[int]
    cost: Cost
    resumed: bool
    device: str
    threads: int
    environment: dict[str, Any]
    """Versions and hardware that it was trained with."""
    rules: list[str] = []
    sizes: dict[str, int]

    @property
    def validated(self) -> bool:
        """True when a held-out loss was measured at some checkpoint."""
        return any(entry.validation is not None for entry in self.log if entry.stage == self.stage)


class ScoreRecord(Config, frozen=True, kw_only=True):
    """What a score job leaves beside its scores."""

    score_id: str
    model_id: str
    cost: Cost
    ms_per_item: float
    device: str
    threads: int
    environment: dict[str, Any]
    """Versions and hardware that it was computed with."""
    rules: list[str] = []
    sizes: dict[str, int]


class Failure(Config, frozen=True, kw_only=True):
    """Why a job has no result."""

    job_id: str
    status: Status
    message: str
    detail: str = ""


class Store:
    """Reads and writes one folder of results; cheap to open."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def model_folder(self, model_id: str) -> Path:
        """Folder of a finished model."""
        return self.root / "models" / model_id

    def score_folder(self, score_id: str) -> Path:
        """Folder of finished scores."""
        return self.root / "scores" / score_id

    def work_folder(self, model_id: str) -> Path:
        """Folder where an unfinished fit keeps what it resumes from."""
        return self.root / "work" / model_id

    def fit_record(self, model_id: str) -> FitRecord | None:
        """Return the record of a finished, whole model, or None."""
        return _read(self.model_folder(model_id), "fit.json", FitRecord)

    def score_record(self, score_id: str) -> ScoreRecord | None:
        """Return the record of finished, whole scores, or None."""
        return _read(self.score_folder(score_id), "score.json", ScoreRecord)

    def scores(self, score_id: str) -> pd.DataFrame:
        """Return scores by item: columns ``item_id``, ``role``, ``checkpoint``, ``score``."""
        return pd.read_parquet(self.score_folder(score_id) / "scores.parquet")

    @contextlib.contextmanager
    def filling(self, folder: Path) -> Iterator[Path]:
        """Give a temporary folder that becomes ``folder``; what stands there makes room when the new one is whole."""
        fresh = folder.with_name(f".{folder.name}.new.part")
        shutil.rmtree(fresh, ignore_errors=True)
        with new_folder(fresh) as temporary:
            yield temporary
        old = folder.with_name(f".{folder.name}{OLD}")
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            folder.rename(old)
        fresh.rename(folder)
        shutil.rmtree(old, ignore_errors=True)

    def fail(self, failure: Failure) -> None:
        """Remember why a job has no result."""
        write_bytes(self._failure_file(failure.job_id), msgspec.json.encode(failure))

    def failure(self, job_id: str) -> Failure | None:
        """Return why a job had no result when it was last tried."""
        file = self._failure_file(job_id)
        return msgspec.json.decode(file.read_bytes(), type=Failure) if file.exists() else None

    def forget_failure(self, job_id: str) -> None:
        """A job that ended well has not failed."""
        self._failure_file(job_id).unlink(missing_ok=True)

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep other runs out of this folder while the block runs, and sweep what killed runs left half-written.

        Raises:
            RunError: Another run is using the folder, or it cannot be written.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            lock = (self.root / ".lock").open("a+")
        except OSError as error:
            raise RunError(
                f"cannot write to {self.root}: {error.strerror}; choose another folder with --out"
            ) from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise RunError(
                    f"another run is using {self.root}; wait for it, or choose another folder with --out"
                ) from error
            self._sweep()
            yield

    def _sweep(self) -> None:
        for place in ("models", "scores", "records", "work", "runs", "failures"):
            for old in list((self.root / place).glob(f"**/.*{OLD}")):
                folder = old.with_name(old.name.removeprefix(".").removesuffix(OLD))
                if not folder.exists():  # killed after it had made room, before what replaces it stood there
                    old.rename(folder)
            for rest in list((self.root / place).glob("**/.*.part")):
                shutil.rmtree(rest) if rest.is_dir() else rest.unlink(missing_ok=True)

    def _failure_file(self, job_id: str) -> Path:
        return self.root / "failures" / f"{job_id}.json"


def sizes_of(folder: Path) -> dict[str, int]:
    """Return the size of every file under ``folder``, by relative path."""
    return {
        str(file.relative_to(folder)): file.stat().st_size
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def link_or_copy(source: Path, target: Path) -> None:
    """Give ``target`` the content of ``source`` without a second copy where the disk allows it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without links
        shutil.copy2(source, target)


def _read(folder: Path, name: str, kind: type[T]) -> T | None:
    file = folder / name
    if not file.exists():
        return None
    try:
        record = msgspec.json.decode(file.read_bytes(), type=kind)
    except msgspec.DecodeError:
        return None  # damaged: as good as absent, the job is run again
    sizes: dict[str, int] = getattr(record, "sizes", {})
    whole = all(
        (folder / part).exists() and (folder / part).stat().st_size == size for part, size in sizes.items()
    )
    return record if whole else None
