"""``asdbench cache``: what is in the cache, what of it no run needs, and what stays because a command uses it."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
import tiny

from asdbench import Selector
from asdbench.cli import status_of
from asdbench.core.files import Hold, is_held, locked, locked_if_free
from asdbench.core.memory import recall, remember
from asdbench.data.cached import contents, prune, summed
from asdbench.data.origin import ORIGIN
from asdbench.data.prepare import prepare
from asdbench.data.prepared import Prepared
from asdbench.messages.progress import ignore_progress
from asdbench.plugin.registry import load_registry
from asdbench.runs.request import open_dataset

Capture = pytest.CaptureFixture[str]
TINY = Selector(
    "synthetic", {"machines": "fan", "ids": "1", "train_clips": "2", "test_clips": "1", "length_s": "1"}
)
LONG_AGO = time.time() - 40 * 86400


def prepared(cache: Path) -> Prepared:
    """Prepare four clips of a second."""
    dataset = open_dataset(load_registry(), TINY)
    return prepare(dataset, cache / "data", cache=cache, on_progress=ignore_progress)


@pytest.fixture
def full(tmp_path: Path) -> Path:
    """A cache with one of everything, none of it in use."""
    cache = tmp_path / "cache"
    prepared(cache)
    remember(cache / "recipes" / "one.json", 1)
    remember(cache / "measures" / "two.json", 2)
    return cache


def kinds(pieces: list[tuple[str, str]]) -> list[str]:
    """Return the kinds alone."""
    return [kind for kind, _ in pieces]


def pruned(cache: Path, *, unused_s: float | None = None, dry_run: bool = False) -> list[tuple[str, str]]:
    """Return kind and reason of everything that is removed."""
    return [(piece.kind, piece.reason) for piece in prune(cache, unused_s=unused_s, dry_run=dry_run)]


def test_the_content_is_counted_by_kind_and_dataset(full: Path, tmp_path: Path, capsys: Capture) -> None:
    archive = tmp_path / "data" / "archives" / "dcase2020" / "fan.zip"
    archive.parent.mkdir(parents=True)
    archive.write_bytes(b"1234")
    words = ["cache", "info", "--cache", str(full), "--data-root", str(tmp_path / "data")]
    assert status_of([*words, "--json"]) == 0
    rows = {row["kind"]: (row["dataset"], row["count"]) for row in json.loads(capsys.readouterr().out)}
    assert rows == {
        "packs": ("synthetic", 1), "vaults": ("synthetic", 1), "generated": ("synthetic", 1), "hashes": ("", 1),
        "recipes": ("", 1), "measures": ("", 1), "downloads": ("dcase2020", 1),
    }  # fmt: skip
    assert status_of(words) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["downloads", "dcase2020", "1", "4", "B"] in lines
    sizes = sum(row.bytes for row in summed(contents(full)))
    assert sizes == sum(file.stat().st_size for file in full.rglob("*") if file.is_file())


def test_a_cache_that_a_run_could_use_stays_whole(full: Path, capsys: Capture) -> None:
    assert pruned(full) == []
    assert status_of(["cache", "prune", "--cache", str(full)]) == 0
    assert capsys.readouterr().out == "nothing to remove\n"
    assert status_of(["cache", "prune", "--cache", str(full / "none")]) == 0
    assert not (full / "none").exists()


def test_what_changed_code_made_is_removed_with_its_vault(
    full: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asdbench.data.cached.source_hash_of", lambda module: "other")
    assert status_of(["cache", "prune", "--cache", str(full), "--dry-run", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["kind"], row["count"], row["reason"]) for row in rows] == [
        (kind, 1, "made by code that has changed") for kind in ("packs", "vaults", "generated")
    ]
    assert len(list(full.glob("packs/*"))) == 1  # a dry run
    assert status_of(["cache", "prune", "--cache", str(full)]) == 0
    assert "freed " in capsys.readouterr().out
    assert [list((full / name).iterdir()) for name in ("packs", "vaults", "generated")] == [[], [], []]
    monkeypatch.undo()
    assert len(prepared(full).rows) == 4  # and all is made again


def test_a_pack_in_use_stays_until_it_is_not(full: Path) -> None:
    ready = prepared(full)
    assert pruned(full, unused_s=0.0) == [(kind, "not in use") for kind in ("hashes", "recipes", "measures")]
    assert ready.pack.exists()
    assert ready.vault.exists()
    assert pruned(full, unused_s=0.0, dry_run=True) == []
    del ready
    assert kinds(pruned(full, unused_s=0.0)) == ["packs", "vaults", "generated"]


def test_a_pack_that_is_built_again_belongs_to_the_finished_jobs(tmp_path: Path) -> None:
    out, cache = tmp_path / "out", tmp_path / "cache"
    methods = [Selector("toy"), Selector("toys")]  # an ensemble reads scores of held-out items as well
    before = tiny.go(out, *methods, cache=cache, dataset=tiny.DATASET)
    [pack] = cache.glob("packs/*/pack.json")
    ids = json.loads(pack.read_bytes())["ids"]
    assert "packs" in kinds(pruned(cache, unused_s=0.0))
    after = tiny.go(out, *methods, cache=cache, dataset=tiny.DATASET)
    assert json.loads(pack.read_bytes())["ids"] != ids  # secret, and drawn anew
    assert {job.new for job in after.jobs} == {False}
    assert (after.run.id, after.records) == (before.run.id, before.records)
    assert after.results == before.results


def test_what_is_being_made_stays(full: Path) -> None:
    [pack] = full.glob("packs/*")
    with locked(pack.with_name(f"{pack.name}.lock")):
        unfinished = pack.with_name(f".{pack.name}.abc.part")
        unfinished.mkdir()
        assert kinds(pruned(full, unused_s=0.0)) == ["generated", "hashes", "recipes", "measures"]
        assert pack.exists()
        assert unfinished.exists()


def test_packs_go_by_age_only_on_request_and_small_files_after_thirty_days(full: Path) -> None:
    for file in (*full.rglob("*.json"), *full.rglob(".generated")):
        os.utime(file, (LONG_AGO, LONG_AGO))
    assert recall(full / "recipes" / "one.json", int) == 1  # a use
    assert pruned(full, dry_run=True) == [(kind, "not used for 30 days") for kind in ("hashes", "measures")]
    assert kinds(pruned(full, unused_s=39 * 86400.0, dry_run=True)) == [
        "packs", "vaults", "generated", "hashes", "measures",
    ]  # fmt: skip
    assert pruned(full, unused_s=41 * 86400.0, dry_run=True) == []
    prepared(full)
    assert pruned(full, unused_s=39 * 86400.0) == [("measures", "not used for 39 days")]


def test_what_killed_commands_left_is_removed(full: Path) -> None:
    for name in ("packs/gone-1.lock", "recipes/.new.json.abc.part", "recipes/.old.json.abc.part"):
        (full / name).touch()
    os.utime(full / "recipes/.old.json.abc.part", (LONG_AGO, LONG_AGO))
    torn = full / "packs" / ".gone-1.abc.part"
    torn.mkdir()
    (torn / "array-0.bin").write_bytes(b"12")
    assert pruned(full) == [("temporary", "left by a killed command")] * 3
    assert not torn.exists()
    assert [file.name for file in full.glob("*/.*.part")] == [
        ".new.json.abc.part"
    ]  # maybe still being written


def test_a_vault_without_a_pack_is_removed_but_not_one_of_unknown_origin(full: Path) -> None:
    [vault] = full.glob("vaults/*")
    other = full / "vaults" / "other"
    other.mkdir()
    text = (vault / ORIGIN).read_text()
    (other / ORIGIN).write_text(text.replace('"ids": "', '"ids": "0'))
    assert pruned(full) == []  # its pack may still be on its way
    os.utime(other, (LONG_AGO, LONG_AGO))
    assert pruned(full) == [("vaults", "belongs to no pack")]
    (vault / ORIGIN).unlink()  # as an earlier version wrote it
    os.utime(vault, (LONG_AGO, LONG_AGO))
    assert pruned(full) == []
    prepared(full)
    assert (vault / ORIGIN).read_text() == text


def test_a_lock_that_is_held_is_not_waited_for(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with locked(lock), locked_if_free(lock) as is_ours:
        assert not is_ours
        assert is_held(lock)
    with locked_if_free(lock) as is_ours:
        assert is_ours
    assert not lock.exists()


def test_a_file_is_held_as_long_as_a_value_lives(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    first, second = Hold(file), Hold(file)
    assert is_held(file)
    del first
    assert is_held(file)
    del second
    assert not is_held(file)


@pytest.mark.parametrize(
    ("age", "message"),
    [
        ("soon", "'soon' is not a duration; use for example 30s, 15m, 2h or 1d"),
        ("90", "'90' has no unit; use one of 90s, 90m, 90h, 90d"),
    ],
)
def test_a_wrong_age_is_a_usage_error(age: str, message: str, full: Path, capsys: Capture) -> None:
    assert status_of(["cache", "prune", "--cache", str(full), "--unused-for", age]) == 2
    assert message in capsys.readouterr().err
    assert len(list(full.glob("packs/*/pack.json"))) == 1


def test_an_age_of_zero_needs_no_unit(full: Path) -> None:
    assert status_of(["cache", "prune", "--cache", str(full), "--unused-for", "0"]) == 0
    assert list(full.glob("packs/*/pack.json")) == []


def test_the_rows_of_jobs_go_with_their_pack(full: Path) -> None:
    [pack] = full.glob("packs/*")
    for name in (pack.name, "synthetic-gone"):
        (full / "rows" / name).mkdir(parents=True)
        (full / "rows" / name / "table.msgpack").write_bytes(b"1234")
    assert pruned(full) == [("rows", "belongs to no pack")]
    assert kinds(pruned(full, unused_s=0.0))[:3] == ["packs", "vaults", "rows"]
    assert list((full / "rows").iterdir()) == []
