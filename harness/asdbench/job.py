"""A fit or score job around the detector: what a worker process does with the message that describes its job."""

from __future__ import annotations

import resource
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from asdbench.atomic import locked, write_json
from asdbench.data.items import Items, ItemSource
from asdbench.data.pack import Pack
from asdbench.detector import Detector, size_of
from asdbench.environment import environment
from asdbench.errors import RunError
from asdbench.recipe import Recipe
from asdbench.seeding import seed_for
from asdbench.store import Cost, FitRecord, ScoreRecord, Store, link_or_copy, sizes_of
from asdbench.training import Progress, Trainer, TrainerSettings
from asdbench.values import Config, Info

Report = Callable[[Progress], None]
TIMED_ITEMS = 64
"""Items whose scoring is timed."""


class RowSet(Config, frozen=True, kw_only=True):
    """Some rows of a fold, as a job may know them."""

    ids: list[int] = []
    claim: list[int] = []
    own: list[bool] = []
    target: list[int] = []
    columns: dict[str, list[str]] = {}


class JobSpec(Config, frozen=True, kw_only=True):
    """The message to a worker: all that a job needs, and nothing that it must not know."""

    job_id: str
    kind: Literal["fit", "score"]
    model_id: str
    recipe: Recipe
    pack: str
    store: str
    classes: list[str]
    targets: list[str] = []
    length: int
    sample_rate: int | None
    scaled: bool = False
    """The dataset has scaled its items itself."""
    train: RowSet
    """A fit job: what it trains on, auxiliary negatives last. A score job: what its scorer learns from."""
    held: RowSet
    validation: RowSet = RowSet()
    test: RowSet = RowSet()
    seed: int
    device: str
    threads: int
    rules: list[str] = []
    resume_every_s: float = 10.0
    feature_bytes: int = 0


def run_job(spec: JobSpec, report: Report) -> None:
    """Run one job to its end; its result is in the store when this returns."""
    torch.set_num_threads(spec.threads)
    _forbid_tf32()
    # The bits of a matrix product depend on its threads, also in numpy and scikit-learn.
    with threadpool_limits(spec.threads):
        if spec.kind == "fit":
            _fit(spec, report)
        else:
            _score(spec, report)


def _forbid_tf32() -> None:
    """Let fp32 be fp32 on a GPU too: by default cuDNN rounds what it convolves to TF32, a mantissa of 10 bits."""
    # By these switches alone: torch refuses to tell of them once those named ``fp32_precision`` are set as well, and
    # compiled convolutions ask for them.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def _fit(spec: JobSpec, report: Report) -> None:
    store = Store(Path(spec.store))
    work = store.work_folder(spec.model_id)
    # The worker of a run that was killed may still be about; the kernel frees its lock when it is gone.
    with locked(work.with_name(f"{work.name}.lock")):
        if store.fit_record(spec.model_id) is None:
            _fit_alone(spec, store, work, report)


def _fit_alone(spec: JobSpec, store: Store, work: Path, report: Report) -> None:
    detector = detector_of(spec)
    started = time.monotonic()  # building it imports its modules, which is no cost of the method
    settings = TrainerSettings(
        seed=spec.seed,
        folder=work,
        device=spec.device,
        precision=spec.recipe.knobs.precision,
        compile=spec.recipe.knobs.compile,
        resume_every_s=spec.resume_every_s,
        report=report,
    )
    trainer = Trainer(detector.root, settings)
    resumed = trainer.resumed
    train, held = _items(spec, detector, spec.train, spec.held, report=report)
    detector.fit(train, held, trainer)
    log = trainer.log
    stage = log[-1].stage if log else ""
    kept = [entry.epoch for entry in log if entry.checkpoint and entry.stage == stage] or [0]
    spent = time.monotonic() - started
    size = size_of(detector)
    with store.filling(store.model_folder(spec.model_id)) as folder:
        detector.save(folder / "model.safetensors")
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
            cost=_cost(spec, max(spent, sum(entry.seconds for entry in log))),
            resumed=resumed,
            device=spec.device,
            threads=spec.threads,
            environment=environment(),
            rules=[*spec.rules, *trainer.rules],
            sizes=sizes_of(folder),
        )
        write_json(folder / "fit.json", record)
    shutil.rmtree(work, ignore_errors=True)


def _score(spec: JobSpec, report: Report) -> None:
    store = Store(Path(spec.store))
    fitted = store.fit_record(spec.model_id)
    if fitted is None:
        raise RunError(f"model {spec.model_id} is not in {spec.store}; run its fit job first")
    detector = detector_of(spec)
    started = time.monotonic()
    names = ("held", "validation", "test")
    learnt = spec.train if getattr(detector.scorer, "learns", True) else RowSet()
    train, *parts = _items(spec, detector, learnt, spec.held, spec.validation, spec.test, report=report)
    roles = dict(zip(names, parts, strict=True))
    pieces = []
    for number, epoch in enumerate(fitted.checkpoints):
        _load_checkpoint(detector, store, fitted, epoch)
        detector.fit_scorer(train)
        pieces += [_table(spec, role, epoch, _scores(detector, items)) for role, items in roles.items()]
        report(Progress(stage="score", epoch=number + 1, epochs=len(fitted.checkpoints), step=0, steps=0))
    with store.filling(store.score_folder(spec.job_id)) as folder:
        detector.save(folder / "detector.safetensors")
        pd.concat(pieces, ignore_index=True).to_parquet(folder / "scores.parquet", index=False)
        record = ScoreRecord(
            score_id=spec.job_id,
            model_id=spec.model_id,
            ms_per_item=_ms_per_item(spec, detector, report),
            cost=_cost(spec, time.monotonic() - started),
            device=spec.device,
            threads=spec.threads,
            environment=environment(),
            rules=spec.rules + _scorer_rules(detector),
            sizes=sizes_of(folder),
        )
        write_json(folder / "score.json", record)


