"""Fit and score jobs: what a worker process does for the message that describes one."""

from __future__ import annotations

import resource
import shutil
import statistics
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from asdbench.core.environment import environment
from asdbench.core.files import link_or_copy, locked, sizes_of, write_json
from asdbench.detector.assembly import arithmetic, detector_of, items_of
from asdbench.detector.detector import Detector
from asdbench.detector.items import Items
from asdbench.detector.size import rehearse, size_of
from asdbench.detector.trainer import Trainer, TrainerSettings
from asdbench.errors import RunError
from asdbench.jobs.probe import RULE, depends_on_batch
from asdbench.jobs.pseudo import imitated
from asdbench.jobs.reference import reference_ms
from asdbench.messages.jobs import JobSpec
from asdbench.messages.progress import OnProgress, Progress
from asdbench.messages.results import FitRecord, ScoreRecord, Usage
from asdbench.messages.rows import RowSet
from asdbench.results.store import Store

TIMED_ITEMS = 64
"""Test items used to time scoring in batches."""
TIMED_ALONE = 8
"""Test items that are timed one by one."""


def run_job(spec: JobSpec, on_progress: OnProgress) -> None:
    """Run one job unless its result is in the store, where it is when this returns."""
    store = Store(Path(spec.store))
    # The worker of a killed run or of another shard may be at the same job; the kernel frees its lock when it dies.
    with locked(store.lock_file(spec.job_id)), arithmetic(threads=spec.threads):
        if store.has_result(spec):  # that worker may have finished while this one waited
            return
        if spec.kind == "fit":
            _fit(spec, store, on_progress=on_progress)
        else:
            _score(spec, store, on_progress=on_progress)


def _fit(spec: JobSpec, store: Store, *, on_progress: OnProgress) -> None:
    try:
        _fit_alone(spec, store, work=store.work_folder(spec.model_id), on_progress=on_progress)
    except FileNotFoundError:
        # Some network file systems lose locks. Another worker then trained the same model in the same folder, stored it,
        # and removed the checkpoints of both.
        if not store.has_result(spec):
            raise


def _fit_alone(spec: JobSpec, store: Store, *, work: Path, on_progress: OnProgress) -> None:
    detector = detector_of(spec)
    started = time.monotonic()  # building it imports its modules, which is not the method's cost
    settings = TrainerSettings(
        seed=spec.seed,
        folder=work,
        device=spec.device,
        precision=spec.recipe.common.precision,
        compile=spec.recipe.common.compile,
        resume_every_s=spec.resume_every_s,
        on_progress=on_progress,
    )
    trainer = Trainer(detector.root, settings)
    resumed = trainer.resumed  # read before the fit, which adds finished stages of its own
    train, held = items_of(spec, detector, sets=(spec.train, spec.held), on_progress=on_progress)
    rehearse(detector)
    detector.fit(train, held, trainer)
    log = trainer.log
    stage = log[-1].stage if log else ""
    # Only the last stage's checkpoints are complete models that a selection rule may choose between.
    kept = [entry.epoch for entry in log if entry.checkpoint and entry.stage == stage] or [0]
    spent = time.monotonic() - started
    size = size_of(detector)
    with store.new_model(spec.model_id) as folder:
        detector.save(folder / "model.safetensors")  # the last checkpoint
        for epoch in kept[:-1]:
            link_or_copy(
                trainer.checkpoint_file(stage, epoch), folder / "checkpoints" / f"{epoch:05d}.safetensors"
            )
        record = FitRecord(
            model_id=spec.model_id,
            log=log,
            checkpoints=kept,
            stage=stage,
            parameters=size.parameters,
            stored=size.stored,
            flops=size.flops,
            feature_shape=list(size.feature_shape),
            # The log holds the epochs of all processes that a resumed fit ran in, ``spent`` only this one's.
            usage=_usage(spec, max(spent, sum(entry.seconds for entry in log))),
            resumed=resumed,
            device=spec.device,
            threads=spec.threads,
            environment=environment(),
            rules=[*spec.rules, *trainer.rules],
            sizes=sizes_of(folder),
        )
        write_json(folder / "fit.json", record)
    shutil.rmtree(work, ignore_errors=True)  # last, so that a kill before the model is stored loses nothing


