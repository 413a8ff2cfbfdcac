"""The types of a published leaderboard: ``boards.json`` lists the boards of a folder, ``board.json`` is one of them.

The JSON Schemas in ``docs/schemas`` are generated from these types.
"""

from __future__ import annotations

from typing import Any, Literal

from asdbench import Config, Cost

BOARD_VERSION = 2
INDEX = "boards.json"
PRINTED = "printed"
"""Folder of the boards of printed numbers, apart from the measured ones."""
UNKNOWN = "unknown"
Verified = Literal["recomputed", "rerun", "claimed"]
"""``recomputed``: equal figures follow from the item scores and the public labels; ``rerun``: two independent trainings
gave equal figures; ``claimed``: neither was checked. A row with both shows ``rerun``."""


class Figure(Config, frozen=True, kw_only=True):
    """One metric of one method, on the whole dataset or on one outermost group."""

    metric: str
    group: str | None
    """Value of the outermost result column, for example a machine type; None: the whole dataset."""
    domain: str | None
    """None: all domains."""
    value: float | None
    """Mean over seeds, in [0, 1]; None: undefined."""
    low: float | None
    """Lower end of the 95 % interval; None: there is none."""
    high: float | None
    printed: float | None
    """The paper's value; None: it prints none."""
    why: str | None
    """Why the value is undefined, or what it leaves out."""
    per_seed: list[float | None]


class Licences(Config, frozen=True, kw_only=True):
    """Licences as far as the record states them."""

    code: str = UNKNOWN
    weights: str = UNKNOWN
    data: str = UNKNOWN


class Row(Config, frozen=True, kw_only=True):
    """One method of a board."""

    record: str
    """Identifier of its record; empty: the method was refused and has none."""
    method: str
    """Label: the method with its options."""
    family: str
    """The plugin that offers the method."""
    failure: str | None
    """Why there is no result; None: there is one."""
    rank: int | None = None
    """Shared by methods that cannot be told apart; None: not ranked, since it failed, has partial data or other items, or
    because better methods fill the ranking."""
    rank_best: int | None = None
    """One more than the number of ranked methods that are better beyond doubt."""
    rank_worst: int | None = None
    """The number of ranked methods without those that are worse beyond doubt."""
    seeds: list[int]
    failed_seeds: list[int]
    selection: str
    """The rule that chose the checkpoints."""
    verified: Verified
    complete: bool
    """False: the data were incomplete."""
    size: str
    """How many items of how many."""
    members: int
    """Number of models in an ensemble; 1: a single model."""
    reduced: bool
    approximate: str
    """What public sources do not state about the method; empty: nothing."""
    batch_dependent: bool
    recognises: bool
    """True: scores move when nothing that can be heard changes, as if the files were recognised."""
    isolated: str
    """How jobs were kept from labels: ``landlock``, ``audit`` or ``none``; of the least isolated one."""
    pretraining: str
    cost: Cost | None
    """Time, size and memory; None: unknown."""
    hardware: list[str]
    """Processors and GPUs that trained and scored."""
    licences: Licences
    printed_in: list[str]
    """Papers and tables of the printed values."""
    rules: list[str]
    """Concessions to small or uneven data."""
    time: str
    """End of the run, ISO 8601."""
    figures: list[Figure]


class Protocol(Config, frozen=True, kw_only=True):
    """What the rows of a board share; records that differ in any of it are on different boards."""

    dataset: str
    options: dict[str, Any]
    """Every option of the dataset."""
    metric_set: str
    evaluator: str
    """Distribution, version and source hash of the metric set."""
    groups: list[str]
    """Result columns, outermost first."""
    targets: list[str]
    """Classes of a classification task."""
    resample_by: str
    manifest: str
    """Hash of the complete data; empty: no record has complete data."""


class Board(Config, frozen=True, kw_only=True):
    """One leaderboard."""

    schema_version: int = BOARD_VERSION
    name: str
    """Its folder."""
    title: str
    """The dataset with the options that the user typed."""
    protocol: Protocol
    main: str
    """The metric that orders the rows."""
    outermost: list[str]
    """Values of the outermost result column."""
    known_leaks: list[str]
    notes: list[str]
    ranked: int = 0
    """How many methods were ranked in groups at most, the best ones."""
    rows: list[Row]
    """Best first; methods without a value on complete data come last."""


class PrintedFigure(Config, frozen=True, kw_only=True):
    """One number that a paper or a repository prints."""

    metric: str
    """One of ours, for example ``auc``, or the name that its source gives it."""
    group: str | None
    """Value of the outermost column, for example a machine type; None: all of them together."""
    section: str | None
    """A section or machine ID, or how several were averaged, for example ``harmonic mean``; None: not stated."""
    domain: str | None
    value: float
    """As printed: percent, or points of a score."""
    consistent: float | None = None
    """What the rest of the table implies, where that differs from what is printed."""
    note: str = ""
    """What readers must know about the number; empty: nothing."""


class PrintedRow(Config, frozen=True, kw_only=True):
    """What one place of one source prints about one method."""

    method: str
    """As the source calls it."""
    source: str
    """The paper or repository."""
    place: str
    """The table, or the file."""
    link: str
    """Address of the source; empty: it has none."""
    words: str = ""
    """What ``asdbench run --plugin`` takes to measure the method; empty: nothing measures it."""
    note: str = ""
    """What differs between the method and what measures it, or why nothing does."""
    figures: list[PrintedFigure]


class PrintedBoard(Config, frozen=True, kw_only=True):
    """Numbers that others printed for one dataset: asdbench measured none of them, and none enters a measured board."""

    schema_version: int = BOARD_VERSION
    name: str
    """Its folder below ``printed``."""
    title: str
    column: str
    """The outermost column, for example ``machine``."""
    rows: list[PrintedRow]
    """Best first by the metric that most rows have; those without it come last."""


class BoardEntry(Config, frozen=True, kw_only=True):
    """A board in the list of a folder."""

    name: str
    title: str
    rows: int
    failures: int


class PrintedEntry(Config, frozen=True, kw_only=True):
    """A board of printed numbers in the list of a folder."""

    name: str
    title: str
    rows: int
    figures: int


class BoardIndex(Config, frozen=True, kw_only=True):
    """The boards of a folder, and the hashes of all its other files."""

    schema_version: int = BOARD_VERSION
    boards: list[BoardEntry]
    """The measured ones."""
    printed: list[PrintedEntry] = []
    """Boards of printed numbers, in the folder ``printed``."""
    files: dict[str, str]
    """Path in the folder -> SHA-256."""
