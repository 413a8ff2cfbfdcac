"""The measured numbers of READMEs and pages are those of real runs, written by ``make figures-of-readmes``."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import measured
import msgspec
import pytest
import regret
from measured import Cell, Column, Measured, Place, Row, Table

TINY = "synthetic[machines=fan,ids=2,train_clips=6,test_clips=4,length_s=1]"
PLACES = list(measured.places())
MARKER = re.compile(r"<!-- measured: (.+) -->")


def named(place: Place) -> str:
    return place.key


@pytest.mark.parametrize("place", PLACES, ids=named)
def test_the_table_of_a_page_shows_the_kept_values(place: Place) -> None:
    assert measured.shown(place) == measured.rendered(place, place.kept())


@pytest.mark.parametrize("place", PLACES, ids=named)
def test_the_kept_values_come_from_a_commit_and_a_processor(place: Place) -> None:
    kept = place.kept()
    assert re.fullmatch("[0-9a-f]{7,12}", kept.commit)
    assert kept.processor
    assert set(kept.cells) == {row.name for row in place.table.rows}


def test_the_table_of_regret_shows_the_kept_values() -> None:
    kept = json.loads((measured.ROOT / "benchmarks/results/regret.json").read_text("utf-8"))
    assert kept["machine_info"]["processor"]
    assert regret.table_of(kept["points"]) in (measured.ROOT / "docs/tuning.md").read_text("utf-8")


def test_every_marked_table_is_a_known_one() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "*.md"], cwd=measured.ROOT, check=True, capture_output=True, text=True
    )
    pages = [measured.ROOT / name for name in listed.stdout.splitlines()]
    found = {(page, key) for page in pages for key in MARKER.findall(page.read_text("utf-8"))}
    assert found == {(place.page, place.key) for place in PLACES}


def test_a_row_that_is_measured_again_has_a_tolerance_of_a_few_points() -> None:
    limits = [
        place.table.tolerance if row.tolerance is None else row.tolerance
        for place in PLACES
        for row in place.table.rows
    ]
    assert all(0 < limit <= 15 for limit in limits)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A table in a page of its own, followed by another one."""
    (tmp_path / "page.md").write_text(
        "before\n<!-- measured: some/tiny -->\n<!-- end -->\n"
        "between\n<!-- measured: some/other -->\n1\n<!-- end -->\nafter\n"
    )
    (tmp_path / "some.toml").write_text(
        f"""
        page = "page.md"
        [[tables]]
        name = "tiny"
        datasets = ["{TINY}"]
        seeds = [1, 2]
        tolerance = 0.5
        columns = [
          {{ title = "AUC", metric = "auc", interval = true }},
          {{ title = "fan", metric = "auc", groups = {{ machine = "fan" }} }},
          {{ title = "fit s", metric = "fit_s", digits = 0 }},
          {{ title = "parameters", metric = "parameters", digits = 0 }},
        ]
        rows = [{{ method = "logmel_knn[k=2]", quick = true }}]
        """
    )
    [only] = measured.places(tmp_path, root=tmp_path)
    return only


def test_a_table_is_measured_and_written_into_its_page(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measured, "commit", lambda: "abc1234")
    monkeypatch.setenv("ASDBENCH_CACHE", str(tmp_path / "cache"))
    result = measured.measure(place.table, tmp_path / "out")
    cells = result.cells["`logmel_knn[k=2]`"]
    # The only machine is the whole dataset, and nearest neighbours draw nothing: both seeds are equal.
    assert cells["AUC"].values == cells["fan"].values
    assert len(set(cells["fan"].values)) == 1
    assert cells["AUC"].low is not None

    measured.write(place, result)
    assert place.kept() == result
    before, table, after = re.split(
        "<!-- measured: some/tiny -->\n|(?=<!-- end -->\nbetween)", place.page.read_text()
    )
    auc = 100 * cells["AUC"].values[0]
    assert before == "before\n"
    assert f"| `logmel_knn[k=2]` | {auc:.1f} [" in table
    assert f"| {auc:.1f} ± 0.0 | 0 | 0 |" in table
    assert f"seeds 1, 2, one thread, commit abc1234, {result.processor}" in table
    assert after == "<!-- end -->\nbetween\n<!-- measured: some/other -->\n1\n<!-- end -->\nafter\n"
    measured.write(place, result)
    assert measured.shown(place) == table == measured.rendered(place, result)


def values_of(*values: float) -> Measured:
    cells = {
        "`logmel_knn[k=2]`": {
            name: Cell(values=list(values)) for name in ("AUC", "fan", "fit s", "parameters")
        }
    }
    return Measured(commit="abc1234", processor="some", cells=cells)


def test_a_number_typed_by_hand_differs(place: Place) -> None:
    measured.write(place, values_of(0.8))
    place.page.write_text(place.page.read_text().replace("80.0", "81.0"))
    assert measured.shown(place) != measured.rendered(place, place.kept())


def test_values_are_compared_within_the_tolerance_and_seconds_not_at_all(place: Place) -> None:
    old = values_of(0.8, 0.7)
    assert measured.differences(place.table, old, new=values_of(0.8049, 0.7)) == []
    assert measured.differences(place.table, old, new=values_of(0.8, 0.6949)) == [
        "`logmel_knn[k=2]`, AUC: 69.49, not 70.00 ± 0.5",
        "`logmel_knn[k=2]`, fan: 69.49, not 70.00 ± 0.5",
    ]


def test_the_best_method_comes_first() -> None:
    columns = [Column(title="AUC %", metric="auc"), Column(title="fit s", metric="fit_s", digits=0)]
    rows = [Row(method="a"), Row(method="b")]
    table = Table(name="t", datasets=["d"], tolerance=1, columns=columns, rows=rows, best_first=True)
    cells = {
        f"`{name}`": {"AUC %": Cell(values=values), "fit s": Cell(values=[61.4])}
        for name, values in {"a": [0.5, 0.7], "b": [0.8, 0.9]}.items()
    }
    place = Place(name="n", page=Path("p"), values=Path("v"), table=table)
    lines = measured.rendered(place, Measured(commit="c", processor="p", cells=cells)).splitlines()
    assert lines[:4] == [
        "| method | AUC % | fit s |",
        "| --- | --- | --- |",
        "| `b` | 85.0 ± 7.1 | 61 |",
        "| `a` | 60.0 ± 14.1 | 61 |",
    ]


def test_a_page_without_the_marker_is_not_written(place: Place) -> None:
    place.page.write_text("no marker\n")
    with pytest.raises(ValueError, match="lacks the lines <!-- measured: some/tiny -->"):
        measured.write(place, values_of(0.8))
    assert not place.values.exists()


def test_a_table_without_values_names_the_command_that_measures_it(place: Place) -> None:
    with pytest.raises(
        ValueError, match="some/tiny was never measured: make figures-of-readmes ONLY=some/tiny"
    ):
        place.kept()


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"no table is named serial; there are .*contrastive_ensemble/synthetic"
    ):
        measured.main(["serial"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "place", [place for place in PLACES if any(row.quick for row in place.table.rows)], ids=named
)
def test_a_new_run_gives_the_kept_values(place: Place, tmp_path: Path) -> None:
    quick = msgspec.structs.replace(place.table, rows=[row for row in place.table.rows if row.quick])
    assert measured.differences(quick, place.kept(), new=measured.measure(quick, tmp_path)) == []
