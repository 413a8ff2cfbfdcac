"""Boards and records made by hand for tests of pages: small, hostile, large."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import pandas as pd
from made_runs import data_of, recipe_of, run_info, summary_of

from asdbench import Cost, MethodRecord, RecordedMethod, ResultRow, write_json
from asdbench_leaderboards.board.schema import Board, BoardEntry, Figure, Licences, Protocol, Row

T = TypeVar("T")
MARK = "<b>MARK</b>"
ATTACK = (
    f'{MARK}"\'><img src=x onerror="window.hit=1"></script><script>window.hit=1;alert(1)</script>'
    "<svg onload=window.hit=1>{{7*7}}javascript:window.hit=1"
)
CONTRAST = """() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const linear = (v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const light = (c) => c.slice(0, 3).map((v) => linear(v / 255))
    .reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = rgb(getComputedStyle(at).backgroundColor);
      if (color.length === 3 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll("main *")]
    .filter((e) => e.offsetParent && [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()))
    .map((e) => {
      const [a, b] = [light(rgb(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
      return (a + 0.05) / (b + 0.05);
    });
}"""
"""The contrast ratio of every element with text."""
TIMED_FILTER = """() => {
  const field = document.querySelector("[name=family]");
  const once = (value) => {
    const start = performance.now();
    field.value = value;
    field.dispatchEvent(new Event("input", { bubbles: true }));
    document.getElementById("board").getBoundingClientRect();
    return performance.now() - start;
  };
  const measured = [];
  for (let run = 0; run < 5; run += 1) {
    once("");
    measured.push(once("family 7"));
  }
  return Math.min(...measured);  // what the page costs; other programs only add to it
}"""


def figure(
    metric: str, value: float | None, *, group: str | None = None, domain: str | None = None
) -> Figure:
    """A figure with an interval of two points to either side."""
    ends = (None, None) if value is None else (value - 0.02, value + 0.02)
    return Figure(
        metric=metric, group=group, domain=domain, value=value, low=ends[0], high=ends[1], printed=None, why=None,
        per_seed=[value],
    )  # fmt: skip


def row(method: str, value: float, *, machines: tuple[str, ...] = ("fan", "valve"), **changes: Any) -> Row:
    """A row with AUC, pAUC and the AUC of a domain for each machine."""
    figures = [figure("auc", value), figure("pauc", value - 0.1)]
    for machine in machines:
        figures += [figure("auc", value, group=machine), figure("pauc", value - 0.1, group=machine)]
        figures += [figure("auc", value - 0.05, group=machine, domain="target")]
    found = Row(
        record="ab12", method=method, family="baselines", failure=None, seeds=[0], failed_seeds=[], selection="last",
        verified="claimed", complete=True, size="56 of 56 items", members=1, reduced=False, approximate="",
        batch_dependent=False, recognises=False, isolated="landlock",
        pretraining="unknown", cost=cost(1.0), hardware=["a core, 1 threads"],
        licences=Licences(data="CC0-1.0"), printed_in=[], rules=[], time="2026-01-01T00:00:00+00:00", figures=figures,
    )  # fmt: skip
    return msgspec.structs.replace(found, **changes)


def cost(fit_s: float) -> Cost:
    """A cost with a training time."""
    return Cost(
        fit_s=fit_s, score_ms=1.0, parameters=10, flops=100, peak_memory_bytes=2**20, peak_device_bytes=0
    )


def board_of(rows: list[Row], *, machines: tuple[str, ...] = ("fan", "valve")) -> Board:
    """A board of some rows."""
    protocol = Protocol(
        dataset="made", options={}, metric_set="dcase2020", evaluator="asdbench 0", groups=["machine", "section"],
        targets=[], resample_by="", manifest="0" * 64,
    )  # fmt: skip
    return Board(
        name="board", title="made", protocol=protocol, main="auc", outermost=list(machines), known_leaks=[],
        notes=["A note."], rows=rows,
    )  # fmt: skip


def small_board() -> Board:
    """Four methods: verified, of another family with partial data, of another rule, failed."""
    return board_of(
        [
            row("alpha", 0.9, verified="recomputed", cost=cost(1.0), reduced=True),
            row("beta", 0.8, record="b", family="knn", complete=False, cost=cost(2.0)),
            row("gamma", 0.7, record="c", selection="validation", cost=cost(3.0)),
            row("delta", 0.0, record="d", failure="the job ran out of memory", figures=[], cost=None),
        ]
    )


def large_board(size: int, *, machines: int) -> Board:
    """Many methods of ten families."""
    names = tuple(f"machine {k}" for k in range(machines))
    return board_of(
        [
            row(
                f"method {k}",
                0.95 - k / 10_000,
                machines=names,
                record="ab12" if k == 0 else f"{k:x}",
                family=f"family {k % 10}",
            )
            for k in range(size)
        ],
        machines=names,
    )


def entry(board: Board) -> BoardEntry:
    """The entry of a board in the index."""
    return BoardEntry(name=board.name, title=board.title, rows=len(board.rows), failures=0)


def method() -> RecordedMethod:
    """A record of two machines with eight clips each."""
    rng = np.random.default_rng(0)
    items = pd.DataFrame(
        [
            {
                "machine": machine,
                "section": "00",
                "source": f"{machine}/{k}.wav",
                "start": 0,
                "sha256": "0" * 64,
                "label": ("normal", "anomaly")[k % 2],
            }
            for machine in ("fan", "valve")
            for k in range(8)
        ]
    )
    items["score_0"] = rng.normal(size=len(items)) + (items["label"] == "anomaly")
    record = MethodRecord(
        record_id="ab12", run=run_info(dataset="made"), method=summary_of(recipe_of("alpha")),
        results=[result("fan"), result("valve"), result(None)], data=data_of(("machine", "section")), models={},
        scores={}, environments={}, sizes={},
    )  # fmt: skip
    return RecordedMethod(label="alpha", record=record, items=items)


def write_method(folder: Path, name: str = "ab12") -> Path:
    """Write the record of ``method`` into a folder of records; return its own folder."""
    made = method()
    place = folder / name
    place.mkdir(parents=True)
    made.items.to_parquet(place / "items.parquet", index=False)
    sizes = {"items.parquet": (place / "items.parquet").stat().st_size}
    write_json(place / "record.json", msgspec.structs.replace(made.record, record_id=name, sizes=sizes))
    return place


def result(machine: str | None) -> ResultRow:
    """An AUC of a machine."""
    return ResultRow(
        method="alpha", groups={"machine": machine, "section": "00" if machine else None}, metric="auc", value=0.9,
        low=0.8, high=0.95, printed=None, why=None, items=8, per_seed=[0.9],
    )  # fmt: skip


def hostile_board() -> Board:
    """A board with an attack in every text that its type allows, but for the names of files."""
    found = _attacked(small_board(), Board, spared={"name", "record"})
    assert found.rows[0].method == found.title == ATTACK
    return found


def hostile_method() -> RecordedMethod:
    """The record of a method, attacked in every text that its type allows, in its items and their columns."""
    plain = method()
    record = _attacked(plain.record, MethodRecord, spared={"record_id", "groups"})
    items = plain.items.assign(machine=ATTACK)
    return RecordedMethod(label=ATTACK, record=record, items=items)


def _attacked(value: T, kind: type[T], *, spared: set[str]) -> T:
    built = msgspec.to_builtins(value)
    for parent, key in list(_texts(built)):
        if key in spared:
            continue
        kept = parent[key]
        parent[key] = ATTACK
        try:
            msgspec.convert(built, kind)
        except msgspec.ValidationError:  # one of a few allowed words
            parent[key] = kept
    return msgspec.convert(built, kind)


def _texts(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield where in lists and dicts there is text."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in pairs:
        if isinstance(part, str):
            yield value, key
        else:
            yield from _texts(part)
