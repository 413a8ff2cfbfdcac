"""BEATs, adapted by LoRA to the classes that training attributes name; scorers read the adapted encoder, not the head."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from msgspec import Meta
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from asdbench import DataError, Info, Items, Stage, Trainer, to_device
from asdbench.blocks import Mixup, SoftSubclusterAdaCos, soft_cross_entropy
from asdbench_plugins.encoders.attentive import AttentiveStatistics
from asdbench_plugins.encoders.beats import Beats
from asdbench_plugins.encoders.fbank import RATE
from asdbench_plugins.encoders.frozen import CLIPS, BeatsConfig, FrozenBeats
from asdbench_plugins.encoders.lora import Projection, adapt
from asdbench_plugins.encoders.pseudo_labels import classes_of

PROJECTIONS: Mapping[str, tuple[Projection, ...]] = {
    "qv": ("q_proj", "v_proj"),
    "qkv": ("q_proj", "k_proj", "v_proj"),
}


class TunedConfig(BeatsConfig, frozen=True, kw_only=True):
    """Options of the adaptation, besides those of the frozen encoder."""

    rank: Annotated[int, Meta(ge=1, description="rank of the terms")] = 64
    alpha: Annotated[float, Meta(gt=0, description="terms are multiplied by alpha / rank")] = 8.0
    adapted: Annotated[Literal["qv", "qkv"], Meta(description="projections of attention with a term")] = "qv"
    dims: Annotated[int, Meta(ge=2, description="size of the vector that is classified")] = 256
    sub_clusters: Annotated[int, Meta(ge=1, description="centres per class; 1: AdaCos")] = 16
    dynamic: Annotated[bool, Meta(description="adapt the scale of the cosines during training")] = False
    cluster_share: Annotated[
        float, Meta(ge=0, le=1, description="clusters per item of a machine without attributes")
    ] = 0.008
    mixup: Annotated[float, Meta(ge=0, le=1, description="probability that a wave is mixed with another")] = (
        0.5
    )
    crop_s: Annotated[
        float, Meta(gt=0, description="seconds of a clip in a training step, at a random place")
    ] = 10.0
    lr: Annotated[float, Meta(gt=0, description="learning rate of AdamW")] = 1e-4
    weight_decay: Annotated[float, Meta(ge=0, description="of AdamW")] = 0.01
    warmup: Annotated[int, Meta(ge=0, description="steps in which the learning rate rises from 0")] = 5000
    epochs: Annotated[int, Meta(ge=0, description="passes over the training items")] = 25
    batch_size: Annotated[int, Meta(ge=2, description="clips per step")] = 8
    checkpoint_every: Annotated[int, Meta(ge=1, description="epochs between checkpoints")] = 25


class TunedBeats(FrozenBeats):
    """BEATs with low-rank terms: waves ``[n, samples]`` at 16 kHz -> ``[n, vectors, dims]``, as of the frozen encoder.

    A checkpoint holds the terms, the head and the SHA-256 of the file, not its weights.

    Outputs: ``embedding`` ``[n, segments, dims]``, pooled before the head.
    """

    Config = TunedConfig
    keep_outputs: ClassVar[bool] = False
    """Embeddings depend on the training, and not on the file alone."""

    def __init__(self, config: TunedConfig, info: Info) -> None:
        """Load the network and add terms and head; see ``FrozenBeats`` for errors."""
        super().__init__(config, info)
        network = self._beats
        self._layers, self.terms = adapt(
            network, projections=PROJECTIONS[config.adapted], rank=config.rank, alpha=config.alpha
        )
        self.pool = AttentiveStatistics(network.shape.encoder_embed_dim, dims=config.dims)
        self.head = SoftSubclusterAdaCos(
            config.dims, sub_clusters=config.sub_clusters, dynamic=config.dynamic
        )

    def fit(self, train: Items, held: Items, trainer: Trainer) -> None:
        """Label the items, then train terms and head to classify them.

        Raises:
            DataError: There are fewer than two training items or classes.
        """
        super().fit(train, held, trainer)
        labels = self._labels(train, trainer)
        self.head.resize(labels.shape[1])
        trained = [*self.terms.parameters(), *self.pool.parameters(), *self.head.parameters()]
        size = self.config.batch_size

        def losses(batch: Tensor, step: int) -> Iterator[tuple[str, Tensor]]:
            drawn = Mixup.draw(len(batch), probability=self.config.mixup)
            mixup = drawn.sent(lambda tensor: to_device(tensor, labels.device))
            soft = mixup.of(labels[to_device(batch, labels.device)])
            vectors = self.pool(self.tokens(mixup.of(self._crops(train[batch]))))
            yield "scadacos", soft_cross_entropy(self.head(vectors, soft), soft)

        trainer.run(
            Stage(
                name="adapt",
                module=self,
                optimizers={
                    "scadacos": torch.optim.AdamW(
                        trained, lr=self.config.lr, weight_decay=self.config.weight_decay
                    )
                },
                epochs=self.config.epochs,
                batches=lambda generator: _batches(len(train), size, generator=generator),
                losses=losses,
                factor=lambda epoch, step: min(1.0, (step + 1) / max(1, self.config.warmup)),
                every=self.config.checkpoint_every,
                steps=len(train) // size + (len(train) % size > 1),
            )
        )

    def tokens(self, waves: Tensor) -> Tensor:
        """Return the tokens ``[B, N, d]`` of waves ``[B, samples]``, with the terms."""
        with torch.autocast(waves.device.type, enabled=False):
            spectrogram = self.spectrogram(waves)
        tokens: Tensor = self._beats(spectrogram, layer=self.config.layer)
        return tokens

    @torch.no_grad()
    def frozen_means(self, items: Items) -> NDArray[np.float32]:
        """Return the time means of all bands in one vector, ``[n, bands * d]``, of the encoder as published."""
        bands = self._beats.shape.bands
        self._enable(False)
        try:
            pieces = [
                tokens.float().reshape(len(tokens), -1, bands * tokens.shape[2]).mean(dim=1).cpu()
                for tokens in (self.tokens(batch.raw()) for batch in items.batches(CLIPS))
            ]
        finally:
            self._enable(True)
        return torch.cat(pieces).numpy()

    def _labels(self, train: Items, trainer: Trainer) -> Tensor:
        """Return one-hot labels of the items, ``[n, classes]``."""
        names, codes, clusters = classes_of(
            train.claim.cpu().numpy(),
            train.columns,
            share=self.config.cluster_share,
            features=lambda members: self.frozen_means(train[members]),
        )
        if len(train) < 2 or len(names) < 2:
            raise DataError(
                "fine-tuning needs at least 2 training items of 2 classes (machine ID, attributes, domain), "
                f"found {len(train)} of {len(names)}: use scope=all, or a dataset with attributes"
            )
        trainer.rule(
            f"{len(names)} classes of training items, {clusters} of them clusters of items without attributes"
        )
        return to_device(F.one_hot(torch.from_numpy(codes), len(names)).float(), train.claim.device)

    def _crops(self, items: Items) -> Tensor:
        """Return waves of at most ``crop_s`` seconds, each from a random place; drawn from torch's global generator."""
        length, whole = int(self.config.crop_s * RATE), self.info.item_shape[0]
        if whole <= length:
            return items.raw()
        return items.raw(offset=torch.randint(whole - length + 1, (len(items),)), length=length)

    def _enable(self, enabled: bool) -> None:
        for layer in self._layers:
            layer.enabled = enabled

    @property
    def _beats(self) -> Beats:
        network = self._network[0]
        assert isinstance(network, Beats)
        return network


def _batches(count: int, size: int, *, generator: torch.Generator) -> Iterable[Tensor]:
    """Return the numbers below ``count``, shuffled, in batches; a last batch of one is dropped, as batch norm needs two."""
    order = torch.randperm(count, generator=generator)
    return (batch for batch in torch.split(order, size) if len(batch) > 1)
