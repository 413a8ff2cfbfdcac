"""The storage of a study: a folder with its identity, Optuna's database of told trials, and a copy for dashboards.

Only the process that tunes opens it, and it holds a lock meanwhile. Trials are written once they are told; whatever was
running when a study was killed is proposed again, alike, and finds its results in the store.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import optuna
import sqlalchemy
from optuna.storages import RDBStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from asdbench.core.documents import from_json
from asdbench.core.files import write_error, write_json, writing
from asdbench.errors import ConfigError, RunError
from asdbench.tuning.request import Identity

DATABASE, COPY, IDENTITY = "study.db", "dashboard.db", "study.json"
LOST = "lost"
"""Says of a trial that failed that a job of it was killed."""


class StudyStorage:
    """The told trials of a study; one Optuna study for each unit, or a single one."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / DATABASE
        with contextlib.closing(sqlite3.connect(self._file)) as database:
            # Readers then never block the writer, and a kill leaves whole transactions.
            database.execute("PRAGMA journal_mode=WAL")
        url = sqlalchemy.URL.create("sqlite", database=str(self._file))
        self._storage = RDBStorage(url.render_as_string(hide_password=False))

    def study(self, name: str) -> Study:
        """Return the stored study of a name, made if there is none.

        Trials from the first one on that was lost are forgotten: it runs again, and what was proposed after it depends on
        its value. Their results are in the store, so that of the others nothing runs again.
        """
        stored = self._opened(name)
        trials = stored.get_trials()
        known = list(itertools.takewhile(lambda trial: not trial.user_attrs.get(LOST), trials))
        if len(known) < len(trials):
            optuna.delete_study(study_name=name, storage=self._storage)
            stored = self._opened(name)
            stored.add_trials(known)
        return stored

    def _opened(self, name: str) -> Study:
        direction = StudyDirection.MAXIMIZE
        return optuna.create_study(
            storage=self._storage, study_name=name, direction=direction, load_if_exists=True
        )

    def close(self) -> None:
        """Write a copy for dashboards, which must not open the original, and close the database."""
        self.copy()
        self._storage.remove_session()
        self._storage.engine.dispose()

    def copy(self) -> None:
        """Write a copy of the database as it is now."""
        with (
            writing(self._file.with_name(COPY)) as temporary,
            contextlib.closing(sqlite3.connect(self._file)) as source,
            contextlib.closing(sqlite3.connect(temporary)) as target,
        ):
            source.backup(target)


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold the folder of a study, against a second process that would tune it.

    Raises:
        RunError: Another process holds it, or it cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("a")
    except OSError as error:
        raise write_error(folder, error) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunError(
                f"another process is tuning {folder}; wait for it, or choose another name with --study"
            ) from error
        yield


def keep_identity(folder: Path, identity: Identity) -> None:
    """Write down which study a folder holds, unless it is known.

    Raises:
        ConfigError: It holds another study.
    """
    check_identity(folder, identity)
    if not (folder / IDENTITY).exists():
        write_json(folder / IDENTITY, identity)


def check_identity(folder: Path, identity: Identity) -> None:
    """Check that a folder holds this study or none; nothing is changed.

    Raises:
        ConfigError: It holds another study; the message names the differences.
    """
    file = folder / IDENTITY
    if not file.exists():
        return
    try:
        known = from_json(file.read_bytes(), Identity)
    except msgspec.DecodeError as error:
        raise ConfigError(f"{file} is damaged ({error}); choose another name with --study") from error
    ours, theirs = (json.loads(msgspec.json.encode(each)) for each in (identity, known))
    different = [f"{key} {theirs[key]} instead of {ours[key]}" for key in ours if ours[key] != theirs[key]]
    if different:
        raise ConfigError(
            f"{folder} holds another study, with {'; '.join(different)}; repeat its options to continue it, or choose "
            "another name with --study"
        )


def check_same(stored: Sequence[FrozenTrial], proposed: FrozenTrial, *, folder: Path) -> None:
    """Check that a proposed trial is the stored one of its number, if there is one.

    Raises:
        RunError: It has other values.
    """
    if proposed.number < len(stored) and stored[proposed.number].params != proposed.params:
        raise RunError(
            f"trial {proposed.number} of {folder} has {stored[proposed.number].params}, but the same study would propose "
            f"{proposed.params}; a library of another version may be the cause: choose another name with --study"
        )
