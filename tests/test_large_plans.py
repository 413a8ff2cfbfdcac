"""Plans of thousands of jobs: what their jobs share, and that neither memory nor files read grow with jobs times items."""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from asdbench import Selector
from asdbench.core.environment import environment
from asdbench.messages.capacity import UNKNOWN, Needs
from asdbench.messages.jobs import Case, JobSpec
from asdbench.messages.progress import Event
from asdbench.messages.results import FitRecord, ScoreRecord, Usage
from asdbench.messages.rows import RowSet, packed, read_table, unpacked
from asdbench.results import store as stores
from asdbench.results.store import Store
from asdbench.runs.plan import plan_run
from asdbench.runs.scheduler import execute

HELD = Selector("toy_by_machine")
"""Two units a seed; each seed holds out other items."""
USAGE = Usage(seconds=1.0, peak_memory_bytes=1)


class Obedient:
    """An executor whose jobs all succeed at once; it remembers which it was given."""

    def __init__(self) -> None:
        self.given: list[str] = []
        self._queue: list[JobSpec] = []

    def submit(self, job: JobSpec, needs: Needs = UNKNOWN) -> None:
        """Queue a job."""
        self._queue.append(job)
        self.given.append(job.job_id)

    def cancel(self, job_id: str) -> None:
        """Nothing runs."""

    def close(self) -> None:
        """Nothing runs."""

    def events(self) -> Iterator[Event]:
        """End every job."""
        while self._queue:
            yield Event(job_id=self._queue.pop().job_id, status="ok")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def cases_of(folder: Path, cache: Path, *, seeds: int, method: Selector = HELD) -> list[Case]:
    request = tiny.request(folder, method, cache=cache, seeds=range(seeds))
    return plan_run(request, tiny.registry(), observer=tiny.Silent()).cases


def finish(cases: Sequence[Case], store: Store) -> None:
    """Put a model and scores of each case into the store, as far as a plan reads them."""
    here = environment()
    for case in cases:
        fit = FitRecord(
            model_id=case.fit.job_id, log=[], checkpoints=[0], stage="", parameters=0, stored=0, flops=0,
            feature_shape=[], usage=USAGE, resumed=False, device="cpu", threads=1, environment=here, sizes={},
        )  # fmt: skip
        score = ScoreRecord(
            score_id=case.score.job_id, model_id=case.fit.job_id, usage=USAGE, ms_per_item=1.0, device="cpu", threads=1,
            environment=here, sizes={},
        )  # fmt: skip
        for folder, name, record in (
            (store.model_folder(fit.model_id), "fit.json", fit),
            (store.score_folder(score.score_id), "score.json", score),
        ):
            folder.mkdir(parents=True)
            (folder / name).write_bytes(msgspec.json.encode(record))