def _ms_per_item(spec: JobSpec, detector: Detector, report: Report) -> float:
    """Time reading, features, outputs and score of some test items that nothing was computed of before."""
    if not spec.test.ids:
        return 0.0
    [items] = _items(msgspec.structs.replace(spec, feature_bytes=0), detector, spec.test, report=report)
    some = items[:TIMED_ITEMS]
    started = time.monotonic()
    _scores(detector, some)
    return 1000 * (time.monotonic() - started) / len(some)


def detector_of(spec: JobSpec, *, device: str | None = None) -> Detector:
    """Build the detector that a job fits or scores with.

    Args:
        spec: The job.
        device: Another device than the job's: the parent, which only looks at shapes, must hold no GPU.

    Raises:
        ConfigError: The method's options do not fit the shapes of the data.
    """
    trailing = Pack(Path(spec.pack)).shape_of(spec.train.ids[0])[1:]
    info = Info(
        item_shape=(spec.length, *trailing),
        sample_rate=spec.sample_rate,
        device=device or spec.device,
        classes=tuple(spec.classes),
        targets=tuple(spec.targets),
        scaled=spec.scaled,
    )
    torch.manual_seed(seed_for(spec.seed, "initialisation"))
    return Detector(spec.recipe, info)


def _items(spec: JobSpec, detector: Detector, *sets: RowSet, report: Report) -> list[Items]:
    """Open the pack once for all sets, so that they share memory and features."""
    ids = np.concatenate([np.asarray(rows.ids, dtype=np.int64) for rows in sets])
    source = ItemSource(
        pack=Pack(Path(spec.pack)),
        ids=ids,
        info=detector.info,
        length=spec.length,
        featurizer=detector.featurizer,
        feature_bytes=_feature_bytes(spec),
        progress=lambda done, total: report(
            Progress(stage="features", epoch=0, epochs=0, step=done, steps=total)
        ),
    )
    if detector.info.device != "cpu":
        source.keep_on_device_if_it_fits()
    first = np.cumsum([0] + [len(rows.ids) for rows in sets])
    return [
        _view(source, rows, np.arange(start, stop))
        for rows, start, stop in zip(sets, first[:-1], first[1:], strict=True)
    ]


def _feature_bytes(spec: JobSpec) -> int:
    if spec.feature_bytes == 0 or not spec.device.startswith("cuda"):
        return spec.feature_bytes
    free, _ = torch.cuda.mem_get_info(spec.device)
    return int(free // 3)


def _view(source: ItemSource, rows: RowSet, positions: NDArray[np.int64]) -> Items:
    device = source.info.device
    return Items(
        source,
        rows=positions,
        claim=torch.tensor(rows.claim, dtype=torch.int64, device=device),
        own=torch.tensor(rows.own, dtype=torch.bool, device=device),
        target=torch.tensor(rows.target, dtype=torch.int64, device=device),
        columns={name: np.array(values, dtype=np.str_) for name, values in rows.columns.items()},
    )


def _load_checkpoint(detector: Detector, store: Store, fitted: FitRecord, epoch: int) -> None:
    folder = store.model_folder(fitted.model_id)
    last = epoch == fitted.checkpoints[-1]
    detector.load(
        folder / "model.safetensors" if last else folder / "checkpoints" / f"{epoch:05d}.safetensors"
    )


def _scores(detector: Detector, items: Items) -> NDArray[np.float64]:
    return detector.score(items) if len(items) else np.zeros(0)


def _table(spec: JobSpec, role: str, epoch: int, scores: NDArray[np.float64]) -> pd.DataFrame:
    ids = getattr(spec, role).ids
    names = [f"score_{k}" for k in range(len(spec.targets))] or ["score"]
    table = pd.DataFrame(scores.reshape(len(ids), len(names)), columns=names)
    table.insert(0, "item_id", np.asarray(ids, dtype=np.int64))
    table.insert(1, "role", role)
    table.insert(2, "checkpoint", epoch)
    return table


def _scorer_rules(detector: Detector) -> list[str]:
    rules = getattr(detector.scorer, "rules", None)
    return list(rules(detector.state)) if rules is not None else []


def _cost(spec: JobSpec, seconds: float) -> Cost:
    on_device = torch.cuda.max_memory_allocated() if spec.device.startswith("cuda") else 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Cost(seconds=seconds, peak_memory_bytes=peak, peak_device_bytes=on_device)
