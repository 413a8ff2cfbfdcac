"""A single-stage gearbox: mesh harmonics with sidebands at both shafts' rates.

Eccentric gears change the tooth load once per turn, which modulates the amplitude and phase of the mesh tone at ``z f``
and gives sidebands at the shaft rates (Randall, "A new method of modeling gear faults", *J. Mech.
Design* 104, 1982).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from asdbench_datasets.synthetic.machine_sounds.bodies import Bearing, Casing, Traits, ring
from asdbench_datasets.synthetic.machine_sounds.machine import Fault, level_of, share_of
from asdbench_datasets.synthetic.machine_sounds.signals import (
    Take,
    Tones,
    Wave,
    band,
    coloured,
    harmonics,
    over,
    passings,
    pulses,
    turns,
)

LEVELS = {"missing_tooth": 0.65, "bearing": 0.6}
"""RMS of the sound that a fault of strength 1 adds, relative to the sound of the machine."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Gearbox:
    """A gearbox whose units differ in speed, teeth, eccentricity, tones, bearing and casing."""

    faults: ClassVar[tuple[str, ...]] = ("missing_tooth", "wear", "bearing")

    shaft_hz: float
    pinion_teeth: int
    wheel_teeth: int
    eccentricity: float
    mesh: Tones
    rotor: Tones
    bearing: Bearing
    casing: Casing

    @classmethod
    def draw(cls, traits: Traits) -> Self:
        """Return the unit with these traits."""
        return cls(
            shaft_hz=traits.between(14, 19),
            pinion_teeth=traits.count(19, 31),
            wheel_teeth=traits.count(43, 67),
            eccentricity=traits.between(0.1, 0.3),
            mesh=traits.tones(8, fall_db=2.5),
            rotor=traits.tones(4, fall_db=5),
            bearing=Bearing.draw(traits),
            casing=Casing.draw(traits),
        )

    def sound(self, take: Take, fault: Fault | None) -> Wave:
        """Return one take of the gearbox.

        - *missing_tooth*: once per turn of the pinion the mesh is silent for one tooth, then the next tooth hits.
        - *wear*: the tooth profile is worn: upper mesh harmonics rise, modulation deepens, sliding becomes rough.
        - *bearing*: impacts at BPFI, modulated by the rotation of the inner race, make the bearing's seat ring.
        """
        rate = self.shaft_hz * take.rng.uniform(0.96, 1.04)
        revolutions = turns(take, rate)
        worn = share_of(fault, "wear")
        motor = harmonics(revolutions, 0.4 * self.rotor, rate_hz=rate, sample_rate=take.sample_rate)
        friction = self._friction(take, revolutions)
        inside = motor + self._mesh(take, revolutions, rate=rate, worn=worn) + (0.5 + 2.5 * worn) * friction
        if fault is not None and fault.name == "missing_tooth":
            # exp(3 z (cos(2 pi c) - 1)) is 0.22 / sqrt(z) turns wide at half height: a tooth for z near 25.
            gap = pulses(revolutions, sharpness=3.0 * self.pinion_teeth)
            inside *= 1 - fault.share * gap
        heard = self.casing.radiate(inside, sample_rate=take.sample_rate)
        if fault is None:
            return heard
        return over(heard, self._added(fault, take, revolutions=revolutions), level=level_of(fault, LEVELS))

    def _added(self, fault: Fault, take: Take, *, revolutions: Wave) -> Wave:
        """Return the sound that the fault adds, at any level; zeros if it only changes the existing sound."""
        if fault.name == "missing_tooth":
            return self.casing.radiate(self._knock(take, revolutions), sample_rate=take.sample_rate)
        if fault.name == "bearing":
            hits = self.bearing.inner_defect(revolutions, take)
            return self.casing.radiate(hits, sample_rate=take.sample_rate)
        return np.zeros(take.samples)

    def _mesh(self, take: Take, revolutions: Wave, *, rate: float, worn: float) -> Wave:
        wheel = revolutions * self.pinion_teeth / self.wheel_teeth
        depth = self.eccentricity + 0.8 * worn
        # The two gears are eccentric at unrelated angles; 1.0 rad is arbitrary.
        load = 1 + depth * np.cos(2 * np.pi * revolutions) + 0.5 * depth * np.cos(2 * np.pi * wheel + 1.0)
        rough = np.ones(len(self.mesh))
        # Wear distorts the tooth profile: the fundamental stays, the harmonics rise (Randall 1982).
        rough[1:] += 5.0 * worn
        # An eccentric pinion also advances and delays the teeth, by a few hundredths of their pitch.
        teeth = self.pinion_teeth * revolutions + 0.15 * depth * np.sin(2 * np.pi * revolutions)
        tones = take.gain(2) * rough * self.mesh
        mesh_hz = self.pinion_teeth * rate
        return load * harmonics(teeth, tones, rate_hz=mesh_hz, sample_rate=take.sample_rate)

    def _friction(self, take: Take, revolutions: Wave) -> Wave:
        noise = coloured(take.rng, band(500, 3500), samples=take.samples, sample_rate=take.sample_rate)
        return take.gain(1.5) * noise * (1 + 0.3 * np.cos(2 * np.pi * self.pinion_teeth * revolutions))

    def _knock(self, take: Take, revolutions: Wave) -> Wave:
        """Return the hit of the tooth after the gap, once per turn, which makes the pinion's seat ring."""
        positions = passings(revolutions - 1.0 / self.pinion_teeth)
        strengths = take.fault_rng.uniform(0.8, 1.2, len(positions))
        return ring(positions, strengths, mode=self.bearing.seat, take=take)
