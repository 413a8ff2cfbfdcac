"""What a plugin may offer. A plugin is a module behind an entry point of the group ``asdbench.plugins``.

Every hook is called while plugins load, so it must import nothing heavy: offer entries whose ``build`` is ``lazy(...)``.
"""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from asdbench.values import Ensemble, Entry, Lazy, Method, Preset

PROJECT = "asdbench"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def asdbench_datasets() -> Iterable[Entry]:  # type: ignore[empty-body]
    """Offer datasets; ``entry.build`` is a frozen ``Config`` that satisfies ``Dataset``."""


@hookspec
def asdbench_featurizers() -> Iterable[Entry]:  # type: ignore[empty-body]
    """Offer featurizers, which turn raw items into features; ``entry.build`` is a ``Featurizer`` class."""


@hookspec
def asdbench_models() -> Iterable[Entry]:  # type: ignore[empty-body]
    """Offer models, which are fitted by gradient; ``entry.build`` is a ``Model`` class."""


@hookspec
def asdbench_scorers() -> Iterable[Entry]:  # type: ignore[empty-body]
    """Offer scorers, which turn outputs of a model into anomaly scores; ``entry.build`` is a frozen ``Config``."""


@hookspec
def asdbench_methods() -> Iterable[Method]:  # type: ignore[empty-body]
    """Offer methods: a paper's featurizer, model and scorer with its settings."""


@hookspec
def asdbench_ensembles() -> Iterable[Ensemble]:  # type: ignore[empty-body]
    """Offer ensembles: several methods whose standardised scores are averaged."""


@hookspec
def asdbench_presets() -> Iterable[Preset]:  # type: ignore[empty-body]
    """Offer whole tables of a paper as runs."""


@hookspec
def asdbench_metrics() -> Iterable[Entry]:  # type: ignore[empty-body]
    """Offer metric sets of a result group; ``entry.build`` is a function from a ``ScoreTable`` to results."""


@hookspec
def asdbench_figures() -> Iterable[Entry]:  # type: ignore[empty-body]
    """Offer figures; ``entry.build`` is a function from a ``RunRecord`` to a matplotlib ``Figure``, or to None where
    the run has nothing for it."""


@hookspec
def asdbench_printed() -> Iterable[Lazy]:  # type: ignore[empty-body]
    """Offer what papers print; each loads a function that returns ``Printed`` values."""


@hookspec
def asdbench_tables() -> Iterable[Entry]:  # type: ignore[empty-body]
    """Offer ways to show a run's results; ``entry.build`` is a function from a ``Report`` to text."""


@hookspec
def asdbench_executors() -> Iterable[Entry]:  # type: ignore[empty-body]
    """Offer places where jobs run; ``entry.build`` is an ``Executor`` class."""


@hookspec
def asdbench_commands() -> Iterable[Entry]:  # type: ignore[empty-body]
    """Offer sub-commands of ``asdbench``; ``entry.build`` is a click command."""
