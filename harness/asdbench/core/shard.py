"""The number of a shard: one of several shares of a plan."""

from __future__ import annotations

import re
from dataclasses import dataclass

from asdbench.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Shard:
    """One of several shares of a plan."""

    number: int
    """Counted from 1."""
    count: int
    """How many there are."""

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Return the shard that ``I/N`` names.

        Raises:
            ConfigError: It is not of this form, or I is not between 1 and N.
        """
        match = re.fullmatch(r"([0-9]+)/([0-9]+)", text)
        if match is None:
            raise ConfigError(f"{text!r} is not a shard; write I/N, for example 2/8 for the second of eight")
        shard = cls(int(match[1]), int(match[2]))
        if not 1 <= shard.number <= shard.count:
            raise ConfigError(
                f"{text!r} is out of range: the shards of {shard.count} are numbered from 1 to {shard.count}"
                if shard.count
                else f"{text!r} is out of range: there must be at least one shard"
            )
        return shard

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"
