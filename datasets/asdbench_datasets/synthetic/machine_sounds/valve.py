"""A solenoid valve that opens and closes periodically: clicks of the plunger, hum of the coil, rush of flow.

The plunger hits its stop on opening and its seat on closing. In between, the coil hums at twice the mains frequency, as
its force is proportional to the square of the current, and the medium flows through.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from asdbench_datasets.synthetic.machine_sounds.bodies import Casing, Mode, Traits, ring
from asdbench_datasets.synthetic.machine_sounds.machine import Fault, share_of, strength_of
from asdbench_datasets.synthetic.machine_sounds.noise import MAINS_HZ
from asdbench_datasets.synthetic.machine_sounds.pump import hiss
from asdbench_datasets.synthetic.machine_sounds.signals import (
    Take,
    Tones,
    Wave,
    band,
    coloured,
    harmonics,
    over,
    passings,
    turns,
)

LEAK = 0.65
"""RMS of a leak of strength 1 relative to the healthy valve."""
CLOSING_S = 0.01
"""Time in which the flow starts and stops while the plunger moves."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Valve:
    """A valve whose units differ in rhythm, clicks, hum, flow and casing."""

    faults: ClassVar[tuple[str, ...]] = ("stuck", "leak", "clog")

    rate_hz: float
    open_share: float
    stop: Mode
    seat: Mode
    hum: Tones
    flow_hz: float
    casing: Casing

    @classmethod
    def draw(cls, traits: Traits) -> Self:
        """Return the unit with these traits."""
        return cls(
            rate_hz=traits.between(3.0, 5.0),
            open_share=traits.between(0.35, 0.6),
            stop=Mode(frequency_hz=traits.between(1500, 2600), damping=traits.between(0.01, 0.03)),
            seat=Mode(frequency_hz=traits.between(700, 1400), damping=traits.between(0.015, 0.04)),
            hum=traits.tones(6, fall_db=4),
            flow_hz=traits.between(1200, 3000),
            casing=Casing.draw(traits),
        )

    def sound(self, take: Take, fault: Fault | None) -> Wave:
        """Return one take of the valve.

        - *stuck*: the plunger sticks in some strokes: no click, no flow, and the coil hums louder with its gap open
          (less inductance, more current).
        - *leak*: the seat does not close, so the valve keeps hissing between the strokes.
        - *clog*: the passage is narrower: less flow noise, at a higher pitch, and the plunger lands softly.
        """
        cycles = turns(take, self.rate_hz * take.rng.uniform(0.97, 1.03), wobble=0.01)
        powered = _gate(cycles, self.open_share, sample_rate=take.sample_rate)
        moved = self._moved(cycles, take, sticking=share_of(fault, "stuck"))
        hum = self._hum(take) * powered * (1 + 3.0 * (1 - moved) * (1 + strength_of(fault, "stuck")))
        clogged = share_of(fault, "clog")
        flow = (1 - 0.9 * clogged) * self._flow(take, pitch=1 + 2 * clogged) * powered * moved
        clicks = (1 - 0.8 * clogged) * self._clicks(take, cycles, moved=moved)
        heard = self.casing.radiate(0.5 * hum + flow + clicks, sample_rate=take.sample_rate)
        if fault is None or fault.name != "leak":
            return heard
        return over(heard, (1 - powered) * hiss(take), level=LEAK * fault.strength)

    def _moved(self, cycles: Wave, take: Take, *, sticking: float) -> Wave:
        """Return 1 in strokes in which the plunger moves and 0 in those in which it sticks, at least one if any."""
        if sticking == 0:
            return np.ones_like(cycles)
        strokes = np.floor(cycles).astype(np.int64)
        chance = take.fault_rng.uniform(size=int(strokes[-1]) + 1)
        # One stroke sticks for certain, or the clip would be labelled anomalous and sound healthy. The first
        # and last stroke may be cut off; even a clip of 1 s has one between them.
        chance[1 + chance[1:-1].argmin()] = 0.0
        return np.where(chance < 0.7 * sticking, 0.0, 1.0)[strokes]

    def _hum(self, take: Take) -> Wave:
        rate = 2 * MAINS_HZ
        return harmonics(
            rate * take.time_s, take.gain(2) * self.hum, rate_hz=rate, sample_rate=take.sample_rate
        )

    def _flow(self, take: Take, *, pitch: float) -> Wave:
        shape = band(0.5 * pitch * self.flow_hz, 1.5 * pitch * self.flow_hz)
        noise = coloured(take.rng, shape, samples=take.samples, sample_rate=take.sample_rate)
        return 0.5 * take.gain(1.5) * noise

    def _clicks(self, take: Take, cycles: Wave, *, moved: Wave) -> Wave:
        total = np.zeros(take.samples)
        for mode, phase in ((self.stop, 0.0), (self.seat, self.open_share)):
            positions = passings(cycles - phase)
            # The passing is between two samples; the later one is in the stroke that the click belongs to.
            strengths = take.rng.uniform(4.0, 6.0, len(positions)) * moved[positions.astype(np.int64) + 1]
            total += ring(positions, strengths, mode=mode, take=take)
        return total


def _gate(cycles: Wave, open_share: float, *, sample_rate: int) -> Wave:
    """Return 1 while the coil is powered, otherwise 0, with the slopes of a moving plunger."""
    length = max(1, round(CLOSING_S * sample_rate))
    powered = ((cycles % 1.0) < open_share).astype(np.float64)
    # The two ends of a Hann window are 0 and would not count.
    window = np.hanning(length + 2)[1:-1]
    smooth: Wave = np.convolve(powered, window / window.sum(), mode="same")
    return smooth
