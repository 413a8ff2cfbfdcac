"""Answers the questions of figures with trained models, in a process with torch. Messages and answers are msgpack."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asdbench.detector.assembly import arithmetic, detector_of, items_of
from asdbench.detector.contracts import Model
from asdbench.detector.detector import Detector
from asdbench.detector.items import Items
from asdbench.errors import AsdbenchError, NothingToDraw, PluginError, blamed_on
from asdbench.jobs.isolation import isolate
from asdbench.jobs.job import inputs
from asdbench.messages.insights import Array, Insight, Question
from asdbench.messages.progress import ignore_progress


def shut_in(message: bytes) -> None:
    """Take the rights from this process that jobs have not, except to the models and items in question."""
    if questions := msgspec.msgpack.decode(message, type=list[Question]):
        first = questions[0].spec
        files = [file for each in questions for file in (Path(each.weights), *inputs(each.spec))]
        isolate(first.isolation, readable=files, writable=(), hidden=[*map(Path, first.hidden)])


def answer(message: bytes) -> bytes:
    """Return an ``Insight`` for each ``Question``."""
    questions = msgspec.msgpack.decode(message, type=list[Question])
    return msgspec.msgpack.encode([_answer(question) for question in questions])


def _answer(question: Question) -> Insight:
    spec = question.spec
    try:
        with arithmetic(threads=spec.threads):
            detector = detector_of(spec)
            detector.load(Path(question.weights))
            [items] = items_of(spec, detector, sets=(spec.test,), on_progress=ignore_progress)
            found = _asked(question, detector, items=items)
    except AsdbenchError as error:
        return Insight(why=f"{spec.recipe.label}: {error}", broken=isinstance(error, PluginError))
    return Insight(
        arrays={
            name: Array(dtype=value.dtype.str, shape=list(value.shape), data=value.tobytes())
            for name, value in found.items()
        }
    )


def _asked(question: Question, detector: Detector, *, items: Items) -> Mapping[str, NDArray[Any]]:
    if question.asked == "samples":
        return {"samples": items.raw().numpy()}
    if question.asked == "outputs":
        return detector.outputs(items)
    return _explained(detector, items)


def _explained(detector: Detector, items: Items) -> dict[str, NDArray[Any]]:
    model = detector.model
    if type(model).explain is Model.explain:
        raise NothingToDraw(f"its model {detector.recipe.model.name!r} has no explain")
    detector.root.eval()
    with torch.no_grad(), blamed_on(f"explain of model {detector.recipe.model.name!r} failed"):
        explained = model.explain(items)
    for name, value in explained.items():
        if not isinstance(value, Tensor) or value.shape[:1] != (len(items),):
            shape = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise PluginError(
                f"explain of model {detector.recipe.model.name!r} must return tensors [{len(items)}, ...] for "
                f"{len(items)} items, but {name!r} is {shape}"
            )
    # numpy has no bfloat16.
    return {name: np.asarray(value.detach().float().numpy()) for name, value in explained.items()}
