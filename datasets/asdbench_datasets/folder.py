"""``folder``: your own recordings (wav, flac, ogg), in any of these layouts below ``path``.

    <machine>/train/*.wav, <machine>/test/*.wav     several machine types
    train/*.wav, test/*.wav                         one machine type, named as the folder
    *.wav                                           normal recordings alone: all for training, none is tested

Training recordings are normal. The label of a test recording is the beginning of its name or the name of a
folder between it and ``test``: ``normal``, or ``anomaly``, ``abnormal``, ``anomalous``; anything else leaves
it unknown, so that it gets a score but no part in the metrics. ``id_NN`` in a name is the machine ID, else it
is ``00``. Hidden files and files of other kinds are ignored.

All are read at one rate: ``sample_rate``, else the one that most of them have, of equally common ones the
lowest. Where rates or lengths differ, the card's notes tell what becomes of that, and every run shows them.
"""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from numpy.typing import NDArray

from asdbench.data.audio import read_wave, wave_info
from asdbench.data.folds import by_part
from asdbench.errors import ConfigError, DataError
from asdbench.values import ANOMALY, NORMAL, Card, Config, Fold, Row

SUFFIXES = frozenset({".wav", ".flac", ".ogg"})
ALIKE = Fraction(99, 100)
"""Recordings whose lengths differ by less than a hundredth need no note."""
_LABEL = re.compile(r"(?P<normal>normal)|anomaly|abnormal|anomalous", re.IGNORECASE)
_NAME_LABEL = re.compile(rf"(?:{_LABEL.pattern})(?![a-z])", re.IGNORECASE)
_SECTION = re.compile(r"(?:^|[_\- ])id_(\d{2})(?!\d)")


class Folder(Config, frozen=True):
    """A folder of recordings that no release describes."""

    path: Annotated[
        str, Meta(description="folder of the recordings, absolute or relative to the data root")
    ] = ""
    sample_rate: Annotated[
        Annotated[int, Meta(ge=100)] | None,
        Meta(description="Hz; others are resampled; none: the most common rate, of equals the lowest"),
    ] = None
    channel: Annotated[int, Meta(description="which channel of recordings with several", ge=0)] = 0

    @property
    def card(self) -> Card:
        """What can be said of the recordings.

        Rate, shape and notes are of the files where ``path`` is absolute (see ``located``). Otherwise
        the rate is ``sample_rate`` and the shape is empty: without the data root, no file is known.

        Raises:
            DataError: ``path`` is absolute and holds no recordings, or one of them cannot be read.
        """
        files = _survey(Path(self.path)) if Path(self.path).is_absolute() else None
        rate = self._rate(files) if files else self.sample_rate
        return Card(
            name="folder",
            title=f"Recordings in {self.path}" if self.path else "Recordings of your own",
            task="detection",
            modality="audio",
            licence="as their owner says",
            citation="none: the recordings are their owner's",
            columns={"machine": "machine type", "section": "machine ID", "part": "train or test"},
            claims=("machine", "section"),
            scopes={"all": (), "machine": ("machine",), "section": ("machine", "section")},
            groups=("machine", "section", "domain"),
            metrics="dcase2020",
            item_shape=(files.shortest_at(rate),) if files and rate else (),
            sample_rate=rate,
            notes=tuple(self._notes(files)) if files else (),
        )

    def located(self, root: Path) -> tuple[Folder, Path]:
        """Return the same dataset with an absolute path, so that its card knows the files, and that path.

        Raises:
            ConfigError: ``path`` is not given.
        """
        place = self._folder(root).resolve()
        _survey.cache_clear()  # files may have come and gone since the last run of this process
        return msgspec.structs.replace(self, path=str(place)), place

    def index(self, root: Path) -> Iterator[Row]:
        """List the recordings under ``path``.

        Raises:
            ConfigError: ``path`` is not given.
            DataError: Nothing is there, or a training recording is named anomalous.
        """
        folder = self._folder(root)
        for machine, part, place in _places(folder):
            for file in _recordings(place, deep=part is not None):
                source = PurePosixPath(file.relative_to(folder).as_posix())
                yield _row(file, source, machine=machine, part=part, inner=file.relative_to(place))

    def read(self, root: Path, source: PurePosixPath) -> NDArray[Any]:
        """Decode one recording, ``[samples]``: int16 where it is stored so at the wanted rate, else float32.

        Raises:
            DataError: The file is damaged; the message names it.
        """
        rate = self.sample_rate or self._rate(_survey(self._folder(root)))
        return read_wave(self._folder(root) / source, sample_rate=rate, channel=self.channel)

    def folds(self, rows: Sequence[Row]) -> Sequence[Fold]:
        """Return the one division that the folders state; a flat folder has nothing to test.

        Raises:
            DataError: A machine has test recordings but no training recordings.
        """
        return by_part(rows, name="folder")

    def _folder(self, root: Path) -> Path:
        if not self.path:
            raise ConfigError("the dataset `folder` needs to know where: -d 'folder[path=...]'")
        return root / self.path  # an absolute path stands for itself

    def _rate(self, files: _Files) -> int:
        return self.sample_rate or files.common_rate

    def _notes(self, files: _Files) -> Iterator[str]:
        """Yield what becomes of recordings that differ in rate or length."""
        if len(files.rates) > 1:
            met = ", ".join(f"{rate} Hz ({count})" for rate, count in sorted(files.rates.items()))
            why = (
                "as asked for"
                if self.sample_rate
                else ("the most common one; folder[sample_rate=...] chooses another")
            )
            yield (
                f"the recordings have several sample rates: {met}; all are read at {self._rate(files)} Hz, {why}"
            )
        lengths = [*files.train_s, *files.test_s]
        if min(lengths) < ALIKE * max(lengths):
            shortest = min(files.train_s, default=min(lengths))
            shorter = sum(seconds < shortest for seconds in files.test_s)
            yield (
                f"the recordings are {float(min(lengths)):.3g} to {float(max(lengths)):.3g} s long: what is trained "
                f"together is cut to its shortest training recording (the shortest of all has {float(shortest):.3g} s), "
                f"or to a method's length_s where that is less; test recordings that are shorter ({shorter} than "
                f"{float(shortest):.3g} s) are repeated from their beginning"
            )


