"""Shards: how a plan is divided, who may share a folder, and that many machines give what one gives."""

from __future__ import annotations

import dataclasses
import errno
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import tiny

from asdbench import ConfigError, RunError, Selector
from asdbench.cli import status_of
from asdbench.core.shard import Shard
from asdbench.results.record import read_run
from asdbench.results.store import Store
from asdbench.runs.plan import Planned, plan_run
from asdbench.runs.run import run_shard
from asdbench.runs.shards import ShardDocuments, divided
from asdbench.runs.status import read_shards

Capture = pytest.CaptureFixture[str]
METHODS = (Selector("toy_by_machine"), Selector("toy_by_machine", {"scorer": "knn"}))
"""Two scorers of the same models."""
SLOW = Selector("toy_by_machine", {"epochs": "5", "pause_s": "0.05"})


def planned(folder: Path, cache: Path, *methods: Selector, **options: Any) -> Planned:
    request = tiny.request(folder, *(methods or METHODS), cache=cache, **({"seeds": (1, 2, 3)} | options))
    return plan_run(request, tiny.registry(), observer=tiny.Silent())


def jobs_of(plan: Planned) -> set[str]:
    return {job.job_id for case in plan.cases for job in (case.fit, case.score)}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("0/4", "'0/4' is out of range: the shards of 4 are numbered from 1 to 4"),
        ("5/4", "'5/4' is out of range: the shards of 4 are numbered from 1 to 4"),
        ("1/0", "'1/0' is out of range: there must be at least one shard"),
        ("-1/4", "'-1/4' is not a shard; write I/N, for example 2/8"),
        ("2", "'2' is not a shard"),
        ("1/2/3", "'1/2/3' is not a shard"),
        ("\N{ARABIC-INDIC DIGIT TWO}/4", "is not a shard"),
        ("one/two", "'one/two' is not a shard"),
    ],
)
def test_a_wrong_shard_is_refused_with_the_reason(text: str, why: str, capsys: Capture) -> None:
    with pytest.raises(ConfigError, match=why):
        Shard.parse(text)
    assert status_of(["run", "-p", "idnn", "-d", "synthetic", "--shard", text]) == 2
    assert why in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--figure", "--scores"])
def test_a_shard_draws_and_writes_no_results(option: str, tmp_path: Path, capsys: Capture) -> None:
    words = ["run", "-p", "idnn", "-d", "synthetic", "--shard", "1/2", option, str(tmp_path / "x.csv")]
    if option == "--figure":
        words[-1] = str(tmp_path / "x.png")
    assert status_of(words) == 2
    assert (
        f"shard 1/2 evaluates nothing; give {option} to the same command without" in capsys.readouterr().err
    )


@pytest.mark.parametrize("count", [1, 2, 4, 9])
def test_the_shards_of_a_plan_are_disjoint_and_all_of_it(count: int, cache: Path, tmp_path: Path) -> None:
    plan = planned(tmp_path, cache)
    shares = [divided([plan], Shard(number + 1, count))[0] for number in range(count)]
    jobs = [jobs_of(share) for share in shares]
    assert sum(map(len, jobs)) == len(jobs_of(plan)) == 18  # 2 machines x 3 seeds: a fit and two scores each
    assert set().union(*jobs) == jobs_of(plan)
    models = [{case.fit.job_id for case in share.cases} for share in shares]
    assert sum(map(len, models)) == 6
    assert max(map(len, models)) - min(map(len, models)) <= 1


def test_many_short_plans_are_shared_too(cache: Path, tmp_path: Path) -> None:
    plans = [
        planned(tmp_path, cache, Selector("toy", {"epochs": epochs}), seeds=(1,))
        for epochs in ("1", "2", "3", "4")
    ]
    sizes = [[len(share.cases) for share in divided(plans, Shard(number, 2))] for number in (1, 2)]
    assert sizes == [[1, 0, 1, 0], [0, 1, 0, 1]]


def test_cases_that_cannot_be_run_take_no_turn(cache: Path, tmp_path: Path) -> None:
    plan = planned(tmp_path, cache)
    cases = [
        dataclasses.replace(case, inapplicable="no reason" if case.unit == "fan" else None)
        for case in plan.cases
    ]
    shares = divided([dataclasses.replace(plan, cases=cases)], Shard(1, 3))
    assert [case.unit for case in shares[0].cases] == ["valve", "valve"]
    assert len({case.fit.job_id for case in shares[0].cases}) == 1


def test_a_shard_runs_its_share_alone_and_the_whole_run_only_evaluates(cache: Path, tmp_path: Path) -> None:
    request = tiny.request(tmp_path, *METHODS, cache=cache, seeds=(1, 2))
    states = [
        run_shard([request], tiny.registry(), shard=Shard(number, 3), observer=tiny.Silent())
        for number in (1, 2, 3)
    ]
    [runs] = {tuple(each.run for each in state.runs) for state in states}
    assert [(state.shard, state.runs[0].models, state.runs[0].of) for state in states] == [
        ("1/3", 2, 4), ("2/3", 1, 4), ("3/3", 1, 4),
    ]  # fmt: skip
    jobs = [job for state in states for job in state.runs[0].jobs]
    assert {job.status for job in jobs} == {"ok"}
    assert len({job.id for job in jobs}) == len(jobs) == 12
    assert [(each.shard, each.state, each.jobs.done) for each in read_shards(tmp_path, *runs)] == [
        ("1/3", "finished", 6), ("2/3", "finished", 3), ("3/3", "finished", 3),
    ]  # fmt: skip
    assert not (tmp_path / "records").exists()
    document = tiny.go(tmp_path, *METHODS, cache=cache, seeds=(1, 2))
    assert not any(job.new for job in document.jobs)
    assert (document.run.id,) == runs
    assert {job.id for job in document.jobs} == {job.id for job in jobs}


