"""Renders boards, their index and the methods' pages as self-contained HTML: nothing is loaded from anywhere."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jinja2

from asdbench import RecordedMethod
from asdbench_leaderboards.board.curves import SIZE, panels_of
from asdbench_leaderboards.board.rows import figure_of
from asdbench_leaderboards.board.schema import Board, BoardEntry, Row
from asdbench_leaderboards.board.tables import (
    SELECTIONS,
    costs_of,
    difference_of,
    flags_of,
    measures_of,
    printed_of,
    value_of,
)
from asdbench_leaderboards.cells import metric_name, percent
from asdbench_leaderboards.html import as_json, environment_of, render


def index_page(boards: Sequence[BoardEntry]) -> str:
    """Return the page that lists the boards of a folder."""
    return _render("index.html", boards=boards)


def board_page(board: Board, *, paged: frozenset[str]) -> str:
    """Return the page of a board.

    Args:
        board: The board.
        paged: Records of the methods that have a page of their own.
    """
    return _render(
        "board.html",
        board=board,
        paged=paged,
        measures=measures_of(board),
        families=sorted({row.family for row in board.rows}),
        selections=sorted({row.selection for row in board.rows}),
        verified=sorted({row.verified for row in board.rows}),
        has_printed=any(figure.printed is not None for row in board.rows for figure in row.figures),
        has_ranks=any(row.rank is not None for row in board.rows),
        figures={id(row): _by_place(row) for row in board.rows},
    )


def method_page(board: Board, row: Row, *, method: RecordedMethod) -> str:
    """Return the page of one method of a board."""
    record = method.record
    return _render(
        "method.html",
        board=board,
        row=row,
        record=record,
        panels=panels_of(method),
        size=SIZE,
        main=figure_of(row, board.main),
        configuration=as_json(record.method.recipe),
        environments=as_json(record.environments),
        confusion=record.method.confusion,
    )


def _by_place(row: Row) -> dict[tuple[str, str | None, str | None], object]:
    return {(figure.metric, figure.domain, figure.group): figure for figure in row.figures}


@functools.cache
def _environment() -> jinja2.Environment:
    return environment_of(
        {
            "identity": id,
            "value": value_of,
            "printed": printed_of,
            "difference": difference_of,
            "flags": flags_of,
            "costs": costs_of,
            "metric": metric_name,
            "percent": percent,
            "selection": lambda rule: SELECTIONS.get(rule, rule),
        }
    )


def _render(template: str, **values: object) -> str:
    return render(_environment(), template, values=values, script="board.js")
