"""The values that travel between the floors: rows, folds, cards, methods, entries. No behaviour beyond their own."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Literal

import msgspec

NORMAL = "normal"
ANOMALY = "anomaly"

Task = Literal["detection", "classification"]
Selection = Literal["last", "validation", "test"]
Aggregate = Literal["mean", "max", "upper_half", "lower_half"]


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every configuration: a frozen value whose fields are the options a user can set.

    Give each field a default and, with ``Annotated[int, msgspec.Meta(description=..., ge=1)]``, a meaning and a
    range: ``asdbench describe`` prints the one and the reader checks the other.
    """


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One item, as its release describes it; holds no samples."""

    source: PurePosixPath
    """Relative to the data root; never leaves the parent process."""
    columns: Mapping[str, str]
    """Public: machine, section, domain, part ..."""
    label: str | None
    """Goes straight into the vault; None: the release keeps it secret."""
    start: int = 0
    """First position of the item along the first axis of its source (windows of one long recording)."""
    length: int | None = None
    """Length along that axis; None: to the end."""
    sha256: str = ""
    """Hash of the source's content; the harness fills it in, datasets leave it empty."""


class Fold(msgspec.Struct, frozen=True, kw_only=True):
    """One train / validation / test division; the numbers are positions in the rows that it was made from."""

    name: str
    train: Sequence[int]
    validation: Sequence[int] = ()
    test: Sequence[int]


class Info(msgspec.Struct, frozen=True, kw_only=True):
    """What a featurizer or model is built for; from the index, or from ``card.expected`` when there is no data."""

    item_shape: tuple[int, ...]
    sample_rate: int | None
    """Hz, or None where the items have no time axis in seconds."""
    device: str = "cpu"
    classes: tuple[str, ...] = ()
    """Names of the claims, such as ``fan/00``; ``Items.claim`` indexes into them."""
    targets: tuple[str, ...] = ()
    """Names of the classes to tell apart, where the task is classification."""
    feature_shape: tuple[int, ...] = ()
    """Shape of one item behind the featurizer; empty while the featurizer itself is being built."""
    scaled: bool = False
    """The dataset has scaled its items itself (``Card.scaled``)."""


class Remote(msgspec.Struct, frozen=True, kw_only=True):
    """A file that a release offers for download."""

    url: str
    md5: str
    """Hex digits; empty: the release's checksum is not known, and the user must say to trust what comes."""
    part: str
    """Which part of the release it belongs to, such as ``dev`` or ``additional``."""

    @property
    def file(self) -> str:
        """Name of the file, the last piece of its address."""
        return PurePosixPath(self.url.split("?")[0]).name


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """How many items a release officially holds of one group."""

    columns: Mapping[str, str]
    items: int
    label: str | None = None
    """Counted only among items of this label; None: all of the group."""


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """What a dataset says of itself, with its current options."""

    name: str
    title: str
    task: Task
    modality: str
    licence: str
    citation: str
    homepage: str = ""
    remotes: tuple[Remote, ...] = ()
    expected: tuple[Count, ...] = ()
    """Official counts under the current options; empty: any number of items is complete."""
    contents: Mapping[str, str] = {}
    """Official SHA-256 of sources by their place, such as ``sheet.xlsx``; those that are not named may hold anything."""
    columns: Mapping[str, str]
    """Public columns and their meaning."""
    claims: tuple[str, ...]
    """Columns that a test item says of itself at run time; joined by ``/`` they name its class."""
    known: tuple[str, ...] = ()
    """Further columns that a test item tells at run time and that make no class of their own, such as domain."""
    scopes: Mapping[str, tuple[str, ...]]
    """What may be trained together: scope name -> columns that must agree within a unit; ``all`` -> ()."""
    groups: tuple[str, ...]
    """Columns of the results, outermost first, such as machine, section, domain."""
    metrics: str
    """Name of the metric set of the results."""
    targets: tuple[str, ...] = ()
    """Classes to tell apart where the task is classification; a row's label is one of them."""
    published_as: str = ""
    """Under which name papers print results of exactly these training and test items, such as ``dcase2020/dev``;
    empty: none do."""
    item_shape: tuple[int, ...]
    """Shape of one official item."""
    sample_rate: int | None = None
    resample_by: str = ""
    """Column whose items are drawn together when intervals are made, such as subject, or block where windows overlap;
    empty: each item by itself."""
    known_leaks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """What whoever reads numbers of this data must be told: every run warns of it and its record repeats it."""
    scaled: bool = False
    """True: the items are scaled to about 0..1 by the dataset itself; a featurizer that scales must not do it again."""
    made: bool = False
    """True: made on the machine from a seed (``make``), nothing is downloaded and the data root is not used."""

    def claim_of(self, columns: Mapping[str, str]) -> str:
        """Name of the class that an item with these columns claims to be of."""
        return "/".join(columns[name] for name in self.claims)


