"""An axial fan: rotor harmonics, blade passing, turbulence.

The sound consists of tones at the blade passing frequency ``Z f`` and its multiples over broadband turbulence
(Neise, "Review of fan noise generation mechanisms and control methods", *Proc. Fan Noise 1992*, Senlis).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from asdbench_datasets.synthetic.machine_sounds.bodies import Bearing, Casing, Traits
from asdbench_datasets.synthetic.machine_sounds.machine import Fault, level_of, share_of, strength_of
from asdbench_datasets.synthetic.machine_sounds.signals import (
    Take,
    Tones,
    Wave,
    band,
    coloured,
    harmonics,
    over,
    turns,
)

LEVELS = {"bearing": 0.6, "clog": 1.2}
"""RMS of the sound that a fault of strength 1 adds, relative to the sound of the machine."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Fan:
    """A fan whose units differ in speed, blades, tones, turbulence, bearing and casing."""

    faults: ClassVar[tuple[str, ...]] = ("imbalance", "bearing", "clog")

    shaft_hz: float
    blades: int
    rotor: Tones
    blade_tones: Tones
    flow_corner_hz: float
    bearing: Bearing
    casing: Casing

    @classmethod
    def draw(cls, traits: Traits) -> Self:
        """Return the unit with these traits."""
        return cls(
            shaft_hz=traits.between(21, 29),
            blades=traits.count(5, 10),
            rotor=traits.tones(5, fall_db=5),
            blade_tones=traits.tones(6, fall_db=3),
            flow_corner_hz=traits.between(900, 2200),
            bearing=Bearing.draw(traits),
            casing=Casing.draw(traits),
        )

    def sound(self, take: Take, fault: Fault | None) -> Wave:
        """Return one take of the fan.

        - *imbalance*: the centrifugal force raises the rotor's first harmonic (Den Hartog, *Mechanical
          Vibrations*, 1956, ch. 6); its orbit changes the tip clearance once per turn, which modulates tones
          and turbulence.
        - *bearing*: impacts at BPFO make the bearing's seat ring.
        - *clog*: less air passes, so tones are weaker; the blades stall, with a rumble that beats below shaft rate.
        """
        rate = self.shaft_hz * take.rng.uniform(0.96, 1.04)
        revolutions = turns(take, rate)
        # A fault scales parts but draws nothing from take.rng: the healthy take of a seed has the same ones.
        # The factors 8 and 0.6 are those of the table in docs/synthetic.md.
        heavy = strength_of(fault, "imbalance")
        orbit = 1 + share_of(fault, "imbalance") * np.cos(2 * np.pi * revolutions)
        rotor = self.rotor * np.concatenate(([1 + 8 * heavy], np.ones(len(self.rotor) - 1)))
        free = 1 - 0.6 * share_of(fault, "clog")
        tones = harmonics(
            revolutions, 0.6 * take.gain(1.5) * rotor, rate_hz=rate, sample_rate=take.sample_rate
        )
        blades = harmonics(
            self.blades * revolutions,
            0.5 * free * take.gain(2) * self.blade_tones,
            rate_hz=self.blades * rate,
            sample_rate=take.sample_rate,
        )
        inside = tones + orbit * (blades + free * self._flow(take, revolutions))
        heard = self.casing.radiate(inside, sample_rate=take.sample_rate)
        if fault is None:
            return heard
        return over(heard, self._added(fault, take, revolutions=revolutions), level=level_of(fault, LEVELS))

    def _added(self, fault: Fault, take: Take, *, revolutions: Wave) -> Wave:
        """Return the sound that the fault adds, at any level; zeros if it only changes the existing sound."""
        if fault.name == "bearing":
            hits = self.bearing.outer_defect(revolutions, take)
            return self.casing.radiate(hits, sample_rate=take.sample_rate)
        if fault.name == "clog":
            return self.casing.radiate(_stall(take, revolutions), sample_rate=take.sample_rate)
        return np.zeros(take.samples)

    def _flow(self, take: Take, revolutions: Wave) -> Wave:
        turbulence = coloured(
            take.rng, band(120, self.flow_corner_hz), samples=take.samples, sample_rate=take.sample_rate
        )
        return take.gain(1.5) * turbulence * (1 + 0.25 * np.cos(2 * np.pi * self.blades * revolutions))


def _stall(take: Take, revolutions: Wave) -> Wave:
    # Stall cells rotate at slightly less than half the rotor's speed (Emmons et al., Trans. ASME 77, 1955).
    rumble = coloured(take.fault_rng, band(100, 450), samples=take.samples, sample_rate=take.sample_rate)
    return rumble * (1 + 0.8 * np.cos(2 * np.pi * (0.45 * revolutions + take.fault_rng.uniform())))
