"""The hooks that a plugin may implement.

A plugin is a module behind an entry point of the group ``asdbench.plugins``:

    [project.entry-points."asdbench.plugins"]
    hum = "hum"

It implements any of the hooks below; each takes no argument and returns the values it offers:

    from asdbench import Entry, hookimpl, lazy

    @hookimpl
    def asdbench_scorers():
        return [Entry(name="knn", build=lazy("hum.scorer:Knn"), summary="mean distance to the k nearest points")]

All hooks are called whenever plugins load, even for ``asdbench --help``, so the module must import nothing heavy:
``lazy("package.module:Name")`` refers to a class or function that is imported only when a command needs it.

A plugin may state the version of the plugin API that it was made for, ``asdbench_api = "1"`` (``asdbench.API_VERSION``);
another version than this one is refused.

A name may be offered once per kind; methods and ensembles share one set of names. A plugin that offers a taken name,
a value of the wrong type or an unknown hook is skipped as a whole, with a warning; ``asdbench plugins`` shows the cause.
"""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from asdbench.plugin.entries import Ensemble, Entry, Lazy, Method, Preset

PROJECT = "asdbench"


API_VERSION = "1"
"""Version of the plugin API: of the hooks, and of the contracts of what they offer. A plugin states the one that it was
made for as ``asdbench_api = "1"`` in its module; it changes when plugins have to."""


hookspec = pluggy.HookspecMarker(PROJECT)


hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def asdbench_datasets() -> Iterable[Entry]:  # type: ignore[empty-body]
    """Offer datasets, for ``--dataset NAME[option=value]``.

    Returns:
        One entry per dataset. ``build`` is a frozen ``Config`` class that satisfies ``Dataset`` (``card``, ``index``,
        ``read``, ``folds``); its fields are the dataset's options.
    """


@hookspec
def asdbench_featurizers() -> Iterable[Entry]:  # type: ignore[empty-body]
    """Offer featurizers, which turn raw items into features.

    Returns:
        One entry per featurizer. ``build`` is a subclass of ``Featurizer``; the fields of its ``Config`` are its options.
    """


@hookspec
def asdbench_models() -> Iterable[Entry]:  # type: ignore[empty-body]
    """Offer models, which are trained by gradient descent and give named outputs for each item.

    Returns:
        One entry per model. ``build`` is a subclass of ``Model``; the fields of its ``Config`` are its options.
    """


@hookspec
def asdbench_scorers() -> Iterable[Entry]:  # type: ignore[empty-body]
    """Offer scorers, which turn a model's outputs into anomaly scores (higher = more anomalous).

    Returns:
        One entry per scorer. ``build`` is a subclass of ``Scorer``; its fields are its options.
    """


@hookspec
def asdbench_methods() -> Iterable[Method]:  # type: ignore[empty-body]
    """Offer methods, for ``--plugin NAME[option=value]``: a featurizer, a model and a scorer with their settings.

    Returns:
        One ``Method`` per method. It names entries of any plugin, so a new scorer needs no new model.
    """


@hookspec
def asdbench_ensembles() -> Iterable[Ensemble]:  # type: ignore[empty-body]
    """Offer ensembles: several methods whose standardised scores are averaged.

    Returns:
        One ``Ensemble`` per ensemble; users select it with ``--plugin`` like a method.
    """


@hookspec
def asdbench_presets() -> Iterable[Preset]:  # type: ignore[empty-body]
    """Offer whole tables of a paper, for ``asdbench run --preset NAME``.

    Returns:
        One ``Preset`` per table.
    """


@hookspec
def asdbench_metrics() -> Iterable[Entry]:  # type: ignore[empty-body]
    """Offer metric sets; a dataset's card names the one that its results use (``Card.metrics``).

    Returns:
        One entry per metric set. ``build`` is a function ``(table, *, resamples) -> list[Result]``. ``table`` is a
        ``ScoreTable`` of one method, or a ``ClassTable`` where the card has ``targets``. ``resamples`` is the number
        of bootstrap resamples behind each interval; 0: no intervals. It raises ``MetricError`` for scores that it
        cannot take; a metric that is undefined on a group has ``value=None`` and states why. To support
        ``asdbench evaluate --metrics``, it also takes ``metrics``, the names of those to compute.
    """


@hookspec
def asdbench_figures() -> Iterable[Entry]:  # type: ignore[empty-body]
    """Offer figures, for ``asdbench figures --only NAME``.

    Returns:
        One entry per figure. ``build`` is a function ``(run: RecordedRun) -> Figure | None`` that returns a matplotlib
        figure, or None if the run has no data for it. The harness saves the figure. It may ask the trained models
        (``run.outputs``, ``run.explain``, ``run.samples``), and raise ``NothingToDraw`` to say what the run lacks.
    """


@hookspec
def asdbench_printed() -> Iterable[Lazy]:  # type: ignore[empty-body]
    """Offer values that papers print, which tables show beside measured results.

    Returns:
        References such as ``lazy("hum.printed:printed")``, each to a function without parameters that returns or
        yields ``Printed`` values.
    """


@hookspec
def asdbench_tables() -> Iterable[Entry]:  # type: ignore[empty-body]
    """Offer tables, which ``asdbench run`` prints at its end, one after another by name.

    Returns:
        One entry per table. ``build`` is a function ``(document: RunDocument, *, by: str) -> str``; ``by`` is ``type``
        or ``id``, the value of ``--by``. An empty text is left out.
    """


@hookspec
def asdbench_executors() -> Iterable[Entry]:  # type: ignore[empty-body]
    """Offer executors, for ``asdbench run --executor NAME[option=value]``.

    Returns:
        One entry per executor. ``build`` is a frozen ``Config`` class with ``open(capacity) -> Executor``; its fields are
        the executor's options. ``open`` starts nothing, and raises ``ConfigError`` if something that it needs is missing.
        ``ExecutorContract`` in ``asdbench.testing`` tests it.
    """


@hookspec
def asdbench_commands() -> Iterable[Entry]:  # type: ignore[empty-body]
    """Offer commands of ``asdbench``.

    Returns:
        One entry per command. ``build`` is a ``click.Command``; ``summary`` is its line in ``asdbench --help``. An
        integer that the command returns is the exit status.
    """
