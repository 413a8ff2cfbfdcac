"""Values of a wrong type or shape that plugins return: each is named with the part that gave it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from asdbench import PluginError, Stage, Trainer
from asdbench.detector.items import Columns, UnknownColumn
from asdbench.detector.returned import (
    Breach,
    checked_features,
    checked_outputs,
    checked_scores,
    checked_state,
)
from asdbench.detector.trainer import TrainerSettings
from asdbench.recipes.recipe import Part

PART = Part(name="hum", path="hum.parts:Hum", options={}, source="")


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (torch.zeros(2, 1), r"^model 'hum' \(hum.parts:Hum\): outputs must return a mapping .*, got Tensor$"),
        ({"embedding": np.zeros((2, 1))}, r"output 'embedding' must be a tensor, got ndarray$"),
        ({"phase": torch.zeros(2, 1, dtype=torch.complex64)}, "'phase' must hold real numbers, got torch.complex64"),
        ({"embedding": torch.zeros(1, 1, 8)}, r"must be \[items=2, segments, ...\], got \[1, 1, 8\]$"),
        ({"loss": torch.tensor(1.0)}, r"'loss' must be \[items=2, segments, ...\], got \[\]$"),
    ],
)  # fmt: skip
def test_outputs_are_tensors_of_the_items_by_name(found: Any, message: str) -> None:
    with pytest.raises(Breach, match=message):
        checked_outputs(found, model=PART, items=2)
    sound = {"embedding": torch.zeros(2, 1, 8), "count": torch.ones(2, 1, dtype=torch.int64)}
    assert checked_outputs(sound, model=PART, items=2) is sound


@pytest.mark.parametrize(
    ("found", "got"),
    [(torch.tensor(1.0), r"\[\]"), (torch.zeros(4, 8), r"\[4, 8\]"), (np.zeros((1, 8)), "ndarray"), (None, "NoneType")],
)  # fmt: skip
def test_features_are_a_tensor_of_the_items(found: Any, got: str) -> None:
    message = (
        rf"^featurizer 'hum' \(hum.parts:Hum\) must return a tensor of features \[items=1, ...\], got {got}$"
    )
    with pytest.raises(PluginError, match=message):
        checked_features(found, featurizer=PART, items=1)
    assert checked_features(torch.zeros(1, 3), featurizer=PART, items=1).shape == (1, 3)


@pytest.mark.parametrize(
    ("state", "got"),
    [
        (None, "a mapping of names to arrays, got NoneType"),
        ({"name": "fan"}, "got 'name': a str;"),
        ({"fan": {"mean": np.zeros(2)}}, "got 'fan': a dict; a nested structure needs flat names"),
        ({"mean": torch.zeros(2)}, "got 'mean': a torch tensor;"),
        ({"names": np.array(["fan"])}, "got 'names': an array of <U3;"),
        ({"rows": [[1.0], [2.0, 3.0]]}, "got 'rows': a list;"),
    ],
)
def test_the_state_of_a_scorer_is_arrays_of_numbers(state: Any, got: str) -> None:
    with pytest.raises(PluginError, match=rf"^fit of scorer 'hum' \(hum.parts:Hum\) must return .*{got}"):
        checked_state(state, scorer=PART)
    sound = {"mean": np.zeros(2), "count": np.int64(3), "scale": 0.5}
    assert checked_state(sound, scorer=PART) is sound


@pytest.mark.parametrize(
    ("scores", "got"),
    [
        (np.array([["1.0"], ["2.0"]]), "<U3 instead of numbers"),
        ([[1.0], [2.0, 3.0]], "a list with rows of different shapes"),
        (None, "object instead of numbers"),
        (np.zeros(2), r"\[2\]"),
        (np.zeros((2, 1), dtype=np.complex128), "complex128 instead of numbers"),
    ],
)
def test_scores_are_an_array_of_numbers(scores: Any, got: str) -> None:
    with pytest.raises(
        PluginError, match=rf"^scorer 'hum' must return scores of shape \[2, segments\], got {got}$"
    ):
        checked_scores(scores, scorer=PART, items=2, targets=0)
    found = checked_scores(np.ones((2, 1), dtype=np.int32), scorer=PART, items=2, targets=0)
    assert found.dtype == np.float64
    with pytest.raises(PluginError, match="1 of 2 items have scores that are not finite"):
        checked_scores([[1.0], [np.nan]], scorer=PART, items=2, targets=0)


def test_an_unknown_column_is_named_with_those_that_are_known() -> None:
    columns = Columns({"machine": np.array(["fan"]), "section": np.array(["00"])})
    with pytest.raises(UnknownColumn, match=r"^unknown column 'label' \(known: machine, section\)$"):
        columns["label"]
    with pytest.raises(KeyError):
        columns["label"]
    assert "label" not in columns
    assert columns.get("label") is None


def stage(losses: Any) -> Stage:
    """Return one step of training."""
    net = torch.nn.Linear(1, 1)
    return Stage(
        name="s",
        module=net,
        optimizers={"mse": torch.optim.SGD(net.parameters())},
        epochs=1,
        batches=lambda generator: [0],
        losses=losses,
    )


def misnamed(batch: Any, step: int) -> Iterator[tuple[str, Tensor]]:
    """Yield a loss that no optimizer has."""
    yield "mae", torch.zeros(())


def returned(batch: Any, step: int) -> Mapping[str, Tensor]:
    """Return the losses instead of yielding them."""
    return {"mse": torch.zeros(())}


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        (misnamed, r"^stage 's' has no optimizer for the loss 'mae': unknown loss 'mae'.* \(known: mse\)$"),
        (returned, r"^losses of stage 's' must yield pairs of name and loss, got dict$"),
    ],
)
def test_losses_are_yielded_with_the_name_of_their_optimizer(
    losses: Any, message: str, tmp_path: Path
) -> None:
    trained = stage(losses)
    trainer = Trainer(trained.module, TrainerSettings(seed=0, folder=tmp_path))
    with pytest.raises(PluginError, match=message):
        trainer.run(trained)
