"""Columns that a dataset's card names but does not declare, or that its rows lack."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import msgspec
import pytest

from asdbench import Card, Count, PluginError, Row
from asdbench.data.declared import check_card, check_rows

CARD = Card(
    name="hum", title="Motors", task="detection", modality="audio", licence="CC0", citation="none",
    columns={"machine": "which motor", "part": "train or test"}, claims=("machine",),
    scopes={"all": (), "machine": ("machine",)}, groups=("machine", "domain"), metrics="dcase2020", item_shape=(8,),
    expected=(Count(columns={"machine": "a", "part": "test"}, items=2),),
)  # fmt: skip


def row(label: str | None = None, **columns: str) -> Row:
    """Return a row with these columns."""
    return Row(source=PurePosixPath(f"{len(columns)}.npy"), columns=columns, label=label)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"claims": ("motor",)}, "claims of its card: unknown column 'motor'"),
        ({"runtime_columns": ("domain",)}, "runtime_columns of its card: unknown column 'domain'"),
        ({"scopes": {"all": (), "type": ("machin",)}}, r"scopes\['type'\] .*'machin'; did you mean 'machine'\?"),
        ({"groups": ("motor", "part")}, "groups of its card: unknown column 'motor'"),
        (
            {"expected": (Count(columns={"split": "test"}, items=2),)},
            r"dataset 'hum': expected of its card: unknown column 'split' \(known: machine, part\)",
        ),
    ],
)  # fmt: skip
def test_a_card_that_names_a_column_it_does_not_declare_is_refused(
    fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(PluginError, match=message):
        check_card(msgspec.structs.replace(CARD, **fields))


def test_an_inner_group_may_be_absent() -> None:
    assert "domain" not in CARD.columns
    check_card(CARD)
    check_rows(CARD, [row(machine="a", part="test")])


def test_a_row_without_a_column_of_the_card_is_named() -> None:
    message = (
        r"its index yields 1.npy without the column 'part', which expected of its card names; it has machine$"
    )
    with pytest.raises(PluginError, match=message):
        check_rows(CARD, [row(machine="a", part="test"), row(machine="a")])


def test_a_row_with_a_label_that_the_task_does_not_have_is_named() -> None:
    rows = [row(label, machine="a", part="test") for label in (None, "anomaly", "normal")]
    check_rows(CARD, rows)
    message = r"yields 2.npy with the label 'good'; labels are 'normal', 'anomaly', or None if it is unknown$"
    with pytest.raises(PluginError, match=message):
        check_rows(CARD, [*rows, row("good", machine="a", part="test")])
    moods = msgspec.structs.replace(CARD, targets=("joy", "fear"))
    check_rows(moods, [row("joy", machine="a", part="test")])
    with pytest.raises(PluginError, match="label 'anomaly'; labels are 'joy', 'fear'"):
        check_rows(moods, rows)
