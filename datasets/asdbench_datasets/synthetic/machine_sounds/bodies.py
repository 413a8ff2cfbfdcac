"""The parts of a unit: traits that distinguish it from other units, a casing that resonates, rolling bearings."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import cos

import numpy as np
from numpy.typing import NDArray

from asdbench_datasets.synthetic.machine_sounds.signals import (
    SAFE_SHARE,
    Take,
    Tones,
    Wave,
    decibel,
    impacts,
    passings,
)

STEPS = (0.6180339887, 0.7548776662, 0.5698402910)
"""Inverse golden ratio, and the two of the plastic number: multiples of each fill [0, 1) evenly."""


VARIETY = 0.3
"""How far apart the units of a type are, as a share of the range of all such machines.

Units of a type are similar. At 1, a network could identify a unit by any of a dozen cues, most of which a fault does not
change.
"""


class Traits:
    """The traits of unit ``index`` of a machine type, spread so that a few units differ in each trait.

    Trait j of unit k is at ``centre_j + VARIETY * (frac(offset_j + k * step_j) - 1/2)`` of its range,
    reflected at the ends. The Kronecker sequence in it (Niederreiter, *Random Number Generation and
    Quasi-Monte Carlo Methods*, 1992, ch. 3) keeps units apart; with independent draws, two of three units would
    sometimes be alike. Centres and offsets belong to the machine type and the seed.
    """

    def __init__(self, offsets: np.random.Generator, *, index: int) -> None:
        self._offsets = offsets
        self._index = index
        self._asked = 0

    def between(self, low: float, high: float) -> float:
        """Return the next trait of the unit, from ``low`` to ``high``."""
        step = STEPS[self._asked % len(STEPS)]
        self._asked += 1
        # All units of a type begin with the same generator and thus share centres and offsets.
        # The order in which a machine draws its traits is therefore part of the data.
        centre, offset = self._offsets.uniform(size=2)
        own = (offset + self._index * step) % 1.0 - 0.5
        share = abs(float(centre) + VARIETY * float(own))
        # Reflection, not clipping: clipped units would be equal at the ends of the range.
        return low + (share if share <= 1 else 2 - share) * (high - low)

    def count(self, low: int, high: int) -> int:
        """Return the next trait of the unit as an integer, both ends included."""
        return int(self.between(low, high + 1))

    def tones(self, orders: int, *, fall_db: float, spread_db: float = 4.0) -> Tones:
        """Return harmonics that fall by ``fall_db`` per order, each off by up to ``spread_db``."""
        levels = [-fall_db * order + self.between(-spread_db, spread_db) for order in range(orders)]
        phases = [self.between(0, 2 * np.pi) for _ in range(orders)]
        return np.array(
            [decibel(level) * np.exp(1j * phase) for level, phase in zip(levels, phases, strict=True)]
        )


@dataclass(frozen=True, kw_only=True)
class Mode:
    """One resonance: a damped mass on a spring (Den Hartog, *Mechanical Vibrations*, 1956, ch. 2)."""

    frequency_hz: float
    damping: float
    """Ratio to critical damping, 0..1."""
    gain: float = 1.0
    """Gain at resonance."""

    def response(self, frequencies: Wave) -> NDArray[np.complex128]:
        """Return the complex gain at frequencies in Hz."""
        ratio = frequencies / self.frequency_hz
        # 2 i d r / (1 - r^2 + 2 i d r) with r = f / f_0 is 1 at resonance, whatever the damping d.
        friction = 2j * self.damping * ratio.astype(np.complex128)
        return self.gain * friction / (1 - ratio**2 + friction)


@dataclass(frozen=True, kw_only=True)
class Casing:
    """The path from the moving parts to the microphone: a direct part and the modes of the housing."""

    direct: float
    modes: tuple[Mode, ...]

    @classmethod
    def draw(
        cls, traits: Traits, *, low_hz: float = 250.0, high_hz: float = 6500.0, count: int = 7
    ) -> Casing:
        """Return a casing with one mode in each of ``count`` bands of equal ratio."""
        edges = np.geomspace(low_hz, high_hz, count + 1)
        modes = tuple(
            Mode(
                frequency_hz=traits.between(float(low), float(high)),
                damping=traits.between(0.02, 0.06),
                gain=decibel(traits.between(-4, 8)),
            )
            for low, high in pairwise(edges)
        )
        return cls(direct=0.25, modes=modes)

    def response(self, frequencies: Wave) -> NDArray[np.complex128]:
        """Return the complex gain at frequencies in Hz."""
        total = np.full(frequencies.shape, self.direct, np.complex128)
        for mode in self.modes:
            total += mode.response(frequencies)
        return total

    def radiate(self, source: Wave, *, sample_rate: int) -> Wave:
        """Return what the microphone records of a source inside, cut to the length of the source."""
        import scipy.fft

        # Without zeros behind it, the end of the source would ring into its beginning. After 0.1 s the
        # slowest mode (250 Hz, damping 0.02) is down to exp(-0.02 * 2 pi * 250 * 0.1) = 4 %.
        length = scipy.fft.next_fast_len(len(source) + sample_rate // 10, real=True)
        spectrum = scipy.fft.rfft(source, length) * _gains(self, length, sample_rate=sample_rate)
        wave: Wave = scipy.fft.irfft(spectrum, length)[: len(source)]
        return wave


@dataclass(frozen=True, kw_only=True)
class Bearing:
    """A rolling bearing and its seat, which rings when a ball runs over a defect.

    Defect frequencies as in Randall and Antoni, "Rolling element bearing diagnostics - a tutorial",
    *Mechanical Systems and Signal Processing* 25 (2011), equations 1 to 4.
    """

    balls: int
    pitch_ratio: float
    """Ball diameter over pitch diameter."""
    seat: Mode
    contact_angle_rad: float = 0.0

    @classmethod
    def draw(cls, traits: Traits) -> Bearing:
        """Return a bearing of a small machine, with 7 to 11 balls."""
        seat = Mode(frequency_hz=traits.between(2400, 3800), damping=traits.between(0.03, 0.06))
        return cls(balls=traits.count(7, 11), pitch_ratio=traits.between(0.2, 0.28), seat=seat)

    @property
    def outer_order(self) -> float:
        """BPFO over shaft rate, ``n/2 (1 - d/D cos phi)``: balls passing a point of the outer race per turn."""
        return self.balls / 2 * (1 - self.pitch_ratio * cos(self.contact_angle_rad))

    @property
    def inner_order(self) -> float:
        """BPFI over shaft rate, ``n/2 (1 + d/D cos phi)``: balls passing a point of the inner race per turn."""
        return self.balls / 2 * (1 + self.pitch_ratio * cos(self.contact_angle_rad))

    def outer_defect(self, revolutions: Wave, take: Take) -> Wave:
        """Return unit-peak ringing at BPFO; the defect stays in the load zone, so all hits are alike."""
        return self._hits(revolutions, take, order=self.outer_order, loaded=np.ones_like(revolutions))

    def inner_defect(self, revolutions: Wave, take: Take) -> Wave:
        """Return unit-peak ringing at BPFI, loud once per turn when the defect is in the load zone."""
        loaded = 0.5 + 0.5 * np.cos(2 * np.pi * revolutions)
        return self._hits(revolutions, take, order=self.inner_order, loaded=loaded)

    def _hits(self, revolutions: Wave, take: Take, *, order: float, loaded: Wave) -> Wave:
        positions = passings(order * revolutions + take.fault_rng.uniform())
        strengths = loaded[positions.astype(np.int64)] * take.fault_rng.uniform(0.7, 1.3, len(positions))
        # Balls slip by about a hundredth of their spacing, so the hits are not strictly periodic.
        spacing = take.samples / max(len(positions), 1)
        slipped = positions + 0.01 * spacing * take.fault_rng.standard_normal(len(positions))
        return ring(slipped, strengths, mode=self.seat, take=take)


def ring(positions: Wave, strengths: Wave | float, *, mode: Mode, take: Take) -> Wave:
    """Return the ringing of a mode after hits at sample positions: ``strength exp(-d n) sin(w n)``.

    The sampled impulse response of a damped oscillator equals that of a filter with one pair of poles (impulse
    invariance: Oppenheim and Schafer, *Discrete-Time Signal Processing*, 1989, ch. 7.1.1). A mode above the range of
    the sample rate rings at the highest usable frequency.
    """
    import scipy.signal

    w = 2 * np.pi * min(mode.frequency_hz / take.sample_rate, SAFE_SHARE)
    pole = np.exp(-mode.damping * w)
    struck = impacts(positions, strengths, samples=take.samples)
    # The z-transform of p^n sin(w n) is p sin(w) z^-1 / (1 - 2 p cos(w) z^-1 + p^2 z^-2).
    wave: Wave = scipy.signal.lfilter([0, pole * np.sin(w)], [1, -2 * pole * np.cos(w), pole**2], struck)
    return wave


@lru_cache(maxsize=64)
def _gains(casing: Casing, length: int, *, sample_rate: int) -> NDArray[np.complex128]:
    gains = casing.response(np.fft.rfftfreq(length, 1 / sample_rate).astype(np.float64))
    # All clips of a unit share the cached array.
    gains.flags.writeable = False
    return gains
