"""A plugin for tests of conformance: a tiny method for each check, which breaks the promise that the check is about.

All are a linear classifier of claims on band energies, or what is left of it; ``sound`` breaks nothing.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from msgspec import Meta
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from asdbench import (
    Config,
    Entry,
    Featurizer,
    Info,
    ItemContext,
    Items,
    ItemView,
    Method,
    Model,
    Outputs,
    Scorer,
    Stage,
    State,
    Trainer,
    hookimpl,
    lazy,
)

BANDS = 16
OUTSIDE = Path(__file__).with_name("left_by_a_bad_plugin")


class Bands(Featurizer):
    """Log energies of bands of equal width."""

    def forward(self, raw: Tensor) -> Tensor:
        """Return ``[n, bands]``."""
        power = torch.fft.rfft(raw).abs().square()[:, 1:]
        return F.adaptive_avg_pool1d(power.unsqueeze(1), BANDS).squeeze(1).add(1e-3).log()


class SoundConfig(Config, frozen=True, kw_only=True):
    """Options."""

    epochs: Annotated[int, Meta(ge=1, description="passes over the training items")] = 2


class Sound(Model):
    """Breaks nothing."""

    Config = SoundConfig

    def __init__(self, config: Any, info: Info) -> None:
        super().__init__(config, info)
        self.register_buffer("mean", torch.zeros(BANDS))
        self.layer = nn.Linear(BANDS, len(info.classes))

    def fit(self, train: Items, held: Items, trainer: Trainer) -> None:
        """Train it, with a temporary folder, which is allowed."""
        with tempfile.TemporaryDirectory() as folder:
            np.save(Path(folder, "features.npy"), train.features().numpy())
            self.mean.copy_(torch.from_numpy(np.load(Path(folder, "features.npy")).mean(axis=0)))

        def losses(batch: Items, step: int) -> Iterator[tuple[str, Tensor]]:
            yield "nll", F.cross_entropy(self.layer(batch.features() - self.mean), batch.claim)

        optimizer = torch.optim.SGD(self.parameters(), lr=0.01)
        trainer.run(
            Stage(
                name="train",
                module=self,
                optimizers={"nll": optimizer},
                epochs=self.config.epochs,
                batches=lambda generator: train.batches(8, generator=generator),
                losses=losses,
            )
        )

    def outputs(self, items: ItemView) -> Mapping[str, Tensor]:
        """Return the distance from the mean, weighted a little by the layer."""
        return {"distance": self.distance(items).unsqueeze(1)}

    def distance(self, items: ItemView) -> Tensor:
        """Return ``[n]``."""
        centred = items.features() - self.mean
        return centred.square().mean(dim=1) + 1e-3 * self.layer(centred).abs().mean(dim=1)


class Undescribed(Sound):
    """Has an option without a description."""

    class Config(SoundConfig, frozen=True, kw_only=True):
        """Options."""

        depth: int = 3


class Failing(Sound):
    """Cannot be trained."""

    def fit(self, train: Items, held: Items, trainer: Trainer) -> None:
        """Need what it is not given."""
        raise ValueError("no anomalous items to train on")


class Quitting(Sound):
    """Ends its process."""

    def fit(self, train: Items, held: Items, trainer: Trainer) -> None:
        """Leave."""
        os._exit(3)


class Inverted(Sound):
    """Gives anomalies the lower score."""

    def distance(self, items: ItemView) -> Tensor:
        """Return the negative distance."""
        return -super().distance(items)


class Undefined(Sound):
    """Gives loud items no number."""

    def distance(self, items: ItemView) -> Tensor:
        """Return NaN for some."""
        found = super().distance(items)
        return torch.where(items.claim == 0, torch.full_like(found, torch.nan), found)


class Misshaped(Sound):
    """Makes no output that its scorer reads."""

    def outputs(self, items: ItemView) -> Mapping[str, Tensor]:
        """Return the distance under another name."""
        return {"distances": self.distance(items).unsqueeze(1)}


class Normed(Sound):
    """Normalises with the statistics of the batch, as batch norm does in training mode."""

    def distance(self, items: ItemView) -> Tensor:
        """Return the distance of normalised features."""
        features = items.features()
        found = (features - features.mean(dim=0)) / (features.var(dim=0, correction=0) + 1).sqrt()
        return super().distance(items) * (1 + found.square().mean(dim=1))


class Crowded(Sound):
    """Leaves batch norm in training mode, which refuses a single item."""

    def distance(self, items: ItemView) -> Tensor:
        """Return the distance of normalised features."""
        found = F.batch_norm(items.features(), None, None, training=True)
        return super().distance(items) * (1 + found.square().mean(dim=1))


class Ordered(Sound):
    """Adds the position in the batch."""

    def distance(self, items: ItemView) -> Tensor:
        """Return the distance and the position."""
        return super().distance(items) + torch.arange(len(items))


class Dropping(Sound):
    """Drops features at random when it scores."""

    def distance(self, items: ItemView) -> Tensor:
        """Return the distance of what is left."""
        return super().distance(items) * F.dropout(torch.ones(len(items)), 0.5, training=True)


class Unsaved(Sound):
    """Keeps what it learned in an attribute."""

    def __init__(self, config: Any, info: Info) -> None:
        super().__init__(config, info)
        self.scale = 1.0

    def fit(self, train: Items, held: Items, trainer: Trainer) -> None:
        """Learn a scale."""
        super().fit(train, held, trainer)
        self.scale = float(train.features().std())

    def distance(self, items: ItemView) -> Tensor:
        """Return the distance in the scale."""
        return super().distance(items) / (2 + self.scale)


class Unseeded(Sound):
    """Draws from a generator that nobody seeds."""

    def fit(self, train: Items, held: Items, trainer: Trainer) -> None:
        """Add noise to what is learned."""
        super().fit(train, held, trainer)
        self.mean += torch.from_numpy(np.random.default_rng().normal(scale=0.01, size=BANDS)).float()


class Constant(Sound):
    """Ignores the seed: its weights are always the same, and it is not said to be deterministic."""

    def __init__(self, config: Any, info: Info) -> None:
        super().__init__(config, info)
        nn.init.zeros_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)

    def fit(self, train: Items, held: Items, trainer: Trainer) -> None:
        """Learn the mean alone."""
        self.mean.copy_(train.features().mean(dim=0))


class Greedy(Sound):
    """Learns from all items of the pack, those of the test included."""

    def fit(self, train: Items, held: Items, trainer: Trainer) -> None:
        """Look behind the items."""
        super().fit(train, held, trainer)
        source: Any = train._source
        every = np.arange(len(source.ids))
        self.mean.copy_(train.featurize(torch.cat([source.raw(
            every[k : k + 1], offsets=np.zeros(1, dtype=np.int64), length=source.length
        ) for k in every])).mean(dim=0))  # fmt: skip


class Defaulting(Sound):
    """Computes in double precision, everywhere."""

    def fit(self, train: Items, held: Items, trainer: Trainer) -> None:
        """Set torch's default."""
        super().fit(train, held, trainer)
        torch.set_default_dtype(torch.float64)


