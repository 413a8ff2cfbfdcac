"""The base classes of featurizers, models and scorers, which plugins inherit from.

A detector is one of each: the featurizer turns raw items into features, the model is trained on them and gives named
outputs, the scorer turns one output into anomaly scores. In the shapes below, ``n`` is the number of items of a batch
or set, and ``segments`` the number of parts that a model scores separately within an item (1 where it has none); the
harness aggregates them to one score per item.

Methods marked abstract must be defined. Planning checks that, because the metaclasses of torch modules and msgspec
structs do not.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from asdbench.core.config import Config
from asdbench.core.info import Info
from asdbench.detector.items import Items, ItemView
from asdbench.detector.trainer import Trainer

State = Mapping[str, NDArray[Any]]
"""What a scorer has learned: name -> array of floats, integers or booleans. Nothing else, so that it is saved without
pickle. A nested structure needs flat names, for example ``fan/mean``."""

Outputs = Mapping[str, NDArray[Any]]
"""What a model computes for n items: name -> array ``[n, segments, ...]``, float32."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ItemContext:
    """What a scorer may know about n items besides the model's outputs. Labels and file names are not part of it."""

    claim: NDArray[np.int64]
    """The class each item claims to belong to, for example its machine ID, ``[n]``: an index into ``info.classes``; -1
    for a class outside the unit. Training items always claim a class of the unit."""
    columns: Mapping[str, NDArray[np.str_]]
    """Column -> one value per item, ``[n]``. In ``fit`` all public columns; in ``score`` only those known at run time,
    so a column such as ``domain`` may be absent there."""


class Featurizer(nn.Module):
    """Turns raw items into features, without gradients or randomness.

    Row i of the features must depend on row i of the input only. State that ``forward`` uses is a buffer, so that it is
    saved with the detector.

    Example:
        ``def forward(self, raw): return raw.unfold(1, 1024, 512).square().mean(dim=2).add(1e-8).log10()``
    """

    Config: ClassVar[type[Config]] = Config
    """The frozen configuration whose fields are the options that users can set."""
    no_graph: ClassVar[str] = ""
    """Why ``asdbench export`` cannot trace ``forward``, in a few words; empty: it can."""

    def __init__(self, config: Any, info: Info) -> None:
        """Register buffers of final shape, on the CPU.

        Args:
            config: An instance of ``Config``.
            info: Shape, sample rate and classes of the items; ``info.feature_shape`` is still empty.

        Raises:
            ConfigError: Subclasses raise it when the options do not fit the items.
        """
        super().__init__()
        self.config = config
        self.info = info

    def fit(self, own: Items) -> None:
        """Fill buffers from the unit's own training items, for example with a mean; by default do nothing.

        It runs once, before the model is trained; ``raw`` and ``batches`` of the items are available.
        """

    @abstractmethod
    def forward(self, raw: Tensor) -> Tensor:
        """Return features.

        The harness calls it once with a single item of zeros, on the CPU and before ``fit``, to learn the shape.

        Args:
            raw: Samples, float32 ``[n, *info.item_shape]``. Stored integers are scaled to [-1, 1), floats are as the
                dataset gives them. A model may pass items of a different length.

        Returns:
            Features ``[n, *feature_shape]``, on the device of ``raw``.
        """
        raise NotImplementedError(f"{type(self).__name__} must define forward")


