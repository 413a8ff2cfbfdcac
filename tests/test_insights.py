"""Figures that ask the trained models of a finished run: whose outputs they get, and what stands in the way."""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from made_runs import ensemble_of
from toy_model import Toy

from asdbench import (
    DataError,
    Items,
    NothingToDraw,
    PluginError,
    RecordedMethod,
    RecordedRun,
    Selector,
    read_run,
)
from asdbench.cli import status_of
from asdbench.jobs.insight import answer
from asdbench.jobs.processes import ask
from asdbench.messages.insights import Question
from asdbench.results.store import Store, weights_file
from asdbench.runs.insights import RunInsights

METHOD = Selector.parse("toy_by_machine[epochs=2,scorer=knn]")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a method with a model for each machine."""
    folder = tmp_path_factory.mktemp("insights")
    tiny.go(folder / "out", METHOD, cache=folder / "cache")
    return folder


@pytest.fixture
def run(place: Path, monkeypatch: pytest.MonkeyPatch) -> RecordedRun:
    """The run, whose models answer in this process."""
    monkeypatch.setattr("asdbench.runs.insights.ask", lambda function, message, *, first: answer(message))
    return asked(place)


def noted(messages: list[bytes], function: str, message: bytes, **options: Any) -> bytes:
    messages.append(message)
    return ask(function, message, **options)


def asked(place: Path, **changes: Any) -> RecordedRun:
    found = read_run(place / "out")
    insights = RunInsights(
        document=changes.get("document", found.document),
        out=changes.get("out", place / "out"),
        data_root=place / "data",
        cache=place / "cache",
        registry=tiny.registry(),
    )
    return dataclasses.replace(found, insights=insights)


def test_each_item_gets_the_outputs_of_the_model_that_scored_it(run: RecordedRun, place: Path) -> None:
    method = run.methods[0]
    some = method.items.iloc[[9, 0, 14, 3]]
    assert len(set(some["machine"])) == 2
    outputs = run.outputs(method, some)
    assert {name: value.shape for name, value in outputs.items()} == {
        "claim_nll": (4, 1),
        "embedding": (4, 1, 16),
    }
    whole = run.outputs(method, method.items)["embedding"]
    assert outputs["embedding"] == pytest.approx(whole[[9, 0, 14, 3]], abs=1e-5)
    # The scores of the run are distances of these embeddings, so items with equal ones would have equal scores.
    assert len(np.unique(np.round(whole[:, 0], 3), axis=0)) == len(method.items)


def test_the_model_of_one_unit_may_be_asked_about_all_items(run: RecordedRun) -> None:
    method = run.methods[0]
    own = method.items[method.items["machine"] == "fan"]
    all_by_fan = run.outputs(method, method.items, unit="fan")
    is_fan = (method.items["machine"] == "fan").to_numpy()
    mine = run.outputs(method, own)
    assert all_by_fan["claim_nll"][is_fan] == pytest.approx(mine["claim_nll"], abs=1e-5)
    with pytest.raises(
        NothingToDraw, match=r"unknown unit 'fans'; did you mean 'fan'\? \(known: fan, valve\)"
    ):
        run.outputs(method, own, unit="fans")


def test_samples_are_those_of_the_items(run: RecordedRun) -> None:
    method = run.methods[0]
    samples = run.samples(method, method.items.iloc[[2, 5]])
    assert samples.shape == (2, 16_000)
    assert samples == pytest.approx(run.samples(method, method.items)[[2, 5]])
    assert 0 < float(np.abs(samples).max()) <= 1


def explain(model: Toy, items: Items) -> dict[str, torch.Tensor]:
    """Show the features, and which items they are of."""
    assert not model.training
    assert not torch.is_grad_enabled()
    assert set(items.columns) == {"machine", "section"}
    return {"features": items.features(), "claim": items.claim.bfloat16()}


def test_explain_gets_all_chosen_items_of_a_model_without_labels(
    run: RecordedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Toy, "explain", explain)
    found = run.explain(run.methods[0], run.methods[0].items.iloc[:3])
    assert found["features"].shape[:2] == (3, 16)
    assert found["claim"].dtype == np.float32


def test_a_model_without_explain_says_so(run: RecordedRun) -> None:
    with pytest.raises(NothingToDraw, match=r"^toy_by_machine\[.*\]: its model 'toy' has no explain$"):
        run.explain(run.methods[0], run.methods[0].items.iloc[:1])


@pytest.mark.parametrize(
    ("returned", "why"),
    [
        (
            torch.zeros(3),
            r"explain of model 'toy' must return tensors \[2, ...\] for 2 items, but 'x' is \[3\]",
        ),
        (1.0, "for 2 items, but 'x' is float"),
    ],
)
def test_explain_of_a_wrong_shape_is_the_plugins_mistake(
    run: RecordedRun, monkeypatch: pytest.MonkeyPatch, returned: Any, why: str
) -> None:
    monkeypatch.setattr(Toy, "explain", lambda model, items: {"x": returned})
    items = run.methods[0].items
    with pytest.raises(PluginError, match=why):
        run.explain(run.methods[0], items[items["machine"] == "fan"].iloc[:2])


def test_an_error_of_explain_names_the_model_and_the_line(
    run: RecordedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Toy, "explain", lambda model, items: {"x": 1 / 0})
    with pytest.raises(
        PluginError, match=r"explain of model 'toy' failed: ZeroDivisionError: .*test_insights.py, line"
    ):
        run.explain(run.methods[0], run.methods[0].items.head(1))


def changed(method: RecordedMethod, **changes: Any) -> RecordedMethod:
    """The method with another recipe."""
    recipe = msgspec.structs.replace(method.record.method.recipe, **changes)
    summary = msgspec.structs.replace(method.record.method, recipe=recipe)
    return dataclasses.replace(method, record=msgspec.structs.replace(method.record, method=summary))


def test_an_ensemble_has_no_model_to_ask(run: RecordedRun) -> None:
    method = run.methods[0]
    summary = msgspec.structs.replace(method.record.method, recipe=ensemble_of("toys"))
    record = msgspec.structs.replace(method.record, method=summary)
    both = dataclasses.replace(method, label="toys", record=record)
    with pytest.raises(
        NothingToDraw, match="toys is an ensemble without a model of its own; run its members"
    ):
        run.outputs(both, method.items)


def test_models_of_other_code_are_not_asked(run: RecordedRun) -> None:
    method = run.methods[0]
    other = msgspec.structs.replace(method.record.method.recipe.model, source="0")
    with pytest.raises(
        NothingToDraw, match=r"toy_model:Toy, a part of toy_by_machine.* has changed since the run"
    ):
        run.outputs(changed(method, model=other), method.items)
    with pytest.raises(
        NothingToDraw, match="the code of asdbench has changed since the run; run its command again"
    ):
        run.outputs(changed(method, harness="0"), method.items)


def test_missing_models_data_and_items_are_named(place: Path, run: RecordedRun, tmp_path: Path) -> None:
    method, document = run.methods[0], run.document
    gone = asked(place, out=tmp_path)
    with pytest.raises(
        NothingToDraw, match=rf"the model \w+ of toy_by_machine.* on \w+ is not in {tmp_path}"
    ):
        gone.outputs(method, method.items)
    data = msgspec.structs.replace(document.data, manifest="other")
    other = asked(place, document=msgspec.structs.replace(document, data=data))
    with pytest.raises(NothingToDraw, match=r"the items of synthetic\[.*\] under .* are not those of run"):
        other.outputs(method, method.items)
    with pytest.raises(NothingToDraw, match="has no items to ask its models about"):
        run.outputs(method, method.items.head(0))
    with pytest.raises(NothingToDraw, match="it asks the trained models, which takes the data"):
        read_run(place / "out").outputs(method, method.items)


def test_data_that_are_gone_are_named(run: RecordedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*positional: Any, **named: Any) -> None:
        raise DataError("there is no folder fans")

    monkeypatch.setattr("asdbench.runs.insights.prepare", gone)
    with pytest.raises(NothingToDraw, match="the data of the run are not at hand: there is no folder fans"):
        run.samples(run.methods[0], run.methods[0].items)


def test_the_checkpoint_that_the_results_are_of_is_asked(run: RecordedRun, place: Path) -> None:
    [fitted, *_] = [Store(place / "out").fit_record(name) for name in run.methods[0].record.models]
    assert fitted is not None
    first, last = (
        weights_file(Store(place / "out"), fitted, epoch=epoch)
        for epoch in (fitted.checkpoints[0], fitted.checkpoints[-1])
    )
    assert (first.name, last.name) == ("00001.safetensors", "model.safetensors")
    assert first.is_file()
    assert last.is_file()
    by_epoch = [_with_epoch(run, epoch) for epoch in fitted.checkpoints]
    items = run.methods[0].items
    answers = [run.outputs(method, items)["claim_nll"] for method in by_epoch]
    assert not np.array_equal(answers[0], answers[-1])
    assert np.array_equal(answers[-1], run.outputs(_with_epoch(run, None), items)["claim_nll"])


def _with_epoch(run: RecordedRun, epoch: int | None) -> RecordedMethod:
    """The first method with this checkpoint behind its results; None: none is recorded, so the last."""
    method = run.methods[0]
    chosen = [msgspec.structs.replace(one, epoch=epoch) for one in method.record.method.checkpoints if epoch]
    summary = msgspec.structs.replace(method.record.method, checkpoints=chosen)
    return dataclasses.replace(method, record=msgspec.structs.replace(method.record, method=summary))


def test_the_command_asks_models_in_a_process_of_their_own(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asdbench.cli.figures.load_registry", tiny.registry)
    words = ["figures", "--out", str(place / "out"), "--cache", str(place / "cache"), "--to", str(tmp_path)]
    messages: list[bytes] = []
    monkeypatch.setattr("asdbench.runs.insights.ask", functools.partial(noted, messages))
    assert status_of([*words, "--only", "embeddings", "--isolation", "audit", "--json"]) == 0
    questions = [
        question for each in messages for question in msgspec.msgpack.decode(each, type=list[Question])
    ]
    assert {question.spec.isolation for question in questions} == {"audit"}
    assert json.loads(capsys.readouterr().out)["figures"] == {"embeddings": str(tmp_path / "embeddings.png")}
    assert status_of([*words, "--only", "cost", "--only", "frequency_pattern"]) == 2
    shown = capsys.readouterr()
    assert shown.out == f"cost: {tmp_path / 'cost.png'}\n"
    assert "frequency_pattern: no method of run" in shown.err


def test_labels_do_not_reach_the_process(run: RecordedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    messages: list[bytes] = []

    def spy(function: str, message: bytes, *, first: str) -> bytes:
        messages.append(message)
        return answer(message)

    monkeypatch.setattr("asdbench.runs.insights.ask", spy)
    method = run.methods[0]
    run.outputs(method, pd.DataFrame(method.items))
    [message] = messages
    assert not any(word in message for word in (b"anomaly", b"normal_", b".wav", b".npy"))
