"""``synthetic_robot``: a simulated arm of seven joints that repeats 32 actions, in the format of the KUKA recordings.

Every action moves all joints from one pose to the next along a minimum-jerk course, then waits. The slow recording is the
same cycle with each action 1.2 to 1.65 times as long; usual executions differ by a few per cent. Seven inertial sensors,
one per link, measure the kinematics (gravity and acceleration in the link's frame, rate of turn, orientation) with noise
and a vibration that grows with speed. The power supply measures the work against gravity, inertia and friction. Four
temperatures are constant, as in the original. See ``docs/timeseries.md`` for more.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta
from msgspec.structs import replace
from numpy.typing import NDArray

from asdbench import Card, seed_for
from asdbench_datasets.robot.kuka import FILES, NAMES, RobotRecordings, recording_of
from asdbench_datasets.robot.windows import Recording
from asdbench_datasets.whole_files import save_array

Floats = NDArray[np.float64]
ACTIONS = 32
RATE_HZ = 5.0
FINE = 4
"""Steps of the kinematics per row."""
STEP_S = 1 / (RATE_HZ * FINE)
JOINTS = 7
ELECTRICAL = (
    "apparent_power", "current", "frequency", "phase_angle", "power", "power_factor", "reactive_power", "voltage",
)  # fmt: skip
SENSED = (
    "AccX", "AccY", "AccZ", "GyroX", "GyroY", "GyroZ", "q1", "q2", "q3", "q4", "temp",
)  # fmt: skip
CONSTANT_SENSORS = (2, 5, 6, 7)
"""Sensors with a constant temperature."""
AXES = (2, 1, 2, 1, 2, 1, 2)
"""Each joint turns about the z (2) or y (1) axis of its link."""
LINKS_M = (0.34, 0.0, 0.4, 0.0, 0.4, 0.0, 0.126)
"""Distance from each joint's frame to the next, along z."""
MASSES_KG = (4.0, 4.0, 3.0, 2.7, 1.7, 1.8, 0.5)
MOUNT_M = np.array([0.06, 0.04, 0.1])
"""Position of a sensor on its link."""
REACH_RAD = (1.0, 0.6, 0.8, 0.8, 1.0, 0.8, 1.2)
"""Largest angle of each joint."""
GRAVITY = 9.81
USUAL_SPREAD = 0.04
"""Standard deviation of the duration of a usual action, as a share of it."""
PEAK_OF_JERK = 1.875
"""Peak rate of the minimum-jerk course over its mean rate."""
SLOWER = (1.2, 1.65)
"""Range of the duration of a slow action over that of a usual one."""
PEAK_RAD_S = 1.8
"""Fastest usual turn of any joint, which sets the duration of each movement."""
WAIT_S = 0.2


class SyntheticRobot(RobotRecordings, frozen=True, kw_only=True):
    """A simulation of the KUKA recordings. Equal options give equal bytes."""

    seed: Annotated[int, Meta(ge=0, description="seed of all random numbers")] = 0
    normal_rows: Annotated[int, Meta(ge=100, description="rows at usual speed; KUKA: 233792")] = 30_000
    slow_rows: Annotated[int, Meta(ge=100, description="rows at reduced speed; KUKA: 41538")] = 12_000
    noise: Annotated[
        float, Meta(ge=0, le=100, description="noise of the sensors, as a multiple of the usual noise")
    ] = 1.0

    @property
    def card(self) -> Card:
        """Describe the dataset under the current options."""
        card = self._card(
            name="synthetic_robot",
            title="Synthetic robot arm, usual and reduced speed (asdbench)",
            licence="CC0-1.0",
            citation="asdbench: a robot arm from kinematics, generated from a seed (docs/timeseries.md)",
            rows=self._rows(),
            recordings=self._future_recordings(),
        )
        return replace(card, generated=True)

    def generate(self, root: Path, progress: Callable[[int, int], None]) -> None:
        """Write both recordings and the names of their columns as the KUKA files have them."""
        cycle = _cycle(self.seed)
        for done, (name, rows) in enumerate(self._rows().items(), start=1):
            generator = _chance(self.seed, name)
            table = recorded(cycle, rows=rows, slow=name == "slow", noise=self.noise, generator=generator)
            if name == "slow":
                table = np.column_stack([table, np.ones(rows)])
            save_array(root / FILES[name], table.astype(np.float32))
            progress(done, len(FILES))
        save_array(root / NAMES, np.array([*column_names(), "anomaly"]))

    def _rows(self) -> dict[str, int]:
        return {"normal": self.normal_rows, "slow": self.slow_rows}

    def _future_recordings(self) -> list[Recording]:
        """Return the recordings as they will be, so that the card gives lost rows before they are generated."""
        bounded = self.bounds == "action"
        return [
            recording_of(
                name,
                action=_actions(self.seed, name, rows=rows) if bounded else np.zeros(rows),
                anomalous=np.full(rows, name == "slow"),
            )
            for name, rows in self._rows().items()
        ]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cycle:
    """The movements that the robot repeats."""

    poses: Floats
    """Joint angles at the end of each action, ``[actions, joints]``, radians; the last one leads to the first."""
    seconds: Floats
    """Usual duration of each movement, ``[actions]``."""