class Seeding(Sound):
    """Seeds the generators of everyone."""

    def fit(self, train: Items, held: Items, trainer: Trainer) -> None:
        """Seed Python and numpy."""
        super().fit(train, held, trainer)
        random.seed(0)
        np.random.seed(0)


class Writing(Sound):
    """Leaves a file behind."""

    def fit(self, train: Items, held: Items, trainer: Trainer) -> None:
        """Write it, and do not mind if that is refused."""
        super().fit(train, held, trainer)
        with contextlib.suppress(OSError):
            OUTSIDE.write_text("what I saw")


class Insisting(Sound):
    """Leaves a file behind, and needs it."""

    def fit(self, train: Items, held: Items, trainer: Trainer) -> None:
        """Write it."""
        OUTSIDE.write_text("what I saw")


class Connecting(Sound):
    """Looks for weights on the network."""

    def fit(self, train: Items, held: Items, trainer: Trainer) -> None:
        """Connect, and do without if that is refused."""
        super().fit(train, held, trainer)
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", 9), timeout=1).close()


class Given(Scorer, frozen=True):
    """The output as it is."""

    learns: ClassVar[bool] = False
    on: Annotated[str, Meta(description="output to read")] = "distance"

    def score(self, state: State, outputs: Outputs, context: ItemContext) -> NDArray[np.float64]:
        """Return the output."""
        return outputs[self.on].astype(np.float64)


class Standardising(Given, frozen=True):
    """Standardises by the test set."""

    def score(self, state: State, outputs: Outputs, context: ItemContext) -> NDArray[np.float64]:
        """Return standard scores."""
        given = outputs[self.on].astype(np.float64)
        return (given - given.mean()) / (given.std() + 1e-6)


MODELS: Mapping[str, type[Model]] = {
    one.__name__.lower(): one
    for one in (
        Sound, Undescribed, Failing, Quitting, Inverted, Undefined, Misshaped, Normed, Crowded, Ordered, Dropping,
        Unsaved, Unseeded, Constant, Greedy, Defaulting, Seeding, Writing, Insisting, Connecting,
    )
}  # fmt: skip


def _entries(*classes: type) -> list[Entry]:
    return [
        Entry(name=one.__name__.lower(), build=lazy(f"{__name__}:{one.__name__}"), summary=one.__doc__ or "")
        for one in classes
    ]


@hookimpl
def asdbench_featurizers() -> list[Entry]:
    """Offer the featurizer."""
    return _entries(Bands)


@hookimpl
def asdbench_models() -> list[Entry]:
    """Offer the models."""
    return _entries(*MODELS.values())


@hookimpl
def asdbench_scorers() -> list[Entry]:
    """Offer the scorers."""
    return _entries(Given, Standardising)


@hookimpl
def asdbench_methods() -> list[Method]:
    """Offer a method with each model, one with each scorer, and two that are wrong about being deterministic."""
    parts = [(name, name, "given", False) for name in MODELS]
    parts += [("standardising", "sound", "standardising", False), ("mistaken", "sound", "given", True)]
    return [
        Method(
            name=name, title=name, paper="none", featurizer="bands", model=model, scorer=scorer, classes=2,
            deterministic=deterministic,
        )
        for name, model, scorer, deterministic in parts
    ]  # fmt: skip
