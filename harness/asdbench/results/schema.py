"""The types of run documents and records, schema version 2.

``RunDocument`` is what ``asdbench run --json`` prints and ``runs/<id>.json`` holds; ``MethodRecord`` is ``record.json``.
The JSON Schemas in ``docs/schemas`` are generated from these types. ``asdbench.results.record`` reads and writes them,
and still reads version 1.
"""

from __future__ import annotations

from typing import Any, Literal

from asdbench.core.config import Config
from asdbench.core.environment import Environment
from asdbench.messages.isolation import Isolated
from asdbench.messages.progress import EpochLog
from asdbench.messages.results import Outcome, Usage
from asdbench.plugin.entries import Printed, PublishedWeights, Selection, Selector, Tuned
from asdbench.recipes.recipe import EnsembleRecipe, Recipe
from asdbench.results.traces import shown_place

SCHEMA_VERSION = 2
LISTED = 5
"""How many names of a long list are shown; the others are counted."""

Matrix = list[list[int]]
"""A confusion matrix of item counts; rows are the true class, columns the predicted one."""


def listed(names: list[str]) -> str:
    """Return names for people: the first few, and how many more there are, for example ``a, b, c, d, e and 3 more``."""
    more = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {more} more" if more > 0 else "")


class PluginOrigin(Config, frozen=True, kw_only=True):
    """The plugin behind something that the results come from, with its version and source."""

    kind: str
    """``dataset``, ``metrics``, ``method``, ``ensemble``, ``featurizer``, ``model`` or ``scorer``."""
    name: str
    plugin: str
    distribution: str
    version: str
    source_hash: str | None = None
    """Hash of its code; None for a method or an ensemble, whose recipe is in the record."""
    licence: str = ""
    """Licence of the code of a method or an ensemble; empty: not recorded."""
    libraries: dict[str, str] = {}
    """Versions of the libraries its distribution requires; empty for asdbench, whose own are in the environment."""
    weights: dict[str, PublishedWeights] = {}
    """SHA-256 -> file of weights that a recipe of this run names, if the plugin knows it."""


class RunInfo(Config, frozen=True, kw_only=True):
    """What was run, and where."""

    id: str
    """Equal for equal sets of jobs and the same selection rule."""
    time: str
    """End of the run, ISO 8601 in UTC."""
    command: list[str]
    """Arguments of the command line."""
    dataset: str
    dataset_options: dict[str, str]
    """Options as the user typed them."""
    dataset_options_resolved: dict[str, Any]
    """Every option of the dataset; paths as typed."""
    methods: list[str]
    """Labels of the requested methods and ensembles, in order."""
    seeds: list[int]
    """Requested seeds."""
    selection: Selection | None
    """Which checkpoint was requested; None: each method's own rule."""
    device: str
    threads: int
    """Threads per job."""
    metric_set: str
    resamples: int
    """Bootstrap resamples behind each interval."""
    bootstrap_seed: int
    plugins: list[PluginOrigin]
    environment: Environment
    """Versions and hardware of the process that evaluated the results."""
    code: dict[str, str] = {}
    """Wing of the harness -> hash of the files that planned (``runs``) or evaluated; empty: an older record."""

    @property
    def selector(self) -> str:
        """The dataset with the options that the user typed."""
        return str(Selector(self.dataset, self.dataset_options))


class ResultRow(Config, frozen=True, kw_only=True):
    """One metric of one method on one result group."""

    method: str
    groups: dict[str, str | None]
    """Result column -> value; None: the row averages over this column. All None: the whole dataset."""
    metric: str
    value: float | None
    """Mean over seeds, in [0, 1]; None: undefined."""
    low: float | None
    """Lower end of the 95 % bootstrap interval; None: there is no interval."""
    high: float | None
    """Upper end of the 95 % bootstrap interval."""
    printed: float | None
    """The paper's value for the same group and metric; None: it prints none."""
    why: str | None
    """Why the value is undefined, or what it leaves out; None: nothing to report."""
    items: int
    """Number of items with a known label behind the value."""
    per_seed: list[float | None]
    """The value for each seed."""
    thresholds: list[float] = []
    """The decision threshold for each seed; empty if the metric has none."""

    @property
    def is_whole(self) -> bool:
        """True for a row about the whole dataset."""
        return not any(self.groups.values())


