"""What a job keeps in memory: no more than it may, and never at the price of other results."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest
import tiny

from asdbench import Selector
from asdbench.detector.items import ItemSource
from asdbench.messages.jobs import Case
from asdbench.results.store import Store
from asdbench.runs.plan import FEATURE_BYTES, plan_run

SMALL = Selector(
    "aadcl", {"epochs": "1", "width": "4", "layers": "2", "batch_size": "4", "featurizer.n_mels": "32"}
)
ONE_MACHINE = Selector("synthetic", {**tiny.DATASET.options, "machines": "fan", "ids": "1"})


def case_of(folder: Path) -> Case:
    request = tiny.request(folder, SMALL, cache=folder / "cache", dataset=ONE_MACHINE)
    [case] = plan_run(request, tiny.registry(), observer=tiny.Silent()).cases
    return case


def scores_of(case: Case, folder: Path, *, feature_bytes: int) -> pd.DataFrame:
    for job in (case.fit, case.score):
        spec = msgspec.structs.replace(job, store=str(folder), feature_bytes=feature_bytes)
        tiny.run_job_here(spec)
    return pd.read_parquet(Store(folder).score_folder(case.score.job_id) / "scores.parquet")


@pytest.mark.slow
def test_features_computed_for_each_batch_give_the_same_scores_as_kept_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    homes: list[str | None] = []
    home = ItemSource._home

    def noted(source: ItemSource) -> str | None:
        homes.append(home(source))
        return homes[-1]

    monkeypatch.setattr(ItemSource, "_home", noted)
    case = case_of(tmp_path)
    kept = scores_of(case, tmp_path / "kept", feature_bytes=1 << 30)
    assert "cpu" in homes
    homes.clear()
    afresh = scores_of(case, tmp_path / "afresh", feature_bytes=1)
    assert set(homes) == {None}
    np.testing.assert_array_equal(kept["score"].to_numpy(), afresh["score"].to_numpy())
    assert len(kept) > 0


def test_a_job_on_the_cpu_keeps_few_features_on_a_large_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for free, expected in ((1 << 40, FEATURE_BYTES), (1 << 30, 1 << 28)):
        monkeypatch.setattr("asdbench.runs.plan.available_memory", lambda free=free: free)
        assert case_of(tmp_path).fit.feature_bytes == expected