class Lazy:
    """A name in a module that is imported when it is first needed, so that listing plugins stays light."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def load(self) -> Any:
        """Import the module and return the object, whatever it is."""
        module, _, name = self.path.partition(":")
        return getattr(importlib.import_module(module), name)

    def __repr__(self) -> str:
        return f"lazy({self.path!r})"


def lazy(path: str) -> Lazy:
    """Point at ``package.module:Name`` without importing it."""
    return Lazy(path)


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A named thing that a plugin offers: a dataset, featurizer, model, scorer, metric set or table."""

    name: str
    build: Lazy
    summary: str
    cites: str = ""


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """Options that a method takes on one dataset instead of its defaults."""

    options: Mapping[str, Any]
    reduced: bool = False
    """True: a smaller budget than the paper's; every table says so."""


class Method(msgspec.Struct, frozen=True, kw_only=True):
    """A paper's recipe, what ``--plugin`` names: registry names and defaults, no code."""

    name: str
    title: str
    paper: str
    licence: str = "MIT"
    featurizer: str
    model: str
    scorer: str
    defaults: Mapping[str, Any] = {}
    """Options of the featurizer, model and scorer that differ from their own defaults."""
    on: Mapping[str, Setting] = {}
    """Per dataset name: what differs from the defaults there."""
    units: Mapping[str, Mapping[str, Any]] = {}
    """Per unit, such as ``fan``: what differs from the defaults there; ``fan/00`` takes what stands for ``fan``."""
    scope: str = "all"
    """What is trained together: a scope that the dataset's card declares."""
    auxiliary: bool = False
    """True: training rows of other units travel along as negatives (``Items.own`` is False)."""
    classes: int = 1
    """Fewest classes that a unit must hold; with fewer the job is inapplicable."""
    items: int = 1
    """Fewest training items of its own that a unit must hold; with fewer the job is inapplicable."""
    held: float = 0.0
    """Share of the training rows kept from the gradient."""
    scorer_on: Literal["train", "held"] = "train"
    aggregate: Aggregate = "mean"
    length_s: float | None = None
    """Items are cut to their first so many seconds; None: to the shortest training item."""
    selection: Selection = "last"
    """Which checkpoint its paper reports, by the evaluator's rules; a run may say otherwise."""
    approximate: str = ""
    """What of it is not known from what is public; empty: nothing. Every table marks the row."""
    presets: Mapping[str, Mapping[str, Any]] = {}
    home: str = "synthetic"
    """Name of the dataset that its paper reports on; ``describe`` shows shapes and sizes there."""
    printed: tuple[str, str] | None = None
    """(paper, method name) under which the printed numbers of this method are found."""


class Ensemble(msgspec.Struct, frozen=True, kw_only=True):
    """Finished runs of several methods combined by the evaluator: the mean of scores standardised by held-out scores.

    ``--plugin`` names it like a method; its members are trained, or found trained, as methods of their own.
    """

    name: str
    title: str
    paper: str
    members: tuple[tuple[str, Mapping[str, str]], ...]
    """Names of methods with options; each must keep training items held out."""
    licence: str = "MIT"
    approximate: str = ""
    """What of it is not known from what is public; empty: nothing."""
    home: str = "synthetic"
    printed: tuple[str, str] | None = None
    """(paper, method name) under which its printed numbers are found."""


Words = tuple[str, Mapping[str, str]]
"""A name and its options, as typed."""


class Preset(msgspec.Struct, frozen=True, kw_only=True):
    """A whole table of a paper: what ``asdbench run --preset`` runs, one run for each dataset or options of one."""

    name: str
    """Such as ``robot_aae/table1``."""
    summary: str
    runs: tuple[tuple[Words, tuple[Words, ...]], ...]
    """Dataset and methods of each run."""


class Printed(msgspec.Struct, frozen=True, kw_only=True):
    """One number that a paper prints."""

    paper: str
    table: str
    dataset: str
    """What ``Card.published_as`` says of the dataset that it was measured on."""
    method: str
    groups: Mapping[str, str]
    """Result columns that it is of; empty: the paper's average, or its figure of all items."""
    metric: str
    value: float
    """As a fraction, 0..1 for AUC and pAUC."""
    consistent: float | None = None
    """What the value must be by the rest of the table, where the two differ."""
    note: str = ""
    words: str = ""
    """What runs the system, ``method`` or ``method[preset=name]``; empty: a method whose ``printed`` names it, or none."""
    why: str = ""
    """Why nothing runs the system, or what its readers must know: what is approximate, what the paper leaves open."""
