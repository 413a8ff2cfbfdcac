"""The interface of executors, and how one is chosen by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from asdbench.core.config import config_of, configure
from asdbench.errors import blamed_on
from asdbench.messages.capacity import UNKNOWN, Capacity, Needs
from asdbench.messages.jobs import JobSpec
from asdbench.messages.progress import Event
from asdbench.plugin.entries import Selector
from asdbench.plugin.registry import Registry


class Executor(Protocol):
    """Runs jobs and reports what happens to them. Results are in the store alone; an executor keeps none.

    All methods are called from one thread; between two events any of them may be called.
    """

    def submit(self, job: JobSpec, needs: Needs = UNKNOWN) -> None:
        """Queue a job.

        Args:
            job: The message to its process.
            needs: What it is expected to need, for packing jobs onto machines.
        """

    def cancel(self, job_id: str) -> None:
        """End a job, queued or running, with one event of status ``cancelled``; ignore unknown and ended ids."""

    def events(self) -> Iterator[Event]:
        """Yield events until nothing is queued or running; more jobs may be submitted meanwhile.

        Every job that starts ends with exactly one event that has a ``status``, even if its process dies.
        """

    def close(self) -> None:
        """End all jobs without further events and leave no process behind; may be called again."""


class ExecutorOptions(Protocol):
    """What an entry of the hook ``asdbench_executors`` builds: a frozen ``Config`` whose fields are the options."""

    def open(self, capacity: Capacity) -> Executor:
        """Check that everything it needs is there, and return an executor that has not started anything yet.

        Raises:
            ConfigError: Something is missing; the message says what to install or to choose instead.
        """


def executor_options(registry: Registry, selector: Selector) -> ExecutorOptions:
    """Return the options of an executor as a user selects it, for example ``local`` or ``slurm[partition=gpu]``.

    Raises:
        NotOffered: No plugin offers it.
        ConfigError: An option is unknown, or its value does not fit.
        PluginError: It cannot be imported.
    """
    built = registry.build("executor", selector.name)
    options: ExecutorOptions = configure(config_of(built), selector.options, of=f"executor {selector.name}")
    return options


def open_executor(registry: Registry, selector: Selector, *, capacity: Capacity) -> Executor:
    """Return the executor that a user selects.

    Raises:
        ConfigError: An option does not fit, or something that the executor needs is missing.
        PluginError: No plugin offers it, or the plugin's fails.
    """
    options = executor_options(registry, selector)
    with blamed_on(f"executor {selector.name} cannot be opened"):
        return options.open(capacity)
