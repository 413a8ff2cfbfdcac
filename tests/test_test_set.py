"""``rescale=test_set``: distances that are standardised over the items scored together, and what says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from numpy.typing import NDArray

from asdbench import ConfigError, ItemContext, Selector
from asdbench.conformance.findings import NotApplicable
from asdbench.conformance.scorers import far_is_stranger, random_outputs, score_depends_on_its_item_alone
from asdbench.jobs.probe import RULE
from asdbench.results.store import Store
from asdbench.runs.plan import plan_run
from asdbench_plugins.scorers.neighbours import NearestNeighbours

SCORER = NearestNeighbours(rescale="test_set", metric="euclidean")
SAYS = "rescale=test_set standardises distances over all items that are scored together"
METHOD = Selector("logmel_knn", {"n_mels": "16", "scorer.rescale": "test_set"})
FAN = Selector("synthetic", {**tiny.DATASET.options, "machines": "fan", "test_clips": "8"})


def context(claim: Any, **columns: Any) -> ItemContext:
    return ItemContext(
        claim=np.asarray(claim, dtype=np.int64),
        columns={name: np.asarray(values) for name, values in columns.items()},
    )


def points(*values: float) -> dict[str, NDArray[np.float64]]:
    return {"embedding": np.array(values)[:, np.newaxis, np.newaxis]}


def scores(
    *tested: float, scorer: NearestNeighbours = SCORER, domains: Any = ("source", "target")
) -> list[float]:
    """Return the scores of points on a line, after normal ones at 0 (source) and 10 (target)."""
    state = scorer.fit(points(0, 10), context([0, 0], domain=domains))
    found: list[float] = scorer.score(state, points(*tested), context(np.zeros(len(tested))))[:, 0].tolist()
    return found


def test_the_smaller_of_two_distances_counts_each_standardised_over_the_test_items() -> None:
    # To the source 1, 4, 10 and to the target 9, 6, 0: both have mean 5 and the population's deviation sqrt(14).
    assert scores(1, 4, 10) == pytest.approx([-4 / 14**0.5, -1 / 14**0.5, -5 / 14**0.5])
    # To the source 1, 4, 13 and to the target 9, 6, 3: mean 6, sqrt(26), and mean 6, sqrt(6).
    assert scores(1, 4, 13) == pytest.approx([-5 / 26**0.5, -2 / 26**0.5, -3 / 6**0.5])


def test_mixed_target_points_are_references_of_the_target_domain() -> None:
    # MemMixup adds 9 = 0.9 x 10 + 0.1 x 0: to the target 8, 5, 0.
    mixing = NearestNeighbours(rescale="test_set", metric="euclidean", memmixup=990)
    target = (np.array([8, 5, 0]) - 13 / 3) / np.std([8, 5, 0])
    source = np.array([-4, -1, 5]) / 14**0.5
    assert scores(1, 4, 10, scorer=mixing) == pytest.approx(np.minimum(source, target).tolist())


def test_without_a_deviation_standardised_distances_are_0() -> None:
    assert scores(3) == [0.0]
    assert scores(3, 3, 3) == pytest.approx([0, 0, 0], abs=1e-6)
    assert scores() == []


def test_of_one_domain_the_order_is_that_of_the_distances() -> None:
    alone = scores(1, 4, 16, domains=("", ""))  # 1, 4 and 6 away
    assert alone == pytest.approx(((np.array([1, 4, 6]) - 11 / 3) / np.std([1, 4, 6])).tolist())


def test_items_are_standardised_with_those_that_claim_the_same_class() -> None:
    state = SCORER.fit(points(0, 10, 0, 10), context([0, 0, 1, 1], domain=["source", "target"] * 2))
    both = SCORER.score(state, points(1, 90, 4, 10), context([0, 1, 0, 0]))[:, 0]
    assert both.tolist() == pytest.approx([*scores(1, 4, 10)[:1], 0, *scores(1, 4, 10)[1:]])


def test_conformance_says_that_scores_depend_on_the_set() -> None:
    with pytest.raises(NotApplicable, match=f"{SAYS}; results are marked batch-dependent"):
        score_depends_on_its_item_alone(SCORER, random_outputs)
    assert "planted anomalies score higher in 100%" in far_is_stranger(SCORER, random_outputs)
    with pytest.raises(ConfigError, match="rescale=domain or test_set, domains=separate"):
        SCORER.graph(SCORER.fit(points(0, 10), context([0, 0])), claim=0)


def test_the_record_of_the_scores_says_once_that_they_depend_on_one_another(tmp_path: Path) -> None:
    asked = tiny.request(tmp_path, METHOD, cache=tmp_path / "cache", dataset=FAN)
    [case] = plan_run(asked, tiny.registry(), observer=tiny.Silent()).cases
    for job in (case.fit, case.score):
        tiny.run_job_here(job)
    record = Store(tmp_path).score_record(case.score.job_id)
    assert record is not None
    assert record.batch_dependent
    assert not record.recognises  # eight items that are scored again are another set
    assert [rule for rule in record.rules if "scored together" in rule or RULE in rule] == [
        f"{SAYS}, so a single item scores differently"
    ]
    found = Store(tmp_path).scores(case.score.job_id)["score"]
    assert len(found) == case.score.test.count >= 8
    assert found.max() > 0 > found.min()


def test_scores_of_held_out_items_are_not_compared_with_them(tmp_path: Path) -> None:
    held = Selector(METHOD.name, {**METHOD.options, "held": "0.5"})
    with pytest.raises(
        ConfigError,
        match=f"{SAYS}, so those of held-out and of test items cannot be compared; .* \\(held=0\\)",
    ):
        plan_run(
            tiny.request(tmp_path, held, cache=tmp_path / "cache", dataset=FAN),
            tiny.registry(),
            observer=tiny.Silent(),
        )
