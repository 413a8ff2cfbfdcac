"""Fit and score jobs: what a worker process does for the message that describes one."""

from __future__ import annotations

import contextlib
import resource
import statistics
import time
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from asdbench.core.environment import environment
from asdbench.core.files import link_or_copy, sizes_of, write_json
from asdbench.data.kept import Known, Rows, outputs_of
from asdbench.detector.assembly import arithmetic, detector_of, has_16_bits, items_of
from asdbench.detector.detector import Detector
from asdbench.detector.items import Items
from asdbench.detector.size import rehearse, size_of
from asdbench.detector.trainer import Trainer, TrainerSettings
from asdbench.errors import RunError
from asdbench.jobs.probe import RECOGNISES, depends_on_batch, moves_unheard
from asdbench.jobs.pseudo import imitated
from asdbench.jobs.reference import reference_ms
from asdbench.messages.isolation import Isolated
from asdbench.messages.jobs import JobSpec
from asdbench.messages.progress import OnProgress, Progress, ignore_progress
from asdbench.messages.results import FitRecord, ScoreRecord, Usage
from asdbench.messages.rows import RowSet
from asdbench.results.store import Store, weights_file

TIMED_ITEMS = 64
"""Test items used to time scoring in batches."""
TIMED_ALONE = 8
"""Test items that are timed one by one."""


def compute(
    spec: JobSpec,
    folder: Path,
    *,
    isolated: Isolated = "none",
    on_progress: OnProgress = ignore_progress,
    known: Known | None = None,
) -> None:
    """Run one job and write its result into a folder.

    It reads what ``inputs`` lists, and writes besides only to the folder of an unfinished fit, which it resumes.

    Args:
        spec: The job.
        folder: Empty; the store takes it over.
        isolated: How this process is kept from everything else, for the record.
        on_progress: Receives the progress.
        known: Outputs of its items that were kept; None: they are computed.
    """
    with arithmetic(threads=spec.threads):
        if spec.kind == "fit":
            record: FitRecord | ScoreRecord = _fit(spec, folder, on_progress=on_progress)
        else:
            record = _score(spec, folder, on_progress=on_progress, known=known)
    complete = msgspec.structs.replace(record, isolated=isolated, sizes=sizes_of(folder))
    write_json(folder / ("fit.json" if spec.kind == "fit" else "score.json"), complete)


def inputs(spec: JobSpec) -> list[Path]:
    """Return the files and folders that a job reads: the pack, the tables of its rows, the model that it scores with, and
    files that the user named in options."""
    tables = [Path(rows.table) for rows in spec.row_sets if rows.table]
    model = [Store(Path(spec.store)).model_folder(spec.model_id)] if spec.kind == "score" else []
    return [Path(spec.pack), *tables, *model, *named_files(spec)]


def named_files(spec: JobSpec) -> list[Path]:
    """Return the files that the user named in options of the method, for example weights."""
    return [
        Path(value) for value in spec.recipe.changed.values() if isinstance(value, str) and _is_file(value)
    ]


def _is_file(text: str) -> bool:
    with contextlib.suppress(OSError, ValueError):  # it may be no name of a file at all
        return Path(text).is_file()
    return False