def test_of_ten_thousand_jobs_with_a_thousand_done_only_the_results_are_read(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = cases_of(tmp_path, cache, seeds=2500)
    store, executor, observer = Store(tmp_path), Obedient(), tiny.Silent()
    finish(cases[:500], store)
    read: list[str] = []
    read_one = stores._read

    def counted(folder: Path, name: str, *, kind: type[FitRecord]) -> FitRecord | None:
        read.append(folder.name)
        return read_one(folder, name, kind=kind)

    monkeypatch.setattr(stores, "_read", counted)
    outcomes = execute(cases, executor, store=store, observer=observer)
    assert (len(read), len(set(read))) == (1000, 1000)
    assert len(executor.given) == 9000
    assert executor.given[:4500] == [case.fit.job_id for case in cases[500:]]
    assert (observer.ended[0], observer.ended[-1]) == ((1000, 10_000), (10_000, 10_000))
    assert [outcome.new for outcome in outcomes].count(True) == 9000
    assert {outcome.status for outcome in outcomes} == {"ok"}


def test_a_thousand_more_jobs_take_less_than_a_megabyte(cache: Path, tmp_path: Path) -> None:
    # The smaller of two: threads that earlier tests have left allocate, too.
    few, many = (min(kept_by_a_run(tmp_path, cache, seeds=seeds) for _ in range(2)) for seeds in (100, 600))
    assert 0 < (many - few) / (4 * 500) < 1000  # bytes a job


def kept_by_a_run(folder: Path, cache: Path, *, seeds: int) -> int:
    """Return the bytes that a plan and the state of its jobs take after all of them have run."""
    gc.collect()
    tracemalloc.start()
    try:
        cases = cases_of(folder, cache, seeds=seeds)
        outcomes = execute(cases, Obedient(), store=Store(folder), observer=tiny.Silent())
        gc.collect()
        assert len(outcomes) == 4 * seeds
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def test_an_event_costs_the_same_in_a_large_plan(cache: Path, tmp_path: Path) -> None:
    cases = cases_of(tmp_path, cache, seeds=1600)

    def seconds(some: Sequence[Case]) -> float:
        started = time.process_time()
        execute(some, Obedient(), store=Store(tmp_path), observer=tiny.Silent())
        return time.process_time() - started

    # Sixteen times the jobs: a search through all of them at each event would take 256 times as long.
    small, large = (min(seconds(cases[:count]) for _ in range(3)) for count in (200, 3200))
    assert large < 64 * small


def test_jobs_share_what_is_equal(cache: Path, tmp_path: Path) -> None:
    first, second = cases_of(tmp_path, cache, seeds=2, method=Selector("toy"))
    assert first.fit.train is second.fit.train
    assert first.score.train is first.fit.train
    assert first.score.test is second.score.test
    fan, other_fan, valve, _ = cases_of(tmp_path, cache, seeds=2)
    assert fan.fit.train.table == valve.fit.train.table == other_fan.fit.train.table
    assert fan.score.test.table == valve.score.test.table != fan.fit.train.table
    assert fan.fit.train.ids != other_fan.fit.train.ids  # another seed holds out others


def test_a_message_names_the_rows_and_leaves_their_values_in_the_table(cache: Path, tmp_path: Path) -> None:
    case = cases_of(tmp_path, cache, seeds=1)[0]
    sent = msgspec.msgpack.decode(msgspec.msgpack.encode(case.score), type=JobSpec)
    assert sent == case.score
    table = read_table(sent.test.table)
    assert sorted(sent.test.ids) == sorted(
        item for item, claim in zip(table.ids, table.claim, strict=True) if claim.startswith("fan")
    )
    assert sent.test.columns["machine"] == ["fan"] * sent.test.count
    assert set(read_table(sent.test.table).columns) == {"machine", "section"}
    assert not {"part"} & set(table.columns)


def test_a_fit_is_not_sent_the_file_of_the_items_to_be_scored(cache: Path, tmp_path: Path) -> None:
    case = cases_of(tmp_path, cache, seeds=1)[0]
    tables = {case.fit.train.table, case.fit.held.table, case.fit.validation.table, case.fit.test.table}
    assert tables == {case.fit.train.table, ""}
    assert not set(read_table(case.fit.train.table).ids) & set(case.score.test.ids)


def test_a_table_that_was_cut_short_is_written_again(cache: Path, tmp_path: Path) -> None:
    before = cases_of(tmp_path, cache, seeds=1)[0]
    file, ids = Path(before.fit.train.table), before.fit.train.ids
    file.write_bytes(file.read_bytes()[:7])
    read_table.cache_clear()
    assert cases_of(tmp_path, cache, seeds=1)[0].fit.train.ids == ids


@given(st.lists(st.integers(min_value=0, max_value=2**31 - 1), max_size=50))
def test_places_come_back_in_their_order(places: list[int]) -> None:
    assert unpacked(packed(places)) == places


def test_neighbouring_places_take_a_bit_each() -> None:
    assert len(packed([place for place in range(36_000) if place % 10])) < 36_000 / 8


def test_without_a_table_there_are_no_rows() -> None:
    empty = RowSet()
    assert (empty.ids, empty.claim, empty.own, empty.target, empty.columns) == ([], [], [], [], {})
