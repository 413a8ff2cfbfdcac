"""Arithmetic on waves: turning shafts, sums of harmonics, trains of impacts, coloured noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Wave = NDArray[np.float64]
"""Samples of one channel, or a curve with one value per sample."""
Tones = NDArray[np.complex128]
"""Amplitude and phase of the harmonics 1, 2, 3 ... of a shaft."""
Shape = Callable[[Wave], Wave]
"""Frequencies in Hz (above 0) -> linear gain."""

SAFE_SHARE = 0.45
"""Tones above this share of the sample rate are left out: they would alias when the shaft speed varies."""


@dataclass(frozen=True, kw_only=True)
class Take:
    """One take of a machine: its length, its rate and its random numbers."""

    sample_rate: int
    samples: int
    rng: np.random.Generator
    """Random numbers of the healthy machine: speed, load, turbulence."""
    fault_rng: np.random.Generator
    """Random numbers of the fault only, so that a faulty take differs from the healthy one only by its fault."""

    @cached_property
    def time_s(self) -> Wave:
        """Time of every sample in seconds, shape ``[samples]``."""
        return np.arange(self.samples) / self.sample_rate

    def gain(self, spread_db: float) -> float:
        """Return a random linear gain from -spread to +spread dB: the loudness of a part of the machine in this take."""
        return decibel(self.rng.uniform(-spread_db, spread_db))


def decibel(level_db: float) -> float:
    """Return the amplitude ratio of a level in dB."""
    return float(10.0 ** (level_db / 20))


def rms(wave: Wave) -> float:
    """Return the root mean square of a wave."""
    return float(np.sqrt(np.mean(np.square(wave))))


def over(base: Wave, extra: Wave, *, level: float) -> Wave:
    """Return ``base`` with ``extra`` added at an RMS of ``level`` times that of ``base``.

    The level of a fault is relative to the healthy machine as recorded; otherwise the casing would hide the fault in one
    unit and amplify it in another.
    """
    own = rms(extra)
    # Faults that add no sound, and impacts that all miss a short clip, have an RMS of 0.
    return base + extra * (level * rms(base) / own) if own > 0 else base


def wander(take: Take, *, corner_hz: float = 4.0) -> Wave:
    """Return a slow random curve of about unit standard deviation, up to ``corner_hz``: a varying load."""
    seconds = take.samples / take.sample_rate
    knots = int(np.ceil(seconds * corner_hz)) + 2
    return np.interp(take.time_s, np.arange(knots) / corner_hz, take.rng.standard_normal(knots))


def turns(take: Take, rate_hz: float, *, wobble: float = 0.003) -> Wave:
    """Return the turns that a shaft has completed at every sample, from a random start.

    Args:
        take: The recording.
        rate_hz: Mean turns per second.
        wobble: Relative deviation of the speed as the load varies.
    """
    speed = rate_hz * (1 + wobble * wander(take))
    return take.rng.uniform() + np.cumsum(speed) / take.sample_rate


def harmonics(revolutions: Wave, tones: Tones, *, rate_hz: float, sample_rate: int) -> Wave:
    """Return the sum over k of ``|c_k| cos(2 pi k revolutions + arg c_k)``, k = 1, 2, ...

    By Horner's rule in ``z = exp(2 pi i revolutions)``: one complex product per harmonic, no further cosines; in single
    precision, whose error is far below one step of 16 bits. Harmonics that would alias are left out.
    """
    audible = tones[: max(0, int(SAFE_SHARE * sample_rate / rate_hz))].astype(np.complex64)
    # Whole turns go before the cast: float32 would lose the phase after some thousand turns.
    angle = (2 * np.pi * (revolutions % 1.0)).astype(np.float32)
    pointer = np.empty(angle.shape, np.complex64)
    np.cos(angle, out=pointer.real)
    np.sin(angle, out=pointer.imag)
    total = np.zeros_like(pointer)
    for tone in audible[::-1]:
        total += tone
        total *= pointer
    return total.real.astype(np.float64)


def passings(cycles: Wave) -> Wave:
    """Return the (fractional) sample positions at which a rising curve passes whole numbers."""
    whole = np.floor(cycles)
    before = np.flatnonzero(np.diff(whole) > 0)
    step = cycles[before + 1] - cycles[before]
    return before + (whole[before + 1] - cycles[before]) / step


def impacts(positions: Wave, strengths: Wave | float, *, samples: int) -> Wave:
    """Return a wave of ``samples`` values with an impulse at each position, divided between the two nearest samples.

    Positions outside the wave are left out.
    """
    strengths = np.broadcast_to(np.asarray(strengths, dtype=np.float64), positions.shape)
    inside = (positions >= 0) & (positions < samples - 1)
    first = positions[inside].astype(np.int64)
    late = positions[inside] - first
    wave = np.zeros(samples)
    # wave[first] += ... would count only one of several hits on the same sample.
    np.add.at(wave, first, (1 - late) * strengths[inside])
    np.add.at(wave, first + 1, late * strengths[inside])
    return wave


def coloured(rng: np.random.Generator, shape: Shape, *, samples: int, sample_rate: int) -> Wave:
    """Return Gaussian noise of unit RMS whose amplitude spectrum follows ``shape``, with no 0 Hz component."""
    import scipy.fft

    length = scipy.fft.next_fast_len(samples, real=True)
    frequencies = np.fft.rfftfreq(length, 1 / sample_rate)[1:]
    half = np.zeros(len(frequencies) + 1, np.complex64)
    # Pairs of normal numbers, viewed as complex ones, are a Gaussian spectrum with random phases.
    half[1:] = rng.standard_normal(2 * len(frequencies), np.float32).view(np.complex64)
    half[1:] *= shape(frequencies.astype(np.float64))
    wave: Wave = scipy.fft.irfft(half, length)[:samples].astype(np.float64)
    return wave / rms(wave)


def band(low_hz: float, high_hz: float) -> Shape:
    """Return a gain that is flat between two corner frequencies and falls by 12 dB per octave outside them."""

    def gain(frequencies: Wave) -> Wave:
        return 1 / (1 + (low_hz / frequencies) ** 2) / (1 + (frequencies / high_hz) ** 2)

    return gain


def pulses(cycles: Wave, *, sharpness: float) -> Wave:
    """Return periodic pulses of height 1 at the whole numbers of ``cycles``; a larger ``sharpness`` makes them narrower."""
    return np.exp(sharpness * (np.cos(2 * np.pi * cycles) - 1))