def column_names() -> list[str]:
    """Return the names of the 86 columns."""
    sensors = [f"sensor_id{number}_{name}" for number in range(1, JOINTS + 1) for name in SENSED]
    return ["action", *ELECTRICAL, *sensors]


def recorded(cycle: Cycle, *, rows: int, slow: bool, noise: float, generator: np.random.Generator) -> Floats:
    """Return one recording, ``[rows, 86]``.

    Args:
        cycle: The movements that the robot repeats.
        rows: Length of the recording.
        slow: Whether every action takes 1.2 to 1.65 times as long.
        noise: Multiple of the sensors' noise.
        generator: Source of all random numbers.
    """
    action, angles = _motion(cycle, rows * FINE, slow=slow, generator=generator)
    links = _links(angles)
    drawn = _drawn(links, angles)[::FINE]
    electrical = _electrical(drawn, noise=noise, generator=generator)
    sensors = [
        _sensor(link, number, noise=noise, generator=generator) for number, link in enumerate(links, start=1)
    ]
    return np.column_stack([action[::FINE], electrical, *sensors])


def _chance(seed: int, recording: str) -> np.random.Generator:
    return np.random.default_rng(seed_for(seed, "synthetic_robot", recording))


@functools.lru_cache(maxsize=4)
def _actions(seed: int, recording: str, *, rows: int) -> Floats:
    """Return the number of the action in each row of a recording; a recording draws its motion first."""
    slow, generator = recording == "slow", _chance(seed, recording)
    return _motion(_cycle(seed), rows * FINE, slow=slow, generator=generator)[0][::FINE]


def _cycle(seed: int) -> Cycle:
    generator = np.random.default_rng(seed_for(seed, "synthetic_robot", "cycle"))
    poses = generator.uniform(-1, 1, size=(ACTIONS, JOINTS)) * np.array(REACH_RAD)
    widest = np.abs(poses - np.roll(poses, 1, axis=0)).max(axis=1)
    return Cycle(poses=poses, seconds=PEAK_OF_JERK * widest / PEAK_RAD_S)


def _motion(
    cycle: Cycle, length: int, *, slow: bool, generator: np.random.Generator
) -> tuple[Floats, Floats]:
    """Return the number of the action ``[length]`` and the joints' angles ``[length, joints]``, in fine steps."""
    actions: list[Floats] = []
    angles: list[Floats] = []
    filled = number = 0
    while filled < length:
        index = number % ACTIONS
        factor = (
            generator.uniform(*SLOWER)
            if slow
            # Clipped below 1.2, so that no usual action is as slow as a slow one.
            else float(np.clip(generator.normal(1, USUAL_SPREAD), 0.9, 1.1))
        )
        steps = round(cycle.seconds[index] * factor / STEP_S)
        waiting = round(WAIT_S * factor / STEP_S)
        course = _minimum_jerk(np.append(np.arange(1, steps + 1) / steps, np.ones(waiting)))
        # Index -1 of the first action is the last pose, which closes the cycle.
        start, end = cycle.poses[index - 1], cycle.poses[index]
        angles.append(start + course[:, np.newaxis] * (end - start))
        actions.append(np.full(len(course), float(index)))
        filled, number = filled + len(course), number + 1
    return np.concatenate(actions)[:length], np.concatenate(angles)[:length]


def _minimum_jerk(share: Floats) -> Floats:
    # 10 s^3 - 15 s^4 + 6 s^5: rate and acceleration are 0 at both ends, the peak rate is 1.875 at s = 1/2.
    return share**3 * (10 - 15 * share + 6 * share**2)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Link:
    """How one link moves, in fine steps; all arrays are ``[steps, ...]``."""

    place: Floats
    """Position of its sensor, metres."""
    velocity: Floats
    force: Floats
    """Acceleration and gravity in the link's frame, m/s^2: what an accelerometer measures."""
    turn: Floats
    """Rate of turn in the link's frame, rad/s."""
    orientation: Floats
    """Quaternion (w, x, y, z)."""


def _links(angles: Floats) -> list[Link]:
    rows = len(angles)
    rates = np.gradient(angles, STEP_S, axis=0)
    rotation = np.broadcast_to(np.eye(3), (rows, 3, 3))
    orientation = np.broadcast_to(np.array([1.0, 0, 0, 0]), (rows, 4))
    joint, turn = np.zeros((rows, 3)), np.zeros((rows, 3))
    links = []
    for k in range(JOINTS):
        joint = joint + rotation @ np.array([0, 0, LINKS_M[k]])
        about = _rotation(angles[:, k], AXES[k])
        rotation = rotation @ about
        # "tji,tj->ti" applies the transposed matrix: from the frame of the link before into that of this one.
        turn = np.einsum("tji,tj->ti", about, turn)
        turn[:, AXES[k]] += rates[:, k]
        orientation = _product(orientation, _half_turn(angles[:, k], AXES[k]))
        place = joint + rotation @ MOUNT_M
        velocity = np.gradient(place, STEP_S, axis=0)
        # An accelerometer at rest measures the upward reaction to gravity, +g.
        pull = np.gradient(velocity, STEP_S, axis=0) + np.array([0, 0, GRAVITY])
        links.append(
            Link(
                place=place,
                velocity=velocity,
                force=np.einsum("tji,tj->ti", rotation, pull),
                turn=turn,
                orientation=orientation,
            )
        )
    return links


