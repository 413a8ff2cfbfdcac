"""Windows of long recordings: where they begin, what they are, and which of them train, validate and are tested.

The protocol is the hold-out of the robot paper: normal windows overlap by two thirds, anomalous ones not at all; a tenth
of both validates, all other normal windows train, all other anomalous ones are tested. What it leaks is told by
``known_leaks``; the option ``split=blocked`` divides whole stretches of the recording instead.
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

from asdbench.errors import DataError
from asdbench.seeding import seed_for
from asdbench.values import ANOMALY, NORMAL, Config, Fold, Row

Bools = NDArray[np.bool_]
COLUMNS = {
    "recording": "which recording the window is cut from",
    "block": "rows of the recording that the window begins in; windows that overlap lie in one block or in neighbours",
}
WINDOWS_PER_BLOCK = 10
RECORDINGS_TOLD = 3
"""Whose longest stretch an error names."""
RANDOM_SPLIT = (
    "overlapping windows are divided at random: rows of validation normals and of tested normals, and normal rows of "
    "anomalous windows where a recording holds both, are in training windows too, so their scores are too small "
    "(split=blocked keeps them apart)"
)
SAME_RECORDING = "the threshold is chosen on validation anomalies of the same recording as the tested ones"
ONLY_ANOMALIES = (
    "only anomalous windows are tested: recall says nothing of false alarms; their rate is that of validation normals "
    "(test_normals=0.1 tests normal windows too)"
)
NO_ANOMALY = (
    "no row is labelled as anomalous: a share of the normal windows is tested, and no figure is defined"
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recording:
    """The rows of one source, as far as windows need to know them."""

    source: PurePosixPath
    name: str
    """Value of the column ``recording``."""
    anomalous: Bools | None
    """Which rows are anomalous, ``[rows]``; None: nobody knows."""
    stretches: Sequence[tuple[int, int]]
    """Unbroken (first row, row after the last); no window leaves its stretch."""


class Windowed(Config, frozen=True, kw_only=True):
    """Options of datasets whose items are windows; the defaults are the robot paper's."""

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
        Meta(
            description="single windows are divided at random, or blocks with nothing shared between the parts"
        ),
    ] = "random"
    split_seed: Annotated[int, Meta(ge=0, description="what the division is drawn from")] = 0
    validation: Annotated[
        float, Meta(gt=0, lt=1, description="share of the normal and of the anomalous windows that validates")
    ] = 0.1
    test_normals: Annotated[
        float,
        Meta(ge=0, lt=1, description="share of the normal windows that is tested with the anomalous ones"),
    ] = 0.0
    block: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(
            description="rows of a block, which resampling and split=blocked keep whole; it goes on over gaps; "
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
        """Return what whoever reads numbers of the division must be told, of these recordings where they are known."""
        labels = [recording.anomalous for recording in recordings if recording.anomalous is not None]
        if labels and not any(rows.any() for rows in labels):
            return (NO_ANOMALY,)
        return () if self.test_normals else (ONLY_ANOMALIES,)


def window_count(rows: int, *, window: int, stride: int) -> int:
    """Return how many windows of ``window`` rows begin every ``stride`` rows of ``rows``."""
    return max(0, (rows - window) // stride + 1)


def unbroken(kept: Bools, breaks: Bools) -> list[tuple[int, int]]:
    """Return the unbroken stretches of the kept rows, numbered as if the others were not there.

    Args:
        kept: Which rows are kept, ``[rows]``.
        breaks: Which rows do not go on from the one before, ``[rows]``.
    """
    after_gap = np.concatenate([[True], ~kept[:-1]])  # the row before is left out
    first = np.flatnonzero((after_gap | breaks)[kept]) if kept.any() else np.zeros(0, dtype=np.int64)
    # A break at a row that is left out is a break all the same, which ``after_gap`` tells.
    bounds = np.append(first, int(kept.sum()))
    return [(int(a), int(b)) for a, b in itertools.pairwise(bounds)]


def windows_of(recording: Recording, options: Windowed) -> Iterator[Row]:
    """Yield the windows of a recording: a window with any anomalous row is anomalous.

    Normal windows begin at multiples of the normal stride from the beginning of their stretch, anomalous ones at
    multiples of the anomalous stride. Blocks are counted from the beginning of the recording and go on over the ends of
    stretches: rows beside a gap are as alike as any neighbours, and short stretches make no short blocks.
    """
    for first, stop in recording.stretches:
        for start, label in sorted(_windows_in(recording, options, first, stop)):
            block = start // options.block_rows
            yield Row(
                source=recording.source,
                columns={"recording": recording.name, "block": f"{recording.name}:{block}"},
                label=label or None,
                start=start,
                length=options.window,
            )


def lost_rows(recording: Recording, options: Windowed) -> int:
    """Return how many rows lie in stretches too short for a window."""
    return sum(length for length in _lengths(recording) if length < options.window)


def losses(recordings: Iterable[Recording], options: Windowed) -> Iterator[str]:
    """Yield a note for each recording of which rows are lost in stretches too short for a window."""
    for recording in recordings:
        lost, lengths = lost_rows(recording, options), _lengths(recording)
        if lost:
            yield (
                f"{lost} of {sum(lengths)} rows of recording {recording.name!r} lie in stretches shorter than a window of "
                f"{options.window} rows (the longest stretch has {max(lengths)})"
            )


def holdout_fold(rows: Sequence[Row], options: Windowed) -> Fold:
    """Divide windows into training, validation and test windows.

    Without anomalous windows the test part holds as many normal ones as the validation part, so that there is one.

    Raises:
        DataError: No window is left to train on, or ``split=blocked`` leaves no anomalous one to validate or to test.
    """
    normals, strange = _by_place(rows, anomalous=False), _by_place(rows, anomalous=True)
    if not normals:
        raise DataError(
            f"there is no normal window of {options.window} rows to train on, all {len(strange)} hold an anomalous row: "
            "methods learn from normal rows; where some lie between the anomalous ones, a smaller window finds them"
        )
    tested = options.test_normals if strange else max(options.test_normals, options.validation)
    validation, test, train = _divide(rows, normals, options, "normal", tested)
    of_strange, *others = _divide(rows, strange, options, "anomalous", 0.0)
    validation += of_strange
    test += [k for part in others for k in part]
    if options.split == "blocked":
        validation = _apart(rows, validation, test)
        train = _apart(rows, train, [*validation, *test])
        _check_anomalies(rows, strange, validation, test, options)
    if not train:
        raise DataError(
            f"no normal window of {options.window} rows is left to train on, of {len(normals)}: use a smaller window, "
            "fewer rows in a block, or smaller shares for validation and test"
        )
    return Fold(name="holdout", train=sorted(train), validation=sorted(validation), test=sorted(test))


def all_windows(
    recordings: Sequence[Recording], options: Windowed, *, place: object, remedy: str = ""
) -> list[Row]:
    """Return the windows of all recordings.

    Args:
        recordings: What windows are cut from.
        options: How.
        place: Where the data lie, for the error.
        remedy: Option that makes stretches longer, for the error.

    Raises:
        DataError: There is no window.
    """
    found = [row for recording in recordings for row in windows_of(recording, options)]
    if not found:
        longest = {recording.name: max(_lengths(recording), default=0) for recording in recordings}
        told = sorted(longest.items(), key=lambda pair: -pair[1])[:RECORDINGS_TOLD]
        raise DataError(
            f"{place}: no unbroken stretch is as long as a window of {options.window} rows (the longest: "
            f"{', '.join(f'{rows} in {name}' for name, rows in told) or 'none'}); use a smaller window"
            + (f", or {remedy}" if remedy else "")
        )
    return found


def _lengths(recording: Recording) -> list[int]:
    return [stop - first for first, stop in recording.stretches]


def _windows_in(recording: Recording, options: Windowed, first: int, stop: int) -> Iterator[tuple[int, str]]:
    normal, anomalous = options.strides
    last = stop - options.window
    if recording.anomalous is None:
        yield from ((start, "") for start in range(first, last + 1, normal))
        return
    strange = np.concatenate([[0], np.cumsum(recording.anomalous[first:stop])])

    def is_strange(start: int) -> bool:
        return bool(strange[start - first + options.window] > strange[start - first])

    yield from ((start, NORMAL) for start in range(first, last + 1, normal) if not is_strange(start))
    yield from ((start, ANOMALY) for start in range(first, last + 1, anomalous) if is_strange(start))


def _by_place(rows: Sequence[Row], *, anomalous: bool) -> list[int]:
    # In the order of the recording, so that the division does not depend on the order of the rows.
    found = [k for k, row in enumerate(rows) if (row.label == ANOMALY) is anomalous]
    return sorted(found, key=lambda k: (rows[k].columns["recording"], str(rows[k].source), rows[k].start))


def _divide(
    rows: Sequence[Row], members: Sequence[int], options: Windowed, name: str, tested: float
) -> tuple[list[int], list[int], list[int]]:
    """Return the members that validate, those that are tested by the share ``tested``, and the others."""
    blocked = options.split == "blocked"
    places = [rows[k].columns["block"] if blocked else str(k) for k in members]
    drawn = list(dict.fromkeys(places))
    order = np.random.default_rng(seed_for(options.split_seed, "windows", name)).permutation(len(drawn))
    cut = _share(options.validation, len(drawn))
    end = cut + _share(tested, len(drawn))
    part_of = {drawn[k]: (position >= cut) + (position >= end) for position, k in enumerate(order)}
    parts: tuple[list[int], list[int], list[int]] = ([], [], [])
    for k, place in zip(members, places, strict=True):
        parts[part_of[place]].append(k)
    return parts


def _share(share: float, count: int) -> int:
    """Return the share rounded down, but one at least where there is anything to share."""
    if share == 0 or count < 2:
        return 0
    return max(1, int(share * count + 1e-9))  # 0.29 * 100 is 28.999...


def _check_anomalies(
    rows: Sequence[Row],
    strange: Sequence[int],
    validation: Sequence[int],
    test: Sequence[int],
    options: Windowed,
) -> None:
    """See that blocks left anomalous windows to both parts, where there are two or more."""
    short = [
        what
        for what, part in (("validate", validation), ("be tested", test))
        if not any(rows[k].label == ANOMALY for k in part)
    ]
    if len(strange) > 1 and short:
        blocks = len({rows[k].columns["block"] for k in strange})
        raise DataError(
            f"split=blocked leaves no anomalous window to {' or to '.join(short)}: {len(strange)} of them begin in "
            f"{blocks} block{'s' * (blocks > 1)} of {options.block_rows} rows; set a smaller `block`, or split=random"
        )


def _apart(rows: Sequence[Row], members: Sequence[int], others: Sequence[int]) -> list[int]:
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
