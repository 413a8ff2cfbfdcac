"""Scorers that learn from normal items, either per claimed class or from all of them together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray
from torch import nn

from asdbench import ConfigError, DataError, ItemContext, Outputs, Scorer, State, unknown
from asdbench_plugins.scorers.graphs import Grouped

Vectors = NDArray[np.float64]
"""``[points, dims]``."""
Domains = NDArray[np.str_]
"""Domain of each point, for example ``source`` or ``target``; empty where unknown."""
TINY = 1e-12
"""Smallest norm to divide by, so that a vector of zeros stays finite."""


class GroupedScorer(Scorer, frozen=True, kw_only=True):
    """Base class that splits vectors into groups; subclasses define how a group is learned and scored.

    Every segment of a training item is one point. The state stores the arrays of group g as ``g/name``, and with
    ``per_segment`` those of its segment s as ``g.s/name``.
    """

    on: Annotated[str, Meta(description="model output to read")] = "embedding"
    per: Annotated[
        Literal["claim", "pool"], Meta(description="one normal set per claimed class, or a single one")
    ] = "claim"
    normalize: Annotated[bool, Meta(description="scale vectors to length 1 first")] = False
    per_segment: Annotated[
        bool,
        Meta(description="one normal set for each segment of an item, for example each frequency band"),
    ] = False

    @property
    def needs_claims(self) -> bool:
        """True unless all classes are pooled."""
        return self.per == "claim"

    def fit_group(self, points: Vectors) -> State:
        """Learn from the normal points ``[points, dims]`` of one group; there is at least one."""
        raise NotImplementedError(f"{type(self).__name__} must define fit_group")

    def fit_domains(self, points: Vectors, domains: Domains) -> State:
        """Learn from points with their domains ``[points]``, empty where unknown; most scorers ignore them."""
        return self.fit_group(points)

    def fit_columns(self, points: Vectors, columns: Mapping[str, NDArray[Any]]) -> State:
        """Learn from points with the public columns of their items, ``[points]`` each; most read the domain at most."""
        return self.fit_domains(points, _domains(columns, count=len(points)))

    def group_rules(self, state: State) -> list[str]:
        """Return the adjustments that a small group made necessary; none by default."""
        return []

    def score_group(self, state: State, points: Vectors) -> NDArray[np.float64]:
        """Return a score for each of ``points`` ``[points, dims]``; higher = more anomalous."""
        raise NotImplementedError(f"{type(self).__name__} must define score_group")

    def graph_group(self, state: State) -> nn.Module:
        """Return ``score_group`` as a torch module, from points ``[points, dims]`` in float64 to scores ``[points]``.

        A subclass that defines it sets ``no_graph`` to an empty text.
        """
        raise NotImplementedError(f"{type(self).__name__} must define graph_group")

    def fit(self, outputs: Outputs, context: ItemContext) -> State:
        """Learn from the outputs of normal items and their context.

        Raises:
            ConfigError: The model has no output ``on``.
            DataError: There are no items, or an output is not finite.
        """
        vectors = self._vectors(outputs)
        if not len(vectors):
            raise DataError("the scorer needs at least one normal item to learn from, found 0")
        state: dict[str, NDArray[Any]] = {}
        for name, rows, part in self._sets(context.claim, vectors.shape[1]):
            chosen = vectors[rows][:, part]
            columns = {key: values[rows].repeat(chosen.shape[1]) for key, values in context.columns.items()}
            learned = self.fit_columns(_points(chosen), columns)
            state |= {f"{name}/{key}": value for key, value in learned.items()}
        return state

    def score(self, state: State, outputs: Outputs, context: ItemContext) -> NDArray[np.float64]:
        """Return anomaly scores ``[n, segments]``.

        Raises:
            ConfigError: The model has no output ``on``.
            DataError: An item claims a class without training items, or an output is not finite; with
                ``per_segment``, items have more segments than the training items.
        """
        vectors = self._vectors(outputs)
        scores = np.empty(vectors.shape[:2])
        for name, rows, part in self._sets(context.claim, vectors.shape[1]):
            chosen = vectors[rows][:, part]
            found = self.score_group(_group_state(state, name), _points(chosen))
            scores[rows, part] = found.reshape(chosen.shape[:2])
        return scores

    def graph(self, state: State, *, claim: int) -> nn.Module:
        """Return the scores of items of one class.

        Raises:
            ConfigError: ``graph_group`` has none.
            DataError: The class has no training items.
        """
        name = "pool" if self.per == "pool" else str(claim)
        parts = [each for each in _names(state) if _class_of(each) == name] if self.per_segment else []
        # By number, not by name: segment 10 follows segment 9.
        names = sorted(parts, key=lambda each: int(each.partition(".")[2])) or [name]
        groups = [self.graph_group(_group_state(state, each)) for each in names]
        return Grouped(groups, on=self.on, normalize=self.normalize, per_segment=self.per_segment)

    def rules(self, state: State) -> list[str]:
        """Return the adjustments for small classes, each once with the number of classes it affected."""
        names = _names(state)
        classes = {_class_of(name) for name in names}
        forced: dict[str, set[str]] = {}
        for name in names:
            for rule in self.group_rules(_group_state(state, name)):
                forced.setdefault(rule, set()).add(_class_of(name))
        who = "all classes together" if self.per == "pool" else "{count} of {total} classes"
        return [
            f"scorer, {who.format(count=len(which), total=len(classes))}: {rule}"
            for rule, which in forced.items()
        ]

    def _sets(
        self, claim: NDArray[np.int64], segments: int
    ) -> Iterator[tuple[str, NDArray[np.bool_], slice]]:
        """Yield the name of each normal set, its items, and the segments of them that belong to it."""
        for name, rows in self._groups(claim):
            if not self.per_segment:
                yield name, rows, slice(None)
            else:
                yield from ((f"{name}.{k}", rows, slice(k, k + 1)) for k in range(segments))

    def _groups(self, claim: NDArray[np.int64]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
        if self.per == "pool":
            yield "pool", np.ones(len(claim), dtype=np.bool_)
            return
        for value in np.unique(claim):
            yield str(value), claim == value

    def _vectors(self, outputs: Outputs) -> NDArray[np.float64]:
        """Return the output as ``[n, segments, dims]``."""
        values = finite_output(outputs, self.on)
        if values.ndim not in (2, 3):
            raise DataError(
                f"output {self.on!r} has shape {list(values.shape)}; scorers read [items, segments] or "
                "[items, segments, dims]"
            )
        vectors = values if values.ndim == 3 else values[:, :, np.newaxis]
        return unit_length(vectors) if self.normalize else vectors


def finite_output(outputs: Outputs, name: str) -> NDArray[np.float64]:
    """Return the named output in float64.

    Raises:
        ConfigError: The model has no such output.
        DataError: A value is not finite.
    """
    if name not in outputs:
        raise ConfigError(unknown("output of this model", name, known=outputs))
    values = np.asarray(outputs[name], dtype=np.float64)
    # NaN marks claims outside the unit; a NaN score would get an arbitrary rank.
    bad = values.size - np.isfinite(values).sum()
    if bad:
        raise DataError(f"{bad} of {values.size} values of output {name!r} are not finite")
    return values


def unit_length(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return vectors ``[..., dims]`` scaled to length 1; a vector of zeros stays zero."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: NDArray[np.float64] = vectors / np.maximum(lengths, TINY)
    return scaled


def _points(vectors: NDArray[np.float64]) -> Vectors:
    return vectors.reshape(-1, vectors.shape[-1])


def _domains(columns: Mapping[str, NDArray[Any]], *, count: int) -> Domains:
    return np.asarray(columns.get("domain", np.full(count, "")), dtype=np.str_)


def _names(state: State) -> list[str]:
    return sorted({key.partition("/")[0] for key in state})


def _class_of(name: str) -> str:
    return name.partition(".")[0]


def _group_state(state: State, name: str) -> State:
    chosen = {key.partition("/")[2]: value for key, value in state.items() if key.partition("/")[0] == name}
    if chosen:
        return chosen
    known, claimed = sorted({_class_of(each) for each in _names(state)}), _class_of(name)
    if claimed in known:
        segments = sum(_class_of(each) == claimed for each in _names(state))
        raise DataError(
            f"items have more segments than the {segments} of the training items; per_segment=true needs as many"
        )
    raise DataError(
        f"an item claims class {claimed}, but the scorer learned only {', '.join(known)}; per=pool needs no claim"
    )
