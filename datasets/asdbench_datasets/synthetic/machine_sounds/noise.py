"""The factory around the machine: rumble of the hall, mains hum, a neighbouring machine, distant clanks."""

from __future__ import annotations

import numpy as np

from asdbench_datasets.synthetic.machine_sounds.bodies import Mode, ring
from asdbench_datasets.synthetic.machine_sounds.signals import (
    Take,
    Tones,
    Wave,
    coloured,
    decibel,
    harmonics,
    rms,
    turns,
    wander,
)

MAINS_HZ = 50.0


def factory(take: Take) -> Wave:
    """Return factory noise of unit RMS, shape ``[samples]``.

    It differs between clips: slope of the rumble, strength of the hum, pitch and strength of the neighbouring machine,
    number of clanks. A method that learns the noise therefore learns nothing about the machine.
    """
    total = _rumble(take) + _hum(take) + _neighbour(take) + _clanks(take)
    return total / rms(total)


def scaled(noise: Wave, *, under: Wave, snr_db: float) -> Wave:
    """Return ``noise`` scaled so that ``under`` has ``snr_db`` = ``20 log10(rms(under) / rms(noise))``."""
    return noise * (rms(under) / rms(noise) * decibel(-snr_db))


def _rumble(take: Take) -> Wave:
    slope = take.rng.uniform(0.4, 0.7)  # amplitude ~ f^-slope: 0.5 is pink

    def shape(frequencies: Wave) -> Wave:
        # Flat below 40 Hz, or the lowest bins would take most of the power.
        return np.maximum(frequencies, 40.0) ** -slope

    noise = coloured(take.rng, shape, samples=take.samples, sample_rate=take.sample_rate)
    return noise * np.exp(0.15 * wander(take))


def _hum(take: Take) -> Wave:
    rate = 2 * MAINS_HZ  # cores are attracted in both half-waves
    phases = take.rng.uniform(0, 2 * np.pi, 4)
    tones: Tones = decibel(take.rng.uniform(-24, -10)) * np.exp(1j * phases) / np.arange(1, 5)
    return harmonics(rate * take.time_s, tones, rate_hz=rate, sample_rate=take.sample_rate)


def _neighbour(take: Take) -> Wave:
    rate = take.rng.uniform(60, 500)
    phases = take.rng.uniform(0, 2 * np.pi, 5)
    tones: Tones = decibel(take.rng.uniform(-26, -12)) * np.exp(1j * phases) / np.sqrt(np.arange(1, 6))
    return harmonics(turns(take, rate), tones, rate_hz=rate, sample_rate=take.sample_rate)


def _clanks(take: Take) -> Wave:
    # One clank in two seconds on average.
    clanks = take.rng.poisson(0.5 * take.samples / take.sample_rate)
    positions = take.rng.uniform(0, take.samples, clanks)
    strengths = take.rng.uniform(0.3, 1.5, clanks)
    metal = Mode(frequency_hz=round(take.rng.uniform(600, 3000), -2), damping=0.01)
    return ring(positions, strengths, mode=metal, take=take)
