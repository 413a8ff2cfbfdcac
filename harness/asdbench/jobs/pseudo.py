"""Pseudo-anomalies, made of normal items alone: what a trial of ``asdbench tune`` is graded on without any label.

After Wilkinghoff and Tan, "Can we predict anomaly detection performance from embedding-space geometry?" (2026). Their
*diverse* mix is the first four kinds together:

``shuffled``         each dimension of the outputs that the scorer reads comes from a normal item of its own, drawn with
                     replacement; only for outputs that are vectors
``other_domain``     a normal item of another domain, scored by a scorer that has not learned from that domain
``other_class``      a normal item of another class that claims to be of this one
``other_attribute``  like ``other_domain``, for items of the same attributes
``fault``            a normal wave with an added tone, clicks, a slow modulation or muffled; made of samples, not of outputs

The paper does not state how the own domain or attribute of an item is left out of the reference; here the scorer is
fitted again without it. It makes one item for each reference and takes all of other classes; here each kind makes at
most one for each held-out item, so that no kind outweighs the others. A kind that the data do not allow is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from asdbench.core.info import Info
from asdbench.core.seeding import seed_for
from asdbench.detector.contracts import ItemContext, Outputs
from asdbench.detector.detector import Detector, context_of
from asdbench.detector.items import Items, Source
from asdbench.messages.jobs import PseudoKind

DOMAIN, ATTRIBUTES = "domain", "attributes"
"""Columns of training items that the kinds of these names read."""
REFITS = 8
"""Most domains or attributes for which the scorer is fitted again; with more of them, that many are drawn."""

Made = tuple[NDArray[np.int64], NDArray[np.float64]]
"""Places of held-out items and the scores of the pseudo-anomalies beside them, ``[n]`` each."""


def imitated(
    detector: Detector,
    held: Items,
    *,
    learnt: Items,
    others: Items,
    kinds: Sequence[PseudoKind],
    seed: int,
) -> pd.DataFrame:
    """Score pseudo-anomalies.

    Args:
        detector: Fitted, its scorer too.
        held: Held-out normal items.
        learnt: The items that the scorer learned from; none if it does not learn.
        others: Normal items of other units, of which a unit of one class makes those of ``other_class``.
        kinds: What to make.
        seed: Seed of the job; equal seeds make equal pseudo-anomalies.

    Returns:
        ``place`` (of a held-out item of the same claim), ``kind`` and ``score``, one row for each pseudo-anomaly.
    """
    maker = _Maker(detector=detector, held=held, learnt=learnt, others=others, seed=seed)
    pieces = [
        pd.DataFrame({"place": places, "kind": kind, "score": scores})
        for kind in kinds
        if len(held)
        for places, scores in maker.make(kind)
    ]
    empty = pd.DataFrame({"place": np.zeros(0, np.int64), "kind": np.zeros(0, str), "score": np.zeros(0)})
    return pd.concat(pieces, ignore_index=True) if pieces else empty


@dataclass(frozen=True, kw_only=True)
class _Maker:
    """Makes the pseudo-anomalies of one checkpoint."""

    detector: Detector
    held: Items
    learnt: Items
    others: Items
    seed: int

    def make(self, kind: PseudoKind) -> Iterator[Made]:
        """Yield pseudo-anomalies of a kind; none if the data do not allow it."""
        match kind:
            case "shuffled":
                yield from self._shuffled()
            case "other_class":
                yield from self._of_other_classes()
            case "other_domain":
                yield from self._left_out(DOMAIN)
            case "other_attribute":
                yield from self._left_out(ATTRIBUTES)
            case "fault":
                yield from self._faulty()

    def _shuffled(self) -> Iterator[Made]:
        reference = self.learnt if len(self.learnt) else self.held
        outputs, claims = self._read(reference), context_of(reference).claim
        if not outputs or any(values.ndim < 3 or values.shape[-1] < 2 for values in outputs.values()):
            return  # a single number has no dimensions to shuffle
        context = context_of(self.held)
        for claim in np.unique(context.claim):
            places = np.flatnonzero(context.claim == claim)
            rows = np.flatnonzero(claims == claim)
            if len(rows) < 2:
                continue
            generator = self._generator("shuffled", int(claim))
            made = {
                name: _shuffled(values[rows], count=len(places), generator=generator)
                for name, values in outputs.items()
            }
            yield places, self.detector.scores_of(made, _of(context, places))

    def _of_other_classes(self) -> Iterator[Made]:
        claim = context_of(self.held).claim
        classes = np.unique(claim[claim >= 0])
        if len(classes) > 1:
            generator = self._generator("other_class")
            made = self.held[np.flatnonzero(claim >= 0)]
            # Each claims the class that is a random number of classes further, so never its own.
            number = np.searchsorted(classes, claim[claim >= 0])
            claims = classes[(number + generator.integers(1, len(classes), len(number))) % len(classes)]
        elif len(classes) == 1 and len(self.others):
            made, claims = self.others, np.full(len(self.others), classes[0])
        else:
            return
        made.claim = torch.from_numpy(claims).to(made.claim.device)
        first = {value: np.flatnonzero(claim == value)[0] for value in classes}
        yield np.array([first[value] for value in claims]), self.detector.score(made)

    def _left_out(self, column: str) -> Iterator[Made]:
        known, probes = self.learnt.columns.get(column), self.held.columns.get(column)
        if known is None or probes is None or not self.detector.scorer.learns:
            return
        # An empty value means unknown, and is none to leave out.
        values = [value for value in np.unique(probes) if value and (known != value).any()]
        if len(values) > REFITS:
            values = sorted(self._generator(column).choice(values, REFITS, replace=False))
        if not values:
            return
        learnt, held = self.detector.outputs(self.learnt), self.detector.outputs(self.held)
        reference, context = context_of(self.learnt), context_of(self.held)
        for value in values:
            left = np.flatnonzero(known != value)
            claims = np.unique(reference.claim[left])
            places = np.flatnonzero((probes == value) & np.isin(context.claim, claims))
            if len(places):
                state = self.detector.state_of(_rows(learnt, left), _of(reference, left))
                scores = self.detector.scores_of(_rows(held, places), _of(context, places), state=state)
                yield places, scores

    def _faulty(self) -> Iterator[Made]:
        info = self.held.info
        if info.sample_rate is None or len(info.item_shape) != 1:
            return  # only of waves
        yield np.arange(len(self.held)), self.detector.score(with_faults(self.held, seed=self.seed))

    def _read(self, items: Items) -> dict[str, NDArray[Any]]:
        """Return the outputs that the scorer reads."""
        outputs = self.detector.outputs(items)
        return {name: outputs[name] for name in self.detector.scorer.reads}

    def _generator(self, *names: str | int) -> np.random.Generator:
        return np.random.default_rng(seed_for(self.seed, "pseudo", *names))


def _shuffled(values: NDArray[Any], *, count: int, generator: np.random.Generator) -> NDArray[Any]:
    """Return ``[count, segments, dims]``, each dimension from a random row of ``values`` ``[n, segments, dims]``."""
    dims = values.shape[-1]
    rows = generator.integers(0, len(values), (count, dims))
    # Segments stay together: a dimension of all segments comes from one item.
    return np.stack([values[rows[:, k], ..., k] for k in range(dims)], axis=-1)


def _rows(outputs: Outputs, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    return {name: values[rows] for name, values in outputs.items()}


def _of(context: ItemContext, rows: NDArray[np.int64]) -> ItemContext:
    columns: Mapping[str, NDArray[np.str_]] = {name: values[rows] for name, values in context.columns.items()}
    return ItemContext(claim=context.claim[rows], columns=columns)


def with_faults(items: Items, *, seed: int) -> Items:
    """Return the items with a fault in each wave, drawn by its place and the seed."""
    claim = items.claim
    return Items(
        _Faulty(items, seed=seed),
        rows=np.arange(len(items)),
        claim=claim,
        own=items.own,
        target=items.target,
        columns=items.columns,
    )


class _Faulty(Source):
    """The samples of some items with a fault in each."""

    def __init__(self, items: Items, *, seed: int) -> None:
        self._items = items
        self._seed = seed

    @property
    def info(self) -> Info:
        return self._items.info

    @property
    def length(self) -> int:
        return self.info.item_shape[0]

    def raw(self, rows: NDArray[np.int64], *, offsets: NDArray[np.int64], length: int) -> Tensor:
        waves = self._items[rows].raw(offset=torch.from_numpy(offsets), length=length).clone()
        rate = float(self.info.sample_rate or 1)
        for place, (row, offset) in enumerate(zip(rows, offsets, strict=True)):
            # By position in the item, so that crops of one item have one and the same fault.
            time_s = (torch.arange(length, device=waves.device) + int(offset)) / rate
            generator = np.random.default_rng(seed_for(self._seed, "fault", int(row)))
            waves[place] = _faulty(waves[place], time_s, generator=generator, rate=rate)
        return waves

    def features(self, rows: NDArray[np.int64]) -> Tensor:
        return self.featurize(self.raw(rows, offsets=np.zeros(len(rows), np.int64), length=self.length))

    def pieces(self, rows: NDArray[np.int64]) -> Iterator[Tensor]:
        for row in rows:
            yield self.features(np.array([row]))

    def featurize(self, raw: Tensor) -> Tensor:
        return self._items.featurize(raw)


def _faulty(wave: Tensor, time_s: Tensor, *, generator: np.random.Generator, rate: float) -> Tensor:
    """Return a wave ``[samples]`` with one of four faults."""
    level = wave.square().mean().sqrt()
    strength = float(generator.uniform(0.3, 1.0))
    match int(generator.integers(4)):
        case 0:  # a whine
            hz = float(np.exp(generator.uniform(np.log(0.02 * rate), np.log(0.4 * rate))))
            return wave + strength * level * torch.sin(2 * torch.pi * hz * time_s)
        case 1:  # knocking: short bursts at a fixed rate
            period_s = float(generator.uniform(0.05, 0.5))
            since_s = time_s % period_s
            burst = torch.exp(-since_s / 0.003) * torch.sin(2 * torch.pi * 0.1 * rate * since_s)
            return wave + 6 * strength * level * burst
        case 2:  # uneven running
            hz = float(generator.uniform(1.0, 8.0))
            return wave * (1 + strength * torch.sin(2 * torch.pi * hz * time_s))
        case _:  # muffled: mean of neighbouring samples, which takes the high frequencies
            width = 2 * int(generator.integers(2, 8)) + 1
            kernel = torch.full((1, 1, width), 1 / width, device=wave.device)
            return torch.nn.functional.conv1d(wave[None, None], kernel, padding=width // 2)[0, 0]
