"""A linear slider: strokes back and forth on recirculating balls, driven by a motor, with a knock at each end.

Friction noise is proportional to the speed. The pitch of the passing balls (one ball per pitch of the circuit) and the
pitch of the motor's whine are proportional to the speed too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from asdbench_datasets.synthetic.machine_sounds.bodies import Casing, Mode, Traits, ring
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
    turns,
)

LEVELS = {"rail_damage": 0.9, "loose_stop": 0.8, "dry": 0.6}
"""RMS of the sound that a fault of strength 1 adds, relative to the sound of the machine."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Slider:
    """A slider whose units differ in stroke, balls, whine, friction, end stops and casing."""

    faults: ClassVar[tuple[str, ...]] = ("rail_damage", "loose_stop", "dry")

    stroke_hz: float
    balls_per_stroke: float
    whine_per_stroke: float
    rolling: Tones
    whine: Tones
    friction_hz: float
    stop: Mode
    rail: Mode
    damage_at: float
    casing: Casing

    @classmethod
    def draw(cls, traits: Traits) -> Self:
        """Return the unit with these traits."""
        return cls(
            stroke_hz=traits.between(1.6, 2.4),
            balls_per_stroke=traits.between(35, 60),
            whine_per_stroke=traits.between(150, 280),
            rolling=traits.tones(4, fall_db=3),
            whine=traits.tones(3, fall_db=4),
            friction_hz=traits.between(1000, 2400),
            stop=Mode(frequency_hz=traits.between(350, 900), damping=traits.between(0.02, 0.05)),
            rail=Mode(frequency_hz=traits.between(2200, 3600), damping=traits.between(0.01, 0.03)),
            damage_at=traits.between(0.3, 0.7),
            casing=Casing.draw(traits),
        )

    def sound(self, take: Take, fault: Fault | None) -> Wave:
        """Return one take of the slider.

        - *rail_damage*: the balls hit a pit at one place of the rail, in every stroke, in both directions.
        - *loose_stop*: the carriage rattles at the ends: each knock is followed by weaker, faster ones.
        - *dry*: no grease, so more friction noise, and stick-slip that squeals (Bowden and Leben, *Proc. R. Soc.
          A* 169, 1939).
        """
        strokes = turns(take, self.stroke_hz * take.rng.uniform(0.96, 1.04), wobble=0.01)
        speed = np.abs(np.sin(np.pi * strokes))  # 0 at the ends of the rail, 1 in the middle
        dry = share_of(fault, "dry")
        friction = (0.7 + 0.8 * dry) * self._friction(take, pitch=1 + 0.4 * dry) * speed
        inside = friction + speed * self._tones(take, _travelled(strokes)) + self._knocks(take, strokes)
        heard = self.casing.radiate(inside, sample_rate=take.sample_rate)
        if fault is None:
            return heard
        return over(heard, self._added(fault, take, strokes=strokes), level=level_of(fault, LEVELS))

    def _added(self, fault: Fault, take: Take, *, strokes: Wave) -> Wave:
        """Return the sound that the fault adds, at any level; zeros if it only changes the existing sound."""
        cause = {"rail_damage": self._pits, "loose_stop": self._bounces, "dry": self._squeal}[fault.name]
        return self.casing.radiate(cause(take, strokes), sample_rate=take.sample_rate)

    def _tones(self, take: Take, travelled: Wave) -> Wave:
        total = np.zeros(take.samples)
        for per_stroke, tones in ((self.balls_per_stroke, self.rolling), (self.whine_per_stroke, self.whine)):
            # A crank's peak speed is pi/2 of its mean: the highest pitch decides which harmonics would alias.
            fastest = 0.5 * np.pi * per_stroke * self.stroke_hz
            scaled = 0.4 * take.gain(2) * tones
            total += harmonics(per_stroke * travelled, scaled, rate_hz=fastest, sample_rate=take.sample_rate)
        return total

    def _friction(self, take: Take, *, pitch: float) -> Wave:
        shape = band(300, pitch * self.friction_hz)
        noise = coloured(take.rng, shape, samples=take.samples, sample_rate=take.sample_rate)
        return take.gain(1.5) * noise

    def _knocks(self, take: Take, strokes: Wave) -> Wave:
        ends = passings(strokes)
        return ring(ends, take.rng.uniform(1.5, 2.5, len(ends)), mode=self.stop, take=take)

    def _bounces(self, take: Take, strokes: Wave) -> Wave:
        """Return the knocks after the first at each end, each weaker and sooner, as of a bouncing ball."""
        ends = passings(strokes)
        total = np.zeros(take.samples)
        for bounce in range(1, 7):
            # 0.03 s (1 + 0.8 + 0.8^2 + ...): each bounce lasts 0.8 as long as the one before.
            delay = 0.03 * take.sample_rate * (1 - 0.8**bounce) / 0.2
            late = ends + delay * take.fault_rng.uniform(0.9, 1.1, len(ends))
            total += ring(late, 0.8**bounce, mode=self.rail, take=take)
        return total

    def _squeal(self, take: Take, strokes: Wave) -> Wave:
        noise = coloured(take.fault_rng, band(3000, 4200), samples=take.samples, sample_rate=take.sample_rate)
        return noise * np.square(np.sin(np.pi * strokes))

    def _pits(self, take: Take, strokes: Wave) -> Wave:
        travelled = _travelled(strokes)
        # With the pit at d, balls hit it after 2k + d lengths on the way out and 2k - d on the way back.
        to, fro = passings((travelled - self.damage_at) / 2), passings((travelled + self.damage_at) / 2)
        positions = np.concatenate((to, fro))
        return ring(positions, take.fault_rng.uniform(0.7, 1.3, len(positions)), mode=self.rail, take=take)


def _travelled(strokes: Wave) -> Wave:
    """Return the distance that the carriage has travelled, in lengths of the rail; a stroke is half a turn of a crank."""
    way: Wave = np.floor(strokes) + (1 - np.cos(np.pi * (strokes % 1.0))) / 2
    return way
