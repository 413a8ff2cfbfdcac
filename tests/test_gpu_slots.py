"""Jobs on real GPUs: all are used, and several jobs share one once their needs are known. Needs a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny

from asdbench import RunDocument, Selector
from asdbench.jobs.executors.backlog import Attempt, Backlog

pytestmark = pytest.mark.gpu
SEEDS = list(range(8))


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch) -> list[Attempt]:
    """The attempts of all jobs, in the order in which they start."""
    started: list[Attempt] = []
    start = Backlog.start

    def noted(self: Backlog) -> Attempt | None:
        attempt = start(self)
        started.extend([attempt] if attempt is not None else [])
        return attempt

    monkeypatch.setattr(Backlog, "start", noted)
    return started


def go(folder: Path, cache: Path, **options: Any) -> RunDocument:
    toy = Selector("toy", {"epochs": "2"})
    return tiny.go(folder, toy, cache=cache, device="cuda", seeds=SEEDS, **options)


def test_jobs_share_gpus_once_their_needs_are_known_and_give_the_same_models(
    places: list[Attempt], cache: Path, tmp_path: Path
) -> None:
    import torch

    gpus = torch.cuda.device_count()
    alone = go(tmp_path / "alone", cache, slots=1)
    assert {job.status for job in alone.jobs} == {"ok"}
    assert not any(attempt.shared for attempt in places)
    places.clear()
    packed = go(tmp_path / "packed", cache, slots=2 * gpus)
    assert {job.status for job in packed.jobs} == {"ok"}
    assert [job.id for job in packed.jobs] == [job.id for job in alone.jobs]
    assert {attempt.place.gpu for attempt in places if attempt.place is not None} == set(range(gpus))
    assert any(attempt.shared for attempt in places)
    for name, summary in packed.summary.items():
        assert summary == pytest.approx(alone.summary[name], abs=1e-3)
