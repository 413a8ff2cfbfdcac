"""What a user requests of ``asdbench tune``, and what makes two studies the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import msgspec

from asdbench.errors import ConfigError, unknown
from asdbench.plugin.entries import Method, ObjectiveName, Selector, Space
from asdbench.plugin.space import check_space, parse_span, points
from asdbench.runs.request import Request

SamplerName = Literal["tpe", "random", "cmaes", "grid", "qmc"]
PrunerName = Literal["median", "hyperband", "none"]
Per = Literal["all", "unit"]
ROUND = 4
"""Trials that are proposed at once."""
HELD = 0.2
"""Share of training items that trials hold out of a method that holds out none itself."""


@dataclass(frozen=True, kw_only=True)
class TuningRequest:
    """A study as requested."""

    run: Request
    """The method with the user's options, the dataset, folders, seeds and limits of jobs."""
    study: str
    """Name of the study, its folder below ``<out>/studies``."""
    trials: int
    space: Space
    sampler: SamplerName = "tpe"
    pruner: PrunerName = "none"
    objective: ObjectiveName | None = None
    """None: ``validation`` where the protocol has validation items, else ``pseudo``."""
    per: Per = "all"
    """``unit``: each unit is a study of its own, with its own best options."""
    round: int = ROUND
    seed: int = 0
    """Of the sampler; those of the trainings are ``run.seeds``."""
    held: float = HELD
    """Share of training items that trials hold out of a method that holds out none itself."""
    timeout_s: float | None = None
    """No round starts after this time; None: no limit."""

    @property
    def method(self) -> Selector:
        """The method with the user's options."""
        return self.run.methods[0]

    def __post_init__(self) -> None:
        for what, value, known in (
            ("sampler", self.sampler, get_args(SamplerName)),
            ("pruner", self.pruner, get_args(PrunerName)),
            ("objective", self.objective or "pseudo", get_args(ObjectiveName)),
            ("value of per", self.per, get_args(Per)),
        ):
            if value not in known:
                raise ConfigError(unknown(what, value, known=known))
        for what, count in (("trials", self.trials), ("trials of a round", self.round)):
            if count < 1:
                raise ConfigError(f"a study needs at least one of {what}, got {count}")
        if not 0 < self.held < 1:
            raise ConfigError(f"held={self.held:g} is not a share between 0 and 1")
        if self.sampler == "grid":
            list(points(self.space))  # raises where an option has no grid


class Identity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What two studies must share to propose the same trials and to grade them alike."""

    method: str
    dataset: str
    samples: str
    """Hash of all samples."""
    space: dict[str, Any]
    objective: ObjectiveName
    sampler: str
    pruner: str
    per: str
    round: int
    seed: int
    seeds: list[int]
    threads: int
    """On a CPU the last bits of a training depend on it."""
    device: str
    held: float
    """Of the trials of a method that holds out none itself."""
    code: str = ""
    """Hash of the jobs of the method's own options: it changes with the code of the method, its parts and the harness."""


def space_of(method: Method, *, name: str | None, wanted: tuple[str, ...]) -> Space:
    """Return the search space of a method.

    Args:
        method: The method.
        name: One of its grids; None: its own space.
        wanted: Parameters as typed, ``NAME``, ``NAME=LOW..HIGH[:log]`` or ``NAME=A|B``; empty: the whole space.

    Raises:
        ConfigError: It has no such grid, or no search space, or a parameter is unknown or misspelt.
    """
    if name is not None and name not in method.grids:
        raise ConfigError(f"{method.name}: {unknown('search space', name, known=method.grids)}")
    own = method.space if name is None else method.grids[name]
    space = dict(own)
    if wanted:
        space = {}
        for option, span in map(parse_span, wanted):
            if option in space:
                raise ConfigError(f"parameter {option!r} is given twice; give it once")
            if span is None and option not in own:
                raise ConfigError(
                    f"{method.name}: {unknown('parameter', option, known=own)}; to search an option that has no range of "
                    f"its own, give one, for example --param '{option}=1..16'"
                )
            space[option] = span or own[option]
    if not space:
        grids = f"; its grids are {', '.join(method.grids)}, for --space" if method.grids else ""
        raise ConfigError(
            f"{method.name} declares no search space; give one, for example --param 'lr=1e-4..1e-2:log'{grids}"
        )
    check_space(space, of=method.name)
    return space
