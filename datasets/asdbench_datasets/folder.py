"""``folder``: your own recordings (wav, flac, ogg), in any of these layouts below ``path``.

    <machine>/train/*.wav, <machine>/test/*.wav     several machine types
    train/*.wav, test/*.wav                         one machine type, named after the folder
    *.wav                                           only normal recordings: all are for training, none is tested

Training recordings are normal. The label of a test recording is the beginning of its name, or the name of a folder
between it and ``test``: ``normal``, or ``anomaly``, ``abnormal``, ``anomalous``. With any other name the label is
unknown: the recording gets a score but does not count in the metrics. ``id_NN`` in a name is the machine ID, which is
``00`` by default. Hidden files and files of other kinds are ignored.

All recordings are read at one rate: ``sample_rate``, or else the most common rate, or the lowest of several equally common
ones. If rates or lengths differ, the card's notes say how they are handled, and every run shows the notes.
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
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta

from asdbench import ANOMALY, NORMAL, Card, Config, ConfigError, DataError, Fold, Row, by_part
from asdbench_datasets.located import at_place
from asdbench_datasets.machine_recordings import CLAIMS, COLUMNS, GROUPS, SCOPES

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUFFIXES = frozenset({".wav", ".flac", ".ogg"})
ALIKE = Fraction(99, 100)
"""Lengths that differ by less than a hundredth need no note."""
_LABEL = re.compile(r"(?P<normal>normal)|anomaly|abnormal|anomalous", re.IGNORECASE)
# The lookahead keeps words such as `normalised_01` from being labels.
_NAME_LABEL = re.compile(rf"(?:{_LABEL.pattern})(?![a-z])", re.IGNORECASE)
_SECTION = re.compile(r"(?:^|[_\- ])id_(\d{2})(?!\d)")


class Folder(Config, frozen=True):
    """A folder of your own recordings."""

    path: Annotated[
        str, Meta(description="folder of the recordings, absolute or relative to the data root")
    ] = ""
    sample_rate: Annotated[
        Annotated[int, Meta(ge=100)] | None,
        Meta(
            description="sample rate in Hz; recordings at another rate are resampled; none: the most common rate, or the "
            "lowest of several equally common ones"
        ),
    ] = None
    channel: Annotated[
        int, Meta(description="channel to read from recordings with several channels", ge=0)
    ] = 0

    @property
    def card(self) -> Card:
        """Describe the recordings.

        If ``path`` is absolute (see ``located``), rate, shape and notes describe the files. Otherwise the rate is
        ``sample_rate`` and the shape is empty: without the data root, the files are unknown.

        Raises:
            DataError: ``path`` is absolute and has no recordings, or one of them cannot be read.
        """
        files = _survey(Path(self.path)) if Path(self.path).is_absolute() else None
        rate = self._rate(files) if files else self.sample_rate
        return Card(
            name="folder",
            title=f"Recordings in {self.path}" if self.path else "Your own recordings",
            task="detection",
            modality="audio",
            licence="the owner's",
            citation="none: the recordings belong to their owner",
            columns=COLUMNS,
            claims=CLAIMS,
            scopes=SCOPES,
            groups=GROUPS,
            metrics="dcase2020",
            item_shape=(files.shortest_at(rate),) if files and rate else (),
            sample_rate=rate,
            notes=tuple(self._notes(files)) if files else (),
        )

    def located(self, root: Path) -> tuple[Folder, Path]:
        """Return the dataset with an absolute path, so that its card describes the files, and that path.

        Raises:
            ConfigError: ``path`` is not given.
        """
        _survey.cache_clear()  # files may have changed since the last run of this process
        return at_place(self, self._folder(root), option="path")

    def index(self, root: Path) -> Iterator[Row]:
        """List the recordings under ``path``.

        Raises:
            ConfigError: ``path`` is not given.
            DataError: There are no recordings, or the name of a training recording is that of an anomaly.
        """
        folder = self._folder(root)
        for machine, part, place in _places(folder):
            for file in _recordings(place, deep=part is not None):
                source = PurePosixPath(file.relative_to(folder).as_posix())
                yield _row(file, source, machine=machine, part=part, inner=file.relative_to(place))

    def read(self, root: Path, source: PurePosixPath) -> NDArray[Any]:
        """Decode one recording, ``[samples]``: int16 if it is stored so at the rate to read, else float32.

        Raises:
            DataError: The file is damaged; the message names it.
        """
        from asdbench import read_wave

        rate = self.sample_rate or self._rate(_survey(self._folder(root)))
        return read_wave(self._folder(root) / source, sample_rate=rate, channel=self.channel)

    def folds(self, rows: Sequence[Row]) -> Sequence[Fold]:
        """Return the one fold that the folders give; a flat folder has nothing to test."""
        return by_part(rows, name="folder")

    def _folder(self, root: Path) -> Path:
        if not self.path:
            raise ConfigError("the dataset `folder` needs a path: -d 'folder[path=...]'")
        return root / self.path  # an absolute path replaces the root

    def _rate(self, files: _Files) -> int:
        return self.sample_rate or files.common_rate

    def _notes(self, files: _Files) -> Iterator[str]:
        """Yield how recordings that differ in rate or length are handled."""
        if len(files.rates) > 1:
            found = ", ".join(f"{rate} Hz ({count})" for rate, count in sorted(files.rates.items()))
            why = (
                "the sample_rate given"
                if self.sample_rate
                else "the most common one; set sample_rate for another"
            )
            yield (
                f"the recordings have several sample rates: {found}; all are read at {self._rate(files)} Hz, {why}"
            )
        lengths = [*files.train_s, *files.test_s]
        if min(lengths) < ALIKE * max(lengths):
            shortest = min(files.train_s, default=min(lengths))
            shorter = sum(seconds < shortest for seconds in files.test_s)
            yield (
                f"the recordings are {float(min(lengths)):.3g} to {float(max(lengths)):.3g} s long: recordings that train "
                f"together are cut to the shortest of them (the shortest of all has {float(shortest):.3g} s), or to a "
                f"method's length_s if that is less; shorter test recordings ({shorter} are shorter than "
                f"{float(shortest):.3g} s) are repeated from the beginning"
            )


@dataclass(frozen=True, kw_only=True)
class _Files:
    """What the headers of all recordings give."""

    rates: Mapping[int, int]
    """Sample rate in Hz -> number of recordings with it."""
    train_s: Sequence[Fraction]
    """Exact lengths of the training recordings in seconds."""
    test_s: Sequence[Fraction]

    @property
    def common_rate(self) -> int:
        """The most common rate, or the lowest of several equally common ones, whatever the names and order of files."""
        return min(self.rates, key=lambda rate: (-self.rates[rate], rate))

    def shortest_at(self, rate: int) -> int:
        """Return the length in samples of the shortest training recording, or of the shortest of all if there are none."""
        return math.ceil(min(self.train_s or self.test_s) * rate)


def _places(folder: Path) -> list[tuple[str, str | None, Path]]:
    """Return (machine, part or None for a flat folder, folder) of all folders with recordings.

    Raises:
        DataError: There is no such folder, or it fits none of the layouts.
    """
    if not folder.is_dir():
        raise DataError(
            f"{folder} is not a folder; give the right one with -d 'folder[path=...]'; a relative path starts at the data "
            "root, and --data-root . makes it start here"
        )
    visible = (path for path in folder.iterdir() if not path.name.startswith("."))
    machines = [folder, *sorted(path for path in visible if path.is_dir())]
    filled: list[tuple[str, str | None, Path]] = [
        # Resolved, since `.` has no name.
        (machine.resolve().name, part, machine / part)
        for machine in machines
        for part in ("train", "test")
        if (machine / part).is_dir() and _recordings(machine / part, deep=True)
    ]
    if not filled and _recordings(folder, deep=False):
        filled = [(folder.resolve().name, None, folder)]
    if not filled:
        raise DataError(
            f"no recordings ({', '.join(sorted(SUFFIXES))}) under {folder}; put them in <machine>/train and "
            "<machine>/test, or in train and test, or, if all are normal, in the folder itself"
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
                f"{path} is a symbolic link to {path.readlink()}, which does not exist; remove the link"
            )
    return recordings


def _check_name(path: Path) -> None:
    try:
        str(path).encode()
    except UnicodeEncodeError as error:  # neither a record nor a decoder could use such a name
        raise DataError(f"the name {str(path)!r} is not UTF-8; rename the file") from error


def _row(file: Path, source: PurePosixPath, *, machine: str, part: str | None, inner: Path) -> Row:
    label = _label(inner)
    if part != "test" and label == ANOMALY:
        raise DataError(
            f"{file} has the name of an anomaly, but training recordings must be normal; move it to test"
        )
    section = _SECTION.search(source.stem)
    return Row(
        source=source,
        columns={"machine": machine, "section": section[1] if section else "00", "part": part or "train"},
        label=label if part == "test" else NORMAL,
    )


def _label(inner: Path) -> str | None:
    """Return the label in a name or in the nearest folder around it; ``inner`` starts below the part."""
    named = _NAME_LABEL.match(inner.stem)
    folders = (_LABEL.fullmatch(name) for name in reversed(inner.parts[:-1]))
    match = named or next(filter(None, folders), None)
    if match is None:
        return None
    return NORMAL if match["normal"] else ANOMALY


@functools.lru_cache(maxsize=32)
def _survey(folder: Path) -> _Files:
    """Read the headers of all recordings; cached, since the rate at which each file is read depends on all."""
    from asdbench import wave_info

    rates: Counter[int] = Counter()
    lengths: dict[bool, list[Fraction]] = {True: [], False: []}
    for _, part, place in _places(folder):
        for file in _recordings(place, deep=part is not None):
            samples, rate = wave_info(file)
            rates[rate] += 1
            lengths[part == "test"].append(Fraction(samples, rate))
    return _Files(rates=rates, train_s=lengths[False], test_s=lengths[True])
