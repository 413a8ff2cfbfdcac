"""One clip of one unit: a take of the machine, the factory around it, the level of the recorder."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asdbench_datasets.synthetic.machine_sounds import noise
from asdbench_datasets.synthetic.machine_sounds.bodies import Traits
from asdbench_datasets.synthetic.machine_sounds.fan import Fan
from asdbench_datasets.synthetic.machine_sounds.gearbox import Gearbox
from asdbench_datasets.synthetic.machine_sounds.machine import Fault, Machine
from asdbench_datasets.synthetic.machine_sounds.pump import Pump
from asdbench_datasets.synthetic.machine_sounds.signals import Take, Wave, decibel, rms
from asdbench_datasets.synthetic.machine_sounds.slider import Slider
from asdbench_datasets.synthetic.machine_sounds.valve import Valve

MACHINES: dict[str, type[Machine]] = {
    "fan": Fan,
    "gearbox": Gearbox,
    "pump": Pump,
    "slider": Slider,
    "valve": Valve,
}
SNR_SPREAD_DB = 2.0
"""The signal-to-noise ratio of a clip differs by up to this much from the given one."""
PLACE_SPREAD_DB = 3.0
"""Microphones are never in the same place: the level of each octave differs by up to this much."""
LEVEL_DBFS = (-30.0, -22.0)
"""RMS level of a clip in dB of full scale, drawn for each clip, as recorders differ in gain."""
FULL_SCALE = 32767
SEVERITY_SPREAD_DB = 4.0
"""Faults are recorded at different stages: their strength differs by up to this much from the given one."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The two signals that are mixed into a clip, both in the same arbitrary unit, shape ``[samples]``."""

    machine: Wave
    noise: Wave
    snr_db: float
    """Signal-to-noise ratio of this clip."""


def unit_of(machine: str, *, index: int, offsets: np.random.Generator) -> Machine:
    """Return unit ``index`` of a type; ``offsets`` is a fresh generator with the same seed for all units of the type."""
    return MACHINES[machine].draw(Traits(offsets, index=index))


def fault_of(machine: str, *, index: int, strength: float, rng: np.random.Generator) -> Fault:
    """Return the fault of anomalous clip ``index`` of a type: each fault in turn, at a random stage."""
    faults = MACHINES[machine].faults
    stage = decibel(rng.uniform(-SEVERITY_SPREAD_DB, SEVERITY_SPREAD_DB))
    return Fault(name=faults[index % len(faults)], strength=strength * stage)


def parts_of(
    unit: Machine,
    fault: Fault | None,
    *,
    sample_rate: int,
    samples: int,
    snr_db: float,
    rng: np.random.Generator,
) -> Parts:
    """Return the machine's signal and the noise of one clip.

    The ratio holds for every clip, normal or anomalous, within ``SNR_SPREAD_DB``: a fault changes the sound of the
    machine, and must not be detectable by loudness alone.

    Args:
        unit: The unit that is recorded.
        fault: Its fault, or None.
        sample_rate: Rate in Hz.
        samples: Length of the clip.
        snr_db: Signal-to-noise ratio in dB.
        rng: Random numbers of this clip; with equal ones, a faulty clip differs from the healthy one only by the fault.
    """
    # Separate streams: whatever a fault draws, the healthy sound and the noise stay the same.
    healthy, broken, around = rng.spawn(3)
    machine = unit.sound(Take(sample_rate=sample_rate, samples=samples, rng=healthy, fault_rng=broken), fault)
    machine = _placed(machine, around, sample_rate=sample_rate)
    hall = noise.factory(Take(sample_rate=sample_rate, samples=samples, rng=around, fault_rng=broken))
    ratio = snr_db + around.uniform(-SNR_SPREAD_DB, SNR_SPREAD_DB)
    return Parts(machine=machine, noise=noise.scaled(hall, under=machine, snr_db=ratio), snr_db=ratio)


def _placed(machine: Wave, rng: np.random.Generator, *, sample_rate: int) -> Wave:
    """Return the machine as recorded from another place: coloured by a smooth random gain."""
    import scipy.fft

    spectrum = scipy.fft.rfft(machine)
    # The bin at 0 Hz has no logarithm; it gets the gain of its neighbour.
    octaves = np.log2(np.maximum(np.arange(len(spectrum)), 1) * sample_rate / len(machine))
    knots = np.arange(6.0, np.log2(sample_rate))  # 64 Hz and its octaves
    levels = np.interp(octaves, knots, rng.uniform(-PLACE_SPREAD_DB, PLACE_SPREAD_DB, len(knots)))
    wave: Wave = scipy.fft.irfft(spectrum * np.exp(levels * np.log(10) / 20), len(machine))
    return wave


def recorded(parts: Parts, rng: np.random.Generator) -> NDArray[np.int16]:
    """Return the mix at a level drawn from ``LEVEL_DBFS``, 16 bit; peaks beyond full scale are clipped."""
    mix = parts.machine + parts.noise
    scale = FULL_SCALE * decibel(rng.uniform(*LEVEL_DBFS)) / rms(mix)
    # A cast alone would wrap a peak round to the other sign.
    return np.clip(np.rint(mix * scale), -FULL_SCALE - 1, FULL_SCALE).astype(np.int16)
