"""The contracts that datasets, featurizers, models and scorers keep. Plugins inherit from the classes here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from asdbench.data.items import Items
from asdbench.training import Trainer
from asdbench.values import Card, Config, Fold, Info, Row

State = Mapping[str, NDArray[Any]]
"""What a scorer learned: flat names to arrays, nothing else, so that it is saved without pickle."""
Outputs = Mapping[str, NDArray[Any]]
"""What a model gives for n items: name -> array [n, segments, ...]."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Told:
    """What n items tell of themselves, for a scorer."""

    claim: NDArray[np.int64]
    """Index of the claimed class, ``[n]``; -1 = not of this unit."""
    columns: Mapping[str, NDArray[np.str_]]
    """Each ``[n]``. Training: all public columns; validation and test: what is known at run time alone."""


@runtime_checkable
class Dataset(Protocol):
    """A release of data. Trusted code, runs in the parent process only. Its frozen ``Config`` is the protocol."""

    @property
    def card(self) -> Card:
        """What the release says of itself under the current options."""

    def index(self, root: Path) -> Iterable[Row]:
        """List the items under the data root ``root`` that the current options select, in any order.

        Raises:
            DataError: Nothing is there, or a name does not fit the release's pattern.
        """

    def read(self, root: Path, source: PurePosixPath) -> NDArray[Any]:
        """Decode one source: int16 as stored where that is exact, else float32.

        Raises:
            DataError: The file is damaged; the message names it.
        """

    def folds(self, rows: Sequence[Row]) -> Sequence[Fold]:
        """Divide the rows into training, validation and test rows."""


@runtime_checkable
class MadeDataset(Dataset, Protocol):
    """A dataset that is made on the machine from a seed (``card.made``)."""

    def make(self, root: Path, progress: Callable[[int, int], None]) -> None:
        """Make all sources under ``root``, calling ``progress(done, total)`` as they come."""


@runtime_checkable
class LocatedDataset(Dataset, Protocol):
    """A dataset that lies where its options say, and whose card depends on what lies there."""

    def located(self, root: Path) -> tuple[Dataset, Path]:
        """Return the dataset with its place worked out, and the root that its sources are relative to."""


@runtime_checkable
class GradedDataset(Dataset, Protocol):
    """A dataset whose test items can be told by their official names, so that anyone's scores can be graded."""

    def graded(self, root: Path, names: Sequence[tuple[str, str]]) -> Sequence[Row]:
        """Return a row for every (machine type, file name), from the names and the ground truth under ``root`` alone.

        The label is None where it is secret and no ground truth is there.

        Raises:
            DataError: A name is not of the release, or not among the items that its ground truth lists.
        """

    def listed(self, root: Path) -> Sequence[Row]:
        """Return the test items that the ground truth under ``root`` lists; none where there is no such list."""


class Featurizer(nn.Module):
    """Raw items -> features: no gradient, no randomness; row i of the result depends on row i alone."""

    Config: ClassVar[type[Config]] = Config

    def __init__(self, config: Any, info: Info) -> None:
        super().__init__()
        self.config = config
        self.info = info

    def fit(self, own: Items) -> None:
        """Fill buffers of known shape from the training items (min-max, mean and deviation); nothing by default."""

    def forward(self, raw: Tensor) -> Tensor:
        """Return features ``[n, *feature_shape]`` of raw items ``[n, *item_shape]`` (any length is allowed)."""
        raise NotImplementedError(f"{type(self).__name__} must define forward")


class Model(nn.Module):
    """What is fitted by gradient. All that a checkpoint must hold is a parameter or a buffer of it.

    Where its options do not say how long it trains, an attribute ``epochs`` may, for the estimate of ``--dry-run``.
    """

    Config: ClassVar[type[Config]] = Config

    def __init__(self, config: Any, info: Info) -> None:
        super().__init__()
        self.config = config
        self.info = info

    def fit(self, train: Items, held: Items, trainer: Trainer) -> None:
        """Fit to the training items: plain imperative code, one ``trainer.run(Stage(...))`` per stage."""
        raise NotImplementedError(f"{type(self).__name__} must define fit")

    def outputs(self, items: Items) -> Mapping[str, Tensor]:
        """Return named outputs ``[n, segments, ...]`` of a batch, in eval mode; row i depends on item i alone."""
        raise NotImplementedError(f"{type(self).__name__} must define outputs")


class Scorer(Protocol):
    """Outputs of a model -> anomaly scores. Its frozen ``Config`` is its configuration; ``on`` names what it reads.

    A scorer that learns nothing says so by ``learns: ClassVar[bool] = False``; then no training item is scored for it.
    One that tells classes apart says so by ``classifies: ClassVar[bool] = True`` and gives ``[n, segments, classes]``.
    What a small data set forces on a scorer it may tell by ``rules(state) -> list[str]``, for the record.
    """

    @property
    def on(self) -> str:
        """Name of the output that it reads."""

    def fit(self, outputs: Outputs, told: Told) -> State:
        """Learn from the outputs ``[n, segments, ...]`` of normal items and what these tell of themselves."""

    def score(self, state: State, outputs: Outputs, told: Told) -> NDArray[np.float64]:
        """Return anomaly scores ``[n, segments]``; higher = stranger."""
