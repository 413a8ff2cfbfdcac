"""A centrifugal pump: pressure pulsation at the vane passing frequency, flow noise, its motor.

The vanes passing the cutwater cause the pulsation, at ``Z f``, over flow noise (Brennen, *Hydrodynamics of Pumps*,
1994, ch. 6 and 8).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from asdbench_datasets.synthetic.machine_sounds.bodies import Bearing, Casing, Traits
from asdbench_datasets.synthetic.machine_sounds.machine import Fault, level_of, share_of
from asdbench_datasets.synthetic.machine_sounds.signals import (
    Take,
    Tones,
    Wave,
    band,
    coloured,
    harmonics,
    over,
    pulses,
    turns,
)

LEVELS = {"leak": 0.7, "clog": 1.0, "bearing": 0.9}
"""RMS of the sound that a fault of strength 1 adds, relative to the sound of the machine."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Pump:
    """A pump whose units differ in speed, vanes, pulsation, flow, bearing and casing."""

    faults: ClassVar[tuple[str, ...]] = ("leak", "clog", "bearing")

    shaft_hz: float
    vanes: int
    rotor: Tones
    pulsation: Tones
    flow_low_hz: float
    flow_high_hz: float
    bearing: Bearing
    casing: Casing

    @classmethod
    def draw(cls, traits: Traits) -> Self:
        """Return the unit with these traits."""
        return cls(
            shaft_hz=traits.between(23, 30),
            vanes=traits.count(4, 8),
            rotor=traits.tones(4, fall_db=5),
            pulsation=traits.tones(7, fall_db=3),
            flow_low_hz=traits.between(150, 500),
            flow_high_hz=traits.between(1200, 2600),
            bearing=Bearing.draw(traits),
            casing=Casing.draw(traits),
        )

    def sound(self, take: Take, fault: Fault | None) -> Wave:
        """Return one take of the pump.

        - *leak*: a jet through a small gap hisses, broadband and high (on jet noise: Lighthill, *Proc. R. Soc. A*
          211, 1952); it bypasses the casing.
        - *clog*: less flow, more pulsation, and bubbles that collapse when the vanes pass.
        - *bearing*: impacts at BPFO make the bearing's seat ring.
        """
        rate = self.shaft_hz * take.rng.uniform(0.97, 1.03)
        revolutions = turns(take, rate)
        clogged = share_of(fault, "clog")
        motor = harmonics(
            revolutions, 0.4 * take.gain(1.5) * self.rotor, rate_hz=rate, sample_rate=take.sample_rate
        )
        pulsation = harmonics(
            self.vanes * revolutions,
            0.6 * (1 + 2.0 * clogged) * take.gain(2) * self.pulsation,
            rate_hz=self.vanes * rate,
            sample_rate=take.sample_rate,
        )
        inside = motor + pulsation + (1 - 0.6 * clogged) * self._flow(take, revolutions)
        heard = self.casing.radiate(inside, sample_rate=take.sample_rate)
        if fault is None:
            return heard
        return over(heard, self._added(fault, take, revolutions=revolutions), level=level_of(fault, LEVELS))

    def _added(self, fault: Fault, take: Take, *, revolutions: Wave) -> Wave:
        """Return the sound that the fault adds, at any level; zeros if it only changes the existing sound."""
        if fault.name == "leak":
            # Outside the casing, so its resonances do not colour the jet.
            return hiss(take)
        if fault.name == "clog":
            return self.casing.radiate(self._bubbles(take, revolutions), sample_rate=take.sample_rate)
        hits = self.bearing.outer_defect(revolutions, take)
        return self.casing.radiate(hits, sample_rate=take.sample_rate)

    def _flow(self, take: Take, revolutions: Wave) -> Wave:
        shape = band(self.flow_low_hz, self.flow_high_hz)
        noise = coloured(take.rng, shape, samples=take.samples, sample_rate=take.sample_rate)
        return take.gain(1.5) * noise * (1 + 0.3 * np.cos(2 * np.pi * self.vanes * revolutions))

    def _bubbles(self, take: Take, revolutions: Wave) -> Wave:
        noise = coloured(take.fault_rng, band(900, 3000), samples=take.samples, sample_rate=take.sample_rate)
        return noise * pulses(self.vanes * revolutions, sharpness=2.0)


def hiss(take: Take) -> Wave:
    """Return the hiss of a jet, unit RMS, mostly above 2.5 kHz."""
    return coloured(take.fault_rng, band(2800, 7000), samples=take.samples, sample_rate=take.sample_rate)
