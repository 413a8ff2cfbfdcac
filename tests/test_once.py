"""Results that are written once: two writers that really race, and what is left of those that are gone."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import msgspec
import pandas as pd
import pytest
import tiny
from two_writers import NAMES, ROUNDS, race, store_scores

from asdbench import RunError, Selector
from asdbench.core.files import is_abandoned, writer_id
from asdbench.results.once import keep_once
from asdbench.results.store import Store
from asdbench.runs.plan import plan_run


def rests(folder: Path) -> list[Path]:
    return list(folder.glob("**/.*.part"))


def test_of_two_racing_writers_of_equal_scores_both_are_content(tmp_path: Path) -> None:
    assert race("equal", tmp_path) == [[], []]
    assert all(Store(tmp_path).score_record(f"s{number}") for number in range(ROUNDS))
    assert not (tmp_path / "conflicts").exists()
    assert rests(tmp_path) == []


def test_of_two_racing_writers_of_other_scores_one_fails_and_both_are_kept(tmp_path: Path) -> None:
    first, second = race("different", tmp_path)
    failed = {int(line.partition(":")[0]): line for line in [*first, *second]}
    assert len(first) + len(second) == ROUNDS
    assert sorted(failed) == list(range(ROUNDS))
    for number, line in failed.items():
        [kept] = (tmp_path / "conflicts").glob(f"s{number}.*")
        assert str(kept) in line
        assert f"{tmp_path}/scores/s{number} was stored by another process" in line
        assert "(detector.safetensors)" in line
        contents = {
            (folder / "detector.safetensors").read_text()
            for folder in (kept, tmp_path / "scores" / f"s{number}")
        }
        assert contents == set(NAMES)
    assert rests(tmp_path) == []


def test_racing_writers_replace_a_damaged_result_and_lose_neither_of_theirs(tmp_path: Path) -> None:
    for number in range(ROUNDS):
        store_scores(Store(tmp_path), f"s{number}", b"whole at first")
        (tmp_path / "scores" / f"s{number}" / "detector.safetensors").write_bytes(b"cut")
    first, second = race("different", tmp_path)
    assert len(first) + len(second) == ROUNDS
    for number in range(ROUNDS):
        [kept] = (tmp_path / "conflicts").glob(f"s{number}.*")
        places = (kept, tmp_path / "scores" / f"s{number}")
        assert {(place / "detector.safetensors").read_text() for place in places} == set(NAMES)
    assert rests(tmp_path) == []


def test_two_fits_of_one_model_at_once_without_locks_leave_what_one_leaves(
    cache: Path, tmp_path: Path
) -> None:
    method = Selector("toy", {"epochs": "4", "pause_s": "0.02"})
    jobs = {}
    for place in ("alone", "both"):
        request = tiny.request(tmp_path / place, method, cache=cache)
        [case] = plan_run(request, tiny.registry(), observer=tiny.Silent()).cases
        jobs[place] = case.fit
    (tmp_path / "both").mkdir()
    (tmp_path / "both" / "job").write_bytes(msgspec.msgpack.encode(jobs["both"]))
    assert race("fit", tmp_path / "both") == [[], []]
    tiny.go(tmp_path / "alone", method, cache=cache)
    model = Path("models", jobs["both"].model_id)
    files = [
        path.relative_to(tmp_path / "alone") for path in (tmp_path / "alone" / model).rglob("*.safetensors")
    ]
    assert len(files) == 4
    for file in files:
        assert (tmp_path / "both" / file).read_bytes() == (tmp_path / "alone" / file).read_bytes()
    assert rests(tmp_path) == []


def test_tables_are_compared_by_their_values(tmp_path: Path) -> None:
    def write(values: list[float], compression: str) -> None:
        fresh = tmp_path / "fresh"
        fresh.mkdir(exist_ok=True)
        pd.DataFrame({"score": values}).to_parquet(fresh / "scores.parquet", compression=compression)  # type: ignore[call-overload]
        keep_once(
            fresh, tmp_path / "result", record="r", whole=lambda place: True, conflicts=tmp_path / "other"
        )

    write([1.0, 2.0], "snappy")
    write([1.0, 2.0], "gzip")
    with pytest.raises(RunError, match=r"with other content \(scores\.parquet\)"):
        write([1.0, 2.5], "snappy")


def test_the_leftovers_of_dead_writers_alone_are_swept_away(tmp_path: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    mine = writer_id()
    host, _, token = mine.rsplit("-", 2)
    names = {
        "dead": f".m1.{host}-{gone.pid}-{token}.part",
        "alive": f".m2.{mine}.part",
        "elsewhere": f".m3.node-7-{token}.part",
        "long ago elsewhere": f".m4.node-7-{token}.part",
        "of an earlier version": ".m5.0a1b2c3d4e5f.part",
    }
    for name in names.values():
        (tmp_path / "models" / name).mkdir(parents=True)
    long_ago = time.time() - 2 * 86_400
    os.utime(tmp_path / "models" / names["long ago elsewhere"], (long_ago, long_ago))
    with Store(tmp_path).exclusive():
        left = {name for name, file in names.items() if (tmp_path / "models" / file).exists()}
    assert left == {"alive", "elsewhere"}
    assert not is_abandoned(tmp_path / f".finished.other-7-{token}.part")
