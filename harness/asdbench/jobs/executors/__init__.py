"""Where jobs run. An executor takes job messages and yields events; results and failures are kept by the store alone.

The harness's own executors are offered through the same hook as those of plugins.
"""

from collections.abc import Iterable

from asdbench.plugin.entries import Entry, lazy
from asdbench.plugin.hookspecs import hookimpl


@hookimpl
def asdbench_executors() -> Iterable[Entry]:
    """Offer the harness's own executors."""
    return [
        Entry(
            name="local",
            build=lazy("asdbench.jobs.executors.local:Local"),
            summary="processes on this machine",
        ),
        Entry(
            name="slurm",
            build=lazy("asdbench.jobs.executors.slurm:Slurm"),
            summary="job arrays on a SLURM cluster",
        ),
        Entry(
            name="ray",
            build=lazy("asdbench.jobs.executors.ray:Ray"),
            summary="a Ray cluster (pip install 'asdbench[ray]')",
        ),
    ]
