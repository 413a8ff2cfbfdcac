"""What a user requests: methods, a dataset with its options and protocol, folders and limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from asdbench.core.config import config_of, configure
from asdbench.core.options import OptionDescription
from asdbench.data.dataset import Card, Dataset
from asdbench.errors import ConfigError, unknown
from asdbench.messages.isolation import Isolation
from asdbench.plugin.entries import Selection, Selector
from asdbench.plugin.registry import Registry

LOCAL = Selector("local")
LOSO = "loso"
"""Leave-one-out over a column: the protocol that works with any dataset."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One run as requested: what ``asdbench run`` makes of its options."""

    methods: Sequence[Selector]
    """Methods and ensembles."""
    dataset: Selector
    """With ``protocol`` and ``by``, if given."""
    data_root: Path
    """Folder of datasets."""
    cache: Path
    """Folder for decoded and generated data."""
    out: Path
    """Folder of the store."""
    seeds: Sequence[int] = (42,)
    slots: int = 1
    """Jobs that run at the same time."""
    threads: int | None = None
    """Threads per job; None: the number of cores divided by ``slots``."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    executor: Selector = LOCAL
    """Where jobs run."""
    timeout_s: float | None = None
    """Time limit of each job; None: none."""
    memory_bytes: int | None = None
    """Limit of the host's memory for each job with all its processes; None: none."""
    isolation: Isolation = "auto"
    """How the processes of jobs are kept from labels and other results."""
    allow_partial: bool = False
    """True: accept an incomplete dataset."""
    selection: Selection | None = None
    """Which checkpoint counts; None: each method's own rule."""
    by_selection: bool = False
    """Also report the checkpoints that look best on test labels, to show what choosing on them would gain."""
    resume_every_s: float = 10.0
    """Seconds between saves of the training state."""
    command: Sequence[str] = field(default_factory=tuple)
    """The command line, for the record."""


def split_protocol(registry: Registry, selector: Selector) -> tuple[Selector, str | None]:
    """Split ``protocol=loso,by=COLUMN``, which works with any dataset, off a dataset's own options.

    Returns:
        The dataset without the two, and COLUMN; None if the dataset divides itself.

    Raises:
        PluginError: No plugin offers the dataset.
        ConfigError: ``protocol=loso`` is given without ``by`` or the reverse, or an option or protocol is unknown.
    """
    # Done before the dataset is configured, whose options are only its own fields.
    name = selector.name
    own = set(config_of(registry.build("dataset", name)).__struct_fields__)
    left = dict(selector.options)
    by = None
    if left.get("protocol") == LOSO:
        del left["protocol"]
        by = left.pop("by", None)
        if by is None:
            raise ConfigError(
                f"{name}[protocol=loso] needs a column whose values are left out one at a time, for example by=section"
            )
    for key, value in left.items():
        if key in own:  # a dataset may have options of these names itself
            continue
        if key == "protocol":
            raise ConfigError(f"{name}: {unknown('protocol', value, known=[LOSO])}")
        if key == "by":
            raise ConfigError(f"{name}[by={value}] needs protocol={LOSO}: write protocol={LOSO},by={value}")
        raise ConfigError(f"{name}: {unknown('option', key, known=own | {'protocol', 'by'})}")
    return Selector(name, left), by


def check_by(by: str | None, card: Card) -> None:
    """Check that a dataset has the column that ``by`` names; None: it divides itself.

    Raises:
        ConfigError: It has not.
    """
    if by is not None and by not in card.columns:
        raise ConfigError(f"by={by}: {unknown('column', by, known=card.columns)}")


def protocol_options(dataset: Dataset, by: str | None) -> list[OptionDescription]:
    """Return the options that work with any dataset, as ``split_protocol`` reads them, without those it has itself."""
    columns = dataset.card.columns
    rows = [
        OptionDescription(
            part="dataset",
            option="protocol",
            value=None if by is None else LOSO,
            kind=f"{LOSO} | none",
            meaning="loso: leave out the values of a column one at a time; none: the dataset's own division",
        ),
        OptionDescription(
            part="dataset",
            option="by",
            value=by,
            kind=" | ".join([*columns, "none"]),
            meaning="the column of protocol=loso",
        ),
    ]
    own = config_of(type(dataset)).__struct_fields__
    return [row for row in rows if row.option not in own] if columns else []


def open_dataset(registry: Registry, selector: Selector) -> Dataset:
    """Return a dataset with its options.

    Raises:
        PluginError: No plugin offers it.
        ConfigError: An option is unknown or does not fit.
    """
    built = registry.build("dataset", selector.name)
    dataset: Dataset = configure(config_of(built), selector.options, of=selector.name)
    return dataset
