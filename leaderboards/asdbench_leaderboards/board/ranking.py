"""Ranks the best methods of a board: those that cannot be told apart share a rank."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from asdbench import RecordedMethod, Registry, load_registry, read_folder
from asdbench_leaderboards.board.items import IDENTITY
from asdbench_leaderboards.board.parallel import in_processes
from asdbench_leaderboards.board.recompute import recomputed
from asdbench_leaderboards.board.schema import Board, Row
from asdbench_leaderboards.statistics.groups import Rank, rank_groups

RANKED = 30
"""Methods of a board that are ranked: each pair is tested, on resamples that cost as much as an evaluation."""
DRAWN = 5
"""Methods to resample that are worth a process."""


def with_ranks(board: Board, folders: Mapping[str, Path], *, limit: int = RANKED) -> Board:
    """Return a board whose best methods on complete data and the same items have ranks.

    Args:
        board: The board, its rows best first.
        folders: Folder of each record.
        limit: How many methods are ranked at most.
    """
    board = msgspec.structs.replace(board, ranked=limit)
    candidates = [row for row in board.rows if row.failure is None and row.complete][:limit]
    registry = load_registry()
    found = in_processes(
        lambda row: _drawn(read_folder(folders[row.record]), board.main, registry=registry),
        candidates,
        least=DRAWN,
    )
    resampled = {row.record: each for row, each in zip(candidates, found, strict=True) if each}
    # Only resamples of the same items are paired.
    first = next((items for _, items in resampled.values()), "")
    draws = {name: values for name, (values, items) in resampled.items() if items == first}
    if len(draws) < 2:
        return board
    ranks = dict(zip(draws, rank_groups(list(draws.values())), strict=True))
    return msgspec.structs.replace(
        board,
        rows=[_ranked(row, ranks[row.record]) if row.record in ranks else row for row in board.rows],
    )


def _drawn(
    method: RecordedMethod, metric: str, *, registry: Registry
) -> tuple[NDArray[np.float64], str] | None:
    """Return the metric on the whole dataset, ``[seeds, 1 + resamples]``, and a hash of the items that it is of.

    None: it is undefined or not resampled.
    """
    for result in recomputed(method, registry):
        if result.metric == metric and not any(result.groups.values()):
            if result.draws is None or result.draws.shape[1] < 3:
                return None
            items = [list(map(str, method.items[name])) for name in IDENTITY]
            return result.draws, hashlib.sha256(msgspec.json.encode(items)).hexdigest()
    return None


def _ranked(row: Row, rank: Rank) -> Row:
    return msgspec.structs.replace(row, rank=rank.rank, rank_best=rank.best, rank_worst=rank.worst)
