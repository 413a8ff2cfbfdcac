"""Outputs of models that learn nothing: computed once for each item, kept in the cache, and handed to each scoring job.

This process runs no plugin. A child of its own, without rights and without the scorer, computes what is missing and sends
it back in pieces, which are kept as they come: a scorer cannot change what others will read, and a killed run goes on
where it was. A job is handed the outputs of its own items alone, so nothing of a test item reaches another job.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from asdbench.core.config import Config
from asdbench.core.files import locked
from asdbench.core.fingerprints import file_hash_of, identifier
from asdbench.data.kept import Cost, Gathered, KeptCard, KeptOutputs, Known, Rows, names_of, rows_of
from asdbench.data.pack import Pack
from asdbench.detector.assembly import arithmetic, detector_of, has_16_bits, items_at
from asdbench.detector.contracts import ItemContext, Outputs, Scorer, State
from asdbench.detector.detector import Detector
from asdbench.detector.items import Items
from asdbench.errors import PluginError, RunError
from asdbench.jobs.failures import Ended, failed
from asdbench.jobs.isolation import isolate
from asdbench.jobs.job import named_files, peak_memory
from asdbench.jobs.probe import TOLERANCES, dithered, dithered_places
from asdbench.jobs.sealed import streamed
from asdbench.jobs.untouched import HarnessCode
from asdbench.messages.jobs import JobSpec
from asdbench.messages.progress import Event, OnProgress, Progress
from asdbench.recipes.recipe import Part, Recipe
from asdbench.results.store import Store

BLOCK = 32
"""Items whose outputs are kept at a time; a kill loses no more."""
ALONE = 4
"""Items whose outputs are also computed alone, to time them and to compare."""


class Piece(Config, frozen=True, kw_only=True):
    """What the child sends: outputs of some items, or how it failed."""

    places: list[int] = []
    """Which of the items that it was asked for."""
    shapes: dict[str, list[int]] = {}
    """Output -> its shape for one item."""
    values: dict[str, bytes] = {}
    """Output -> float32 of all these items."""
    seconds: float = 0.0
    """For one item."""
    alone: list[float] = []
    """Seconds of each item alone; NaN: not measured."""
    memory: int = 0
    device_memory: int = 0
    """Largest memory of the child so far, in bytes: of the process, and of the GPU."""
    failure: Event | None = None


def known_outputs(job: JobSpec, *, on_progress: OnProgress) -> Known | None:
    """Return the outputs of all items of a score job, from the cache or computed now; None: its model keeps none.

    To be called before this process gives up its rights.

    Raises:
        Ended: The model cannot be built or its outputs cannot be computed, as the event says.
    """
    if job.kind != "score" or not job.keep:
        return None
    fitted = Store(Path(job.store)).fit_record(job.model_id)
    if fitted is None or not fitted.keeps_outputs:
        return None
    ids = [item for rows in job.row_sets for item in rows.ids]
    probed = [job.test.ids[place] for place in dithered_places(job.test.count)] if has_16_bits(job) else []
    names = names_of(Pack(Path(job.pack)), [*ids, *probed], length=job.length)
    names[len(ids) :] = [hashlib.sha256(b"dithered" + name).digest() for name in names[len(ids) :]]
    if not names:
        return None
    wanted = Gathered(names)
    kept = KeptOutputs(Path(job.keep) / f"{job.recipe.model.name}-{_key(job)}")
    kept.fill(wanted)
    if wanted.missing:
        with contextlib.ExitStack() as locks:
            with contextlib.suppress(RunError):  # a cache that cannot be written to can still be read
                locks.enter_context(locked(kept.lock(wanted)))
            kept.fill(wanted)  # the job that held the lock may have computed the same
            _compute(job, wanted, kept=kept, names=names, ids=ids, probed=probed, on_progress=on_progress)
    return Known(rows=wanted.rows[: len(ids)], dithered=wanted.rows[len(ids) :])


def _key(job: JobSpec) -> str:
    """Return a hash of everything that outputs depend on besides an item's samples."""
    model, common = job.recipe.model, job.recipe.common
    # What a file holds, and not where it is.
    pinned = model.pinned()
    options = {name: value for name, value in model.options.items() if name not in pinned}
    code = (job.recipe.harness, file_hash_of(__name__), file_hash_of("asdbench.data.kept"), model.source)
    return identifier(
        code, msgspec.to_builtins(job.recipe.featurizer), model.path, options, job.length, job.trailing, job.sample_rate,
        job.scaled, common.channel, common.unequal, common.precision,
        job.device.partition(":")[0], str(torch.__version__),
    )  # fmt: skip


