"""Windows of long recordings: where they begin, their labels, and which of them train, validate and are tested.

The protocol is the hold-out of the robot paper: normal windows overlap by two thirds, anomalous ones do not overlap. A
tenth of both is for validation, all other normal windows are for training, and all other anomalous ones are tested. The
card's ``known_leaks`` list what this leaks; the option ``split=blocked`` divides whole stretches of the recording instead.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from asdbench import ANOMALY, NORMAL, Card, Config, Count, DataError, Fold, Row, seed_for

Bools = NDArray[np.bool_]
COLUMNS = {
    "recording": "recording that the window is cut from",
    "block": "block of rows in which the window begins; overlapping windows begin in one block or in neighbouring blocks",
}
WINDOWS_PER_BLOCK = 10
RECORDINGS_NAMED = 3
"""How many recordings an error names with their longest stretch."""
RANDOM_SPLIT = (
    "overlapping windows are divided at random: training windows share rows with the normal windows for validation and "
    "test and, in recordings with both labels, normal rows with anomalous windows, so the scores of those windows are "
    "too low (split=blocked keeps them apart)"
)
SAME_RECORDING = "the threshold is chosen on validation anomalies of the same recording as the tested ones"
ONLY_ANOMALIES = (
    "only anomalous windows are tested: recall says nothing about false alarms, whose rate is that of the validation "
    "normals (test_normals=0.1 also tests normal windows)"
)
NO_ANOMALY = (
    "no row is labelled as anomalous: a share of the normal windows is tested, and no metric is defined"
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recording:
    """The rows of one source, as far as windows need them."""

    source: PurePosixPath
    name: str
    """Value of the column ``recording``."""
    anomalous: Bools | None
    """Which rows are anomalous, ``[rows]``; None: unknown."""
    stretches: Sequence[tuple[int, int]]
    """Unbroken (first row, row after the last); no window crosses the end of its stretch."""


class Windowed(Config, frozen=True, kw_only=True):
    """Options of datasets whose items are windows; the defaults are those of the robot paper."""

    window: Annotated[int, Meta(ge=1, description="rows of a window")] = 30
    normal_stride: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="rows from one normal window to the next; none: a third of a window"),
    ] = None
    anomalous_stride: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="rows from one anomalous window to the next; none: a whole window"),
    ] = None
    split: Annotated[
        Literal["random", "blocked"],
        Meta(description="divide single windows at random, or whole blocks so that no rows are shared"),
    ] = "random"
    split_seed: Annotated[int, Meta(ge=0, description="seed of the division into folds")] = 0
    validation: Annotated[
        float, Meta(gt=0, lt=1, description="share of the normal and of the anomalous windows for validation")
    ] = 0.1
    test_normals: Annotated[
        float,
        Meta(ge=0, lt=1, description="share of the normal windows to test with the anomalous ones"),
    ] = 0.0
    block: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(
            description="rows of a block, which resampling and split=blocked keep whole; blocks continue across gaps; "
            "none: ten windows"
        ),
    ] = None

    @property
    def strides(self) -> tuple[int, int]:
        """Rows from one normal, and from one anomalous, window to the next."""
        return self.normal_stride or max(1, self.window // 3), self.anomalous_stride or self.window

    @property
    def block_rows(self) -> int:
        """Rows of a block."""
        return self.block or WINDOWS_PER_BLOCK * self.window

    def leaks(self) -> tuple[str, ...]:
        """Return what the division leaks under the current options."""
        return (SAME_RECORDING,) if self.split == "blocked" else (RANDOM_SPLIT, SAME_RECORDING)

    def warnings(self, recordings: Sequence[Recording] = ()) -> tuple[str, ...]:
        """Return what readers of results must know about the division, and about these recordings if given."""
        labels = [recording.anomalous for recording in recordings if recording.anomalous is not None]
        if labels and not any(rows.any() for rows in labels):
            return (NO_ANOMALY,)
        return () if self.test_normals else (ONLY_ANOMALIES,)


def window_card(
    options: Windowed,
    *,
    name: str,
    title: str,
    licence: str,
    citation: str,
    features: int,
    known_leaks: tuple[str, ...],
    notes: tuple[str, ...],
    expected: tuple[Count, ...] = (),
) -> Card:
    """Return the card of a dataset of windows with ``features`` columns."""
    return Card(
        name=name,
        title=title,
        task="detection",
        modality="time series",
        licence=licence,
        citation=citation,
        expected=expected,
        columns=COLUMNS,
        claims=(),
        scopes={"all": ()},
        groups=("recording",),
        metrics="holdout",
        item_shape=(options.window, features),
        resample_by="block",
        known_leaks=known_leaks,
        notes=notes,
    )


def window_count(rows: int, *, window: int, stride: int) -> int:
    """Return how many windows of ``window`` rows begin every ``stride`` rows in ``rows`` rows."""
    return max(0, (rows - window) // stride + 1)


def unbroken(kept: Bools, breaks: Bools) -> list[tuple[int, int]]:
    """Return the unbroken stretches of the kept rows, numbered without the other rows.

    Args:
        kept: Which rows are kept, ``[rows]``.
        breaks: Which rows do not continue the row before, ``[rows]``.
    """
    after_gap = np.concatenate([[True], ~kept[:-1]])  # the row before is left out
    first = np.flatnonzero((after_gap | breaks)[kept]) if kept.any() else np.zeros(0, dtype=np.int64)
    # A break at a row that is left out still breaks the recording; ``after_gap`` marks it.
    bounds = np.append(first, int(kept.sum()))
    return [(int(a), int(b)) for a, b in itertools.pairwise(bounds)]


def windows_of(recording: Recording, options: Windowed) -> Iterator[Row]:
    """Yield the windows of a recording: a window with any anomalous row is anomalous.

    Normal windows begin at multiples of the normal stride from the beginning of their stretch, anomalous ones at
    multiples of the anomalous stride. Blocks are counted from the beginning of the recording and continue across the ends
    of stretches: rows on both sides of a gap are as alike as other neighbours, and short stretches make no short blocks.
    """
    for stretch in recording.stretches:
        for start, label in sorted(_windows_in(recording, options, stretch=stretch)):
            block = start // options.block_rows
            yield Row(
                source=recording.source,
                columns={"recording": recording.name, "block": f"{recording.name}:{block}"},
                label=label or None,
                start=start,
                length=options.window,
            )


def lost_rows(recording: Recording, options: Windowed) -> int:
    """Return how many rows are in stretches too short for a window."""
    return sum(length for length in _lengths(recording) if length < options.window)


def losses(recordings: Iterable[Recording], options: Windowed) -> Iterator[str]:
    """Yield a note for each recording that has rows in stretches too short for a window."""
    for recording in recordings:
        lost, lengths = lost_rows(recording, options), _lengths(recording)
        if lost:
            yield (
                f"{lost} of {sum(lengths)} rows of recording {recording.name!r} are in stretches shorter than a window of "
                f"{options.window} rows (the longest stretch has {max(lengths)})"
            )


def holdout_fold(rows: Sequence[Row], options: Windowed) -> Fold:
    """Divide windows into training, validation and test windows.

    Without anomalous windows, as many normal windows are tested as validate, so that the test part is not empty.

    Raises:
        DataError: No window is left for training, or ``split=blocked`` leaves no anomalous one for validation or test.
    """
    normals, anomalies = _in_order(rows, anomalous=False), _in_order(rows, anomalous=True)
    if not normals:
        raise DataError(
            f"no normal window of {options.window} rows to train on: all {len(anomalies)} windows have an anomalous row, "
            "and methods learn from normal rows; use a smaller window if there are normal rows between the anomalous ones"
        )
    tested = options.test_normals if anomalies else max(options.test_normals, options.validation)
    validation, test, train = _divide(rows, normals, options=options, name="normal", tested=tested)
    # Methods train on normal windows only: anomalies that do not validate are tested.
    of_anomalies, *others = _divide(rows, anomalies, options=options, name="anomalous", tested=0.0)
    validation += of_anomalies
    test += [k for part in others for k in part]
    if options.split == "blocked":
        # The order matters: test windows stay, validation gives way to test, training to both.
        validation = _apart(rows, validation, others=test)
        train = _apart(rows, train, others=[*validation, *test])
        _check_anomalies(rows, anomalies, options=options, parts={"validation": validation, "test": test})
    if not train:
        raise DataError(
            f"none of {len(normals)} normal windows of {options.window} rows is left to train on: use a smaller window, "
            "fewer rows in a block, or smaller shares for validation and test"
        )
    return Fold(name="holdout", train=sorted(train), validation=sorted(validation), test=sorted(test))


def all_windows(
    recordings: Sequence[Recording], options: Windowed, *, place: object, remedy: str = ""
) -> list[Row]:
    """Return the windows of all recordings.

    Args:
        recordings: The recordings to cut windows from.
        options: How to cut them.
        place: Where the data are, for the error.
        remedy: Option that makes stretches longer, for the error.

    Raises:
        DataError: There is no window.
    """
    found = [row for recording in recordings for row in windows_of(recording, options)]
    if not found:
        longest = {recording.name: max(_lengths(recording), default=0) for recording in recordings}
        named = sorted(longest.items(), key=lambda pair: -pair[1])[:RECORDINGS_NAMED]
        raise DataError(
            f"{place}: no unbroken stretch is as long as a window of {options.window} rows (the longest: "
            f"{', '.join(f'{rows} in {name}' for name, rows in named) or 'none'}); use a smaller window"
            + (f", or {remedy}" if remedy else "")
        )
    return found


def _lengths(recording: Recording) -> list[int]:
    return [stop - first for first, stop in recording.stretches]


def _windows_in(
    recording: Recording, options: Windowed, *, stretch: tuple[int, int]
) -> Iterator[tuple[int, str]]:
    """Yield (first row, label or nothing) of the windows in a stretch."""
    normal, anomalous = options.strides
    first, stop = stretch
    last = stop - options.window
    if recording.anomalous is None:
        yield from ((start, "") for start in range(first, last + 1, normal))
        return
    before = np.concatenate(
        [[0], np.cumsum(recording.anomalous[first:stop])]
    )  # anomalous rows before each row

    def is_anomalous(start: int) -> bool:
        return bool(before[start - first + options.window] > before[start - first])

    yield from ((start, NORMAL) for start in range(first, last + 1, normal) if not is_anomalous(start))
    yield from ((start, ANOMALY) for start in range(first, last + 1, anomalous) if is_anomalous(start))


def _in_order(rows: Sequence[Row], *, anomalous: bool) -> list[int]:
    # In the order of the recording, so that the division does not depend on the order of the rows.
    found = [k for k, row in enumerate(rows) if (row.label == ANOMALY) is anomalous]
    return sorted(found, key=lambda k: (rows[k].columns["recording"], str(rows[k].source), rows[k].start))


def _divide(
    rows: Sequence[Row], members: Sequence[int], *, options: Windowed, name: str, tested: float
) -> tuple[list[int], list[int], list[int]]:
    """Return the members for validation, the share ``tested`` of them for test, and the others."""
    blocked = options.split == "blocked"
    places = [rows[k].columns["block"] if blocked else str(k) for k in members]
    # dict.fromkeys, not set: the order of a set of texts differs between processes.
    drawn = list(dict.fromkeys(places))
    # A seed for each class, so that more anomalies do not change the division of the normal windows.
    order = np.random.default_rng(seed_for(options.split_seed, "windows", name)).permutation(len(drawn))
    cut = _share(options.validation, len(drawn))
    end = cut + _share(tested, len(drawn))
    # 0: validation, 1: test, 2: the others.
    part_of = {drawn[k]: (position >= cut) + (position >= end) for position, k in enumerate(order)}
    parts: tuple[list[int], list[int], list[int]] = ([], [], [])
    for k, place in zip(members, places, strict=True):
        parts[part_of[place]].append(k)
    return parts


def _share(share: float, count: int) -> int:
    """Return the share of ``count`` rounded down, but at least one if ``count`` allows it."""
    if share == 0 or count < 2:
        return 0
    return max(1, int(share * count + 1e-9))  # 0.29 * 100 is 28.999...


def _check_anomalies(
    rows: Sequence[Row], anomalies: Sequence[int], *, options: Windowed, parts: dict[str, list[int]]
) -> None:
    """Check that both parts have anomalous windows, if there are two or more."""
    empty = [name for name, part in parts.items() if not any(rows[k].label == ANOMALY for k in part)]
    if len(anomalies) > 1 and empty:
        blocks = len({rows[k].columns["block"] for k in anomalies})
        raise DataError(
            f"split=blocked leaves no anomalous window for {' or '.join(empty)}: {len(anomalies)} of them begin in "
            f"{blocks} block{'s' * (blocks > 1)} of {options.block_rows} rows; set a smaller `block`, or split=random"
        )


def _apart(rows: Sequence[Row], members: Sequence[int], *, others: Sequence[int]) -> list[int]:
    """Return the members that share no row of a recording with the others."""
    ends: dict[PurePosixPath, int] = {}
    for k in (*members, *others):
        row = rows[k]
        ends[row.source] = max(ends.get(row.source, 0), row.start + (row.length or 0))
    taken = {source: np.zeros(end, dtype=bool) for source, end in ends.items()}
    for k in others:
        taken[rows[k].source][_span(rows[k])] = True
    return [k for k in members if not taken[rows[k].source][_span(rows[k])].any()]


def _span(row: Row) -> slice:
    return slice(row.start, row.start + (row.length or 0))
