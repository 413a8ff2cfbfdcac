"""The recordings that a detector is fitted on: a user's own, cut into clips of one length, and those of other machines."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from asdbench.core.config import config_of, configure
from asdbench.core.labels import ANOMALY, NORMAL
from asdbench.data.dataset import Card, ExaminedDataset, Row
from asdbench.data.pack import Pack, build_pack
from asdbench.data.prepare import calling, indexed, placed
from asdbench.errors import DataError, unknown
from asdbench.messages.progress import OnProgress
from asdbench.plugin.registry import Registry

FOLDER, SYNTHETIC = "folder", "synthetic"
"""Names of the datasets that read a user's recordings, and that generate others."""
OWN, BACKGROUND = "own", "background"
SYNTHETIC_S = (1.0, 60.0)
"""Shortest and longest clips that can be generated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where recordings are, and how they are read."""

    path: Path
    channel: int | Literal["mean", "loudest"] = 0
    clip_s: float | None = None
    """Length of the clips that recordings are cut into; None: of the shortest one, or of what the method uses."""
    sample_rate: int | None = None
    """In Hz; None: the most common rate."""
    labels: str = ""
    normal: str = ""
    anomaly: str = ""
    """Labels of test recordings; see the dataset ``folder``."""


@dataclass(frozen=True, kw_only=True)
class Recordings:
    """Decoded clips; they are named by their positions in ``rows``, which are also their item ids in the pack."""

    rows: Sequence[Row]
    card: Card
    pack: Pack
    length: int
    """Samples of a clip."""
    decoded: Sequence[str]
    """SHA-256 of the samples of each row's recording."""
    faults: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """What is wrong with the samples of a recording, by name."""
    only: str | None = None
    """The machine to fit to; None: every machine of the user's."""

    @cached_property
    def claims(self) -> list[str]:
        """Class of each row: the machine ID where there is one machine type, else type and ID."""
        *types, _ = names = self.card.claims
        alone = len({tuple(row.columns[name] for name in types) for row in self.rows if _is_own(row)}) == 1
        return [_class_of(row, names[-1:] if alone and _is_own(row) else names) for row in self.rows]

    @cached_property
    def machines(self) -> list[str]:
        """Machines to fit to: those with recordings to train on and others to set the threshold with.

        Raises:
            DataError: There is none.
        """
        train = [k for k, row in enumerate(self.rows) if _is_own(row) and row.columns["part"] == "train"]
        counts = {
            name: len(self.by_recording([k for k in train if self.claims[k] == name]))
            for name in sorted({self.claims[k] for k in train})
        }
        if self.only is not None:
            if self.only not in counts:
                raise DataError(unknown("machine ID", self.only, known=counts))
            counts = {self.only: counts[self.only]}
        found = [name for name, count in counts.items() if count > 1]
        if not found:
            raise DataError(
                f"machine {next(iter(counts))!r} has 1 normal recording, but it takes at least 2: some to train on, others "
                "to set the threshold with; record at several times"
            )
        return found

    @cached_property
    def own(self) -> list[int]:
        """Normal recordings of these machines."""
        return [k for k in self._train if self.claims[k] in self.machines]

    @cached_property
    def others(self) -> list[int]:
        """Normal recordings of other machines."""
        return [k for k in self._train if self.claims[k] not in self.machines]

    @property
    def _train(self) -> list[int]:
        return [k for k, row in enumerate(self.rows) if row.columns["part"] == "train"]

    @property
    def labelled(self) -> list[int]:
        """Recordings of the user's machine with a label, which nothing is fitted on."""
        return [
            k
            for k, row in enumerate(self.rows)
            if _is_own(row) and row.columns["part"] == "test" and row.label in (NORMAL, ANOMALY)
        ]

    @property
    def rate(self) -> int:
        """Sample rate in Hz."""
        return int(self.card.sample_rate or 0)

    def digest_of(self, rows: Sequence[int]) -> str:
        """Return a hash of the samples of some rows, whatever the names of their files are."""
        content = sorted((self.decoded[k], self.rows[k].start) for k in rows)
        return hashlib.sha256(repr(content).encode()).hexdigest()

    def by_recording(self, rows: Sequence[int]) -> dict[str, list[int]]:
        """Return rows grouped by the recording that they are cut from."""
        found: dict[str, list[int]] = {}
        for k in rows:
            found.setdefault(str(self.rows[k].source), []).append(k)
        return found

    def warnings(self) -> Iterator[str]:
        """Yield what is wrong with recordings, each fault once."""
        yield from self.card.notes
        alone = sorted({self.claims[k] for k in self.others if _is_own(self.rows[k])})
        if alone and self.only is None:
            yield f"machines with 1 recording get no threshold, and only help to train: {', '.join(alone)}"
        counts = Counter(fault for faults in self.faults.values() for fault in faults)
        for fault, count in sorted(counts.items()):
            first = min(name for name, faults in self.faults.items() if fault in faults)
            yield f"{fault}: {count} of {len(self.faults)} recordings (first: {first})"


