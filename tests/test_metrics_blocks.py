"""Blocks in the challenge metrics: dependent items are resampled together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from asdbench.metrics import Result, ScoreTable, dcase2020, dcase2021, dcase2022

Year = Callable[..., list[Result]]
YEARS = pytest.mark.parametrize("year", [dcase2020, dcase2021, dcase2022])
LENGTH = 10
"""Windows of a recording; their scores are nearly equal."""


def recordings(*, each: int = 12) -> ScoreTable:
    """Return two sections of one machine, each with ``each`` normal and anomalous recordings in overlapping windows."""
    generator = np.random.default_rng(0)
    label = np.tile(np.repeat(["normal", "anomaly"], each), 2)
    level = generator.normal(size=label.size) + (label == "anomaly")
    items = np.repeat(np.arange(label.size), LENGTH)
    scores = level[items] + 0.1 * generator.normal(size=items.size)
    section = np.repeat(["00", "01"], 2 * each)
    return ScoreTable(
        groups=("machine", "section"),
        columns={"machine": np.full(items.size, "fan"), "section": section[items]},
        label=label[items].astype(object),
        scores=np.stack([scores, -scores]),
        block=items.astype(str),
    )


def width(result: Result) -> float:
    assert result.low is not None
    assert result.high is not None
    return result.high - result.low


@YEARS
def test_blocks_widen_intervals_and_change_no_value(year: Year) -> None:
    table = replace(recordings(), scores=recordings().scores[:1])
    blocked, alone = year(table, resamples=200), year(replace(table, block=None), resamples=200)
    assert [result.value for result in blocked] == [result.value for result in alone]
    for wide, narrow in zip(blocked, alone, strict=True):
        assert wide.why is None
        assert width(wide) > 1.5 * width(narrow)


@YEARS
def test_intervals_by_block_do_not_depend_on_the_order_of_items(year: Year) -> None:
    table = recordings()
    order = np.random.default_rng(1).permutation(table.label.size)
    assert table.block is not None
    shuffled = replace(
        table,
        columns={name: column[order] for name, column in table.columns.items()},
        label=table.label[order],
        scores=table.scores[:, order],
        block=table.block[order],
    )
    assert year(shuffled, resamples=40) == year(table, resamples=40)


@YEARS
def test_items_of_one_block_and_the_means_above_them_have_no_interval(year: Year) -> None:
    table = recordings()
    assert table.block is not None
    lone = (table.columns["section"] == "01") & (table.label == "anomaly")
    results = year(replace(table, block=np.where(lone, "one", table.block)), resamples=40)
    sections = {name: [r for r in results if r.groups["section"] == name] for name in ("00", "01")}
    means = [result for result in results if result.groups["section"] is None]
    assert all(result.low is not None and result.why is None for result in sections["00"])
    for result in [*sections["01"], *means]:
        assert result.value is not None
        assert (result.low, result.high) == (None, None)
    measured = [result for result in sections["01"] if result.metric in ("auc", "pauc")]
    assert {r.why for r in measured} == {"no interval: anomalous items are in one block"}
    assert {result.why for result in means} == {"no interval: fan/01 cannot be resampled"}


def test_without_resamples_there_are_no_notes_on_blocks() -> None:
    table = recordings()
    one = replace(table, block=np.full(table.label.size, "one"))
    assert {result.why for result in dcase2020(one, resamples=0)} == {None}