class MissingItems(Config, frozen=True, kw_only=True):
    """A group with a different number of items than the official release has."""

    name: str
    found: int
    expected: int


class DataSummary(Config, frozen=True, kw_only=True):
    """The data of a run: what was there, how it compares with the release, and what readers must know about it."""

    dataset: str
    complete: bool
    items: int
    expected: int | None
    """Number of items of the official release; None: it states no counts."""
    missing: list[MissingItems]
    changed: list[str]
    """Sources whose content differs from the official one."""
    manifest: str
    """Hash of all contents, columns and labels; equal for equal data, wherever they are stored."""
    samples: str
    """Hash of all decoded samples, whatever options they were read with."""
    groups: list[str]
    """Result columns, outermost first."""
    claims: list[str] = []
    """Columns that name the class of an item."""
    targets: list[str]
    """Classes to tell apart in a classification task."""
    resample_by: str
    """Column whose items are resampled together for intervals; empty: each item by itself."""
    licence: str
    known_leaks: list[str]
    """Known leaks from training to test items."""
    notes: list[str]
    """What readers of the results must know about the data."""

    @property
    def size(self) -> str:
        """Number of items, for example ``231 of 47,151 items``, and which content differs from the official one."""
        size = f"{self.items:,} items (the release states no counts)"
        if self.expected is not None:
            size = f"{self.items:,} of {self.expected:,} items"
        return size + (f", not as published: {', '.join(self.changed)}" if self.changed else "")


class Cost(Config, frozen=True, kw_only=True):
    """What a method cost: time, size and memory."""

    fit_s: float
    """Seconds to train all units with one seed, mean over seeds."""
    score_ms: float | None
    """Milliseconds per test item, from reading it to its score, in batches; None: there are no test items."""
    score_alone_ms: float | None = None
    """The same for one item at a time; None: not measured."""
    parameters: int
    """Trainable parameters of the largest unit's model."""
    flops: int
    """Floating-point operations per item of the largest unit's model."""
    peak_memory_bytes: int
    """Largest resident memory of any job."""
    peak_device_bytes: int
    """Largest GPU memory of any training; 0 on a CPU."""
    fit_work: list[float] = []
    """Time to train all units, for each seed, as a multiple of a fixed piece of work in the same processes, which makes
    processors comparable; empty: not measured."""
    score_work: list[float] = []
    """Time per test item, for each seed, as a multiple of the same work; empty: not measured."""


class Confusion(Config, frozen=True, kw_only=True):
    """Confusion matrices of a classifier, pooled over all folds."""

    classes: list[str]
    """Names of the rows and columns."""
    per_seed: dict[str, Matrix]
    """Seed -> matrix of all items."""
    by_group: dict[str, dict[str, Matrix]]
    """Value of the outermost result column -> seed -> matrix of its items."""


class PrintedSource(Config, frozen=True, kw_only=True):
    """Where the printed values of a method come from."""

    paper: str
    table: str
    method: str
    why: str
    """What readers must know about the comparison; empty: nothing."""
    notes: list[str]
    """What readers must know about individual printed values."""


class RankedItem(Config, frozen=True, kw_only=True):
    """A test item with its place in the order of scores; see ``asdbench.results.ranking``."""

    source: str
    start: int
    """First position of the item in its source."""
    length: int | None
    """None: to the end of its source."""
    columns: dict[str, str]
    """Its public columns."""
    rank: int
    """Among all test items of its class, from 1, the highest score."""
    score: float
    """Mean over seeds."""
    per_seed: list[float]
    percentile: float | None
    """Percent of the held-out normal items of its class with a lower score, mean over seeds; None: none are held out."""
    normals: int
    """Number of these held-out items."""


class ChosenCheckpoint(Config, frozen=True, kw_only=True):
    """The checkpoint that a rule chose among those of one model."""

    place: str
    """Fold and unit of the model."""
    seed: int
    epoch: int
    """Of the last training stage."""


