"""Shards: disjoint shares of a plan, for machines that share a folder of results and need no scheduler in common.

A shard runs its jobs and evaluates nothing: the same command without ``--shard`` finds the results of all shards, runs
what is missing, and writes the records.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from asdbench.core.config import Config
from asdbench.core.shard import Shard
from asdbench.messages.jobs import Case
from asdbench.messages.results import Outcome
from asdbench.runs.plan import Planned


class ShardDocument(Config, frozen=True, kw_only=True):
    """The state of a shard's part of one run."""

    run: str
    """Identifier of the whole run."""
    dataset: str
    """With the options that the user typed."""
    models: int
    """Models of this shard."""
    of: int
    """Models of the run."""
    jobs: list[Outcome]
    """Jobs of this shard."""
    refused: dict[str, str]
    """Methods that were not run because a plugin is broken -> why."""


class ShardDocuments(Config, frozen=True, kw_only=True):
    """What ``asdbench run --shard --json`` prints: the state of a shard, run by run."""

    schema_version: Literal[1] = 1
    shard: str
    """``I/N``."""
    runs: list[ShardDocument]


def divided(plans: Sequence[Planned], shard: Shard) -> list[Planned]:
    """Return the plans with a shard's cases alone; those of all shards together are all that can be run.

    Models are dealt out in turn, each with all that is scored with it. Only the plans decide, never what is finished, so
    every shard divides alike whenever it starts. The turn goes on from plan to plan: many short ones are shared too.
    """
    turns: dict[str, int] = {}
    for planned in plans:
        for case in planned.cases:
            if case.inapplicable is None:
                turns.setdefault(case.fit.job_id, len(turns))

    def is_ours(case: Case) -> bool:
        return case.inapplicable is None and turns[case.fit.job_id] % shard.count == shard.number - 1

    return [replace(planned, cases=[case for case in planned.cases if is_ours(case)]) for planned in plans]


def models_of(cases: Sequence[Case]) -> int:
    """Return how many models the cases need, without those of cases that cannot be run."""
    return len({case.fit.job_id for case in cases if case.inapplicable is None})