@dataclass(frozen=True, kw_only=True)
class _Files:
    """What the headers of all recordings tell."""

    rates: Mapping[int, int]
    """Sample rate in Hz -> how many recordings have it."""
    train_s: Sequence[Fraction]
    """Seconds of the training recordings, exactly."""
    test_s: Sequence[Fraction]

    @property
    def common_rate(self) -> int:
        """The rate that most have, of equally common ones the lowest: no name or order of files matters."""
        return min(self.rates, key=lambda rate: (-self.rates[rate], rate))

    def shortest_at(self, rate: int) -> int:
        """Samples of the shortest training recording at a rate; of the shortest of all where none is for training."""
        return math.ceil(min(self.train_s or self.test_s) * rate)


def _places(folder: Path) -> list[tuple[str, str | None, Path]]:
    """Return (machine, part or None for a flat folder, folder) of all that holds recordings.

    Raises:
        DataError: There is no such folder, or nothing in it fits a layout.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; give the right one with -d 'folder[path=...]'")
    visible = (path for path in folder.iterdir() if not path.name.startswith("."))
    machines = [folder, *sorted(path for path in visible if path.is_dir())]
    filled: list[tuple[str, str | None, Path]] = [
        (machine.resolve().name, part, machine / part)
        for machine in machines
        for part in ("train", "test")
        if (machine / part).is_dir() and _recordings(machine / part, deep=True)
    ]
    if not filled and _recordings(folder, deep=False):
        filled = [(folder.resolve().name, None, folder)]
    if not filled:
        raise DataError(
            f"no recordings ({', '.join(sorted(SUFFIXES))}) under {folder}; they should lie in "
            "<machine>/train and <machine>/test, in train and test, or, if normal, in the folder itself"
        )
    return filled


def _recordings(folder: Path, *, deep: bool) -> list[Path]:
    found = folder.rglob("*") if deep else folder.iterdir()
    recordings = sorted(
        path
        for path in found
        if path.suffix.lower() in SUFFIXES
        and not any(word.startswith(".") for word in path.relative_to(folder).parts)
    )
    for path in recordings:
        _check_name(path)
        if path.is_symlink() and not path.exists():
            raise DataError(
                f"{path} is a symbolic link to {path.readlink()}, where nothing is; remove the link"
            )
    return recordings


def _check_name(path: Path) -> None:
    try:
        str(path).encode()
    except UnicodeEncodeError as error:  # no record and no decoder could be told of it
        raise DataError(f"the name {str(path)!r} is no UTF-8; rename it") from error


def _row(file: Path, source: PurePosixPath, *, machine: str, part: str | None, inner: Path) -> Row:
    label = _label(inner)
    if part != "test" and label == ANOMALY:
        raise DataError(f"{file} is named anomalous, but training recordings must be normal; move it to test")
    section = _SECTION.search(source.stem)
    return Row(
        source=source,
        columns={"machine": machine, "section": section[1] if section else "00", "part": part or "train"},
        label=label if part == "test" else NORMAL,
    )


def _label(inner: Path) -> str | None:
    """Return the label that a name or the nearest folder around it tells; ``inner`` starts below the part."""
    told = _NAME_LABEL.match(inner.stem)
    folders = (_LABEL.fullmatch(name) for name in reversed(inner.parts[:-1]))
    match = told or next(filter(None, folders), None)
    if match is None:
        return None
    return NORMAL if match["normal"] else ANOMALY


@functools.lru_cache(maxsize=32)
def _survey(folder: Path) -> _Files:
    """Read the headers of all recordings; remembered, as each file is read at a rate that depends on all."""
    rates: Counter[int] = Counter()
    lengths: dict[bool, list[Fraction]] = {True: [], False: []}
    for _, part, place in _places(folder):
        for file in _recordings(place, deep=part is not None):
            samples, rate = wave_info(file)
            rates[rate] += 1
            lengths[part == "test"].append(Fraction(samples, rate))
    return _Files(rates=rates, train_s=lengths[False], test_s=lengths[True])