def epochs_text(chosen: list[ChosenCheckpoint]) -> str:
    """Return the epochs for people: ``epoch 7`` if all models share it, else ``epochs fan 7, valve 12``; empty: none."""
    if len({each.epoch for each in chosen}) <= 1:
        return "".join(f"epoch {each.epoch}" for each in chosen[:1])
    several = len({each.seed for each in chosen}) > 1
    places = [f"{each.place} seed {each.seed}" if several else each.place for each in chosen]
    return f"epochs {listed([f'{place} {each.epoch}' for place, each in zip(places, chosen, strict=True)])}"


class MethodSummary(Config, frozen=True, kw_only=True):
    """What belongs beside a method's results: flags, cost, rules and recipe."""

    reduced: bool
    """True: a smaller training budget than the paper's."""
    approximate: str
    """What public sources do not state about the method; empty: nothing."""
    batch_dependent: bool = False
    """True: an item scores differently alone than in its batch; ``rules`` say so if the scorer declares it, else it breaks
    the contract of models and scorers."""
    recognises: bool = False
    """True: items score differently when nothing that can be heard changes, as by a table of known files."""
    isolated: Isolated = "none"
    """How the least isolated of its jobs was kept from labels and other results."""
    partial_data: bool
    """True: the dataset is incomplete."""
    changed: dict[str, Any]
    """Options that the user set."""
    selection: Selection | Literal["members"]
    """The rule that chose the checkpoints; ``members``: each member of an ensemble keeps its own."""
    seeds: list[int]
    """Seeds that the results are means over."""
    failed_seeds: list[int]
    """Seeds left out because some of their jobs failed."""
    ungraded: str | None
    """Why there are no results; None: there are some."""
    cost: Cost | None
    """None: nothing finished."""
    rules: list[str]
    """Concessions to small or uneven data in training, scoring and evaluation."""
    best_on_test_labels: dict[str, float | None] | None
    """Metrics of the checkpoints that do best on the test items, which shows how much a choice on test labels would
    gain; None: there is only one checkpoint."""
    best_checkpoints: list[ChosenCheckpoint] = []
    """The checkpoints behind ``best_on_test_labels``, one for each model that has several."""
    checkpoints: list[ChosenCheckpoint] = []
    """The checkpoints behind the results, one for each model that has several."""
    confusion: Confusion | None
    """None: the task is detection."""
    printed: list[PrintedSource] = []
    """Where the printed values beside the results come from."""
    unlabelled: int = 0
    """Number of scored test items with an unknown label."""
    strangest: list[RankedItem] = []
    """The first of these by rank; none for a classifier."""
    recipe: Recipe | EnsembleRecipe
    """The method with every option."""

    @property
    def epochs(self) -> str:
        """The epochs of the checkpoints behind the results, for people; empty: no model has several."""
        return epochs_text(self.checkpoints)

    @property
    def best_epochs(self) -> str:
        """The epochs of the checkpoints that do best on test labels, for people."""
        return epochs_text(self.best_checkpoints)

    @property
    def tuned(self) -> Tuned | None:
        """How tuning chose the options; None: it did not, or the method is an ensemble."""
        return self.recipe.tuned if isinstance(self.recipe, Recipe) else None

    @property
    def flags(self) -> list[str]:
        """What must stand beside the method's name wherever its results are compared."""
        marks = {
            "reduced": self.reduced,
            "tuned": self.tuned is not None,
            "approximate": bool(self.approximate),
            "batch-dependent": self.batch_dependent,
            "fingerprint-suspect": self.recognises,
        }
        return [mark for mark, is_set in marks.items() if is_set]


class Reported(Config, frozen=True, kw_only=True):
    """A system for which a paper prints values on the run's data, and which the run did not measure."""

    paper: str
    system: str
    """Name of the system in the paper."""
    tables: list[str]
    words: str
    """What would run it: ``method`` or ``method[preset=name]``; empty: nothing does."""
    why: str
    """Why nothing runs it, or what readers must know about it."""
    average: dict[str, float]
    """Metric -> the printed average; only metrics that have one."""
    mean: dict[str, float]
    """Metric -> the plain mean over the outermost groups; only metrics without a printed average."""
    figures: list[Printed]
    """All printed values, including averages."""


