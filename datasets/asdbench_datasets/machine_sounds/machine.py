"""What every machine type offers: units that are drawn from traits, a sound, and the faults it can have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

from asdbench_datasets.machine_sounds.bodies import Traits
from asdbench_datasets.machine_sounds.signals import Take, Wave


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What is broken and how badly."""

    name: str
    strength: float = 1.0
    """Amplitude of the fault; 1 = a fault at its usual stage, 4 = a grave one, 0 = none."""

    @property
    def share(self) -> float:
        """The strength as a share from 0 to 1, for what cannot grow without end: 1 is reached never, 0.5 at 1."""
        return self.strength / (1 + self.strength)


class Machine(Protocol):
    """A unit of a machine type; a frozen value."""

    faults: ClassVar[tuple[str, ...]]

    @classmethod
    def draw(cls, traits: Traits) -> Self:
        """Return the unit with these traits."""

    def sound(self, take: Take, fault: Fault | None) -> Wave:
        """Return one take of the unit at the microphone, without noise, in arbitrary units; None: it is sound."""


def strength_of(fault: Fault | None, name: str) -> float:
    """Return the strength of the fault if it is the one named, else 0."""
    return fault.strength if fault is not None and fault.name == name else 0.0


def share_of(fault: Fault | None, name: str) -> float:
    """Return the share (0..1) of the fault if it is the one named, else 0."""
    return fault.share if fault is not None and fault.name == name else 0.0
