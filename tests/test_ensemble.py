"""Ensembles: members run as methods of their own, the evaluator averages their standardised scores."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny

from asdbench import ConfigError, RunDocument, Selector
from asdbench.cli import status_of
from asdbench.recipes.recipe import EnsembleRecipe
from asdbench.results.conclusion import evaluations_of
from asdbench.results.ensemble import standardise
from asdbench.results.evaluator import Evaluation
from asdbench.results.finished import Finished
from asdbench.runs.describe import EnsembleDescription, describe
from asdbench.runs.plan import plan_run
from asdbench.runs.run import grading_of, run_planned


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the results of ``finished``."""
    return tmp_path_factory.mktemp("finished")


@pytest.fixture(scope="module")
def finished(folder: Path, cache: Path) -> tuple[RunDocument, list[Evaluation]]:
    return go(folder, Selector("toys"), cache=cache)


def go(folder: Path, *methods: Selector, cache: Path) -> tuple[RunDocument, list[Evaluation]]:
    registry, observer = tiny.registry(), tiny.Silent()
    planned = plan_run(tiny.request(folder, *methods, cache=cache), registry, observer=observer)
    document = run_planned(planned, registry, observer=observer)
    return document, evaluations_of(grading_of(planned, registry))


def test_scores_are_counted_in_deviations_of_the_held_out_scores_of_their_class() -> None:
    held, held_claim = np.array([1.0, 3.0, 10.0, 30.0]), np.array([0, 0, 1, 1])
    standard = standardise(np.array([4.0, 40.0]), held, claim=np.array([0, 1]), held_claim=held_claim)
    assert standard.tolist() == [2.0, 2.0]


def test_a_class_with_one_held_out_score_takes_those_of_the_unit() -> None:
    standard = standardise(
        np.array([5.0]), np.array([1.0, 3.0, 2.0]), claim=np.array([1]), held_claim=np.array([0, 0, 1])
    )
    assert standard == pytest.approx([3 / np.std([1, 2, 3])])


def test_one_held_out_score_in_all_standardises_nothing() -> None:
    one = np.array([0])
    assert np.isnan(standardise(np.array([5.0]), np.array([1.0]), claim=one, held_claim=one)).all()


def test_equal_held_out_scores_take_off_the_mean_alone() -> None:
    held, held_claim = np.array([2.0, 2.0]), np.array([0, 0])
    standard = standardise(np.array([5.0]), held, claim=np.array([0]), held_claim=held_claim)
    assert standard.tolist() == [3.0]


def test_a_score_is_the_mean_of_the_members_standardised_scores(
    finished: tuple[RunDocument, list[Evaluation]],
) -> None:
    [evaluation] = finished[1]
    table = evaluation.items["score_42"]
    assert table.notna().all()
    assert len(table) == 32
    expected = pd.concat([_standard(found) for found in evaluation.finished]).groupby(level=0).mean()
    assert table.sort_index().to_numpy() == pytest.approx(expected.sort_index().to_numpy())


def test_members_that_were_run_are_not_run_again(
    finished: tuple[RunDocument, list[Evaluation]], folder: Path, cache: Path
) -> None:
    document, evaluations = go(folder, Selector("toy_by_machine"), Selector("toys"), cache=cache)
    assert not any(job.new for job in document.jobs)
    assert [evaluation.recipe.label for evaluation in evaluations] == ["toy_by_machine", "toys"]
    assert evaluations[1].items["score_42"].equals(finished[1][0].items["score_42"])


def test_an_ensemble_costs_what_all_its_members_cost(folder: Path, cache: Path) -> None:
    members = [Selector("toy_by_machine"), Selector("toy_with_foreign", {"epochs": "2"})]
    document, _ = go(folder, *members, Selector("toys"), cache=cache)
    *costs, whole = [method.cost for method in document.methods.values() if method.cost is not None]
    assert len(costs) == 2
    assert whole.parameters == sum(cost.parameters for cost in costs)
    assert whole.flops == sum(cost.flops for cost in costs)
    assert whole.fit_s == pytest.approx(sum(cost.fit_s for cost in costs))
    assert whole.score_ms == pytest.approx(sum(cost.score_ms or 0.0 for cost in costs))
    assert whole.peak_memory_bytes == max(cost.peak_memory_bytes for cost in costs)


def test_the_record_and_the_table_name_the_members(
    finished: tuple[RunDocument, list[Evaluation]], folder: Path
) -> None:
    recipe = finished[0].methods["toys"].recipe
    assert isinstance(recipe, EnsembleRecipe)
    assert [member.label for member in recipe.members] == ["toy_by_machine", "toy_with_foreign[epochs=2]"]
    assert "[APPROXIMATE: a guess]" in tiny.registry().build("table", "results")(finished[0])
    assert list(folder.glob("records/*/record.json"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"members": "toy_by_machine"}, "needs at least two members, got 1"),
        ({"members": "toy+toy_by_machine"}, "toy has held=0; choose members with held > 0"),
        ({"member": "toy"}, "unknown option 'member'"),
    ],
)
def test_members_that_cannot_be_combined_are_refused(
    options: dict[str, str], message: str, cache: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        go(tmp_path, Selector("toys", options), cache=cache)


def test_describe_shows_an_ensemble_and_each_of_its_members() -> None:
    described = describe(tiny.registry(), Selector("toys"), dataset=tiny.DATASET)
    assert isinstance(described, EnsembleDescription)
    assert described.ensemble_of == "toy_by_machine, toy_with_foreign[epochs=2]"
    assert (described.plugin, described.dataset, described.approximate) == ("toy", "synthetic", "a guess")
    assert [member.method for member in described.members] == ["toy_by_machine", "toy_with_foreign"]
    assert all(member.parameters > 0 for member in described.members)
    [epochs] = [row.value for row in described.members[1].options if row.option == "epochs"]
    assert epochs == 2
    other = describe(tiny.registry(), Selector("toys", {"members": "toy_by_machine+idnn"}))
    assert isinstance(other, EnsembleDescription)
    assert other.ensemble_of == "toy_by_machine, idnn"
    with pytest.raises(ConfigError, match="needs at least two members, got 1"):
        describe(tiny.registry(), Selector("toys", {"members": "idnn"}))


def test_the_command_describes_an_ensemble_and_its_members(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(["describe", "parallel", "-d", "dcase2021"]) == 0
    text = capsys.readouterr().out
    assert "ensemble of              serial_method, serial_oe_only_product, mobilenetv2[held=0.1]" in text
    assert [line.split()[1] for line in text.splitlines() if line.startswith("method ")] == [
        "parallel", "serial_method", "serial_oe_only_product", "mobilenetv2", "stgram_mfn", "glow_aff",
    ]  # fmt: skip
    assert text.count("options, for METHOD") == 5
    assert status_of(["describe", "parallel", "-d", "dcase2021", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["members"]) == 5


def _standard(found: Finished) -> pd.Series[float]:
    scores, spec = found.scores, found.case.score
    last = scores[scores["checkpoint"] == scores["checkpoint"].max()]
    held, test = (last[last["role"] == role].set_index("item_id")["score"] for role in ("held", "test"))
    own = pd.Series(spec.held.claim, index=spec.held.ids)
    claims = pd.Series(spec.test.claim, index=spec.test.ids)
    basis = {c: held[own[own == c].index] for c in claims.unique()}
    basis = {c: known if len(known) > 1 else held for c, known in basis.items()}
    return pd.Series(
        {i: (test[i] - basis[claims[i]].mean()) / (basis[claims[i]].std(ddof=0) or 1.0) for i in test.index}
    )
