"""What the headers of all recordings of a folder give: rates, lengths and channels; and where clips of them begin."""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path, PurePosixPath

from asdbench import DamagedFiles, DataError, Recordings
from asdbench_datasets.recordings.layout import Part, Recording, left_out, recordings_in


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What the header of one recording gives."""

    recording: Recording
    samples: int
    """In each channel."""
    rate: int
    channels: int

    @property
    def seconds(self) -> Fraction:
        """Exact length."""
        return Fraction(self.samples, self.rate)

    def is_shorter(self, seconds: float) -> bool:
        """Return whether it is shorter than a clip."""
        # In samples, as clips are cut: 0.2 as a float is slightly more than the 1,600 samples of 0.2 s at 8 kHz.
        return self.samples < round(seconds * self.rate)

    def samples_at(self, rate: int) -> int:
        """Return the length in samples after resampling to ``rate`` Hz."""
        return math.ceil(self.seconds * rate)


@dataclass(frozen=True, kw_only=True)
class Survey:
    """The headers of all recordings of a folder."""

    headers: Sequence[Header]
    left_out: Sequence[PurePosixPath]
    """Recordings that belong to no part."""

    @cached_property
    def by_source(self) -> Mapping[PurePosixPath, Header]:
        """The header of each recording."""
        return {header.recording.source: header for header in self.headers}

    @cached_property
    def rates(self) -> Mapping[int, int]:
        """Sample rate in Hz -> number of recordings with it."""
        return Counter(header.rate for header in self.headers)

    @cached_property
    def channels(self) -> Mapping[int, int]:
        """Number of channels -> number of recordings with so many."""
        return Counter(header.channels for header in self.headers)

    @cached_property
    def common_rate(self) -> int:
        """The most common rate, or the lowest of several equally common ones, whatever the names and order of files."""
        return min(self.rates, key=lambda rate: (-self.rates[rate], rate))

    @cached_property
    def recordings(self) -> Sequence[Recording]:
        """All recordings."""
        return [header.recording for header in self.headers]

    @property
    def recorded(self) -> Recordings:
        """Sample rates, channels and lengths of all recordings."""
        seconds = [header.seconds for header in self.headers]
        return Recordings(
            sample_rates={str(rate): count for rate, count in sorted(self.rates.items())},
            channels={str(channels): count for channels, count in sorted(self.channels.items())},
            shortest_s=float(min(seconds)),
            longest_s=float(max(seconds)),
            total_s=float(sum(seconds)),
        )

    @property
    def is_flat(self) -> bool:
        """Whether the recordings lie in the folder itself, so that all are for training."""
        return all(len(recording.source.parts) == 1 for recording in self.recordings)

    def of(self, part: str) -> list[Header]:
        """Return the headers of one part."""
        return [header for header in self.headers if header.recording.part == part]

    def shortest_at(self, rate: int) -> int:
        """Return the length in samples of the shortest training recording, or of the shortest of all if there are none."""
        headers = self.of("train") or self.headers
        return math.ceil(min(header.seconds for header in headers) * rate)


@functools.lru_cache(maxsize=32)
def survey(folder: Path, *, flat: Part = "train") -> Survey:
    """Read the headers of all recordings; cached, since the rate at which each file is read depends on all.

    Raises:
        DataError: There are no recordings, or some are damaged; the message names all of these.
    """
    from asdbench import wave_info

    recordings = recordings_in(folder, flat=flat)
    headers: list[Header] = []
    errors: list[DataError] = []
    for recording in recordings:
        try:
            samples, rate, channels = wave_info(recording.file)
        except DataError as error:
            errors.append(error)
        else:
            headers.append(Header(recording=recording, samples=samples, rate=rate, channels=channels))
    DamagedFiles.check(errors)
    return Survey(headers=headers, left_out=left_out(folder, recordings))


def clip_starts(samples: int, clip: int) -> list[int]:
    """Return where clips of ``clip`` samples begin in a recording; none if it is shorter.

    They follow each other. What is left at the end, if it is at least half a clip, gets a clip that ends with the
    recording and so overlaps the one before.
    """
    starts = list(range(0, samples - clip + 1, clip))
    if starts and 2 * (samples % clip) >= clip:
        starts.append(samples - clip)
    return starts
