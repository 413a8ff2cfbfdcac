"""Ensembles: members run as methods of their own, the evaluator averages their standardised scores."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny

from asdbench.cli import status_of
from asdbench.describe import describe
from asdbench.ensemble import standardise
from asdbench.errors import ConfigError
from asdbench.report import Report
from asdbench.runner import run


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> tuple[Path, Report]:
    folder = tmp_path_factory.mktemp("finished")
    return folder, go(folder, ("toys", {}), cache=cache)


def go(folder: Path, *methods: tuple[str, dict[str, str]], cache: Path) -> Report:
    return run(tiny.request(folder, *methods, cache=cache), tiny.registry(), tiny.Silent())


def test_scores_are_counted_in_deviations_of_the_held_out_scores_of_their_class() -> None:
    held, held_claim = np.array([1.0, 3.0, 10.0, 30.0]), np.array([0, 0, 1, 1])
    standard = standardise(np.array([4.0, 40.0]), np.array([0, 1]), held, held_claim)
    assert standard.tolist() == [2.0, 2.0]


def test_a_class_with_one_held_out_score_takes_those_of_the_unit() -> None:
    standard = standardise(np.array([5.0]), np.array([1]), np.array([1.0, 3.0, 2.0]), np.array([0, 0, 1]))
    assert standard == pytest.approx([3 / np.std([1, 2, 3])])


def test_one_held_out_score_in_all_standardises_nothing() -> None:
    assert np.isnan(standardise(np.array([5.0]), np.array([0]), np.array([1.0]), np.array([0]))).all()


def test_equal_held_out_scores_take_off_the_mean_alone() -> None:
    assert standardise(np.array([5.0]), np.array([0]), np.array([2.0, 2.0]), np.array([0, 0])).tolist() == [
        3.0
    ]


def test_the_row_is_the_mean_of_the_members_standardised_scores(finished: tuple[Path, Report]) -> None:
    [evaluation] = finished[1].evaluations
    table = evaluation.items["score_42"]
    assert table.notna().all()
    assert len(table) == 32
    expected = pd.concat([_standard(found) for found in evaluation.finished]).groupby(level=0).mean()
    assert table.sort_index().to_numpy() == pytest.approx(expected.sort_index().to_numpy())


def test_members_that_were_run_are_not_run_again(finished: tuple[Path, Report], cache: Path) -> None:
    report = go(finished[0], ("toy_by_machine", {}), ("toys", {}), cache=cache)
    assert not any(job.new for job in report.jobs)
    assert [evaluation.recipe.label for evaluation in report.evaluations] == ["toy_by_machine", "toys"]
    again = report.evaluations[1].items["score_42"]
    assert again.equals(finished[1].evaluations[0].items["score_42"])


def test_the_record_and_the_table_name_the_members(finished: tuple[Path, Report]) -> None:
    about = finished[1].document()["methods"]["toys"]
    assert [member["label"] for member in about["recipe"]["members"]] == [
        "toy_by_machine",
        "toy_with_foreign[epochs=2]",
    ]
    assert "[APPROXIMATE: a guess]" in tiny.registry().build("table", "results")(finished[1])
    assert list(finished[0].glob("records/*/record.json"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"members": "toy_by_machine"}, "combines at least two methods, got 1"),
        ({"members": "toy+toy_by_machine"}, "toy keeps none; choose members with held > 0"),
        ({"member": "toy"}, "unknown option 'member'"),
    ],
)
def test_members_that_cannot_be_combined_are_refused(
    options: dict[str, str], message: str, cache: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        go(tmp_path, ("toys", options), cache=cache)


def test_describe_tells_of_what_an_ensemble_is_and_what_its_members_are() -> None:
    told = describe(tiny.registry(), ("toys", {}), tiny.DATASET)
    assert told["ensemble_of"] == "toy_by_machine, toy_with_foreign[epochs=2]"
    assert (told["plugin"], told["dataset"], told["approximate"]) == ("toy", "synthetic", "a guess")
    assert [member["method"] for member in told["members"]] == ["toy_by_machine", "toy_with_foreign"]
    assert all(member["parameters"] > 0 for member in told["members"])
    [epochs] = [row["value"] for row in told["members"][1]["options"] if row["option"] == "epochs"]
    assert epochs == 2
    other = describe(tiny.registry(), ("toys", {"members": "toy_by_machine+idnn"}))
    assert other["ensemble_of"] == "toy_by_machine, idnn"
    with pytest.raises(ConfigError, match="combines at least two methods, got 1"):
        describe(tiny.registry(), ("toys", {"members": "idnn"}))


def test_the_command_describes_an_ensemble_and_its_members(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(["describe", "parallel", "-d", "dcase2021"]) == 0
    text = capsys.readouterr().out
    assert "ensemble of              serial_method, serial_oe_only_product, mobilenetv2[held=0.1]" in text
    assert [line.split()[1] for line in text.splitlines() if line.startswith("method ")] == [
        "parallel", "serial_method", "serial_oe_only_product", "mobilenetv2", "stgram_mfn", "glow_aff",
    ]  # fmt: skip
    assert text.count("options, as in") == 5
    assert status_of(["describe", "parallel", "-d", "dcase2021", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["members"]) == 5


def _standard(found: object) -> pd.Series[float]:
    scores, spec = found.scores, found.task.score  # type: ignore[attr-defined]
    last = scores[scores["checkpoint"] == scores["checkpoint"].max()]
    held, test = (last[last["role"] == role].set_index("item_id")["score"] for role in ("held", "test"))
    own = pd.Series(spec.held.claim, index=spec.held.ids)
    claims = pd.Series(spec.test.claim, index=spec.test.ids)
    basis = {c: held[own[own == c].index] for c in claims.unique()}
    basis = {c: known if len(known) > 1 else held for c, known in basis.items()}
    return pd.Series(
        {i: (test[i] - basis[claims[i]].mean()) / (basis[claims[i]].std(ddof=0) or 1.0) for i in test.index}
    )
