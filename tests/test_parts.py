"""Parts of a batch on several threads: every position once, errors come out, forks work; copies have the same bits."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest
import torch

from asdbench.core.parts import in_parts
from asdbench.detector import items


@pytest.mark.parametrize(
    ("count", "threads", "expected"),
    [
        (7, 3, [range(2), range(2, 4), range(4, 7)]),
        (2, 5, [range(1), range(1, 2)]),
        (4, 1, [range(4)]),
        (0, 3, [range(0)]),
    ],
)
def test_parts_cover_every_position_once(count: int, threads: int, expected: list[range]) -> None:
    found: dict[int, range] = {}

    def work(positions: range, part: int) -> None:
        found[part] = positions

    in_parts(count, work, threads=threads)
    assert [found[part] for part in sorted(found)] == expected


def test_one_part_stays_in_the_calling_thread_and_several_leave_it() -> None:
    places: set[int] = set()
    in_parts(3, lambda positions, part: places.add(threading.get_ident()), threads=1)
    assert places == {threading.get_ident()}
    in_parts(3, lambda positions, part: places.add(threading.get_ident()), threads=2)
    assert len(places) > 1


def test_an_error_in_a_part_is_raised() -> None:
    def work(positions: range, part: int) -> None:
        if part == 1:
            raise ValueError(f"no place for {positions.start}")

    with pytest.raises(ValueError, match="no place for 2"):
        in_parts(4, work, threads=2)


def test_a_fork_has_threads_of_its_own() -> None:
    in_parts(2, lambda positions, part: None, threads=2)  # the parent's, which the child does not inherit
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        in_parts(2, lambda positions, part: os.write(write, b"x") and None, threads=2)
        os._exit(0)
    assert os.waitpid(child, 0) == (child, 0)
    assert os.read(read, 8) == b"xx"


def test_rows_that_several_threads_copy_are_those_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.randn(50, 3, 40)
    rows = np.random.default_rng(0).integers(0, 50, 33)
    monkeypatch.setattr(items, "SMALLEST_PART", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    assert items._threads_for(33 * 3 * 40 * 4) == 4
    assert torch.equal(items._rows_of(values, rows, device="cpu"), values[torch.from_numpy(rows)])
