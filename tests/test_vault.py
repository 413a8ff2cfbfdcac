"""Pack and vault belong together: where they do not match, both are rebuilt; reserved columns are refused."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from numpy.typing import NDArray

from asdbench import Card, Config, DataError, Row
from asdbench.data.pack import Pack
from asdbench.data.prepare import prepare
from asdbench.data.prepared import Prepared
from asdbench.data.vault import open_vault, read_ids, write_vault
from asdbench.messages.progress import ignore_progress
from asdbench.testing import DatasetContract


class Numbers(Config, frozen=True):
    """Twelve items of which each holds its own number, the upper half anomalies."""

    column: str = "machine"
    broken: bool = False

    @property
    def card(self) -> Card:
        return Card(
            name="numbers", title="numbers", task="detection", modality="none", licence="none", citation="",
            columns={self.column: "which"}, claims=(), scopes={"all": ()}, groups=(), metrics="dcase2020",
            item_shape=(4,),
        )  # fmt: skip

    def index(self, root: Path) -> Iterator[Row]:
        for k in range(12):
            label = "anomaly" if k >= 6 else "normal"
            yield Row(source=PurePosixPath(f"{k}"), columns={self.column: "a"}, label=label)

    def read(self, root: Path, source: PurePosixPath) -> NDArray[Any]:
        if self.broken:
            return np.frombuffer((root / f"{source}.gone").read_bytes(), np.uint8)
        return np.full(4, int(str(source)), dtype=np.int16)

    def folds(self, rows: Any) -> Any:
        return []


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    for k in range(12):
        (folder / f"{k}").write_text(f"{k}")
    return folder


def ready(root: Path, cache: Path, **options: Any) -> Prepared:
    return prepare(Numbers(**options), root, cache=cache, on_progress=ignore_progress)


def check_labels(prepared: Prepared) -> None:
    pack, vault = Pack(prepared.pack), open_vault(prepared.vault)
    assert len(vault) == 12
    for item, row in vault.iterrows():
        number = pack.view(int(str(item)))[0]
        assert (str(number), "anomaly" if number >= 6 else "normal") == (row["source"], row["label"])


def test_a_pack_without_its_vault_is_rebuilt_with_it(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    prepared = ready(root, tmp_path / "cache")
    (prepared.vault / "vault.parquet").unlink()
    with caplog.at_level(logging.WARNING):
        again = ready(root, tmp_path / "cache")
    assert (
        "numbers: its pack, or the labels that belong to it, are missing or damaged; rebuilding both"
        in caplog.text
    )
    check_labels(again)
    assert list(again.vault.parent.iterdir()) == [again.vault]


@pytest.mark.parametrize("name", ["pack.json", "array-0.bin"])
def test_a_damaged_pack_is_rebuilt(
    name: str, root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    prepared = ready(root, tmp_path / "cache")
    (prepared.pack / name).write_bytes(b'{"\xff"')
    with caplog.at_level(logging.WARNING):
        check_labels(ready(root, tmp_path / "cache"))
    assert "rebuilding both" in caplog.text


@pytest.mark.parametrize("name", ["vault.parquet", "decoded.json", "faults.json"])
def test_a_damaged_vault_is_rebuilt(
    name: str, root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    prepared = ready(root, tmp_path / "cache")
    (prepared.vault / name).write_bytes(b"PAR1 damaged")
    with caplog.at_level(logging.WARNING):
        check_labels(ready(root, tmp_path / "cache"))
    assert "rebuilding both" in caplog.text


def test_the_vault_of_another_pack_of_the_same_data_is_not_taken_for_this_ones(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one, two = ready(root, tmp_path / "one"), ready(root, tmp_path / "two")
    assert one.ids.tolist() != two.ids.tolist()
    (one.vault / "vault.parquet").write_bytes((two.vault / "vault.parquet").read_bytes())
    with caplog.at_level(logging.WARNING):
        check_labels(ready(root, tmp_path / "one"))
    assert "rebuilding both" in caplog.text


def test_two_that_build_at_once_without_a_lock_take_the_vault_of_the_pack_that_stays(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slower = prepare.__globals__["write_vault"]

    def overtaken(*given: Any, folder: Path) -> None:
        monkeypatch.undo()  # the other is quicker: its pack and its vault are there before ours
        nested = tmp_path / "cache"
        for lock in nested.rglob("*.lock"):
            lock.unlink()  # as on a disk where locks do not hold between machines
        check_labels(ready(root, nested))
        slower(*given, folder=folder)

    monkeypatch.setattr("asdbench.data.prepare.write_vault", overtaken)
    check_labels(ready(root, tmp_path / "cache"))


def test_the_vault_keeps_the_start_and_length_of_windows(tmp_path: Path) -> None:
    whole = Row(source=PurePosixPath("a"), columns={}, label="normal")
    window = replace(whole, start=4, length=8)
    write_vault([whole, window], np.array([1, 0]), folder=tmp_path)
    vault = open_vault(tmp_path)
    assert read_ids(tmp_path).tolist() == [1, 0]
    assert vault["start"].to_dict() == {1: 0, 0: 4}
    assert vault["length"].dtype == "Int64"
    assert vault["length"].isna().to_dict() == {1: True, 0: False}
    assert vault["length"][0] == 8


@pytest.mark.parametrize("column", ["source", "start", "length", "sha256", "label", "item_id", "score_42"])
def test_columns_that_the_harness_keeps_for_itself_are_refused(
    column: str, root: Path, tmp_path: Path
) -> None:
    message = (
        f"numbers has a column '{column}', which is a reserved name; rename it "
        r"\(reserved: item_id, label, length, sha256, source, start and all that begin with score_\)"
    )
    with pytest.raises(DataError, match=message):
        ready(root, tmp_path / "cache", column=column)
    contract = DatasetContract()
    with pytest.raises(AssertionError):
        contract.test_claims_scopes_and_counts_are_of_its_columns(Numbers(column=column).card)
    contract.test_claims_scopes_and_counts_are_of_its_columns(Numbers().card)


def test_a_kept_column_that_the_card_does_not_declare_is_refused_too(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = Numbers.index
    monkeypatch.setattr(
        Numbers, "index",
        lambda self, root: (replace(row, columns={**row.columns, "start": "3"}) for row in index(self, root)),
    )  # fmt: skip
    with pytest.raises(DataError, match="numbers has a column 'start'"):
        ready(root, tmp_path / "cache")


def test_a_source_that_cannot_be_read_is_no_error_of_writing(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read \d+ under .*root: No such file or directory"):
        ready(root, tmp_path / "cache", broken=True)