def gather(
    registry: Registry,
    source: Source,
    *,
    length_s: float | None,
    background: str | None,
    only: str | None,
    folder: Path,
    cache: Path,
    on_progress: OnProgress,
) -> Recordings:
    """Decode a user's recordings, and those of other machines, into a pack.

    Args:
        registry: Offers the datasets.
        source: The user's recordings.
        length_s: Seconds that the method uses of an item; None: all.
        background: ``synthetic``, or a folder of recordings of other machines; None: none.
        only: The machine to fit to; the others of the folder are other machines then. None: every machine.
        folder: New; gets the pack.
        cache: Gets generated recordings.
        on_progress: Receives the progress.

    Raises:
        DataError: There are no recordings, or some are damaged.
        ConfigError: An option does not fit the recordings.
    """
    dataset, root = _cut(registry, source, length_s=length_s)
    card = dataset.card
    rate, [length] = int(card.sample_rate or 0), card.item_shape
    readers = {OWN: (dataset, root)}
    if background is not None:
        clip_s = length / rate
        readers[BACKGROUND] = _others(
            registry, background, rate=rate, clip_s=clip_s, channel=source.channel, cache=cache,
            on_progress=on_progress,
        )  # fmt: skip
    rows = [
        replace(row, source=PurePosixPath(name) / row.source)
        for name, (each, place) in readers.items()
        for row in sorted(indexed(each, place), key=lambda row: (str(row.source), row.start))
        if _is_used(row, name)
    ]
    if not any(_is_own(row) and row.columns["part"] == "train" for row in rows):
        raise DataError(
            f"{source.path} has no recordings to fit on; put normal ones into a folder train there"
        )
    faults: dict[str, Sequence[str]] = {}

    def read(name: PurePosixPath) -> NDArray[Any]:
        each, place = readers[name.parts[0]]
        inner = PurePosixPath(*name.parts[1:])
        with calling(each.card.name, to=f"read {inner} under {place}"):
            if not isinstance(each, ExaminedDataset):
                return np.asarray(each.read(place, inner))
            array, found = each.examined(place, inner)
        if name.parts[0] == OWN:
            faults[str(inner)] = found
        return array

    folder.mkdir(parents=True, exist_ok=True)
    decoded = build_pack(rows, np.arange(len(rows)), read=read, folder=folder, on_progress=on_progress)
    return Recordings(
        rows=rows, card=card, pack=Pack(folder), length=length, decoded=decoded, faults=faults, only=only
    )


def open_folder(
    registry: Registry, source: Source, *, flat: Literal["train", "test"] = "train"
) -> tuple[Any, Path]:
    """Return the dataset of a folder of recordings, and its root.

    Raises:
        PluginError: No plugin offers the dataset ``folder``.
        DataError: There is no such folder.
    """
    options = {
        "path": str(source.path),
        "channel": source.channel,
        "clip_s": source.clip_s,
        "sample_rate": source.sample_rate,
        "labels": source.labels,
        "normal": source.normal,
        "anomaly": source.anomaly,
        "flat": flat,
    }
    dataset = configure(config_of(registry.build("dataset", FOLDER)), options, of=FOLDER)
    with calling(FOLDER, to=f"find recordings under {source.path}"):
        return dataset.located(Path.cwd())  # type: ignore[no-any-return]


def _cut(registry: Registry, source: Source, *, length_s: float | None) -> tuple[Any, Path]:
    """Return the dataset that cuts recordings into clips, so that a long one is used whole."""
    if source.clip_s is None:
        whole, _ = open_folder(registry, source)
        with calling(FOLDER, to=f"read the headers under {source.path}"):
            card = whole.card
        shortest_s = card.item_shape[0] / card.sample_rate
        source = dataclasses.replace(
            source, clip_s=shortest_s if length_s is None else min(shortest_s, length_s)
        )
    return open_folder(registry, source)


def _others(
    registry: Registry,
    background: str,
    *,
    rate: int,
    clip_s: float,
    channel: int | str,
    cache: Path,
    on_progress: OnProgress,
) -> tuple[Any, Path]:
    """Return the dataset of other machines at the same rate, and its root."""
    if background != SYNTHETIC:
        other = Source(path=Path(background), channel=channel, clip_s=clip_s, sample_rate=rate)  # type: ignore[arg-type]
        return open_folder(registry, other)
    shortest, longest = SYNTHETIC_S
    options = {
        "ids": 1,
        "test_clips": 1,
        "sample_rate": rate,
        "length_s": min(max(clip_s, shortest), longest),
    }
    dataset = configure(config_of(registry.build("dataset", SYNTHETIC)), options, of="--background synthetic")
    return placed(dataset, Path.cwd(), cache=cache, on_progress=on_progress)


def _is_used(row: Row, name: str) -> bool:
    known = row.columns["part"] == "train" or (name == OWN and row.label is not None)
    return known and (name == OWN or row.label == NORMAL)


def _is_own(row: Row) -> bool:
    return row.source.parts[0] == OWN


def _class_of(row: Row, names: Sequence[str]) -> str:
    values = [row.columns[name] for name in names]
    return "/".join(values if _is_own(row) else [BACKGROUND, *values])
