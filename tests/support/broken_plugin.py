"""A plugin for tests: one method for each mistake that an author can make."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from msgspec import Meta
from numpy.typing import NDArray
from torch import Tensor

from asdbench import (
    NORMAL,
    Card,
    Config,
    Ensemble,
    Entry,
    Featurizer,
    Fold,
    Info,
    Items,
    Method,
    Model,
    Preset,
    PresetRun,
    Row,
    Scorer,
    Selector,
    Setting,
    hookimpl,
    lazy,
)


class Untrained(Model):
    """The mean features of an item: honest, and nothing to train."""

    def fit(self, train: Items, held: Items, trainer: Any) -> None:
        """Do nothing."""

    def outputs(self, items: Items) -> Mapping[str, Tensor]:
        """Return the mean features."""
        return {"embedding": items.features().mean(dim=2).unsqueeze(1)}


class Batched(Untrained):
    """Subtracts the mean of the batch."""

    def outputs(self, items: Items) -> Mapping[str, Tensor]:
        """Return the mean features, less those of the batch."""
        embedding = super().outputs(items)["embedding"]
        return {"embedding": embedding - embedding.mean(dim=0)}


class Flat(Untrained):
    """Forgets the segments of its embedding."""

    def outputs(self, items: Items) -> Mapping[str, Tensor]:
        """Return the mean features without the axis of segments."""
        return {"embedding": items.features().mean(dim=2)}


class Uneven(Untrained):
    """Has two segments in one output and forgets the axis in another."""

    def outputs(self, items: Items) -> Mapping[str, Tensor]:
        """Return the mean features of two halves, and of all without the axis of segments."""
        embedding = super().outputs(items)["embedding"]
        return {"embedding": embedding.repeat(1, 2, 1), "code": embedding.squeeze(1)}


class Nameless(Untrained):
    """Forgets the segments of a vector that is not named embedding."""

    def outputs(self, items: Items) -> Mapping[str, Tensor]:
        """Return the mean features without the axis of segments."""
        return {"code": items.features().mean(dim=2)}


class Segmented(Nameless):
    """The same numbers, declared to be segments."""

    segment_numbers = ("code",)


class Slicing(Untrained):
    """Reads slices and batches of its items."""

    def outputs(self, items: Items) -> Mapping[str, Tensor]:
        """Return the mean features, item by item."""
        one_by_one = [super(Slicing, self).outputs(batch)["embedding"] for batch in items[:].batches(1)]
        return {"embedding": torch.cat(one_by_one)}


class Prying(Untrained):
    """Reads what items do not have."""

    def outputs(self, items: Items) -> Mapping[str, Tensor]:
        """Return the labels."""
        return {"embedding": items.labels}  # type: ignore[attr-defined]


class Maturing(Untrained):
    """Has no outputs before it is trained."""

    def __init__(self, config: Any, info: Info) -> None:
        super().__init__(config, info)
        self.register_buffer("mature", torch.tensor(0))

    def fit(self, train: Items, held: Items, trainer: Any) -> None:
        """Ripen."""
        self.mature += 1

    def outputs(self, items: Items) -> Mapping[str, Tensor]:
        """Return the mean features."""
        if not self.mature:
            raise ValueError("not yet")
        return super().outputs(items)


class Averaging(Untrained):
    """Averages the items of a batch."""

    def outputs(self, items: Items) -> Mapping[str, Tensor]:
        """Return the mean features of all items."""
        return {"embedding": super().outputs(items)["embedding"].mean(dim=0, keepdim=True)}


class Bare(Untrained):
    """Gives its output no name."""

    def outputs(self, items: Items) -> Mapping[str, Tensor]:
        """Return the mean features."""
        return super().outputs(items)["embedding"]  # type: ignore[return-value]


class Foreign:
    """Inherits from nothing of asdbench."""

    def fit(self) -> None:
        """Do nothing."""

    def outputs(self) -> None:
        """Do nothing."""


class WithoutInfo(Untrained):
    """Cannot be built with an info."""

    def __init__(self, config: Any) -> None:
        super().__init__(config, Info(item_shape=(1,)))


class Quitting(Untrained):
    """Exits while it is built."""

    def __init__(self, config: Any, info: Info) -> None:
        sys.exit(5)


class WithoutHeld(Untrained):
    """Cannot be given held-out items."""

    def fit(self, train: Items) -> None:  # type: ignore[override]
        """Do nothing."""


class WithoutFit(Model):
    """Has outputs alone."""

    def outputs(self, items: Items) -> Mapping[str, Tensor]:
        """Return the mean features."""
        return {"embedding": items.features().mean(dim=2).unsqueeze(1)}


class WithoutAnything(Model):
    """Has neither fit nor outputs."""


class LongFeaturizer(Featurizer):
    """Cannot be built with a configuration and an info alone."""

    def __init__(self, config: Any, info: Info, seed: int) -> None:
        super().__init__(config, info)

    def forward(self, raw: Tensor) -> Tensor:
        """Return the samples."""
        return raw


class EmptyFeaturizer(Featurizer):
    """Has no forward."""


class EmptyScorer(Scorer, frozen=True):
    """Has nothing."""


class Unlearning(Scorer, frozen=True):
    """Scores, and does not say that it learns nothing."""

    on: str = "embedding"

    def score(self, state: Any, outputs: Any, context: Any) -> Any:
        """Return the first value."""
        return np.asarray(outputs[self.on][:, :, 0], dtype=np.float64)


class Mistaken(Scorer, frozen=True):
    """Reads an output that no model makes, and cannot be given another."""

    learns: ClassVar[bool] = False

    @property
    def on(self) -> str:
        """Name of the output."""
        return "embeding"

    def score(self, state: Any, outputs: Any, context: Any) -> Any:
        """Return the first value."""
        return np.asarray(outputs[self.on][:, :, 0], dtype=np.float64)


class Secretive(Unlearning, frozen=True):
    """Does not say which second output it reads."""

    learns: ClassVar[bool] = False

    def score(self, state: Any, outputs: Any, context: Any) -> Any:
        """Read it."""
        return outputs["loudness"]


class Dividing(Unlearning, frozen=True):
    """Fails while it is configured."""

    learns: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _ = 1 / 0


class Outside(Unlearning, frozen=True):
    """Has a default that its own range excludes."""

    learns: ClassVar[bool] = False
    strength: Annotated[float, Meta(gt=0, description="factor")] = -1.0


class Troubled(Config, frozen=True):
    """A dataset that fails in one of its functions."""

    trouble: Annotated[Literal["card", "index", "read", "folds", "file"], Meta(description="which")] = "card"

    @property
    def card(self) -> Card:
        """Describe it."""
        self._fail("card")
        return Card(
            name="troubled",
            title="",
            task="detection",
            modality="audio",
            licence="",
            citation="",
            columns={},
            claims=(),
            scopes={"all": ()},
            groups=(),
            metrics="dcase2020",
            item_shape=(8,),
            sample_rate=8,
        )

    def index(self, root: Path) -> Iterator[Row]:
        """List one item."""
        self._fail("index")
        yield Row(source=PurePosixPath("item"), columns={}, label=NORMAL)

    def read(self, root: Path, source: PurePosixPath) -> NDArray[np.float32]:
        """Return silence."""
        self._fail("read")
        if self.trouble == "file":
            raise FileNotFoundError(2, "no such tape")
        return np.zeros(8, dtype=np.float32)

    def folds(self, rows: Sequence[Row]) -> Sequence[Fold]:
        """Train and test on the same item."""
        self._fail("folds")
        return [Fold(name="all", train=[0], test=[0])]

    def _fail(self, place: str) -> None:
        if place == self.trouble:
            raise LookupError(f"no {place}")


MODELS: Mapping[str, type] = {
    "untrained": Untrained,
    "batched": Batched,
    "flat": Flat,
    "uneven": Uneven,
    "nameless": Nameless,
    "segmented": Segmented,
    "slicing": Slicing,
    "prying": Prying,
    "averaging": Averaging,
    "bare": Bare,
    "foreign": Foreign,
    "maturing": Maturing,
    "without_info": WithoutInfo,
    "quitting": Quitting,
    "without_held": WithoutHeld,
    "without_fit": WithoutFit,
    "without_anything": WithoutAnything,
}
FEATURIZERS: Mapping[str, type[Featurizer]] = {
    "long_featurizer": LongFeaturizer,
    "empty_featurizer": EmptyFeaturizer,
}
SCORERS: Mapping[str, type[Scorer]] = {
    "empty_scorer": EmptyScorer,
    "unlearning": Unlearning,
    "dividing": Dividing,
    "mistaken": Mistaken,
    "secretive": Secretive,
    "outside": Outside,
}


def entries(classes: Mapping[str, type]) -> list[Entry]:
    """Return an entry for each class."""
    return [
        Entry(name=name, build=lazy(f"{__name__}:{one.__name__}"), summary=one.__doc__ or "")
        for name, one in classes.items()
    ]


def method(name: str, **fields: Any) -> Method:
    """Return a method of one part of this plugin, and sound ones."""
    sound = {
        "featurizer": "logmel",
        "model": "untrained",
        "scorer": "mahalanobis",
        "defaults": {"n_mels": 16},
    }
    return Method(name=name, title=name, paper="none", **(sound | fields))


@hookimpl
def asdbench_models() -> list[Entry]:
    """Offer the models."""
    return entries(MODELS)


@hookimpl
def asdbench_featurizers() -> list[Entry]:
    """Offer the featurizers."""
    return entries(FEATURIZERS)


@hookimpl
def asdbench_scorers() -> list[Entry]:
    """Offer the scorers."""
    return entries(SCORERS)


@hookimpl
def asdbench_datasets() -> list[Entry]:
    """Offer the dataset."""
    return entries({"troubled": Troubled})


@hookimpl
def asdbench_figures() -> list[Entry]:
    """Offer a figure that cannot be drawn; its name comes before the others."""
    return [Entry(name="absent", build=lazy(f"{__name__}:absent"), summary="nothing")]


def absent(run: Any) -> Any:
    """Fail."""
    return run.no_such_thing


@hookimpl
def asdbench_ensembles() -> list[Ensemble]:
    """Offer an ensemble with a member that does not exist."""
    members = (Selector("untrained"), Selector("no_such_method"))
    misspelt = (Selector("idnn", {"epoch": "3"}), Selector("autoencoder"))
    return [
        Ensemble(name="with_a_stranger", title="", paper="none", members=members),
        Ensemble(name="with_an_option", title="", paper="none", members=misspelt),
    ]


@hookimpl
def asdbench_presets() -> list[Preset]:
    """Offer a preset with an unknown option of a dataset, and one with an unknown option of a method."""
    runs = {
        "broken/data": PresetRun(
            dataset=Selector("synthetic", {"id": "1"}), methods=(Selector("untrained"),)
        ),
        "broken/method": PresetRun(
            dataset=Selector("synthetic"), methods=(Selector("idnn", {"epoch": "3"}),)
        ),
    }
    return [Preset(name=name, summary="", runs=(run,)) for name, run in runs.items()]


@hookimpl
def asdbench_methods() -> list[Method]:
    """Offer a method with each part, and some with parts that do not exist."""
    return [
        *(method(name, model=name) for name in MODELS),
        *(
            Method(
                name=name, title=name, paper="none", featurizer=name, model="untrained", scorer="mahalanobis"
            )
            for name in FEATURIZERS
        ),
        *(method(name, scorer=name) for name in SCORERS),
        method("misspelt", defaults={"n_mel": 16}),
        method("needy", defaults={"n_mel": 16}, requires={"encoder": "a file"}),
        method("small", defaults={"n_mels": 0}),
        method("misplaced", on={"synthetic": Setting(options={"epoch": 3})}),
        method("misfitting", units={"fan": {"reg": -1}}, presets={"deep": {"n_mels": 8}}),
        method("misnamed", presets={"deep": {"depth": 4}}),
        method("misread", defaults={"n_mels": 16, "on": "embeding"}),
        method("lost_model", model="no_such_model"),
        method("lost_scorer", scorer="no_such_scorer"),
    ]
