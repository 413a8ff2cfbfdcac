"""The figures of a record, computed again from the scores of its items."""

from __future__ import annotations

from asdbench import RecordedMethod, Registry, results_on
from asdbench.metrics import Result


def recomputed(method: RecordedMethod, registry: Registry) -> list[Result]:
    """Return the results of a record's items under the metric set of its run.

    Raises:
        PluginError: No plugin offers the metric set.
        MetricError: A score is not finite, or a label is unknown.
    """
    run = method.record.run
    return results_on(
        method.items,
        method.seeds,
        layout=method.record.data,
        metric_set=registry.build("metrics", run.metric_set),
        resamples=run.resamples,
        validation=method.validation if len(method.validation) else None,
    )
