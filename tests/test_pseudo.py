"""Pseudo-anomalies: how each kind is made of normal items, and what is left out."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from asdbench import Info, Items, ItemView, MetricError, Outputs, Scorer, State
from asdbench.detector.contracts import ItemContext
from asdbench.jobs.pseudo import imitated, with_faults
from asdbench.messages.jobs import Case, PseudoKind
from asdbench.messages.results import Grade
from asdbench.results.objective import Evidence, Recognition, Tried, auc_bound, grades_of, objective
from asdbench.runs.plan import Planned
from asdbench.testing import make_items
from asdbench.tuning.trials import Bench, Trials

RATE = 1000


class Parts:
    """Stands for ``Detector``: the outputs are the first samples, the score is the distance to the nearest learned one."""

    def __init__(self) -> None:
        self.scorer = Nearest()
        self.state: State = {}
        self.fitted: list[list[float]] = []

    def outputs(self, items: ItemView) -> dict[str, NDArray[Any]]:
        return {"embedding": items.raw()[:, None, :4].numpy()}

    def state_of(self, outputs: Outputs, context: ItemContext) -> State:
        self.fitted.append(sorted(outputs["embedding"][:, 0, 0].tolist()))
        return self.scorer.fit(outputs, context)

    def scores_of(
        self, outputs: Outputs, context: ItemContext, *, state: State | None = None
    ) -> NDArray[np.float64]:
        return self.scorer.score(self.state if state is None else state, outputs, context)[:, 0]

    def score(self, items: Items) -> NDArray[np.float64]:
        context = ItemContext(claim=items.claim.numpy(), columns=items.columns)
        return self.scores_of(self.outputs(items), context)


class Nearest(Scorer, frozen=True, kw_only=True):
    on: str = "embedding"

    def fit(self, outputs: Outputs, context: ItemContext) -> State:
        return {"points": outputs[self.on][:, 0], "claim": context.claim}

    def score(self, state: State, outputs: Outputs, context: ItemContext) -> NDArray[np.float64]:
        points = outputs[self.on][:, 0]
        distances = np.linalg.norm(points[:, None] - state["points"][None], axis=2)
        distances[context.claim[:, None] != state["claim"][None]] = np.inf
        return distances.min(axis=1, keepdims=True)


def items_of(folder: Path, values: list[float], *, claim: list[int], **columns: list[str]) -> Items:
    """Return items whose samples are a constant, so that they can be told apart."""
    raw = np.repeat(np.array(values, np.float32)[:, None], 64, axis=1)
    raw[:, 1] *= -1
    info = Info(item_shape=(64,), sample_rate=RATE, classes=("a", "b"), feature_shape=(64,))
    made = make_items(raw, info, folder=folder, claim=claim, featurizer=torch.nn.Identity())
    made.columns = {name: np.array(values) for name, values in columns.items()}
    return made


def made(parts: Parts, held: Items, learnt: Items, *kinds: PseudoKind, others: Items | None = None) -> Any:
    detector: Any = parts
    parts.state = parts.scorer.fit(parts.outputs(learnt), ItemContext(claim=learnt.claim.numpy(), columns={}))
    return imitated(detector, held, learnt=learnt, others=others or learnt[:0], kinds=kinds, seed=1)


@pytest.fixture
def learnt(tmp_path: Path) -> Items:
    return items_of(
        tmp_path / "learnt", [1, 2, 3, 11, 12, 13], claim=[0, 0, 0, 1, 1, 1],
        domain=["s", "s", "t", "s", "t", "t"], attributes=["x", "y", "y", "", "", ""],
    )  # fmt: skip


@pytest.fixture
def held(tmp_path: Path) -> Items:
    return items_of(
        tmp_path / "held",
        [1.5, 2.5, 11.5],
        claim=[0, 0, 1],
        domain=["s", "t", "t"],
        attributes=["x", "y", ""],
    )


def test_shuffled_dimensions_come_from_normal_items_of_the_class(held: Items, learnt: Items) -> None:
    table = made(Parts(), held, learnt, "shuffled")
    assert table["place"].tolist() == [0, 1, 2]
    assert set(table["kind"]) == {"shuffled"}
    # Dimensions of one item are equal but for a sign; those of several are no learned point.
    assert (table["score"] > 0).any()
    assert (table["score"] < 6).all()
    assert made(Parts(), held, learnt, "shuffled").equals(table)


def test_an_item_of_another_class_claims_to_be_of_this_one(held: Items, learnt: Items) -> None:
    table = made(Parts(), held, learnt, "other_class")
    # 1.5 and 2.5 are compared with 11, 11.5 with 3; each stands beside an item of the class that it claims.
    assert table["score"].tolist() == pytest.approx([19.0, 17.0, 17.0])
    assert table["place"].tolist() == [2, 2, 0]


def test_a_unit_of_one_class_takes_items_of_other_units(learnt: Items, held: Items) -> None:
    table = made(Parts(), held[:2], learnt[:3], "other_class", others=learnt[3:])
    assert table["score"].tolist() == pytest.approx([16.0, 18.0, 20.0])
    assert made(Parts(), held[:2], learnt[:3], "other_class").empty


def test_the_own_domain_is_left_out_of_what_the_scorer_learns(held: Items, learnt: Items) -> None:
    parts = Parts()
    table = made(parts, held, learnt, "other_domain")
    assert parts.fitted == [[3, 12, 13], [1, 2, 11]]
    assert table["place"].tolist() == [0, 1, 2]
    assert table["score"].tolist() == pytest.approx([3.0, 1.0, 1.0])


def test_unknown_attributes_are_not_left_out(held: Items, learnt: Items) -> None:
    parts = Parts()
    table = made(parts, held, learnt, "other_attribute")
    assert parts.fitted == [[2, 3, 11, 12, 13], [1, 11, 12, 13]]
    assert table["place"].tolist() == [0, 1]


def test_kinds_that_the_data_do_not_allow_are_left_out(tmp_path: Path) -> None:
    plain = items_of(tmp_path / "plain", [1, 2, 3], claim=[0, 0, 0])
    kinds: tuple[PseudoKind, ...] = ("shuffled", "other_domain", "other_class", "other_attribute")
    assert set(made(Parts(), plain, plain, *kinds)["kind"]) == {"shuffled"}


def test_a_fault_changes_every_wave_and_is_the_same_in_every_crop(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    waves = rng.normal(size=(8, 4000)).astype(np.float32)
    info = Info(item_shape=(4000,), sample_rate=RATE, classes=("a",), feature_shape=(4000,))
    items = make_items(waves, info, folder=tmp_path / "waves", claim=[0] * 8, featurizer=torch.nn.Identity())
    faulty = with_faults(items, seed=3)
    raw = faulty.raw()
    assert raw.shape == (8, 4000)
    assert all(not torch.allclose(raw[k], items.raw()[k], atol=1e-3) for k in range(8))
    torch.testing.assert_close(faulty.raw(), raw, rtol=0, atol=0)
    torch.testing.assert_close(faulty.features(), raw, rtol=0, atol=0)
    torch.testing.assert_close(faulty[2:4].raw(), raw[2:4], rtol=0, atol=0)
    assert not torch.equal(with_faults(items, seed=4).raw(), raw)


def evidence(normal: list[float], strange: list[float]) -> Evidence:
    return Evidence(place="fan", normal=np.array(normal), strange=np.array(strange))


def test_the_objective_is_the_mean_auc_of_the_classes_that_have_both() -> None:
    both = [evidence([0, 1], [2, 3]), evidence([0, 2], [1, 3]), evidence([1], [])]
    assert objective(both) == pytest.approx((1.0 + 0.75) / 2)
    # The pseudo AUC of a published check: three of twelve pairs are inverted by one half each or not at all.
    assert objective([evidence([0.2, 0.3, 0.25, 0.4], [0.35, 0.6, 0.5])]) == pytest.approx(0.916667, abs=1e-6)


def test_the_bound_follows_from_means_and_variances_of_logarithms() -> None:
    published = evidence([0.2, 0.3, 0.25, 0.4], [0.35, 0.6, 0.5])
    assert objective([published], by=auc_bound) == pytest.approx(0.708509, abs=1e-6)
    assert auc_bound(evidence([0.0, 2.0], [3.0, 5.0])) == pytest.approx(9 / (1 + 1 + 9))  # 0 has no logarithm
    assert auc_bound(evidence([0.4, 0.5], [0.1, 0.2])) == 0.0
    assert auc_bound(evidence([0.5, 0.5], [0.5])) == 0.0


@pytest.mark.parametrize(("bound", "value"), [(False, 0.916667), (True, 0.708509)])
def test_a_trial_is_graded_by_separation_or_by_the_bound(
    bound: bool, value: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = evidence([0.2, 0.3, 0.25, 0.4], [0.35, 0.6, 0.5])
    monkeypatch.setattr("asdbench.results.objective.evidence_of", lambda *_, **__: [found])
    [grade] = grades_of(Tried(cases=[[cast(Case, None)]], out=tmp_path, vault=None, bound=bound))
    assert grade.value == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("name", ["pseudo", "faults", "bound"])
def test_the_objective_of_a_study_decides_how_its_trials_are_graded(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Tried] = []

    def ask(_: object, tried: Tried) -> list[Grade]:
        asked.append(tried)
        return []

    monkeypatch.setattr("asdbench.tuning.trials.PRISTINE", SimpleNamespace(ask=ask))
    request = SimpleNamespace(run=SimpleNamespace(out=tmp_path))
    bench = cast(Bench, SimpleNamespace(objective=name, stages=[frozenset()], request=request))
    trials = Trials(bench=bench, planned=cast(Planned, None), vault=None, cases={}, failed={})
    assert trials.grade([], stage=0) == {}
    assert [tried.bound for tried in asked] == [name == "bound"]


def test_without_strange_items_there_is_no_objective() -> None:
    with pytest.raises(MetricError, match="no class has both normal and strange items"):
        objective([evidence([1.0], [])])


def test_a_classifier_is_graded_by_its_mean_recall() -> None:
    first = Recognition(place="a", truth=np.array([0, 0, 0, 1]), predicted=np.array([0, 0, 1, 1]))
    second = Recognition(place="b", truth=np.array([0, 1]), predicted=np.array([0, 0]))
    assert objective([first, second]) == pytest.approx((3 / 4 + 1 / 2) / 2)
    with pytest.raises(MetricError, match="no held-out item to classify"):
        objective([Recognition(place="a", truth=np.zeros(0, int), predicted=np.zeros(0, int))])
