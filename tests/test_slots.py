"""Where jobs are placed on GPUs: never more than fit, alone where that is asked for, and none waits for ever."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asdbench.jobs.executors.slots import CONTEXT_BYTES, Place, Slots, with_margin

GB = 10**9
needs = st.one_of(st.none(), st.integers(0, 24 * GB))


def placed(slots: Slots, *waiting: int | None) -> tuple[int, Place]:
    found = slots.place(waiting)
    assert found is not None
    return found


def test_without_a_gpu_jobs_start_in_order_while_slots_are_free() -> None:
    slots = Slots(2)
    first = Place(slot=0)
    assert placed(slots, None, 3) == (0, first)
    assert placed(slots, 3) == (0, Place(slot=1))
    assert slots.place([None]) is None
    slots.give_back(first)
    assert placed(slots, None)[1] == first


def test_jobs_of_unknown_needs_are_alone_and_use_every_gpu() -> None:
    slots = Slots(8, gpus=[16 * GB, 16 * GB])
    places = [placed(slots, None)[1] for _ in range(2)]
    assert [(place.gpu, place.gpu_bytes, place.alone) for place in places] == [
        (0, 16 * GB, True),
        (1, 16 * GB, True),
    ]
    assert slots.place([None, GB]) is None


def test_known_jobs_share_a_gpu_as_far_as_its_memory_reaches() -> None:
    slots = Slots(8, gpus=[16 * GB, 16 * GB])
    gpus = [placed(slots, 5 * GB)[1].gpu for _ in range(4)]
    assert gpus == [0, 1, 0, 1]  # spread, not heaped
    assert slots.place([5 * GB]) is None  # three times 1.15 * 5 + 0.6 GB are more than 16
    assert placed(slots, 2 * GB)[1].gpu == 0


def test_no_more_jobs_run_than_there_are_slots() -> None:
    slots = Slots(3, gpus=[80 * GB])
    assert [placed(slots, GB)[1].slot for _ in range(3)] == [0, 1, 2]
    assert slots.place([GB]) is None


def test_a_job_that_needs_more_than_any_gpu_has_gets_one_of_its_own() -> None:
    slots = Slots(4, gpus=[16 * GB])
    place = placed(slots, 40 * GB)[1]
    assert (place.gpu, place.gpu_bytes, place.alone) == (0, 16 * GB, True)


def test_a_job_that_waits_to_be_alone_is_overtaken_but_not_on_the_gpu_that_it_waits_for() -> None:
    slots = Slots(8, gpus=[16 * GB, 16 * GB])
    small = [placed(slots, GB)[1] for _ in range(3)]
    assert [place.gpu for place in small] == [0, 1, 0]
    position, overtaking = placed(slots, None, GB)
    assert (position, overtaking.gpu) == (1, 0)  # GPU 1 has fewer jobs, so it is kept
    slots.give_back(small[1])
    assert placed(slots, None, GB)[1] == Place(slot=1, gpu=1, gpu_bytes=16 * GB, alone=True)


@pytest.mark.parametrize(("peak", "expected"), [(None, None), (0, CONTEXT_BYTES), (GB, 1_750_000_000)])
def test_the_margin_covers_cuda_itself_and_fragments(peak: int | None, expected: int | None) -> None:
    assert with_margin(peak) == expected


@given(
    jobs=st.lists(needs, max_size=60),
    gpus=st.lists(st.integers(4 * GB, 24 * GB), max_size=4),
    count=st.integers(1, 6),
    seed=st.integers(0, 2**16),
)
def test_every_job_runs_once_and_no_gpu_ever_holds_too_much(
    jobs: list[int | None], gpus: list[int], count: int, seed: int
) -> None:
    slots, generator = Slots(count, gpus=gpus), random.Random(seed)
    waiting, running, done = list(enumerate(jobs)), list[tuple[int, Place]](), list[int]()
    while waiting or running:
        while (found := slots.place(need for _, need in waiting)) is not None:
            running.append((waiting.pop(found[0])[0], found[1]))
            check([place for _, place in running], gpus, count)
        assert running, "jobs wait although nothing runs"
        job, place = running.pop(generator.randrange(len(running)))
        done.append(job)
        slots.give_back(place)
    assert sorted(done) == list(range(len(jobs)))


def check(places: list[Place], gpus: list[int], count: int) -> None:
    assert len(places) <= count
    assert len({place.slot for place in places}) == len(places)
    for gpu, memory in enumerate(gpus):
        there = [place for place in places if place.gpu == gpu]
        assert sum(place.gpu_bytes for place in there) <= memory
        assert len(there) == 1 or not any(place.alone for place in there)


@given(st.integers(1, 4), st.integers(0, 2**16))
def test_a_job_that_must_be_alone_starts_although_small_ones_keep_coming(gpus: int, seed: int) -> None:
    slots, generator = Slots(3 * gpus, gpus=[16 * GB] * gpus), random.Random(seed)
    running = [placed(slots, GB)[1] for _ in range(2 * gpus)]
    for _ in range(20 * gpus):  # each time one ends, a small one that waits behind takes what it may
        slots.give_back(running.pop(generator.randrange(len(running))))
        found = slots.place([None, GB])
        if found is not None and found[0] == 0:
            return
        running += [found[1]] if found is not None else []
    pytest.fail("it never started")
