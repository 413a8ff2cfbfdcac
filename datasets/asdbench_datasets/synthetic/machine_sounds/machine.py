"""What every machine type offers: units drawn from traits, a sound, and its faults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

from asdbench_datasets.synthetic.machine_sounds.bodies import Traits
from asdbench_datasets.synthetic.machine_sounds.signals import Take, Wave


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A kind of fault and its strength."""

    name: str
    strength: float = 1.0
    """Amplitude of the fault; 1: a fault at its usual stage, 4: a severe one, 0: none."""

    @property
    def share(self) -> float:
        """The strength as a share (0.5 at strength 1, always below 1), for effects that are bounded."""
        return self.strength / (1 + self.strength)


class Machine(Protocol):
    """A unit of a machine type; a frozen value."""

    faults: ClassVar[tuple[str, ...]]

    @classmethod
    def draw(cls, traits: Traits) -> Self:
        """Return the unit with these traits."""

    def sound(self, take: Take, fault: Fault | None) -> Wave:
        """Return one take of the unit, without noise, in arbitrary units; ``fault`` None: healthy."""


def level_of(fault: Fault, levels: Mapping[str, float]) -> float:
    """Return the level of the sound that the fault adds, given the levels at strength 1; 0 if it adds none."""
    return fault.strength * levels.get(fault.name, 0.0)


def strength_of(fault: Fault | None, name: str) -> float:
    """Return the strength of the fault if it is the one named, else 0."""
    return fault.strength if fault is not None and fault.name == name else 0.0


def share_of(fault: Fault | None, name: str) -> float:
    """Return the share (0..1) of the fault if it is the one named, else 0."""
    return fault.share if fault is not None and fault.name == name else 0.0