class RunDocument(Config, frozen=True, kw_only=True):
    """The results of a run, as ``asdbench run --json`` prints them. Methods are named by their labels."""

    schema_version: int = SCHEMA_VERSION
    run: RunInfo
    jobs: list[Outcome]
    """How each job ended."""
    results: list[ResultRow]
    """Every metric of every method on every result group."""
    summary: dict[str, dict[str, float | None]]
    """Method -> metric -> value on the whole dataset."""
    methods: dict[str, MethodSummary]
    reported_only: list[Reported]
    """Systems for which papers print values on these data and that were not run, best first."""
    data: DataSummary
    records: dict[str, str] = {}
    """Method -> identifier of its record."""
    refused: dict[str, str] = {}
    """Requested method that was not run because a plugin is broken -> why."""

    @property
    def failed(self) -> list[Outcome]:
        """Jobs without a result, apart from those that are inapplicable."""
        return [job for job in self.jobs if job.status not in {"ok", "inapplicable"}]

    def results_of(self, method: str) -> list[ResultRow]:
        """Return the rows of one method."""
        return [row for row in self.results if row.method == method]

    @property
    def recipes(self) -> dict[str, Recipe]:
        """The recipes of all methods by label, with those of the members of ensembles."""
        evaluated = [summary.recipe for summary in self.methods.values()]
        members = [
            one
            for recipe in evaluated
            for one in (recipe.members if isinstance(recipe, EnsembleRecipe) else [recipe])
        ]
        return {recipe.label: recipe for recipe in members}

    def failure_lines(self, method: str) -> list[str]:
        """Return why jobs of a method have no result: a line for each cause, then how many more there are.

        A line ends with the file and line of the plugin where the job failed, if its traceback has one.
        """
        recipe = self.recipes.get(method)
        jobs = [job for job in self.jobs if job.method == method]
        several = len({job.seed for job in jobs}) > 1
        alike: dict[tuple[str, str, str], list[str]] = {}
        for job in jobs:
            if job.status != "ok":
                place = f"{job.place} seed {job.seed}" if several else job.place
                where = shown_place(job.detail, recipe)
                cause = f"{job.message} ({where})" if where else job.message
                alike.setdefault((job.kind, job.status, cause), []).append(place)
        lines = [
            f"{kind} {listed(places)}: {status}: {cause}" for (kind, status, cause), places in alike.items()
        ]
        rest = sum(len(places) for places in list(alike.values())[LISTED:])
        return lines[:LISTED] + ([f"and {rest} more jobs have no result"] if rest else [])


class RunDocuments(Config, frozen=True, kw_only=True):
    """The results of several runs, as ``asdbench run --json`` prints them for several datasets or a preset."""

    schema_version: int = SCHEMA_VERSION
    preset: str | None = None
    runs: list[RunDocument]


class ModelRecord(Config, frozen=True, kw_only=True):
    """A trained model in a record: ``FitRecord`` with the unit, fold and seed it was trained on."""

    unit: str
    fold: str
    seed: int
    log: list[EpochLog]
    checkpoints: list[int]
    stage: str
    parameters: int
    stored: int
    flops: int
    feature_shape: list[int]
    usage: Usage
    resumed: bool
    device: str
    threads: int
    environment: str
    """Key into ``MethodRecord.environments``."""
    rules: list[str]


class ScoresRecord(Config, frozen=True, kw_only=True):
    """How scores in a record were computed; see ``ScoreRecord``."""

    model_id: str
    usage: Usage
    ms_per_item: float
    ms_alone: float | None = None
    device: str
    threads: int
    environment: str
    """Key into ``MethodRecord.environments``."""
    rules: list[str]
    batch_dependent: bool = False
    recognises: bool = False


class MethodRecord(Config, frozen=True, kw_only=True):
    """Everything needed to repeat and verify a method's results, except the item tables beside it: ``record.json``."""

    schema_version: int = SCHEMA_VERSION
    record_id: str
    run: RunInfo
    method: MethodSummary
    results: list[ResultRow]
    data: DataSummary
    models: dict[str, ModelRecord]
    """Model id -> how it was trained."""
    scores: dict[str, ScoresRecord]
    """Score id -> how its scores were computed."""
    environments: dict[str, Environment]
    """Versions and hardware that ``models`` and ``scores`` refer to."""
    sizes: dict[str, int]
    """Bytes of each table, to detect a damaged record."""
