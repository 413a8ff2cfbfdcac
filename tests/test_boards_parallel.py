"""Leaderboards are built on several cores with the same bytes and the same errors as on one."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path

import board_pages
import pytest
from board_runs import edit_table

from asdbench import RunError
from asdbench_leaderboards.board import build as building
from asdbench_leaderboards.board.parallel import in_processes

NAMES = ("ab12", "cd34", "ef56")


def have_cores(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(count)))


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Records of which each is worth a process."""
    monkeypatch.setattr(building, "COPIED", 1)
    for name in NAMES:
        board_pages.write_method(tmp_path / "records", name)
    return tmp_path / "records"


@pytest.mark.parametrize(("cores", "processes"), [(1, 1), (2, 2), (3, 3), (64, 4)])
def test_results_are_in_order_and_each_core_does_a_share(
    cores: int, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    have_cores(monkeypatch, cores)
    found = in_processes(lambda number: (number * number, os.getpid()), range(10), least=2)
    assert [square for square, _ in found] == [number * number for number in range(10)]
    workers = {worker for _, worker in found}
    assert len(workers) == processes
    assert (os.getpid() in workers) == (processes == 1)


def test_few_things_start_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    have_cores(monkeypatch, 8)
    assert in_processes(lambda _: os.getpid(), range(9), least=5) == [os.getpid()] * 9


def test_the_first_failure_is_raised_whichever_process_meets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    have_cores(monkeypatch, 2)

    def work(number: int) -> int:
        if number in (4, 5, 7):
            raise RunError(f"record {number} is damaged")
        return number

    with pytest.raises(RunError, match="record 4 is damaged") as caught:
        in_processes(work, range(10), least=1)
    assert "in work" in caught.value.__notes__[0]
    assert multiprocessing.active_children() == []


def test_a_killed_process_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    have_cores(monkeypatch, 2)
    with pytest.raises(RunError, match="ended before its share of the work was done"):
        in_processes(lambda _: os.kill(os.getpid(), signal.SIGKILL), range(4), least=1)
    assert multiprocessing.active_children() == []


def test_ctrl_c_ends_all_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    have_cores(monkeypatch, 2)
    waiting, receive = threading.Event(), Connection.recv
    monkeypatch.setattr(Connection, "recv", lambda pipe: waiting.set() or receive(pipe))

    def work(number: int) -> None:
        (tmp_path / str(os.getpid())).touch()
        time.sleep(20)

    def interrupt() -> None:
        waiting.wait()
        while len(list(tmp_path.iterdir())) < 2:
            time.sleep(0.01)
        for process in [*tmp_path.iterdir(), Path(str(os.getpid()))]:  # as a terminal does
            os.kill(int(process.name), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        in_processes(work, range(2), least=1)
    thread.join()
    for process in tmp_path.iterdir():
        with pytest.raises(ProcessLookupError):
            os.kill(int(process.name), 0)


@pytest.mark.parametrize("damaged", NAMES)
def test_a_damaged_record_is_named_alike_in_each_process(
    damaged: str, records: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = records / damaged / "items.parquet"

    def spoil(table: object) -> None:
        table.loc[1, "score_0"] = float("inf")  # type: ignore[attr-defined]

    edit_table(file, spoil)
    messages = set()
    for cores in (1, 3):
        have_cores(monkeypatch, cores)
        with pytest.raises(RunError) as caught:
            building.build([records], out=records.with_name("site"))
        messages.add(str(caught.value))
    assert messages == {f"{file}, column score_0, item 1: a score must be finite, got inf"}
    assert not records.with_name("site").exists()
