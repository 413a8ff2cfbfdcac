"""The store: models, scores, failures, records and run documents as plain files.

<root>/models/<model_id>/       a finished fit
    fit.json                    ``FitRecord``: log, size, time, environment, and the sizes of the other files
    model.safetensors           featurizer and model after the last epoch
    checkpoints/<epoch>.safetensors     the same after earlier epochs of the last stage, if it has several checkpoints
<root>/scores/<score_id>/       finished scores
    score.json                  ``ScoreRecord``
    scores.parquet              ``place`` (of the item in its role's list of the job), ``role`` (held, validation, test),
                                ``checkpoint`` (epoch) and ``score``; a classifier has ``score_<k>`` for each target k
    pseudo.parquet              scores of pseudo-anomalies, of a trial of ``asdbench tune`` only: ``place`` (of the held
                                item it stands beside), ``kind``, ``checkpoint`` and ``score``
    detector.safetensors        featurizer, model and fitted scorer of the last checkpoint, whichever one counts
<root>/work/<model_id>/         an unfinished fit; removed when it is finished
    resume.safetensors
    checkpoints/<stage>-<epoch>.safetensors
<root>/work/<job_id>.lock       held while the job runs
<root>/failures/<job_id>.json   ``Failure``: why the job had no result when it last ran; removed when it succeeds
<root>/records/<record_id>/     the results of one method in one run
    record.json                 ``MethodRecord``
    items.parquet               test items with columns, labels and a score per seed
    validation.parquet          the same for validation items, if the protocol has any
    held.parquet                the same for held-out items, if there are any
<root>/runs/<run_id>.json       ``RunDocument``: the request, the outcomes of its jobs and the results
<root>/status/<run_id>.json     ``RunStatus``, rewritten while the run or a shard goes on; with a lock that it holds
<root>/figures/<run_id>/        default folder of ``asdbench figures``; never read here
<root>/conflicts/<id>.<writer>/ a model or scores that differ from those stored before under the same id; never read here
<root>/.lock                    held while a run uses the store; shards of a run share it

Only these files say what is finished: a job whose result is here and whole is not run again. Files and folders are
written under a temporary name, which ends in ``.part``, and then renamed, so that a kill leaves nothing half-written.
Models and scores are written once; see ``results.once``.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from asdbench.core.config import Config
from asdbench.core.documents import from_json
from asdbench.core.files import new_folder, temporary_name, write_bytes, write_error
from asdbench.core.tables import reading_parquet
from asdbench.errors import RunError
from asdbench.messages.jobs import JobSpec
from asdbench.messages.results import Failure, FitRecord, ScoreRecord
from asdbench.results.occupied import OLD, check_lock, locked_folder, sweep
from asdbench.results.once import keep_once

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T", bound=Config)
_log = logging.getLogger(__name__)


class _Threads(msgspec.Struct):
    """What is read of ``fit.json`` to know how a model was trained."""

    threads: int


class Store:
    """Reads and writes one folder of results. Opening one is cheap; it keeps nothing in memory."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def model_folder(self, model_id: str) -> Path:
        """Return the folder of a finished model."""
        return self.root / "models" / model_id

    def score_folder(self, score_id: str) -> Path:
        """Return the folder of finished scores."""
        return self.root / "scores" / score_id

    def work_folder(self, model_id: str) -> Path:
        """Return the folder where an unfinished fit keeps what it resumes from."""
        return self.root / "work" / model_id

    def lock_file(self, job_id: str) -> Path:
        """Return the file that is locked while a job runs."""
        return self.root / "work" / f"{job_id}.lock"

    def has_result(self, job: JobSpec) -> bool:
        """Return whether the result of a job is here and whole."""
        if job.kind == "fit":
            return self.fit_record(job.model_id) is not None
        return self.score_record(job.job_id) is not None

    def fit_record(self, model_id: str) -> FitRecord | None:
        """Return the record of a finished model; None if there is none, or a file of it is missing or damaged."""
        return _read(self.model_folder(model_id), "fit.json", kind=FitRecord)

    def score_record(self, score_id: str) -> ScoreRecord | None:
        """Return the record of finished scores; None if there is none, or a file of it is missing or damaged."""
        return _read(self.score_folder(score_id), "score.json", kind=ScoreRecord)

    def models(self) -> set[str]:
        """Return the ids of all models, in one listing; ``fit_record`` says whether one is whole."""
        return _names(self.root / "models")

    def scored(self) -> set[str]:
        """Return the ids of all scores, in one listing; ``score_record`` says whether they are whole."""
        return _names(self.root / "scores")

    def failed(self) -> set[str]:
        """Return the ids of all jobs with a ``failure``, in one listing."""
        return {name.removesuffix(".json") for name in _names(self.root / "failures")}

    def scores(self, score_id: str) -> pd.DataFrame:
        """Return scores: ``place``, ``role``, ``checkpoint``, and ``score`` or a classifier's ``score_<k>``."""
        return _table(self.score_folder(score_id) / "scores.parquet")

    def pseudo_scores(self, score_id: str) -> pd.DataFrame:
        """Return scores of pseudo-anomalies: ``place``, ``kind``, ``checkpoint`` and ``score``; empty: there are none."""
        import pandas as pd  # a dry run asks only what is there

        file = self.score_folder(score_id) / "pseudo.parquet"
        return _table(file) if file.exists() else pd.DataFrame()

    def place_for(self, job: JobSpec) -> Path:
        """Return a temporary place for the result of a job, for ``keep``; what a killed run leaves there is swept."""
        return temporary_name(self._result_folder(job))

    def keep(self, job: JobSpec, temporary: Path) -> None:
        """Make a finished temporary folder the result of a job; see ``keep_once``.

        Raises:
            RunError: Another process has stored another result under this id, or the disk is full or not writable.
        """
        folder = self._result_folder(job)
        record = "fit.json" if job.kind == "fit" else "score.json"
        kind: type[FitRecord | ScoreRecord] = FitRecord if job.kind == "fit" else ScoreRecord
        try:
            keep_once(
                temporary, folder, record=record, whole=lambda place: _read(place, record, kind=kind) is not None,
                conflicts=self.root / "conflicts",
            )  # fmt: skip
        except OSError as error:
            raise write_error(folder, error) from error

    @contextlib.contextmanager
    def filling(self, folder: Path) -> Iterator[Path]:
        """Yield a temporary folder that replaces ``folder`` when the block succeeds."""
        fresh = folder.with_name(f".{folder.name}.new.part")
        shutil.rmtree(fresh, ignore_errors=True)
        with new_folder(fresh) as temporary:
            yield temporary
        # A folder cannot be replaced in one step unless it is empty. The old one is moved aside, not deleted, so that
        # after a kill between the two renames ``_sweep`` can put it back.
        old = folder.with_name(f".{folder.name}{OLD}")
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            folder.rename(old)
        fresh.rename(folder)
        shutil.rmtree(old, ignore_errors=True)

    def fail(self, failure: Failure) -> None:
        """Store why a job has no result."""
        write_bytes(self._failure_file(failure.job_id), msgspec.json.encode(failure))

    def failure(self, job_id: str) -> Failure | None:
        """Return why a job had no result when it last ran; None if it never failed or has succeeded since."""
        return _failure(self._failure_file(job_id))

    def forget_failure(self, job_id: str) -> None:
        """Delete the stored failure of a job that has succeeded."""
        self._failure_file(job_id).unlink(missing_ok=True)

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Lock the folder against other runs while the block runs, and clean up after killed runs.

        Raises:
            RunError: Another run or a shard is using the folder, or it cannot be written to.
        """
        with locked_folder(self.root, shared=False):
            sweep(self.root)  # under the lock, or it would delete what another run is writing
            yield

    def shared(self) -> AbstractContextManager[None]:
        """Lock the folder against runs while the block runs, but not against other shards.

        Raises:
            RunError: A run is using the folder, or it cannot be written to.
        """
        return locked_folder(self.root, shared=True)

    def check_free(self, *, shared: bool = False) -> None:
        """Check that nobody excludes a run, or a shard, from the folder now, without changing anything in it.

        For the beginning of a run: data may take long to prepare, and only then does ``exclusive`` lock the folder.

        Args:
            shared: Other shards may use the folder.

        Raises:
            RunError: Another run is using the folder, or a shard if it is not to be shared.
        """
        check_lock(self.root, shared=shared)

    def _result_folder(self, job: JobSpec) -> Path:
        return self.model_folder(job.model_id) if job.kind == "fit" else self.score_folder(job.job_id)

    def _failure_file(self, job_id: str) -> Path:
        return self.root / "failures" / f"{job_id}.json"


def weights_file(store: Store, fitted: FitRecord, *, epoch: int) -> Path:
    """Return the file of a finished model after an epoch that has a checkpoint."""
    folder = store.model_folder(fitted.model_id)
    last = epoch == fitted.checkpoints[-1]
    return folder / "model.safetensors" if last else folder / "checkpoints" / f"{epoch:05d}.safetensors"


def threads_of_models(store: Store) -> dict[str, int]:
    """Return the number of threads that each finished model was trained with, by model id."""
    found = {}
    for file in (store.root / "models").glob("*/fit.json"):
        with contextlib.suppress(
            OSError, msgspec.DecodeError
        ):  # removed meanwhile, or damaged: counts as absent
            found[file.parent.name] = from_json(file.read_bytes(), _Threads).threads
    return found


def _failure(file: Path) -> Failure | None:
    try:
        return from_json(file.read_bytes(), Failure)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        # The job runs again in any case; only what its last failure was is lost.
        _log.warning("%s is damaged (%s); why the job failed is unknown", file, error)
        return None


def _table(file: Path) -> pd.DataFrame:
    """Return a table; raises ``RunError`` if it is missing or damaged."""
    import pandas as pd

    remedy = f"delete {file.parent} and repeat the command of the run"
    with reading_parquet(file, raising=RunError, remedy=remedy):
        return pd.read_parquet(file)


def _names(folder: Path) -> set[str]:
    try:
        return {each.name for each in folder.iterdir()}
    except FileNotFoundError:
        return set()


def _read(folder: Path, name: str, *, kind: type[T]) -> T | None:
    try:
        record = from_json((folder / name).read_bytes(), kind)
        # Sizes catch files that were cut short or deleted by hand; checking hashes would mean reading every model.
        sizes: dict[str, int] = getattr(record, "sizes", {})
        whole = all((folder / part).stat().st_size == size for part, size in sizes.items())
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        # Damaged, or moved aside by another process: it counts as absent, and the job is run again.
        return None
    return record if whole else None
