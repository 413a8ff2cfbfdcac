"""Generated faces: landmarks, muscles that push the skin around them, and the flow that a camera sees.

Positions are shares of the picture's side, from its upper left corner; motion is in pixels of a 75 x 75 picture. Units
of motion have their numbers in the Facial Action Coding System.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SIDE = 75
"""Height and width of the generated flow, in pixels."""
Field = NDArray[np.float64]

LANDMARKS: Mapping[str, tuple[float, float]] = {
    "brow_inner": (0.40, 0.30),
    "brow_middle": (0.29, 0.26),
    "brow_outer": (0.18, 0.30),
    "lid": (0.29, 0.38),
    "cheek": (0.26, 0.58),
    "nose_wing": (0.42, 0.56),
    "lip_upper": (0.45, 0.71),
    "lip_corner": (0.36, 0.76),
    "lip_lower": (0.45, 0.82),
    "chin": (0.46, 0.93),
}
"""(x, y) in the left half of the picture of a mean face; the right half mirrors it."""


class Push(NamedTuple):
    """What one muscle does to the skin at one landmark, at intensity 1."""

    landmark: str
    inward: float
    """Pixels towards the middle of the face."""
    down: float
    """Pixels down."""
    reach: float = 0.07
    """Standard deviation of the skin area that moves with it, as a share of the side."""


UNITS: Mapping[int, tuple[Push, ...]] = {
    1: (Push("brow_inner", 0, -1.0),),
    2: (Push("brow_outer", 0, -1.0), Push("brow_middle", 0, -0.8)),
    4: (Push("brow_inner", 0.6, 0.8), Push("brow_middle", 0.3, 0.4)),
    5: (Push("lid", 0, -0.7, 0.05),),
    6: (Push("cheek", 0, -0.6, 0.09), Push("lid", 0, 0.2, 0.05)),
    7: (Push("lid", 0, 0.5, 0.05),),
    9: (Push("nose_wing", 0, -0.8), Push("brow_inner", 0.2, 0.4)),
    10: (Push("lip_upper", 0, -0.8, 0.06),),
    12: (Push("lip_corner", -0.8, -0.7), Push("cheek", 0, -0.3, 0.09)),
    14: (Push("lip_corner", -0.7, 0.0),),
    15: (Push("lip_corner", 0.0, 0.8),),
    17: (Push("chin", 0, -0.7), Push("lip_lower", 0, -0.4, 0.06)),
    26: (Push("chin", 0, 0.9, 0.09), Push("lip_lower", 0, 0.8)),
    45: (Push("lid", 0, 0.9, 0.05),),
}
"""Action units: brows 1, 2, 4; lids 5, 7 and blink 45; cheeks 6; nose 9; lips 10, 12, 14, 15; chin 17; jaw 26."""

EXPRESSIONS: Mapping[str, Sequence[tuple[float, tuple[int, ...]]]] = {
    "positive": ((0.50, (12,)), (0.35, (6, 12)), (0.15, (12, 26))),
    "negative": (
        (0.25, (4,)),
        (0.20, (4, 7)),
        (0.10, (9, 10)),
        (0.12, (15, 17)),
        (0.13, (14,)),
        (0.10, (1, 4)),
        (0.10, (7,)),
    ),
    "surprise": ((0.50, (1, 2)), (0.30, (1, 2, 5)), (0.10, (1, 2, 26)), (0.10, (5, 26))),
}
"""Probability with which units move together. Some are shared: 1 by sadness and surprise, 26 by laughter and surprise."""
DATABASES: Mapping[str, float] = {"casme2": 0.8, "samm": 1.2, "smic": 1.1}
"""Noise of each camera, as a multiple of the usual noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """One person: the landmarks, how much skin moves with them, and how strongly each half moves."""

    places: Mapping[str, tuple[tuple[float, float], tuple[float, float]]]
    """Left and right (x, y) of each landmark."""
    reach: float
    lively: tuple[float, float]


