"""What readers of results on a user's recordings must know: how they differ, which labels are missing, what is left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from asdbench import ConfigError, DataError
from asdbench_datasets.recordings.labels import Labelling
from asdbench_datasets.recordings.survey import Header, Survey

ALIKE = Fraction(99, 100)
"""Lengths that differ by less than a hundredth need no note."""
LOSSY = frozenset({".mp3", ".ogg"})
"""Suffixes of formats that lose information."""
FEWEST_DIGITS = 6
DIGITS = 15
"""Most digits of a length: those that every number of double precision has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The options by which recordings are read."""

    sample_rate: int | None
    channel: int | str
    clip_s: float | None


def notes_of(files: Survey, labelling: Labelling, *, reading: Reading) -> Iterator[str]:
    """Yield how recordings that differ are handled, and what the labels and the layout leave open."""
    yield from _of_rates(files, reading)
    yield from _of_codecs(files)
    if len(files.channels) > 1 or max(files.channels) > 1:
        yield from _of_channels(files.channels, reading.channel)
    if reading.clip_s is None:
        yield from _of_lengths(files)
    else:
        yield from _of_clips(files, reading.clip_s)
    yield from _of_labels(files, labelling)
    if files.is_flat and not files.of("test"):
        yield (
            f"all {len(files.headers)} recordings lie in the folder itself, so they are trained on and none is tested; to "
            "test others, move these into a new folder train there, and put the others into a folder test beside it"
        )
    if files.left_out:
        yield (
            f"{len(files.left_out)} recordings outside train and test are left out (first: {files.left_out[0]}); move "
            "normal ones to train and others to test"
        )


def check_clip(files: Survey, *, seconds: float) -> None:
    """Check that some training recording is as long as a clip.

    Raises:
        DataError: None is.
    """
    training = files.of("train")
    if training and all(header.is_shorter(seconds) for header in training):
        clip, longest = told_apart(Fraction(seconds), max(header.seconds for header in training))
        raise DataError(f"clip_s={clip} is longer than every training recording: the longest has {longest} s")


def check_channel(files: Survey, *, channel: int | str) -> None:
    """Check that some recording has a channel, or that all have equally many if they are read ``together``.

    Raises:
        ConfigError: No recording has it: the option is wrong, and no file is damaged.
        DataError: Some have fewer channels than others; the message names the first.
    """
    fewest, most = min(files.channels), max(files.channels)
    if isinstance(channel, str) and fewest < most:
        first = next(header for header in files.headers if header.channels == fewest)
        raise DataError(
            f"channel={channel} needs recordings with equal numbers of channels, but they have from {fewest} to {most} "
            f"({fewest} in {first.recording.source}); read one channel of all with channel=0, or move such recordings "
            "elsewhere"
        )
    if isinstance(channel, int) and channel >= most:
        right = "0, the only one" if most == 1 else f"a number from 0 to {most - 1}"
        raise ConfigError(f"no recording has a channel {channel}; set channel to {right}")


def told_apart(*lengths: Fraction) -> list[str]:
    """Return lengths in seconds with six digits, or with so many that unequal ones are written differently."""
    texts: list[str] = []
    for digits in range(FEWEST_DIGITS, DIGITS + 1):
        texts = [f"{float(length):.{digits}g}" for length in lengths]
        if len(set(texts)) == len(set(lengths)):
            break
    return texts


def _of_rates(files: Survey, reading: Reading) -> Iterator[str]:
    if len(files.rates) < 2:
        return
    found = ", ".join(f"{rate} Hz ({count})" for rate, count in sorted(files.rates.items()))
    why = (
        "the sample_rate given" if reading.sample_rate else "the most common one; set sample_rate for another"
    )
    rate = reading.sample_rate or files.common_rate
    yield f"the recordings have several sample rates: {found}; all are read at {rate} Hz, {why}"


def _of_codecs(files: Survey) -> Iterator[str]:
    lossy = [header for header in files.headers if header.recording.file.suffix.lower() in LOSSY]
    if 0 < len(lossy) < len(files.headers):
        yield (
            f"{len(lossy)} of {len(files.headers)} recordings are compressed with losses (first: {_first(lossy)}), the "
            "others are not: a method hears the difference, so use one format"
        )


def _of_channels(channels: Mapping[int, int], channel: int | str) -> Iterator[str]:
    found = ", ".join(f"{count} ({recordings})" for count, recordings in sorted(channels.items()))
    # A channel other than the first, or a way to mix them, was chosen by the user.
    if channel == 0:
        yield (
            f"the recordings have several channels, number of channels (of recordings): {found}; only channel 0 is read; "
            "set channel to another number, mean, loudest, all or together"
        )
    elif channel == "together":
        yield (
            f"items have all {max(channels)} channels of the recordings; a method reads channel 0, unless its own option "
            "channel is another"
        )
    elif channel == "mean" and len(channels) > 1:
        yield f"the recordings have different numbers of channels: {found}; the mean is over those of each"


def _of_lengths(files: Survey) -> Iterator[str]:
    train, test = ([header.seconds for header in files.of(part)] for part in ("train", "test"))
    lengths = [*train, *test]
    if min(lengths) < ALIKE * max(lengths):
        shortest = min(train, default=min(lengths))
        shorter = sum(seconds < shortest for seconds in test)
        low, high, cut = told_apart(min(lengths), max(lengths), shortest)
        repeated = (
            f"; shorter test recordings ({shorter} are shorter than {cut} s) are repeated from the beginning"
        )
        yield (
            f"the recordings are {low} to {high} s long: recordings that train together are cut to the shortest of them "
            f"(the shortest of all has {cut} s), or to a method's length_s if that is less{repeated if shorter else ''}; "
            "clip_s cuts all into items of one length instead"
        )


def _of_clips(files: Survey, seconds: float) -> Iterator[str]:
    for part, fate in (("train", "left out"), ("test", "repeated from the beginning")):
        if short := [header for header in files.of(part) if header.is_shorter(seconds)]:
            yield (
                f"{len(short)} {part} recordings are shorter than clip_s={seconds:g} and are {fate} "
                f"(first: {_first(short)})"
            )


def _of_labels(files: Survey, labelling: Labelling) -> Iterator[str]:
    yield from (f"{option} matches no test recording" for option in labelling.unmatched(files.recordings))
    tested = files.of("test")
    if not tested or any(labelling.of(header.recording) for header in tested):
        return
    names = sorted(header.recording.source.name for header in tested)
    # The two ends of the alphabet, where names of both kinds are likely to be.
    shown = " and ".join(dict.fromkeys((names[0], names[-1])))
    yield (
        f"none of the {len(tested)} test recordings has a known label (for example {shown}), so they are scored and ranked "
        "but give no metrics; name their labels with normal=PATTERN and anomaly=PATTERN, for example "
        "normal=good*,anomaly=bad*, with labels=FILE.csv (columns file and label), or by names that begin with normal or "
        "anomaly"
    )


def _first(headers: Sequence[Header]) -> str:
    return str(headers[0].recording.source)
