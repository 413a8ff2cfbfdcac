"""Ranks the best methods of a board: those that cannot be told apart share a rank."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from asdbench import RecordedMethod, Registry, load_registry, read_folder
from asdbench_leaderboards.board.recompute import recomputed
from asdbench_leaderboards.board.schema import Board, Row
from asdbench_leaderboards.statistics.groups import Rank, rank_groups

RANKED = 30
"""Methods of a board that are ranked: each pair is tested, on resamples that cost as much as an evaluation."""
_IDENTITY = ("source", "start", "sha256", "label")


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
    draws: dict[str, NDArray[np.float64]] = {}
    items: list[list[str]] | None = None
    for row in candidates:
        method = read_folder(folders[row.record])
        found = _draws(method, board.main, registry=registry)
        # Only resamples of the same items are paired.
        if found is not None and (items is None or items == _items(method)):
            items = items or _items(method)
            draws[row.record] = found
    if len(draws) < 2:
        return board
    ranks = dict(zip(draws, rank_groups(list(draws.values())), strict=True))
    return msgspec.structs.replace(
        board,
        rows=[_ranked(row, ranks[row.record]) if row.record in ranks else row for row in board.rows],
    )


def _draws(method: RecordedMethod, metric: str, *, registry: Registry) -> NDArray[np.float64] | None:
    """Return the metric on the whole dataset, ``[seeds, 1 + resamples]``; None: it is undefined or not resampled."""
    for result in recomputed(method, registry):
        if result.metric == metric and not any(result.groups.values()):
            return result.draws if result.draws is not None and result.draws.shape[1] > 2 else None
    return None


def _items(method: RecordedMethod) -> list[list[str]]:
    return [list(map(str, method.items[name])) for name in _IDENTITY]


def _ranked(row: Row, rank: Rank) -> Row:
    return msgspec.structs.replace(row, rank=rank.rank, rank_best=rank.best, rank_worst=rank.worst)
