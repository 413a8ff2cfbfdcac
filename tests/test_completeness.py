from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import pytest

from asdbench import Card, Count, DataError, Row, completeness
from asdbench.data import hashing
from asdbench.data.hashing import content_hashes, digest_of


def card(*expected: Count) -> Card:
    return Card(
        name="toy",
        title="Toy",
        task="detection",
        modality="audio",
        licence="MIT",
        citation="",
        expected=expected,
        columns={"machine": "type", "section": "ID", "part": "part"},
        claims=("machine", "section"),
        scopes={"all": ()},
        groups=("machine", "section"),
        metrics="dcase2020",
        item_shape=(10,),
    )


def rows(items: int, *, part: str = "train", section: str = "00", label: str | None = "normal") -> list[Row]:
    columns = {"machine": "fan", "section": section, "part": part}
    return [
        Row(source=PurePosixPath(f"{part}/{label}_{k}.wav"), columns=columns, label=label)
        for k in range(items)
    ]


def group(part: str) -> Mapping[str, str]:
    return {"machine": "fan", "section": "00", "part": part}


EXPECTED = (
    Count(columns=group("train"), items=3),
    Count(columns=group("test"), items=2, label="normal"),
    Count(columns=group("test"), items=1, label="anomaly"),
)


def test_all_items_of_a_release_are_complete() -> None:
    found = completeness(
        card(*EXPECTED), rows(3) + rows(2, part="test") + rows(1, part="test", label="anomaly")
    )
    assert (found.complete, found.items, found.expected, found.missing) == (True, 6, 6, ())
    assert found.summary() == "6 of 6 items"


def test_each_group_that_lacks_items_is_named_with_both_numbers() -> None:
    found = completeness(card(*EXPECTED), rows(1) + rows(2, part="test"))
    assert not found.complete
    assert [(gap.columns, gap.label, gap.found, gap.expected) for gap in found.missing] == [
        (group("train"), None, 1, 3),
        (group("test"), "anomaly", 0, 1),
    ]
    assert found.summary() == "3 of 6 items: fan/00 train 1 of 3, fan/00 test anomaly 0 of 1"


def test_normal_items_do_not_stand_in_for_anomalous_ones() -> None:
    found = completeness(card(*EXPECTED), rows(3) + rows(3, part="test"))
    assert [(gap.name, gap.found) for gap in found.missing] == [
        ("fan/00 test normal", 3),
        ("fan/00 test anomaly", 0),
    ]


def test_more_items_than_the_release_has_are_not_complete() -> None:
    found = completeness(card(EXPECTED[0]), rows(4))
    assert not found.complete
    assert found.summary() == "4 of 3 items: fan/00 train 4 of 3"


def test_a_release_without_counts_is_complete_with_any_number() -> None:
    found = completeness(card(), rows(1234))
    assert (found.complete, found.expected) == (True, None)
    assert found.summary() == "1,234 items (the release states no counts)"


def test_a_long_list_of_gaps_is_cut() -> None:
    counts = [Count(columns={"machine": "fan", "section": f"{k:02d}"}, items=1000) for k in range(8)]
    summary = completeness(card(*counts), []).summary()
    assert summary.startswith("0 of 8,000 items: fan/00 0 of 1,000, ")
    assert summary.endswith("fan/04 0 of 1,000 and 3 more groups")


SOURCES = ["a.wav", "sub/b.wav"]
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "data" / "sub").mkdir(parents=True)
    (tmp_path / "data" / "a.wav").write_bytes(b"abc")
    (tmp_path / "data" / "sub" / "b.wav").write_bytes(b"")
    return tmp_path / "data"


def test_hashes_are_the_sha256_of_the_content(root: Path, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    hashes = content_hashes(
        root,
        SOURCES,
        cache=tmp_path,
        on_progress=lambda progress: calls.append((progress.step, progress.steps)),
    )
    assert hashes[SOURCES[0]] == ABC
    assert hashes[SOURCES[1]].startswith("e3b0c44298fc1c14")
    assert calls == [(0, 2), (1, 2), (2, 2)]


def test_unchanged_files_are_not_read_again(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = content_hashes(root, SOURCES, cache=tmp_path)
    read: list[str] = []

    def note(path: Path, algorithm: str) -> str:
        read.append(path.name)
        return f"new {algorithm}"

    monkeypatch.setattr(hashing, "digest_of", note)
    assert content_hashes(root, SOURCES, cache=tmp_path) == first
    assert read == []
    os.utime(root / "a.wav", ns=(1, 1))
    assert content_hashes(root, SOURCES, cache=tmp_path)[SOURCES[0]] == "new sha256"
    assert read == ["a.wav"]


def test_two_data_roots_do_not_share_hashes(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.wav").write_bytes(b"abd")
    stat = (root / "a.wav").stat()
    content_hashes(root, SOURCES[:1], cache=tmp_path)
    os.utime(other / "a.wav", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert content_hashes(other, SOURCES[:1], cache=tmp_path)[SOURCES[0]] != ABC


def test_a_damaged_cache_of_hashes_is_rebuilt(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content_hashes(root, SOURCES, cache=tmp_path / "cache")
    [store] = (tmp_path / "cache").glob("hashes-*.json")
    store.write_bytes(store.read_bytes()[:-9])
    assert content_hashes(root, SOURCES, cache=tmp_path / "cache")[SOURCES[0]] == ABC
    assert "is damaged" in caplog.text
    assert content_hashes(root, SOURCES, cache=tmp_path / "cache")[SOURCES[0]] == ABC


def test_what_was_hashed_before_a_failure_is_kept(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_on_b(path: Path, algorithm: str) -> str:
        if path.name == "b.wav":
            raise DataError("b.wav cannot be read")
        return digest_of(path, algorithm)

    monkeypatch.setattr(hashing, "digest_of", fail_on_b)
    with pytest.raises(DataError, match=r"b\.wav cannot be read"):
        content_hashes(root, SOURCES, cache=tmp_path)
    monkeypatch.setattr(hashing, "digest_of", lambda path, _: f"again {path.name}")
    assert content_hashes(root, SOURCES, cache=tmp_path) == {SOURCES[0]: ABC, SOURCES[1]: "again b.wav"}


def test_a_source_that_is_missing_is_named(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.wav cannot be read: No such file"):
        content_hashes(root, ["gone.wav"], cache=tmp_path)