def _fit(spec: JobSpec, folder: Path, *, on_progress: OnProgress) -> FitRecord:
    detector = detector_of(spec)
    started = time.monotonic()  # building it imports its modules, which is not the method's cost
    settings = TrainerSettings(
        seed=spec.seed,
        folder=Store(Path(spec.store)).work_folder(spec.model_id),
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
    detector.save(folder / "model.safetensors")  # the last checkpoint
    for epoch in kept[:-1]:
        link_or_copy(
            trainer.checkpoint_file(stage, epoch), folder / "checkpoints" / f"{epoch:05d}.safetensors"
        )
    return FitRecord(
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
        keeps_outputs=detector.model.keep_outputs and not detector.featurizer.state_dict(),
        sizes={},
    )


def _score(spec: JobSpec, folder: Path, *, on_progress: OnProgress, known: Known | None) -> ScoreRecord:
    store = Store(Path(spec.store))
    fitted = store.fit_record(spec.model_id)
    if fitted is None:
        raise RunError(
            f"model {spec.model_id} is not in {spec.store}; run the same command again to train it"
        )
    detector = detector_of(spec)
    started = time.monotonic()
    names = ("held", "validation", "test")
    learnt = spec.train if detector.scorer.learns else RowSet()
    sets = (learnt, *spec.row_sets[1:])
    outputs = None if known is None else outputs_of(known.rows[spec.train.count - learnt.count :])
    train, *parts, others = items_of(spec, detector, sets=sets, on_progress=on_progress, known=outputs)
    roles = dict(zip(names, parts, strict=True))
    pieces, pseudo = [], []
    # Every checkpoint is scored, so that the evaluator can apply any selection rule later without running jobs. They
    # come in order: afterwards the detector holds the last one, which is what is saved.
    for number, epoch in enumerate(fitted.checkpoints):
        detector.load(weights_file(store, fitted, epoch=epoch))
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
    unheard = _moves_unheard(spec, detector, items=roles["test"], scores=scores["test"], known=known)
    batched, alone = _ms_per_item(spec, detector, on_progress=on_progress, known=known)
    detector.save(folder / "detector.safetensors")
    pd.concat(pieces, ignore_index=True).to_parquet(folder / "scores.parquet", index=False)
    if pseudo:
        pd.concat(pseudo, ignore_index=True).to_parquet(folder / "pseudo.parquet", index=False)
    return ScoreRecord(
        score_id=spec.job_id,
        model_id=spec.model_id,
        ms_per_item=batched,
        ms_alone=alone,
        # Outputs cost what they did when they were computed, perhaps in another run.
        usage=_with(known, _usage(spec, time.monotonic() - started)),
        device=spec.device,
        threads=spec.threads,
        environment=environment(),
        rules=[
            *spec.rules,
            *detector.rules,
            *detector.scorer.rules(detector.state),
            *([_probed(fitted, dependent)] if dependent else []),
            *([_probed(fitted, unheard)] if unheard else []),
        ],
        batch_dependent=bool(dependent),
        recognises=unheard == RECOGNISES,
        sizes={},
    )


def _moves_unheard(
    spec: JobSpec, detector: Detector, *, items: Items, scores: NDArray[np.float64], known: Known | None
) -> str:
    if not has_16_bits(spec):
        return ""
    if known is None:
        return moves_unheard(detector, items, scores=scores)

    def sampled() -> Items:
        return items_of(spec, detector, sets=(spec.test,), on_progress=ignore_progress)[0]

    return moves_unheard(detector, items, scores=scores, known=outputs_of(known.dithered), sampled=sampled)


def _probed(fitted: FitRecord, rule: str) -> str:
    # The detector holds the last checkpoint when it is probed.
    return (
        f"{rule} (last checkpoint, epoch {fitted.checkpoints[-1]})" if len(fitted.checkpoints) > 1 else rule
    )


def _ms_per_item(
    spec: JobSpec, detector: Detector, *, on_progress: OnProgress, known: Known | None
) -> tuple[float, float | None]:
    """Return the time per test item for reading, features, outputs and scores, in batches and one item at a time.

    No features are cached, and kept outputs cost what they did when they were computed. A first pass that does not count
    loads what is loaded on first use.
    """
    if not spec.test.count:
        return 0.0, None
    rows = None if known is None else _of_test(spec, known)
    outputs = None if rows is None else outputs_of(rows)
    [items] = items_of(
        spec, detector, sets=(spec.test,), on_progress=on_progress, keep_features=False, known=outputs
    )
    some = items[:TIMED_ITEMS]
    _score_ms(detector, some[:TIMED_ALONE])
    batched = _score_ms(detector, some) / len(some)
    # The first is slower, because an item by itself is a new shape.
    _, *alone = [_score_ms(detector, some[k : k + 1]) for k in (0, *range(min(TIMED_ALONE, len(some))))]
    single: float | None = statistics.median(alone)
    if known is not None and rows is not None:
        timed = known.rows["alone"][np.isfinite(known.rows["alone"])]
        batched += 1000 * float(rows["seconds"].mean())
        single = statistics.median(alone) + 1000 * float(np.median(timed)) if len(timed) else None
    return batched, single


def _of_test(spec: JobSpec, known: Known) -> Rows:
    first = spec.train.count + spec.held.count + spec.validation.count
    return known.rows[first : first + spec.test.count]


def _score_ms(detector: Detector, items: Items) -> float:
    started = time.monotonic()
    _scores(detector, items)
    return 1000 * (time.monotonic() - started)


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
    peak = peak_memory()
    # Work on the CPU says nothing about times on a GPU.
    reference = reference_ms() if spec.device == "cpu" else None
    return Usage(seconds=seconds, peak_memory_bytes=peak, peak_device_bytes=on_device, reference_ms=reference)


def peak_memory() -> int:
    """Return the largest resident memory that this process had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB


def _with(known: Known | None, usage: Usage) -> Usage:
    """Return what a job used together with what computing the outputs took that it was given."""
    if known is None:
        return usage
    return msgspec.structs.replace(
        usage,
        seconds=usage.seconds + known.seconds,
        peak_memory_bytes=max(usage.peak_memory_bytes, known.memory),
        peak_device_bytes=max(usage.peak_device_bytes, known.device_memory),
    )