def face_of(rng: np.random.Generator) -> Face:
    """Draw a person."""
    tall, broad = 1 + 0.06 * rng.standard_normal(2)
    places = {}
    for name, (x, y) in LANDMARKS.items():
        # Scaled about the midline of the face and the height of the nose.
        across, up = 0.5 - broad * (0.5 - x), 0.55 + tall * (y - 0.55)
        left, right = 0.02 * rng.standard_normal((2, 2))
        places[name] = ((across + left[0], up + left[1]), (1 - across + right[0], up + right[1]))
    lively = np.exp(0.25 * rng.standard_normal(2))
    return Face(
        places=places,
        reach=float(np.exp(0.15 * rng.standard_normal())),
        lively=(float(lively[0]), float(lively[1])),
    )


def filmed(
    face: Face, label: str, *, database: str, nuisance: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return the flow of one expression of a face, in pixels, float32 ``[75, 75, 2]`` (u, v).

    Args:
        face: The person who is filmed.
        label: ``negative``, ``positive`` or ``surprise``.
        database: Database whose camera films.
        nuisance: Multiple of noise and unrelated motion.
        rng: Random numbers of this clip.
    """
    chances, choices = zip(*EXPRESSIONS[label], strict=True)
    units = choices[rng.choice(len(choices), p=chances)]
    flow = sum(
        (_moved(face, unit, intensity=_intensity(rng), rng=rng) for unit in units),
        start=np.zeros((SIDE, SIDE, 2)),
    )
    foreign = _foreign(face, rng) + _head(rng)
    noise = DATABASES[database] * (0.42 * _smooth(rng, reach=6.0) + 0.20 * _smooth(rng, reach=2.0))
    return np.asarray(flow + nuisance * (foreign + noise), dtype=np.float32)


def _intensity(rng: np.random.Generator) -> float:
    return float(0.9 * np.exp(0.6 * rng.standard_normal()))


def _moved(face: Face, unit: int, *, intensity: float, rng: np.random.Generator) -> Field:
    """Return the flow of one unit; the halves of a face differ, and one time in seven only one half moves."""
    sides = np.array(face.lively) * np.exp(0.25 * rng.standard_normal(2))
    if rng.random() < 1 / 7:
        sides[rng.integers(2)] = 0
    flow = np.zeros((SIDE, SIDE, 2))
    for push in UNITS[unit]:
        for side, towards in ((0, 1.0), (1, -1.0)):
            x, y = np.array(face.places[push.landmark][side]) + 0.008 * rng.standard_normal(2)
            spread = _bump(x, y, reach=push.reach * face.reach)
            strength = intensity * sides[side]
            flow += spread[..., None] * strength * np.array([towards * push.inward, push.down])
    return flow


def _foreign(face: Face, rng: np.random.Generator) -> Field:
    """Return unrelated motion: one clip in three has a blink, one in two also moves some other unit."""
    flow = np.zeros((SIDE, SIDE, 2))
    if rng.random() < 1 / 3:
        flow += _moved(face, 45, intensity=_intensity(rng), rng=rng)
    if rng.random() < 1 / 2:
        # Sorted, so that the data do not depend on the order of the table.
        unit = int(rng.choice(sorted(UNITS)))
        flow += _moved(face, unit, intensity=0.8 * _intensity(rng), rng=rng)
    return flow


def _head(rng: np.random.Generator) -> Field:
    """Return the flow of a head that shifts, turns and approaches slightly."""
    y, x = (np.mgrid[:SIDE, :SIDE] + 0.5) - SIDE / 2
    shift, (turn, growth) = 0.3 * rng.standard_normal(2), 0.005 * rng.standard_normal(2)
    return np.stack([shift[0] + growth * x - turn * y, shift[1] + growth * y + turn * x], axis=2)


def _smooth(rng: np.random.Generator, *, reach: float) -> Field:
    """Return noise of standard deviation 1 that is smooth over ``reach`` pixels, for u and v."""
    from scipy.ndimage import gaussian_filter

    # "wrap": with any other mode the noise at the edges would have another variance.
    noise = gaussian_filter(rng.standard_normal((SIDE, SIDE, 2)), (reach, reach, 0), mode="wrap")
    return np.asarray(noise / noise.std())


def _bump(x: float, y: float, *, reach: float) -> Field:
    place = (np.arange(SIDE) + 0.5) / SIDE
    across, down = ((place - centre) ** 2 for centre in (x, y))
    return np.asarray(np.exp(-(down[:, None] + across[None, :]) / (2 * reach**2)))