class Model(nn.Module):
    """A network that is trained by gradient descent and gives named outputs for each item.

    All state is a parameter or a buffer: a checkpoint holds nothing else, and a resumed or loaded model must give the
    same outputs.
    """

    Config: ClassVar[type[Config]] = Config
    """The frozen configuration whose fields are the options that users can set."""
    epochs: float | None = None
    """Epochs that it trains for, which ``--dry-run`` uses to estimate time; a fraction where an epoch uses less of an item
    than the outputs do. None: it is derived from the options ``epochs`` and ``<stage>_epochs``, or ``iterations`` and
    ``batch_size``."""
    segment_numbers: ClassVar[Collection[str]] = ()
    """Names of the outputs ``[n, segments]`` that hold one number for each of several segments, for example
    ``("claim_nll",)``. Undeclared, planning refuses such an output, because a vector that lacks its axis of segments looks
    the same; an output of vectors with as many segments, ``[n, segments, dims]``, makes the declaration unnecessary."""
    no_graph: ClassVar[str] = ""
    """Why ``asdbench export`` cannot trace ``outputs``, in a few words; empty: it can. Tracing takes one item, and follows
    no branch and no loop that depends on the values of tensors."""

    keep_outputs: ClassVar[bool] = False
    """True: the outputs depend on the options and an item's samples alone, not on seed, classes, claims or ``fit``, and are
    dear, as those of a frozen encoder. The harness then computes them once for each item, in a process without the scorer,
    and keeps them in the cache for all scorers, folds and runs. An option that names a file needs its SHA-256 in the
    option ``<name>_sha256`` (``asdbench.blocks.pinned_file``). Heeded where the featurizer learns nothing either."""

    def __init__(self, config: Any, info: Info) -> None:
        """Build the network, on the CPU; torch's generator is already seeded for its initialisation.

        Planning also builds it, from the shapes alone. A ``ConfigError`` then makes the method inapplicable, or stops
        the run if the user set options, before anything is trained.

        Args:
            config: An instance of ``Config``.
            info: Shapes of items and features, sample rate and class names.

        Raises:
            ConfigError: Subclasses raise it when the options do not fit the shapes or the classes.
        """
        super().__init__()
        self.config = config
        self.info = info

    @abstractmethod
    def fit(self, train: Items, held: Items, trainer: Trainer) -> None:
        """Train the model, with one ``trainer.run(Stage(...))`` per training stage.

        A killed fit resumes by calling this method again: the weights are then the saved ones, and the trainer skips
        the stages that are done. So run the same stages in the same order, and do not assume fresh weights.

        Args:
            train: Training items. For a method with ``auxiliary=True`` they include items of other units, whose
                ``own`` is False and ``claim`` -1.
            held: Held-out items, for validation losses; empty where the method holds nothing out.
            trainer: Runs the stages; also records values (``log_value``) and concessions to small data (``rule``).

        Raises:
            DataError: Subclasses raise it when there are too few items to train on.
        """
        raise NotImplementedError(f"{type(self).__name__} must define fit")

    @abstractmethod
    def outputs(self, items: ItemView) -> Mapping[str, Tensor]:
        """Return the outputs for a batch, by name; scorers select one with their ``on``.

        It is called in eval mode and without gradients, on batches of any size. Row i of every output must depend on
        item i only. The names do not depend on training: planning calls it on a silent item before ``fit``, and refuses a
        scorer that reads an output which is not there.

        Args:
            items: The batch; ``items.features()`` or ``items.raw()`` gives its data.

        Returns:
            Tensors ``[n, segments, ...]``, for example ``{"embedding": [n, 1, dims], "claim_nll": [n, 1]}``. All have
            the same segments, or 1 for the whole item, and ``embedding`` has three axes; planning refuses anything else.
            Outputs ``[n, segments]`` with several segments may need a declaration, see ``segment_numbers``.
            NaN marks an output that an item does not have, for example a likelihood under a class outside the unit.
        """
        raise NotImplementedError(f"{type(self).__name__} must define outputs")

    def explain(self, items: Items) -> Mapping[str, Tensor]:
        """Return what the trained model does to a few items, for a figure of its method; optional.

        ``RecordedRun.explain`` calls it, in eval mode and without gradients, on all items that the figure chose for
        this model. Unlike ``outputs``, it may combine these items with one another. It draws no random numbers, so that
        a figure can be repeated.

        Args:
            items: The items; their labels are unknown here.

        Returns:
            Tensors ``[n, ...]`` by name, for example ``{"attention": [n, heads, mels, mels]}``.

        Raises:
            ConfigError: Subclasses raise it when the options leave nothing to explain.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define explain")


class Scorer(Config, frozen=True, kw_only=True):
    """Turns one output of a model into anomaly scores; a frozen configuration whose fields are the users' options.

    It holds no state itself: ``fit`` returns what was learned and ``score`` receives it.

    Example:
        A scorer that measures the distance to the mean of the training items::

            class MeanDistance(Scorer, frozen=True, kw_only=True):
                on: Annotated[str, Meta(description="model output to read")] = "embedding"

                def fit(self, outputs, context):
                    return {"mean": outputs[self.on].mean(axis=(0, 1))}  # [dims]

                def score(self, state, outputs, context):
                    return np.linalg.norm(outputs[self.on] - state["mean"], axis=2)  # [n, segments]
    """

    learns: ClassVar[bool] = True
    """False: there is nothing to learn. ``fit`` is not called and no outputs of training items are computed."""
    classifies: ClassVar[bool] = False
    """True: for classification tasks; scores are ``[n, segments, classes]``, in the order of ``info.targets``."""
    no_graph: ClassVar[str] = "its scorer computes scores in numpy alone"
    """Why ``asdbench export`` cannot use the scorer, in a few words; empty: it can, since the scorer defines ``graph``."""

    @property
    @abstractmethod
    def on(self) -> str:
        """Name of the model output to read. Declare a field ``on`` instead to let users choose it."""
        raise NotImplementedError(f"{type(self).__name__} must define on")

    @property
    def reads(self) -> Collection[str]:
        """Names of all model outputs that it reads; planning refuses a model that does not make one of them."""
        return (self.on,)

    @property
    def needs_claims(self) -> bool:
        """True: it can score only items of the classes that it learned, not one with ``claim == -1``.

        Planning then reports a protocol such as leave-one-section-out as ``inapplicable`` before anything is trained.
        """
        return False

    @property
    def uses_test_set(self) -> str:
        """What its scores take from the items that are scored together, in a few words; empty: nothing, as it should be.

        Records say so and results are marked ``batch-dependent``. What scores recordings one at a time, or without the test
        items, refuses such a scorer.

        Example:
            ``"rescale=test_set standardises distances over all items that are scored together"``
        """
        return ""

    @abstractmethod
    def fit(self, outputs: Outputs, context: ItemContext) -> State:
        """Learn from normal items and return what was learned.

        It must be deterministic: draw random numbers from a generator with a fixed seed. It must accept small sets,
        down to one item per class, and report with ``rules`` what it had to change.

        Args:
            outputs: The model's outputs for n training items, each ``[n, segments, ...]``. With ``scorer_on=held`` the
                items are the held-out ones, plus the training items of classes that have none.
            context: Claims and public columns of these items.

        Raises:
            DataError: Subclasses raise it when the output has the wrong shape or is not finite.
        """
        if self.learns:
            raise NotImplementedError(f"{type(self).__name__} must define fit, or set learns = False")
        return {}

    @abstractmethod
    def score(self, state: State, outputs: Outputs, context: ItemContext) -> NDArray[np.float64]:
        """Return anomaly scores; higher = more anomalous.

        The score of an item must not depend on the other items, unless ``uses_test_set`` says how it does.

        Args:
            state: What ``fit`` returned, or what was loaded from a saved detector; empty if it learns nothing.
            outputs: The model's outputs for n items, each ``[n, segments, ...]``.
            context: Claims of these items, and the columns known at run time.

        Returns:
            Finite scores ``[n, segments]``. If ``classifies``, a finite score for every class, higher = more likely,
            ``[n, segments, classes]``. Other shapes, NaN and infinity are refused with a ``PluginError``.

        Raises:
            DataError: Subclasses raise it when an item cannot be scored, for example if it claims an unknown class.
        """
        raise NotImplementedError(f"{type(self).__name__} must define score")

    def graph(self, state: State, *, claim: int) -> nn.Module:
        """Return what ``score`` computes as a torch module, for ``asdbench export``; optional, see ``no_graph``.

        Args:
            state: What ``fit`` returned.
            claim: The class that all items claim.

        Returns:
            A module from the outputs, name -> tensor ``[n, segments, ...]``, to scores ``[n, segments]``, float64 for the
            digits that ``score`` has. It follows no branch that depends on values of tensors.

        Raises:
            ConfigError: Subclasses raise it for options that have no such module.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must define graph, or say in no_graph why it cannot"
        )

    def rules(self, state: State) -> list[str]:
        """Return concessions to small data, one sentence each, for the record; by default none.

        Example:
            ``["kmeans has 3 centres instead of 16"]``
        """
        return []
