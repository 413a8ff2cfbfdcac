"""Times as multiples of a fixed work: measured in each job, kept in the record, negligible."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import tiny
import torch

from asdbench import Selector, read_run
from asdbench.jobs.reference import reference_ms


def test_the_reference_work_takes_a_millisecond_and_draws_nothing_at_random() -> None:
    state = torch.get_rng_state()
    reference_ms()  # the first product of matrices in a process starts its library
    spent = []
    for _ in range(5):
        started = time.process_time()
        found = reference_ms()
        spent.append(time.process_time() - started)
        assert 0 < found < 1000
    assert min(spent) < 0.02, "about 1 ms; the rest is for a machine that does other things"
    assert torch.equal(torch.get_rng_state(), state)


def test_a_record_has_the_work_of_each_seed(tmp_path: Path, cache: Path) -> None:
    tiny.go(tmp_path, Selector("logmel_knn"), cache=cache, seeds=(1, 2))
    [method] = read_run(tmp_path).methods
    models, scores = method.record.models.values(), method.record.scores.values()
    cost = method.record.method.cost
    assert cost is not None
    assert len(cost.fit_work) == len(cost.score_work) == 2
    first = [1000 * each.usage.seconds / (each.usage.reference_ms or 0) for each in models if each.seed == 1]
    assert cost.fit_work[0] == pytest.approx(sum(first))
    works = [each.ms_per_item / (each.usage.reference_ms or 0) for each in scores]
    assert min(works) <= min(cost.score_work) <= max(cost.score_work) <= max(works)