def _compute(
    job: JobSpec,
    wanted: Gathered,
    *,
    kept: KeptOutputs,
    names: Sequence[bytes],
    ids: Sequence[int],
    probed: Sequence[int],
    on_progress: OnProgress,
) -> None:
    """Compute what is missing in a child process, and keep it."""
    if not wanted.missing:
        return
    model = job.recipe.model
    card = KeptCard(model=model.name, module=model.path.partition(":")[0], code=model.source)
    items = dict(zip(names, [*ids, *probed], strict=True))
    # In the order of their names, so that a run that goes on after a kill computes them in the same batches.
    plain, altered = (
        sorted(wanted.missing.intersection(part)) for part in (names[: len(ids)], names[len(ids) :])
    )
    order = [*plain, *altered]
    places = ([items[name] for name in plain], [items[name] for name in altered])
    for message in streamed(lambda send: _embed(job, places, send=send)):
        piece = msgspec.msgpack.decode(message, type=Piece)
        if piece.failure is not None:
            raise Ended(piece.failure)
        rows = _rows(piece, [order[place] for place in piece.places])
        kept.keep(rows, card=card)
        wanted.take(rows)
        done = len(order) - len(wanted.missing)
        on_progress(Progress(stage="outputs", step=done, steps=len(order)))


def _rows(piece: Piece, names: Sequence[bytes]) -> Rows:
    outputs = {
        name: np.frombuffer(value, dtype="<f4").reshape(len(names), *piece.shapes[name])
        for name, value in piece.values.items()
    }
    cost = Cost(
        seconds=piece.seconds,
        alone=np.array(piece.alone),
        memory=piece.memory,
        device_memory=piece.device_memory,
    )
    return rows_of(names, outputs, cost=cost)


def _embed(job: JobSpec, ids: tuple[list[int], list[int]], *, send: Callable[[bytes], None]) -> None:
    """Send the outputs of items as they are, and of items with dithered samples; runs in the child."""
    try:
        isolate(
            job.isolation,
            readable=[Path(job.pack), *named_files(job)],
            writable=[Path(tempfile.gettempdir())],
            hidden=[Path(place) for place in job.hidden],
        )
        harness = HarnessCode()
        with arithmetic(threads=job.threads):
            detector = detector_of(_bare(job))
            plain, altered = (items_at(job, detector, ids=part) for part in ids)
            for piece in itertools.chain(
                _pieces(detector, plain, first=0, alone=ALONE),
                _pieces(detector, dithered(altered), first=len(plain), alone=0),
            ):
                harness.check()  # what is sent is kept
                send(msgspec.msgpack.encode(piece))
    # The border to a plugin: whatever a model raises, even SystemExit, fails its own job and not the run.
    except BaseException as error:  # noqa: BLE001
        send(msgspec.msgpack.encode(Piece(failure=failed(job.job_id, error))))


def _pieces(detector: Detector, items: Items, *, first: int, alone: int) -> Iterator[Piece]:
    """Yield the outputs of items, block by block; the first ``alone`` are also computed alone, and one of each later block.

    ``first`` is the place of the first item.
    """
    on_gpu = detector.info.device.startswith("cuda")
    for start in range(0, len(items), BLOCK):
        block = items[start : start + BLOCK]
        started = time.monotonic()
        outputs = detector.outputs(block)
        seconds = (time.monotonic() - started) / len(block)
        # Of later blocks one, because a model may only depend on its batch when that is full, or not.
        timed = _alone(detector, block[: alone if start == 0 else min(alone, 1)], batched=outputs)
        yield Piece(
            places=list(range(first + start, first + start + len(block))),
            shapes={name: list(value.shape[1:]) for name, value in outputs.items()},
            values={
                name: np.ascontiguousarray(value, dtype="<f4").tobytes() for name, value in outputs.items()
            },
            seconds=seconds,
            alone=[*timed, *[math.nan] * (len(block) - len(timed))],
            memory=peak_memory(),
            device_memory=torch.cuda.max_memory_allocated() if on_gpu else 0,
        )


def _alone(detector: Detector, items: Items, *, batched: Outputs) -> list[float]:
    """Return the seconds that the outputs of each item take alone.

    Raises:
        PluginError: They differ from those in a batch.
    """
    tolerance = TOLERANCES[detector.recipe.common.precision]
    seconds = []
    for place in range(len(items)):
        started = time.monotonic()
        outputs = detector.outputs(items[place : place + 1])
        seconds.append(time.monotonic() - started)
        for name, value in outputs.items():
            expected = batched[name][place]
            allowed = tolerance.share * np.nanstd(batched[name]) + tolerance.rounding * np.abs(expected)
            if (np.abs(value[0] - expected) > allowed).any():
                raise PluginError(
                    f"model {detector.recipe.model.name!r} declares keep_outputs, but output {name!r} of an item changes "
                    "with the other items of its batch: compute each from its item alone, or remove keep_outputs"
                )
    return seconds


class NoScorer(Scorer, frozen=True, kw_only=True):
    """Stands for the scorer where only outputs are computed."""

    learns = False

    def score(self, state: State, outputs: Outputs, context: ItemContext) -> NDArray[np.float64]:
        """Refuse to score."""
        raise RunError("outputs are computed without a scorer")


def _bare(job: JobSpec) -> JobSpec:
    """Return a job without what kept outputs must not depend on: scorer, classes and seed."""
    nothing = Part(name="none", path=f"{__name__}:NoScorer", options={}, source="")
    recipe: Recipe = msgspec.structs.replace(job.recipe, scorer=nothing)
    return msgspec.structs.replace(job, recipe=recipe, classes=[], targets=[], seed=0)
