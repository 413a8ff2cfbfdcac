"""Your own tables as windows: columns, labels, lost rows, and errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from asdbench import ANOMALY, ConfigError, DataError
from asdbench_datasets.robot.timeseries import TimeSeries


@pytest.fixture
def table() -> pd.DataFrame:
    rows = 60
    return pd.DataFrame(
        {
            "torque": np.arange(rows, dtype=np.float64),
            "speed": np.sin(np.arange(rows)),
            "run": ["a"] * 30 + ["b"] * 30,
            "state": ["normal"] * 50 + ["Anomaly"] * 10,
        }
    )


def test_tables_of_every_kind_give_the_same_windows(tmp_path: Path, table: pd.DataFrame) -> None:
    table.to_csv(tmp_path / "own.csv", index=False)
    table.to_parquet(tmp_path / "own.parquet")
    numbers = table.assign(run=table["run"] == "b", state=table["state"] == "Anomaly")
    np.save(tmp_path / "own.npy", numbers.to_numpy(dtype=np.float64))
    named = {"label": "state", "segment": "run"}
    numbered = {"label": "3", "segment": "2"}
    found = []
    for suffix, options in (("csv", named), ("parquet", named), ("npy", numbered)):
        dataset, root = TimeSeries(path=f"own.{suffix}", window=10, **options).located(tmp_path)
        rows = list(dataset.index(root))
        found.append([(row.start, row.label) for row in rows])
        np.testing.assert_allclose(
            dataset.read(root, rows[0].source), table[["torque", "speed"]].to_numpy(), atol=1e-6
        )
        assert dataset.card.item_shape == (10, 2)
    assert found[0] == found[1] == found[2]
    assert [start for start, label in found[0] if label == ANOMALY] == [50]
    assert all(start >= 30 or start + 10 <= 30 for start, _ in found[0])


def test_missing_values_split_a_table_and_the_card_counts_them(tmp_path: Path, table: pd.DataFrame) -> None:
    table.loc[25, "speed"] = np.nan
    table.to_csv(tmp_path / "own.csv", index=False)
    dataset, root = TimeSeries(path="own.csv", window=10, label="state").located(tmp_path)
    values = dataset.read(root, next(iter(dataset.index(root))).source)
    for row in dataset.index(root):
        assert (np.diff(values[row.start : row.start + 10, 0]) == 1).all()
    assert dataset.card.notes[:2] == (
        "1 rows are left out for missing or infinite values, 0 are in stretches shorter than a window",
        "column 'run' is not a feature: it holds no numbers, or is the index of the table",
    )


def test_a_folder_of_tables_without_labels_is_scored_too(tmp_path: Path, table: pd.DataFrame) -> None:
    for name in ("monday", "tuesday"):
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    dataset, root = TimeSeries(path=str(tmp_path), window=10, columns="torque").located(tmp_path)
    rows = list(dataset.index(root))
    assert {row.columns["recording"] for row in rows} == {"monday", "tuesday"}
    assert {row.label for row in rows} == {None}
    assert dataset.read(root, rows[0].source).shape == (60, 1)
    assert dataset.folds(rows)[0].test


def test_tables_that_do_not_fit_the_options_are_refused(tmp_path: Path, table: pd.DataFrame) -> None:
    table.to_csv(tmp_path / "own.csv", index=False)

    def index(**options: Any) -> None:
        dataset, root = TimeSeries(**{"path": "own.csv", "window": 10, **options}).located(tmp_path)
        list(dataset.index(root))

    with pytest.raises(ConfigError, match=r"-d 'timeseries\[path=...\]'"):
        index(path="")
    with pytest.raises(ConfigError, match=r"label=status: .*'status'"):
        index(label="status")
    with pytest.raises(ConfigError, match="columns=run"):
        index(columns="torque+run")
    with pytest.raises(DataError, match="label 'a' is none of normal"):
        index(label="run")
    with pytest.raises(DataError, match="path=nowhere does not exist, neither in the current folder"):
        index(path="nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty is neither a table nor a folder with tables"):
        index(path="empty")
    (tmp_path / "own.txt").write_text("1")
    with pytest.raises(DataError, match="is not a supported kind of table"):
        index(path="own.txt")
    np.save(tmp_path / "own.npy", np.zeros(3))
    with pytest.raises(DataError, match=r"should hold numbers \[rows, columns\]"):
        index(path="own.npy")
    (tmp_path / "mixed").mkdir()
    table.to_csv(tmp_path / "mixed" / "a.csv", index=False)
    table.rename(columns={"speed": "rate"}).to_csv(tmp_path / "mixed" / "b.csv", index=False)
    with pytest.raises(DataError, match="have different features"):
        index(path="mixed")


def test_a_table_that_has_changed_is_read_again(tmp_path: Path, table: pd.DataFrame) -> None:
    table.to_csv(tmp_path / "own.csv", index=False)
    dataset, root = TimeSeries(path="own.csv", window=10, label="state").located(tmp_path)
    source = next(iter(dataset.index(root))).source
    before = dataset.read(root, source)
    table.assign(torque=table["torque"] + 1000).to_csv(tmp_path / "own.csv", index=False)
    assert (dataset.read(root, source)[:, 0] == before[:, 0] + 1000).all()


def test_the_index_that_pandas_writes_is_not_a_feature(tmp_path: Path, table: pd.DataFrame) -> None:
    table.to_csv(tmp_path / "own.csv")
    dataset, _ = TimeSeries(path="own.csv", window=10, label="state").located(tmp_path)
    assert dataset.card.item_shape == (10, 2)
    assert "column 'Unnamed: 0' is not a feature" in " ".join(dataset.card.notes)


def test_numbers_that_are_not_labels_and_several_arrays_are_refused(
    tmp_path: Path, table: pd.DataFrame
) -> None:
    table.assign(state=[-1] * 30 + [1] * 30).to_csv(tmp_path / "own.csv", index=False)
    dataset, root = TimeSeries(path="own.csv", window=10, label="state").located(tmp_path)
    with pytest.raises(DataError, match=r"label -1 is neither 0 \(normal\) nor 1 \(anomaly\)"):
        list(dataset.index(root))
    with (tmp_path / "many.npy").open("wb") as file:
        np.savez(file, a=np.zeros((4, 2)), b=np.zeros(3))
    dataset, root = TimeSeries(path="many.npy", window=10).located(tmp_path)
    with pytest.raises(DataError, match="holds several arrays"):
        list(dataset.index(root))


def test_a_table_without_labels_lists_overlapping_windows_as_a_leak(
    tmp_path: Path, table: pd.DataFrame
) -> None:
    table.drop(columns="state").to_csv(tmp_path / "own.csv", index=False)
    dataset, _ = TimeSeries(path="own.csv", window=10).located(tmp_path)
    assert any("windows for validation and test" in leak for leak in dataset.card.known_leaks)


def opened(folder: Path, text: str, **options: Any) -> TimeSeries:
    """A table with this text, at a known place."""
    (folder / "own.csv").write_text(text)
    return TimeSeries(**{"path": "own.csv", "window": 2, **options}).located(folder)[0]


def test_a_column_that_a_csv_names_twice_is_refused(
    tmp_path: Path,
) -> None:
    for header in ("state,a,state", "state,a, state"):
        dataset = opened(tmp_path, f"{header}\n0,1.5,0\n1,2.5,1\n", label="state")
        with pytest.raises(DataError, match=r"own\.csv names columns twice: state; give each its own name"):
            list(dataset.index(tmp_path))
    dataset = opened(tmp_path, "a,b\n1,2\n3,4\n", columns="a+b+a")
    with pytest.raises(ConfigError, match=r"columns=a\+b\+a names a twice"):
        list(dataset.index(tmp_path))


@pytest.mark.parametrize("options", [{}, {"label": "1"}, {"segment": "2"}, {"columns": "0"}], ids=str)
def test_a_table_in_another_byte_order_is_read(tmp_path: Path, options: dict[str, str]) -> None:
    values = np.column_stack([np.arange(6), np.zeros(6), np.repeat([0, 1], 3)])
    np.save(tmp_path / "own.npy", values.astype(">f8"))
    dataset, root = TimeSeries(path="own.npy", window=2, **options).located(tmp_path)
    [source] = {row.source for row in dataset.index(root)}
    np.testing.assert_array_equal(dataset.read(root, source)[:, 0], values[:, 0])


def test_tables_with_the_same_stem_are_separate_recordings(tmp_path: Path, table: pd.DataFrame) -> None:
    table.to_csv(tmp_path / "x.csv", index=False)
    table.to_parquet(tmp_path / "x.parquet")
    table.to_csv(tmp_path / "y.csv", index=False)
    dataset, root = TimeSeries(path=str(tmp_path), window=10).located(tmp_path)
    rows = list(dataset.index(root))
    assert {row.columns["recording"] for row in rows} == {"x.csv", "x.parquet", "y"}
    by_block = {(row.columns["block"], row.source) for row in rows}
    assert len({block for block, _ in by_block}) == len(by_block)


def test_values_beyond_float32_are_refused_with_column_and_value(tmp_path: Path) -> None:
    dataset = opened(tmp_path, "a,b\n1,2\n3,1e39\n5,6\n")
    with pytest.raises(DataError, match=r"column 'b' is 1e\+39 in row 1; values beyond 1\.7e\+38"):
        list(dataset.index(tmp_path))
    dataset = opened(tmp_path, "a,b\n1,-3e38\n3,3e38\n5,6\n")  # each fits, their difference does not
    with pytest.raises(DataError, match=r"column 'b' is -3e\+38 in row 0"):
        list(dataset.index(tmp_path))
    dataset = opened(tmp_path, "a,b\n1,2\n3,inf\n5,6\n7,8\n")
    assert "1 rows are left out for missing or infinite values" in dataset.card.notes[0]


def test_a_folder_of_many_tables_is_read_at_most_twice(
    tmp_path: Path, table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = 12  # more than are cached with their values
    for number in range(files):
        table.assign(torque=table["torque"] + number).to_parquet(tmp_path / f"{number}.parquet")
    reads: list[Any] = []
    read = pd.read_parquet

    def counting(file: Any) -> pd.DataFrame:
        reads.append(file)
        return read(file)

    monkeypatch.setattr(pd, "read_parquet", counting)
    dataset, root = TimeSeries(path=str(tmp_path), window=10, label="state").located(tmp_path)
    cards = [dataset.card for _ in range(4)]
    rows = list(dataset.index(root))
    assert len(reads) == files
    assert all(card == cards[0] for card in cards)
    for source in sorted({row.source for row in rows}):
        assert dataset.read(root, source)[0, 0] == int(source.stem)
    assert len(reads) <= 2 * files


def test_labels_without_an_anomaly_are_noted_and_normal_windows_are_tested(
    tmp_path: Path, table: pd.DataFrame
) -> None:
    table.assign(state="normal").to_csv(tmp_path / "own.csv", index=False)
    dataset, root = TimeSeries(path="own.csv", window=10, label="state").located(tmp_path)
    rows = list(dataset.index(root))
    assert dataset.folds(rows)[0].test
    assert any("no row is labelled as anomalous" in note for note in dataset.card.notes)
    assert not any("only anomalous windows are tested" in note for note in dataset.card.notes)


def test_columns_may_be_separated_by_semicolons_or_tabs(tmp_path: Path) -> None:
    for word, sign in (("comma", ","), ("semicolon", ";"), ("tab", "\t")):
        text = "a,b\n1,2.5\n3,4\n".replace(",", sign)
        dataset = opened(tmp_path, text, separator=word)
        [row] = dataset.index(tmp_path)
        np.testing.assert_array_equal(dataset.read(tmp_path / "own.csv", row.source), [[1, 2.5], [3, 4]])
    dataset = opened(tmp_path, "a;b\n1;2\n3;4\n")
    with pytest.raises(DataError, match="has one column, 'a;b': set separator=semicolon"):
        list(dataset.index(tmp_path))


def test_a_csv_without_a_header_is_refused_unless_pandas_numbered_its_columns(tmp_path: Path) -> None:
    dataset = opened(tmp_path, "0.5,2\n1,2\n3,4\n")
    with pytest.raises(
        DataError, match=r"begins with numbers \(0\.5, 2, \.\.\.\) instead of column names: add a header"
    ):
        list(dataset.index(tmp_path))
    dataset = opened(tmp_path, "a,b\n1,2,\n3,4,\n")
    with pytest.raises(DataError, match=r"own\.csv cannot be read: .*Expected 2 fields in line 2, saw 3"):
        list(dataset.index(tmp_path))
    pd.DataFrame(np.arange(6).reshape(3, 2)).to_csv(tmp_path / "own.csv")
    dataset, _ = TimeSeries(path="own.csv", window=2).located(tmp_path)
    assert dataset.card.item_shape == (2, 2)


def test_hidden_files_are_not_tables_and_spans_of_time_are_not_features(
    tmp_path: Path, table: pd.DataFrame
) -> None:
    took = pd.to_timedelta(np.arange(len(table)), unit="s")
    table.assign(took=took).to_parquet(tmp_path / "own.parquet")
    (tmp_path / "._own.parquet").write_bytes(b"left by another system")
    dataset, root = TimeSeries(path=str(tmp_path), window=10, label="state", segment="run").located(tmp_path)
    assert {row.columns["recording"] for row in dataset.index(root)} == {"own"}
    assert dataset.card.item_shape == (10, 2)
    assert "column 'took' is not a feature" in " ".join(dataset.card.notes)


def test_stretches_too_short_for_a_window_are_reported_with_the_longest(
    tmp_path: Path, table: pd.DataFrame
) -> None:
    table.to_csv(tmp_path / "own.csv", index=False)
    dataset, root = TimeSeries(path="own.csv", window=31, segment="run").located(tmp_path)
    with pytest.raises(
        DataError,
        match=r"a window of 31 rows \(the longest: 30 in own\); use a smaller window, or another `segment`",
    ):
        list(dataset.index(root))


def test_a_table_that_is_already_scaled_lists_a_possible_leak(tmp_path: Path, table: pd.DataFrame) -> None:
    table.to_csv(tmp_path / "own.csv", index=False)
    plain, scaled = (
        TimeSeries(path="own.csv", window=10, label="state", scaled=option).located(tmp_path)[0].card
        for option in (False, True)
    )
    assert (plain.scaled, scaled.scaled) == (False, True)
    [leak] = set(scaled.known_leaks) - set(plain.known_leaks)
    assert "scaled before they were read" in leak
