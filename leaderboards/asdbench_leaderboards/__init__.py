"""Printed values of papers, and the tables, figures and commands that show a run's results beside them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from asdbench import Entry, Lazy, hookimpl, lazy

FIGURES: Sequence[Entry] = (
    Entry(
        name="results",
        build=lazy("asdbench_leaderboards.figures.results:results_figure"),
        summary="the metric that ranks methods, for each machine type, with intervals and printed values",
    ),
    Entry(
        name="precision_recall",
        build=lazy("asdbench_leaderboards.figures.precision_recall:precision_recall_figure"),
        summary="precision-recall curves of the validation items, with the threshold of F1max",
    ),
    Entry(
        name="roc",
        build=lazy("asdbench_leaderboards.figures.roc:roc_figure"),
        summary="ROC curves of the test items, mean over sections, a panel for each machine type",
    ),
    Entry(
        name="error_rates",
        build=lazy("asdbench_leaderboards.figures.error_rates:error_rates_figure"),
        summary="false alarms and misses over the threshold with the equal error rate, for each machine type",
    ),
    Entry(
        name="scores",
        build=lazy("asdbench_leaderboards.figures.scores:scores_figure"),
        summary="histograms of the scores of normal and anomalous items, with the threshold if there is one",
    ),
    Entry(
        name="training",
        build=lazy("asdbench_leaderboards.figures.training:training_figure"),
        summary="losses and logged values over epochs, mean over models",
    ),
    Entry(
        name="confusion",
        build=lazy("asdbench_leaderboards.figures.confusion:confusion_figure"),
        summary="confusion matrices of classifiers: counts, and percent of the true class",
    ),
    Entry(
        name="groups",
        build=lazy("asdbench_leaderboards.figures.groups:groups_figure"),
        summary="accuracy of classifiers on each subject, or on each group that the dataset resamples as a whole",
    ),
    Entry(
        name="score_domains",
        build=lazy("asdbench_leaderboards.figures.domains:domains_figure"),
        summary="histograms of scores by domain: source up, target down",
    ),
    Entry(
        name="cost",
        build=lazy("asdbench_leaderboards.figures.cost:cost_figure"),
        summary="the metric that ranks methods against time and parameters, with the methods that none beats in both",
    ),
    Entry(
        name="critical_difference",
        build=lazy("asdbench_leaderboards.figures.critical_difference:critical_difference_figure"),
        summary="mean ranks of methods over machine types, and which of them Nemenyi's test cannot tell apart",
    ),
    Entry(
        name="embeddings",
        build=lazy("asdbench_leaderboards.figures.embeddings:embeddings_figure"),
        summary="test items by t-SNE of their embeddings, by section and label; asks the trained models",
    ),
    Entry(
        name="recall_by_action",
        build=lazy("asdbench_leaderboards.figures.actions:actions_figure"),
        summary="recall by the action of the robot; asks for the samples of the windows",
    ),
)


@hookimpl
def asdbench_printed() -> Iterable[Lazy]:
    """Offer the printed values of the papers."""
    return [lazy("asdbench_leaderboards.printed:printed")]


@hookimpl
def asdbench_figures() -> Iterable[Entry]:
    """Offer the figures of a finished run."""
    return FIGURES


@hookimpl
def asdbench_tables() -> Iterable[Entry]:
    """Offer the results table."""
    return [
        Entry(
            name="results",
            build=lazy("asdbench_leaderboards.table:results_table"),
            summary="results with intervals and printed values, costs and flags",
        )
    ]


@hookimpl
def asdbench_commands() -> Iterable[Entry]:
    """Offer commands that compare, check and report runs, grade scores, write challenge files and build leaderboards."""
    return [
        Entry(
            name="compare",
            build=lazy("asdbench_leaderboards.statistics.commands:compare"),
            summary="Compare methods on the same items: which is better, and how sure is that?",
        ),
        Entry(
            name="check",
            build=lazy("asdbench_leaderboards.regression.commands:check"),
            summary="Check that a run is not worse than a baseline; status 3 if it is.",
        ),
        Entry(
            name="evaluate",
            build=lazy("asdbench_leaderboards.challenge.commands:evaluate"),
            summary="Grade a folder of anomaly scores by the official rules.",
        ),
        Entry(
            name="submission",
            build=lazy("asdbench_leaderboards.challenge.commands:submission"),
            summary="Write the official challenge files of a run.",
        ),
        Entry(
            name="leaderboard",
            build=lazy("asdbench_leaderboards.board.commands:leaderboard"),
            summary="Build, verify and serve leaderboards.",
        ),
        Entry(
            name="report",
            build=lazy("asdbench_leaderboards.report.commands:report"),
            summary="Write one HTML page with everything about a run.",
        ),
        Entry(
            name="systems",
            build=lazy("asdbench_leaderboards.command:systems"),
            summary="Show the systems of the papers' tables, how to run them and their printed values.",
        ),
    ]