def _rotation(angle: Floats, axis: int) -> Floats:
    """Return rotations about y (1) or z (2), ``[rows, 3, 3]``."""
    cosine, sine = np.cos(angle), np.sin(angle)
    first, second = {1: (2, 0), 2: (0, 1)}[axis]
    matrix = np.zeros((len(angle), 3, 3))
    matrix[:, axis, axis] = 1
    matrix[:, first, first] = matrix[:, second, second] = cosine
    matrix[:, first, second], matrix[:, second, first] = -sine, sine
    return matrix


def _half_turn(angle: Floats, axis: int) -> Floats:
    quaternion = np.zeros((len(angle), 4))
    quaternion[:, 0], quaternion[:, 1 + axis] = np.cos(angle / 2), np.sin(angle / 2)
    return quaternion


def _product(first: Floats, second: Floats) -> Floats:
    """Return the products of quaternions (w, x, y, z)."""
    w, x, y, z = first.T
    a, b, c, d = second.T
    return np.column_stack(
        [
            w * a - x * b - y * c - z * d,
            w * b + x * a + y * d - z * c,
            w * c - x * d + y * a + z * b,
            w * d + x * c - y * b + z * a,
        ]
    )


def _sensor(link: Link, number: int, *, noise: float, generator: np.random.Generator) -> Floats:
    """Return the eleven columns of one sensor; rates of turn in degrees per second."""
    turn = link.turn[::FINE]
    rows = len(turn)
    speed = np.linalg.norm(turn, axis=1, keepdims=True)
    shaken = generator.normal(size=(rows, 3)) * (0.05 + 0.15 * speed)
    turned = generator.normal(size=(rows, 3)) * (0.5 + 1.0 * speed)
    tilted = generator.normal(size=(rows, 4)) * 0.003
    temperature = np.full(rows, 24.0 + number)
    if number not in CONSTANT_SENSORS:
        temperature += np.round(_wander(rows, 0.4, minutes=10, generator=generator), 1)
    return np.column_stack(
        [
            link.force[::FINE] + noise * shaken,
            np.degrees(turn) + noise * turned,
            link.orientation[::FINE] + noise * tilted,
            temperature,
        ]
    )


def _electrical(drawn: Floats, *, noise: float, generator: np.random.Generator) -> Floats:
    """Return the eight columns of the supply, in the order of their names; ``drawn`` is the power of motion in watts."""
    rows = len(drawn)
    power = 180.0 + drawn + noise * generator.normal(size=rows) * 4.0
    factor = np.clip(
        0.5 + 0.3 * power / (power + 300) + noise * 0.003 * generator.normal(size=rows), 0.1, 0.99
    )
    # S = P / cos(phi), I = S / U, Q = sqrt(S^2 - P^2).
    apparent = power / factor
    voltage = 230 + _wander(rows, 0.8, minutes=2, generator=generator) + 0.1 * generator.normal(size=rows)
    frequency = 50 + _wander(rows, 0.01, minutes=1, generator=generator)
    return np.column_stack(
        [
            apparent,
            apparent / voltage,
            frequency,
            np.degrees(np.arccos(factor)),
            power,
            factor,
            np.sqrt(np.maximum(apparent**2 - power**2, 0)),
            voltage,
        ]
    )


def _drawn(links: list[Link], angles: Floats) -> Floats:
    """Return the power in watts that the motion draws: work, friction, and holding the links up."""
    energy = np.zeros(len(angles))
    holding = np.zeros(len(angles))
    for mass, link in zip(MASSES_KG, links, strict=True):
        energy += mass * (GRAVITY * link.place[:, 2] + 0.5 * np.square(link.velocity).sum(axis=1))
        holding += mass * GRAVITY * np.linalg.norm(link.place[:, :2], axis=1)
    rates = np.gradient(angles, STEP_S, axis=0)
    work = np.maximum(np.gradient(energy, STEP_S), 0) / 0.7  # braking returns no power
    return np.asarray(work + 15 * np.square(rates).sum(axis=1) + 0.6 * holding)


def _wander(rows: int, deviation: float, *, minutes: float, generator: np.random.Generator) -> Floats:
    """Return values that drift around 0 with a standard deviation and a memory of some minutes."""
    from scipy.signal import lfilter

    # x_t = k x_(t-1) + sqrt(1 - k^2) s e_t keeps the standard deviation s; x_0 is drawn from it, so the
    # series does not begin at 0.
    keep = np.exp(-1 / (60 * minutes * RATE_HZ))
    steps = generator.normal(size=rows) * deviation * np.sqrt(1 - keep**2)
    steps[0] = generator.normal() * deviation
    return np.asarray(lfilter([1.0], [1.0, -keep], steps))