def _score(spec: JobSpec, store: Store, *, on_progress: OnProgress) -> None:
    fitted = store.fit_record(spec.model_id)
    if fitted is None:
        raise RunError(
            f"model {spec.model_id} is not in {spec.store}; run the same command again to train it"
        )
    detector = detector_of(spec)
    started = time.monotonic()
    names = ("held", "validation", "test")
    learnt = spec.train if detector.scorer.learns else RowSet()
    foreign = spec.imitation.others if spec.imitation else RowSet()
    sets = (learnt, spec.held, spec.validation, spec.test, foreign)
    train, *parts, others = items_of(spec, detector, sets=sets, on_progress=on_progress)
    roles = dict(zip(names, parts, strict=True))
    pieces, pseudo = [], []
    # Every checkpoint is scored, so that the evaluator can apply any selection rule later without running jobs. They
    # come in order: afterwards the detector holds the last one, which is what is saved.
    for number, epoch in enumerate(fitted.checkpoints):
        _load_checkpoint(detector, store, fitted=fitted, epoch=epoch)
        detector.fit_scorer(train)
        scores = {role: _scores(detector, items) for role, items in roles.items()}
        pieces += [_table(spec, values, role=role, epoch=epoch) for role, values in scores.items()]
        if spec.imitation is not None:
            kinds = spec.imitation.kinds
            made = imitated(detector, roles["held"], learnt=train, others=others, kinds=kinds, seed=spec.seed)
            pseudo.append(made.assign(checkpoint=epoch))
        epochs = len(fitted.checkpoints)
        on_progress(Progress(stage="score", epoch=number + 1, epochs=epochs, step=0, steps=0))
    dependent = depends_on_batch(detector, roles["test"], scores=scores["test"])
    batched, alone = _ms_per_item(spec, detector, on_progress=on_progress)
    with store.new_scores(spec.job_id) as folder:
        detector.save(folder / "detector.safetensors")
        pd.concat(pieces, ignore_index=True).to_parquet(folder / "scores.parquet", index=False)
        if pseudo:
            pd.concat(pseudo, ignore_index=True).to_parquet(folder / "pseudo.parquet", index=False)
        record = ScoreRecord(
            score_id=spec.job_id,
            model_id=spec.model_id,
            ms_per_item=batched,
            ms_alone=alone,
            usage=_usage(spec, time.monotonic() - started),
            device=spec.device,
            threads=spec.threads,
            environment=environment(),
            rules=[
                *spec.rules,
                *detector.rules,
                *detector.scorer.rules(detector.state),
                *([_probed(fitted)] if dependent else []),
            ],
            batch_dependent=dependent,
            sizes=sizes_of(folder),
        )
        write_json(folder / "score.json", record)


def _probed(fitted: FitRecord) -> str:
    # The detector holds the last checkpoint when it is probed.
    return (
        f"{RULE} (last checkpoint, epoch {fitted.checkpoints[-1]})" if len(fitted.checkpoints) > 1 else RULE
    )


def _ms_per_item(spec: JobSpec, detector: Detector, *, on_progress: OnProgress) -> tuple[float, float | None]:
    """Return the time per test item for reading, features, outputs and scores, in batches and one item at a time.

    No features are cached. A first pass that does not count loads what is loaded on first use.
    """
    if not spec.test.count:
        return 0.0, None
    [items] = items_of(spec, detector, sets=(spec.test,), on_progress=on_progress, keep_features=False)
    some = items[:TIMED_ITEMS]
    _score_ms(detector, some[:TIMED_ALONE])
    batched = _score_ms(detector, some) / len(some)
    # The first is slower, because an item by itself is a new shape.
    _, *alone = [_score_ms(detector, some[k : k + 1]) for k in (0, *range(min(TIMED_ALONE, len(some))))]
    return batched, statistics.median(alone)


def _score_ms(detector: Detector, items: Items) -> float:
    started = time.monotonic()
    _scores(detector, items)
    return 1000 * (time.monotonic() - started)


def _load_checkpoint(detector: Detector, store: Store, *, fitted: FitRecord, epoch: int) -> None:
    folder = store.model_folder(fitted.model_id)
    last = epoch == fitted.checkpoints[-1]
    detector.load(
        folder / "model.safetensors" if last else folder / "checkpoints" / f"{epoch:05d}.safetensors"
    )


def _scores(detector: Detector, items: Items) -> NDArray[np.float64]:
    # A unit may have no held-out, validation or test items.
    return detector.score(items) if len(items) else np.zeros(0)


def _table(spec: JobSpec, scores: NDArray[np.float64], *, role: str, epoch: int) -> pd.DataFrame:
    items = getattr(spec, role).count
    # A classifier has a column for each class; the evaluator renames all of them by seed and class.
    names = [f"score_{k}" for k in range(len(spec.targets))] or ["score"]
    table = pd.DataFrame(scores.reshape(items, len(names)), columns=names)
    # Not the item ids: another pack of the same data has others, and the scores are as good there.
    table.insert(0, "place", np.arange(items))
    table.insert(1, "role", role)
    table.insert(2, "checkpoint", epoch)
    return table


def _usage(spec: JobSpec, seconds: float) -> Usage:
    on_device = torch.cuda.max_memory_allocated() if spec.device.startswith("cuda") else 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB
    # Work on the CPU says nothing about times on a GPU.
    reference = reference_ms() if spec.device == "cpu" else None
    return Usage(seconds=seconds, peak_memory_bytes=peak, peak_device_bytes=on_device, reference_ms=reference)
