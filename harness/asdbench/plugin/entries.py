"""The values that plugins declare: entries, methods, ensembles, presets and printed numbers."""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Mapping
from typing import Any, Literal, Self

import msgspec

from asdbench.errors import ConfigError

Selection = Literal["last", "validation", "test"]
Aggregate = Literal["mean", "max", "upper_half", "lower_half"]
ObjectiveName = Literal["validation", "pseudo", "bound", "faults"]
"""What ``asdbench tune`` grades options by."""


UNIT = ":"
"""Between a unit and an option of it, as in ``fan:lr=0.002``."""
_SELECTOR = re.compile(r'(?P<name>[\w.-]+)(?:\[(?P<options>(?:[^\[\]"]|"[^"]*")*)\])?')
_NEEDS_QUOTES = re.compile(r"[,\[\]\s]")
_OPTION = re.compile(r'(?:[^,"]|"[^"]*")+')


class Tuned(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How options were chosen by ``asdbench tune``: on which data, by which objective. No test label was part of it."""

    study: str
    """Name of the study."""
    selection: Literal["validation"] = "validation"
    objective: ObjectiveName
    value: float
    """Objective of the chosen options, in [0, 1]."""
    default: float | None
    """Objective of the method's own options; None: it has none."""
    trials: int
    """Number of trials that the options were chosen from."""
    sampler: str
    dataset: str
    """The dataset with its options."""


class Selector(msgspec.Struct, frozen=True):
    """How users name a method or dataset: a name with options as text, for example ``stgram_afpa[epochs=5]``.

    An option of a method may be of a single unit: ``serial_oe[fan:lr=0.002]``.
    """

    name: str
    options: Mapping[str, str] = {}
    tuned: Tuned | None = None
    """How the options were chosen; None: by the user."""

    def __str__(self) -> str:
        """Return the text a user would type, with the options in alphabetical order."""
        if not self.options:
            return self.name
        words = (
            f'{key}="{value}"' if _NEEDS_QUOTES.search(value) else f"{key}={value}"
            for key, value in sorted(self.options.items())
        )
        return f"{self.name}[{','.join(words)}]"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse ``NAME`` or ``NAME[key=value,...]``; a value with a comma or a bracket needs double quotes.

        Raises:
            ConfigError: The text has a different form, or sets an option twice to different values.
        """
        match = _SELECTOR.fullmatch(text.strip())
        if match is None:
            raise ConfigError(
                f"{text!r} is not of the form NAME or NAME[key=value,...]; "
                'put a value with a comma or a bracket in double quotes, for example [path="a,b"]'
            )
        options: dict[str, str] = {}
        for piece in _OPTION.findall(match["options"] or ""):
            if not piece.strip():
                continue
            key, value = _option(piece)
            if options.setdefault(key, value) != value:
                raise ConfigError(
                    f"option {key!r} is given twice, as {options[key]} and as {value}; keep one"
                )
        return cls(match["name"], options)


def _option(piece: str) -> tuple[str, str]:
    key, equals, value = piece.partition("=")
    if not equals or not key.strip():
        raise ConfigError(
            f"option {piece!r} is not of the form key=value, for example epochs=5; put a value with a comma in double "
            'quotes, for example [path="a,b"]'
        )
    value = value.strip()
    quoted = len(value) > 1 and value[0] == value[-1] == '"'
    return key.strip(), value[1:-1] if quoted else value


class Lazy:
    """A reference to an object in a module, imported on first use so that listing plugins stays fast."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def load(self) -> Any:
        """Import the module and return the object."""
        module, _, name = self.path.partition(":")
        return getattr(importlib.import_module(module), name)

    def __repr__(self) -> str:
        return f"lazy({self.path!r})"


def lazy(path: str) -> Lazy:
    """Refer to an object without importing it.

    Args:
        path: ``package.module:Name``, for example ``hum.scorer:MedianDistance``.
    """
    return Lazy(path)


class PublishedWeights(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is known of a file of weights that somebody published; records and boards repeat it."""

    name: str
    """As its publisher calls the file."""
    licence: str
    trained_on: str
    """The data it was trained on, in words."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """Something a plugin offers under a name: a dataset, featurizer, model, scorer, metric set, figure, table or command.

    Example:
        ``Entry(name="knn", build=lazy("hum.scorer:Knn"), summary="mean distance to the k nearest training points")``
    """

    name: str
    """What users type; unique among all entries of its kind, whichever plugin offers them."""
    build: Lazy
    """The class or function behind the entry; each hook in ``hookspecs`` states which type it must have."""
    summary: str
    """One line for the listing of ``asdbench plugins``."""
    cites: str = ""
    """Key of the paper it comes from, for example ``breunig2000lof``; empty: none."""
    weights: Mapping[str, PublishedWeights] = {}
    """SHA-256 in hex -> published file that an option of a model may name; of any other, boards say unknown."""


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """Options of a method on one dataset, where they replace its defaults."""

    options: Mapping[str, Any]
    """Option name -> value, for example ``{"epochs": 20}``; see ``Method.defaults`` for the names."""
    reduced: bool = False
    """True: a smaller training budget than the paper's. Every table marks it."""
    selection: Selection | None = None
    """Which checkpoint counts there; None: the method's own rule."""


class Between(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="between"):
    """A range of numbers, both ends included; whole numbers if both ends are.

    Example:
        ``Between(low=1e-4, high=1e-2, log=True)``
    """

    low: int | float
    high: int | float
    log: bool = False
    """True: values are spread evenly on a logarithmic scale."""
    when: Mapping[str, tuple[Any, ...]] = {}
    """The option is searched only where each of these earlier options has one of the values; empty: always."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ConfigError(f"a range needs low < high, got {self.low}..{self.high}")
        if self.log and self.low <= 0:
            raise ConfigError(f"a logarithmic range needs low > 0, got {self.low}..{self.high}")

    @property
    def whole(self) -> bool:
        """Whether the values are whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def ends(self) -> tuple[Any, ...]:
        """The values by which a declaration is checked."""
        return (self.low, self.high)


class OneOf(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="one_of"):
    """A choice among values, for example of a paper's grid.

    Example:
        ``OneOf(values=("gmm", "lof"))``
    """

    values: tuple[Any, ...]
    when: Mapping[str, tuple[Any, ...]] = {}
    """See ``Between.when``."""

    def __post_init__(self) -> None:
        if not self.values:
            raise ConfigError("a choice needs at least one value, got none")

    @property
    def ends(self) -> tuple[Any, ...]:
        """The values by which a declaration is checked."""
        return self.values


Span = Between | OneOf
Space = Mapping[str, Span]
"""Option -> its values, in the order of choosing: a span may depend on those before it."""


class Method(msgspec.Struct, frozen=True, kw_only=True):
    """A paper's method: which featurizer, model and scorer it combines, and with which options. Holds no code.

    Users select it with ``--plugin NAME`` or ``--plugin NAME[option=value]``. Options are resolved in this order, the
    later ones winning: the parts' own defaults, ``defaults``, ``units``, ``on``, ``presets``, what the user typed.

    Example:
        ``Method(name="hum", title="Classifier of motors", paper="none", featurizer="logmel", model="hum_classifier",
        scorer="knn", defaults={"epochs": 50, "k": 2}, scope="machine")``
    """

    name: str
    """What ``--plugin`` names; unique among all methods and ensembles."""
    title: str
    """One line for listings, for example the paper's title with venue and year."""
    paper: str
    """Where the paper is found, for example ``doi:10.3390/s22124634``."""
    licence: str = ""
    """Licence of the code behind it; empty: that of the plugin's distribution."""
    featurizer: str
    """Name of a featurizer entry."""
    model: str
    """Name of a model entry."""
    scorer: str
    """Name of a scorer entry; users can choose another one with ``scorer=NAME``."""
    defaults: Mapping[str, Any] = {}
    """Options that differ from the parts' own defaults. Where several parts share an option name, qualify it:
    ``scorer.metric``."""
    on: Mapping[str, Setting] = {}
    """Dataset name -> options there."""
    units: Mapping[str, Mapping[str, Any]] = {}
    """Unit -> options there; ``fan/00`` takes those of ``fan`` unless it has its own."""
    scope: str = "all"
    """What is trained together: one of the scopes in the dataset's card, for example ``all`` or ``machine``."""
    auxiliary: bool = False
    """True: training items of other units are added as negatives (``Items.own`` is False for them)."""
    classes: int = 1
    """Minimum number of classes in a unit; a unit with fewer is inapplicable."""
    items: int = 1
    """Minimum number of the unit's own training items; a unit with fewer is inapplicable."""
    held: float = 0.0
    """Share of each class's training items held out from gradient training, in [0, 1).

    Of two or more at least one is held out, unless the scorer learns from the held-out items.
    """
    scorer_on: Literal["train", "held"] = "train"
    """Which items the scorer learns from: those trained on, or those held out."""
    aggregate: Aggregate = "mean"
    """How the scores of an item's segments become one score."""
    length_s: float | None = None
    """Only the first ``length_s`` seconds of each item are used; None: as many as the shortest training item has."""
    selection: Selection = "last"
    """Which checkpoint the paper reports: the last, the one with the smallest held-out loss, or the best on the test
    items; ``asdbench run --selection`` overrides it."""
    deterministic: bool = False
    """True: nothing about it is random, so that its scores do not depend on the seed."""
    approximate: str = ""
    """What public sources do not state about the method; empty: nothing. Every table marks the row."""
    presets: Mapping[str, Mapping[str, Any]] = {}
    """Named sets of options, chosen with ``NAME[preset=...]``."""
    space: Space = {}
    """Option -> the values that ``asdbench tune`` searches, named as in ``defaults``; empty: those of ``--param`` alone."""
    grids: Mapping[str, Space] = {}
    """Further search spaces by name, for example the values that the paper tried; chosen with ``--space NAME``."""
    reduced_presets: tuple[str, ...] = ()
    """Presets with a smaller training budget than the paper's. Every table marks them."""
    requires: Mapping[str, str] = {}
    """Options that a user must set, with what to give, for example ``encoder`` -> ``a file``: a run without one is an
    error, and not inapplicable."""
    home: str = "synthetic"
    """Dataset that the paper reports on; ``asdbench describe`` shows shapes and sizes for it."""
    printed: tuple[str, str] | None = None
    """(paper, method) of its values among the ``Printed`` ones; None: none are printed."""


class Ensemble(msgspec.Struct, frozen=True, kw_only=True):
    """Several methods combined by the evaluator: the mean of their scores, each standardised by its held-out scores.

    Users select it with ``--plugin`` like a method. Its members are trained as ordinary methods, and models that are
    already in the store are reused.
    """

    name: str
    """What ``--plugin`` names; unique among all methods and ensembles."""
    title: str
    paper: str
    members: tuple[Selector, ...]
    """At least two methods with their options; each must hold out training items (``held`` > 0)."""
    licence: str = ""
    """Licence of its code; empty: that of the plugin's distribution."""
    approximate: str = ""
    """What public sources do not state about the ensemble; empty: nothing."""
    home: str = "synthetic"
    """Dataset that the paper reports on; ``asdbench describe`` shows shapes and sizes for it."""
    printed: tuple[str, str] | None = None
    """(paper, method) of its values among the ``Printed`` ones; None: none are printed."""


class PresetRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a preset: some methods on one dataset."""

    dataset: Selector
    methods: tuple[Selector, ...]
    selection: Selection | None = None
    """Which checkpoint counts; None: each method's own rule. ``asdbench run --selection`` overrides it. A preset with
    ``test`` must say so in its name."""


class Preset(msgspec.Struct, frozen=True, kw_only=True):
    """A whole table of a paper, run with ``asdbench run --preset NAME``."""

    name: str
    """Paper and table, for example ``robot_aae/table1``."""
    summary: str
    """One line for the listing of ``asdbench plugins``."""
    runs: tuple[PresetRun, ...]
    """One run for each dataset, and for each set of options of a dataset."""


class Printed(msgspec.Struct, frozen=True, kw_only=True):
    """One value that a paper prints; it appears beside measured results of the same group and metric."""

    paper: str
    table: str
    dataset: str
    """``Card.published_as`` of the dataset it was measured on, for example ``dcase2020/dev``."""
    method: str
    """Name of the system in the paper."""
    groups: Mapping[str, str]
    """Result columns and their values, for example ``{"machine": "fan"}``; empty: the paper's average, or its value
    over all items."""
    metric: str
    value: float
    """A fraction, not percent: in [0, 1] for AUC and pAUC."""
    consistent: float | None = None
    """What the rest of the table implies the value to be, where that differs from what is printed."""
    note: str = ""
    """What readers must know about this value; empty: nothing."""
    words: str = ""
    """What runs the system: ``method`` or ``method[preset=name]``; empty: the method whose ``printed`` names it, if any."""
    why: str = ""
    """Why nothing runs the system, or what readers must know: what is approximate, what the paper leaves open."""