def test_the_division_does_not_depend_on_what_is_finished(cache: Path, tmp_path: Path) -> None:
    before = [jobs_of(divided([planned(tmp_path, cache)], Shard(number, 2))[0]) for number in (1, 2)]
    tiny.go(tmp_path, METHODS[0], cache=cache, seeds=(2,))
    after = [jobs_of(divided([planned(tmp_path, cache)], Shard(number, 2))[0]) for number in (1, 2)]
    assert after == before


def test_shards_share_a_folder_with_each_other_and_not_with_a_run(cache: Path, tmp_path: Path) -> None:
    store, request = Store(tmp_path), tiny.request(tmp_path, cache=cache)
    with store.shared(), store.shared():
        store.check_free(shared=True)
        with pytest.raises(RunError, match=r"shards of a run are using .*; wait for them, join them with"):
            tiny.go(tmp_path, cache=cache)
    with store.exclusive(), pytest.raises(RunError, match="another run is using"):
        run_shard([request], tiny.registry(), shard=Shard(1, 1), observer=tiny.Silent())
    store.check_free()


def test_a_file_system_without_locks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("asdbench.results.occupied.fcntl.flock", refuse)
    with (
        pytest.raises(RunError, match=r"cannot lock files \(No locks available\).*mount it with locks"),
        Store(tmp_path).shared(),
    ):
        pass


def test_a_shard_prints_the_state_of_its_jobs(
    cache: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asdbench.cli.run.load_registry", tiny.registry)
    method = "toy_by_machine[trouble=raise,on=valve]"
    words = ["run", "-p", method, "-d", str(tiny.DATASET), "--out", str(tmp_path), "--shard", "2/2", "--json"]
    assert status_of([*words, "--cache", str(cache), "--threads", "1", "--device", "cpu"]) == 1
    printed = capsys.readouterr()
    state = msgspec.json.decode(printed.out, type=ShardDocuments)
    assert {(job.kind, job.unit): job.status for job in state.runs[0].jobs} == {
        ("fit", "valve"): "error", ("score", "valve"): "blocked",
    }  # fmt: skip
    assert "1 of 2 models; jobs: 1 blocked, 1 error" in printed.err
    assert "error: ValueError: the toy broke" in printed.err
    assert "the same command without --shard evaluates" in printed.err


def words_of(folder: Path) -> list[str]:
    seeds = ["--seed", "1", "--seed", "2", "--checkpoint-every", "0"]
    return ["-p", str(SLOW), "-d", str(tiny.DATASET), "--out", str(folder), *seeds]


def shard(folder: Path, name: str, *, cache: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        tiny.command("run", *words_of(folder), "--shard", name, cache=cache), text=True,
        env=tiny.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def wait_for(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not there():
        assert time.monotonic() < deadline, "the shards did not get that far"
        time.sleep(0.02)


def finished(folder: Path, cache: Path) -> dict[str, Any]:
    """Run the whole to its end and return all that must not depend on how the jobs were shared out."""
    document = tiny.go(folder, SLOW, cache=cache, seeds=(1, 2))
    [record] = [each.record for each in read_run(folder, document.run.id).methods]
    files = [file for place in ("models", "scores", "records") for file in (folder / place).rglob("*.*")]
    bits = {str(file.relative_to(folder)): file.read_bytes() for file in files if file.suffix != ".json"}
    return {
        "run": document.run.id,
        "states": [(job.id, job.status) for job in document.jobs],
        "results": document.results,
        "record": (record.record_id, record.results, record.data, set(record.models), set(record.scores)),
        "bits": bits,
    }


@pytest.mark.faults
def test_two_shards_one_started_twice_and_one_killed_and_restarted_give_what_one_run_gives(
    cache: Path, tmp_path: Path
) -> None:
    together, other_machine = tmp_path / "together", tmp_path / "cache of another machine"
    killed = shard(together, "2/2", cache=other_machine)
    twice = [shard(together, "1/2", cache=cache) for _ in range(2)]
    [share] = divided([planned(together, cache, SLOW, seeds=(1, 2))], Shard(2, 2))
    ours = jobs_of(share)
    wait_for(lambda: any((together / "work" / job / "resume.safetensors").exists() for job in ours))
    killed.kill()
    killed.communicate()
    again = shard(together, "2/2", cache=other_machine)
    for process in (*twice, again):
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors
    joined = finished(together, cache)
    assert not (together / "conflicts").exists()
    assert not list(together.glob("*/.*.part"))
    assert not list(together.glob("failures/*"))
    assert joined == finished(tmp_path / "alone", cache)
    names = [Path(name).name for name in joined["bits"]]
    assert [names.count(name) for name in ("model.safetensors", "scores.parquet", "items.parquet")] == [
        4,
        4,
        1,
    ]
