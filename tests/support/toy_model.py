"""The model of the toy plugin: small and honest, with ways for its job to go wrong."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from msgspec import Meta
from torch import Tensor, nn
from torch.nn import functional as F

from asdbench import Config, Info, Items, ItemView, Model, Stage, Trainer


class ToyConfig(Config, frozen=True, kw_only=True):
    """Options of the toy."""

    epochs: Annotated[int, Meta(description="passes over the training items")] = 3
    checkpoint_every: Annotated[int, Meta(description="epochs between checkpoints")] = 1
    pause_s: Annotated[float, Meta(description="seconds that every step takes")] = 0.0
    trouble: Annotated[
        str, Meta(description="what goes wrong: broken or gone while the model is built, else in fit")
    ] = ""
    on: Annotated[str, Meta(description="the machine that has trouble; empty: all")] = ""
    file: Annotated[str, Meta(description="a file that fit writes what it sees to")] = ""


class Toy(Model):
    """A linear classifier of claims on the mean features, with dropout so that randomness matters."""

    Config = ToyConfig

    def __init__(self, config: ToyConfig, info: Info) -> None:
        super().__init__(config, info)
        if config.trouble == "broken":
            raise ValueError("the toy cannot be built")
        if config.trouble == "gone":
            os._exit(7)
        self.norm = nn.BatchNorm1d(info.feature_shape[0])
        self.layer = nn.Linear(info.feature_shape[0], max(len(info.classes), 2))

    def forward(self, features: Tensor) -> Tensor:
        """Return logits."""
        logits: Tensor = self.layer(F.dropout(self.norm(features.mean(dim=2)), 0.2, self.training))
        return logits

    def fit(self, train: Items, held: Items, trainer: Trainer) -> None:
        """Train, or go wrong."""
        if not self.config.on or self.config.on in self.info.classes[0]:
            _trouble(self.config.trouble, trainer)
        if self.config.file:
            Path(self.config.file).write_text(_all_of(train))

        trainer.rule("a toy rule")
        train = train[train.own]

        def losses(batch: Items, step: int) -> Iterator[tuple[str, Tensor]]:
            time.sleep(self.config.pause_s)
            yield "cross_entropy", F.cross_entropy(self(batch.features()), batch.claim)

        for name in ("first", "second"):
            trainer.run(
                Stage(
                    name=name,
                    module=self,
                    optimizers={"cross_entropy": torch.optim.Adam(self.parameters(), lr=0.01)},
                    epochs=self.config.epochs,
                    batches=lambda generator: train.batches(4, generator=generator, drop_last=True),
                    losses=losses,
                    every=self.config.checkpoint_every,
                )
            )

    def outputs(self, items: ItemView) -> Mapping[str, Tensor]:
        """Return the negative log-probability of the claim, and the mean features."""
        features = items.features()
        logits = self(features).log_softmax(dim=1)
        return {
            "claim_nll": -logits.gather(1, items.claim.clamp_min(0).unsqueeze(1)),
            "embedding": features.mean(dim=2).unsqueeze(1),
        }


def _all_of(thing: object, *, deep: int = 6) -> str:
    """Return all that can be reached from a thing through attributes, as text; of a folder its files."""
    if isinstance(thing, np.ndarray | Tensor):
        return repr(thing.tolist())
    if isinstance(thing, Mapping):
        return "{" + ", ".join(f"{key!r}: {_all_of(value, deep=deep)}" for key, value in thing.items()) + "}"
    if isinstance(thing, Path):
        return repr([path.read_bytes()[:4096] for path in sorted(thing.iterdir())])
    fields = getattr(thing, "__dict__", None) if deep and not isinstance(thing, nn.Module) else None
    return f"{thing!r} {_all_of(fields, deep=deep - 1)}" if fields else repr(thing)


def _trouble(kind: str, trainer: Trainer) -> None:
    if kind == "odd" and trainer.settings.seed % 2:
        raise ValueError("an odd seed")
    if kind == "thread":
        threading.Thread(target=time.sleep, args=(600,)).start()
    if kind == "raise":
        raise ValueError("the toy broke")
    if kind == "exit":
        os._exit(3)
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "memory":
        raise MemoryError("no more")
    if kind == "hang":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)
    if kind == "print":
        print("a plugin that talks")
