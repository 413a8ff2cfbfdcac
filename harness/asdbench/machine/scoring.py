"""Scores recordings with a detector file: score, p-value and verdict of each, its segments, and whether all drift."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from asdbench.core.labels import ANOMALY, NORMAL
from asdbench.data.audio import wave_info
from asdbench.data.dataset import Row
from asdbench.data.prepare import calling
from asdbench.detector.assembly import arithmetic
from asdbench.errors import DataError, blamed_on, unknown
from asdbench.machine.alarms import runs
from asdbench.machine.conformal import DRIFTED, drift, of_recording, p_values
from asdbench.machine.file import OwnDetector
from asdbench.machine.grading import Quality, quality
from asdbench.machine.recordings import FOLDER, Source, open_folder
from asdbench.machine.segments import items_of, starts
from asdbench.messages.progress import OnProgress, Progress, ignore_progress
from asdbench.plugin.registry import Registry

Verdict = Literal["normal", "anomaly", "none"]
"""``none``: the recording cannot be read, or is of a machine without a threshold; its notes say why."""


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a recording, as long as the detector was fitted on."""

    start_s: float
    score: float
    p_value: float


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """What a detector says of one recording."""

    file: str
    machine: str
    """Class that it is compared with; empty: unknown."""
    label: str | None
    """As its name, patterns or a table give it; None: unknown."""
    verdict: Verdict
    score: float | None = None
    """Of the strangest segment; higher is stranger. None: there is no verdict."""
    p_value: float | None = None
    """Share of normal recordings that are at least as strange."""
    segments: list[Segment] = []
    notes: list[str] = []
    """What is wrong with the recording, or how it was fitted to the detector."""


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the recordings of a machine, those known to be anomalous left out, still are as those held out."""

    machine: str
    recordings: int
    capital: float
    """Largest capital of the martingale; it reaches ``limit`` with a probability of at most 1 / limit without a drift."""
    limit: float = DRIFTED

    @property
    def found(self) -> bool:
        """Whether there is a drift."""
        return self.capital >= self.limit


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """Strange recordings in a row, as many as the detector's rule takes or more; they are one alarm."""

    machine: str
    first: str
    """File of the first of them."""
    raised: str
    """File of the one that completes the rule."""
    last: str
    recordings: int
    """How many there are."""


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """What ``asdbench score --json`` prints."""

    detector: str
    promises: dict[str, str]
    """What false-alarm rate holds, by machine."""
    recordings: list[Judged]
    quality: list[Quality]
    drift: list[Drift]
    rules: dict[str, str] = {}
    """What raises an alarm in a stream of recordings, by machine; empty: the detector was fitted without ``--alarms``."""
    alarms: list[Alarm] = []
    """Of these recordings, in the order of their names."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """One recording to score."""

    dataset: Any
    root: Path
    row: Row

    @property
    def file(self) -> Path:
        """Its place."""
        return self.root / self.row.source


def judge(
    own: OwnDetector,
    places: Sequence[Path],
    *,
    registry: Registry,
    labels: Source,
    machine: str | None = None,
    threads: int = 1,
    on_progress: OnProgress = ignore_progress,
) -> Judgement:
    """Score recordings.

    Args:
        own: The detector.
        places: Recordings, and folders of recordings; of a folder with ``train`` and ``test`` the latter is scored.
        registry: Offers the dataset that reads folders.
        labels: Its labels and patterns apply to all folders; the rest is as the detector was fitted.
        machine: The class that all recordings claim; None: the only one, or the machine ID in their names.
        threads: CPU threads.
        on_progress: Receives the progress.

    Raises:
        DataError: A place has no recordings.
        PluginError: The method's own code fails.
    """
    found = [each for place in places for each in recordings_of(own, place, registry=registry, labels=labels)]
    judged = []
    with arithmetic(threads=threads):
        for number, each in enumerate(found):
            judged.append(_judged(own, each, machine=machine))
            on_progress(Progress(stage="scoring", step=number + 1, steps=len(found)))
    names = own.header.classes[: own.header.own]
    return Judgement(
        detector=own.header.name,
        promises={name: str(own.promise(claim)) for claim, name in enumerate(names)},
        recordings=judged,
        quality=list(_qualities(own, judged)),
        drift=list(_drifts(own, judged)),
        rules={name: text for claim, name in enumerate(names) if (text := own.stream(claim))},
        alarms=list(_alarms(own, judged)),
    )


def wave_of(registry: Registry, own: OwnDetector, *, file: Path) -> NDArray[Any]:
    """Return a recording as the detector reads it, ``[samples]``; raises ``DataError`` if it cannot be read."""
    dataset, root = open_folder(registry, _source(own, file.parent, labels=Source(path=file)), flat="test")
    with calling(FOLDER, to=f"read {file}"):
        return np.asarray(dataset.read(root, PurePosixPath(file.name)))


def _source(own: OwnDetector, place: Path, *, labels: Source) -> Source:
    return Source(
        path=place,
        channel=own.header.channel,
        sample_rate=own.header.sample_rate,
        labels=labels.labels,
        normal=labels.normal,
        anomaly=labels.anomaly,
    )


def recordings_of(own: OwnDetector, place: Path, *, registry: Registry, labels: Source) -> Iterator[Found]:
    """Yield the recordings to score in a place, a recording or a folder; raises ``DataError`` if there are none."""
    if not place.exists():
        raise DataError(f"{place} does not exist; give a recording, or a folder of recordings")
    folder = place if place.is_dir() else place.parent
    dataset, root = open_folder(registry, _source(own, folder, labels=labels), flat="test")
    # Not by the card, which reads the headers of all: a damaged one must not keep the others from being scored.
    with calling(FOLDER, to=f"list the recordings under {folder}"):
        rows = [row for row in dataset.index(root) if row.columns["part"] == "test"]
    if not place.is_dir():
        wanted = PurePosixPath(place.name)
        rows = [row for row in rows if row.source == wanted]
        # A recording beside folders train and test is in no part, and one in train is no test recording.
        rows = rows or [Row(source=wanted, columns={}, label=None)]
    if not rows:
        raise DataError(
            f"{place} has no recordings to score; give a folder of recordings, or one with a folder test"
        )
    yield from (Found(dataset=dataset, root=root, row=row) for row in rows)


def _judged(own: OwnDetector, found: Found, *, machine: str | None) -> Judged:
    header = own.header
    name, label = "", found.row.label
    try:
        claim = _claim_of(own, found.row, machine=machine)
        name = header.classes[claim]
        notes = list(_conversions(own, found.file))
        with calling(FOLDER, to=f"read {found.file}"):
            wave, faults = found.dataset.examined(found.root, found.row.source)
    except DataError as error:
        return Judged(file=str(found.file), machine=name, label=label, verdict="none", notes=[str(error)])
    scores = scores_of(own, wave, claim=claim, columns=found.row.columns)
    normal, limit = own.normal(claim), own.promise(claim).limit
    p_value = of_recording(normal, scores, usual=header.usual)
    if len(scores) > header.usual:
        notes.append(
            f"{len(scores)} segments, held-out recordings have at most {header.usual}: its p-value counts them all"
        )
    return Judged(
        file=str(found.file),
        machine=name,
        label=label,
        verdict="anomaly" if p_value <= limit else "normal",
        score=float(scores.max()),
        p_value=p_value,
        segments=[
            Segment(start_s=start / header.sample_rate, score=float(score), p_value=float(p))
            for start, score, p in zip(
                starts(len(wave), header.length), scores, p_values(normal, scores), strict=True
            )
        ],
        notes=[*faults, *notes],
    )


def scores_of(own: OwnDetector, wave: NDArray[Any], *, claim: int, columns: Any) -> NDArray[np.float64]:
    """Return the scores of the segments of a recording, ``[segments]``."""
    known = {name: columns.get(name, "") for name in own.header.claims}
    with blamed_on(f"method {own.header.method!r} cannot score"):
        return own.detector.score(items_of(wave, own.detector, claim=claim, columns=known))


def _claim_of(own: OwnDetector, row: Row, *, machine: str | None) -> int:
    classes, own_classes = own.header.classes, own.header.own
    names, others = classes[:own_classes], classes[own_classes:]
    values = [row.columns.get(name, "") for name in own.header.claims]
    claimed = [machine] if machine is not None else [values[-1], "/".join(values)]
    for name in claimed:
        if name in names:
            return names.index(name)
    if machine is None and len(names) == 1 and claimed[0] not in others:
        return 0  # whatever its name is
    raise DataError(
        f"{unknown('machine ID', claimed[0], known=names)}; name one that the detector was fitted to with "
        "--machine, or by id_NN in the name of the recording"
    )


def _conversions(own: OwnDetector, file: Path) -> Iterator[str]:
    """Yield how a recording differs from those that the detector was fitted on."""
    header, info = own.header, wave_info(file)
    if info.sample_rate != header.sample_rate:
        yield f"resampled from {info.sample_rate} to {header.sample_rate} Hz, the rate of the detector"
        if info.sample_rate < header.sample_rate:
            yield f"it has nothing above {info.sample_rate // 2} Hz, which the detector may take for an anomaly"
    seconds, wanted = info.samples / info.sample_rate, header.length / header.sample_rate
    if round(seconds * header.sample_rate) < header.length:
        yield f"{seconds:g} s long and repeated from its beginning, since the detector needs {wanted:g} s"


def _qualities(own: OwnDetector, judged: Sequence[Judged]) -> Iterator[Quality]:
    for machine in own.header.classes[: own.header.own]:
        known = [each for each in judged if each.machine == machine and each.label in (NORMAL, ANOMALY)]
        readable = [each for each in known if each.score is not None]
        found = quality(
            machine,
            [str(each.label) for each in readable],
            scores=[each.score for each in readable if each.score is not None],
            alarms=[each.verdict == "anomaly" for each in readable],
            seed=own.header.seed,
        )
        if found is not None:
            yield found


def _alarms(own: OwnDetector, judged: Sequence[Judged]) -> Iterator[Alarm]:
    for claim, machine in enumerate(own.header.classes[: own.header.own]):
        rule = own.rule(claim)
        if rule is None:
            continue
        # One without a verdict interrupts a row: nothing says that it was strange.
        stream = [each for each in judged if each.machine in (machine, "")]
        for run in runs([each.verdict == "anomaly" for each in stream], in_a_row=rule.in_a_row):
            yield Alarm(
                machine=machine,
                first=stream[run.first].file,
                raised=stream[run.raised].file,
                last=stream[run.last].file,
                recordings=run.last - run.first + 1,
            )


def _drifts(own: OwnDetector, judged: Sequence[Judged]) -> Iterator[Drift]:
    for claim, machine in enumerate(own.header.classes[: own.header.own]):
        scores = [
            each.score
            for each in judged
            if each.machine == machine and each.label != ANOMALY and each.score is not None
        ]
        if scores:
            capital = drift(own.in_order(claim), scores, seed=own.header.seed)
            yield Drift(machine=machine, recordings=len(scores), capital=capital)
