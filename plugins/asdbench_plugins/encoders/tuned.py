"""Encoders, adapted to the classes that training attributes name; scorers read the adapted encoder, not the head."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, cast

import numpy as np
import torch
from msgspec import Meta
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from asdbench import DataError, Info, Items, Stage, Trainer, to_device
from asdbench.blocks import Mixup, SoftArcFace, SoftSubclusterAdaCos, soft_cross_entropy
from asdbench_plugins.encoders.attentive import AttentiveStatistics, MeanToken
from asdbench_plugins.encoders.beats import Beats
from asdbench_plugins.encoders.checkpoint import HINT
from asdbench_plugins.encoders.eat import Eat
from asdbench_plugins.encoders.fbank import RATE
from asdbench_plugins.encoders.frozen import CLIPS, EncoderConfig, FrozenBeats, FrozenTokens
from asdbench_plugins.encoders.lora import adapt
from asdbench_plugins.encoders.pseudo_labels import classes_of
from asdbench_plugins.encoders.vits import EAT_HINT, Frames, FrozenEat, Layers, Tokens


class TuningConfig(EncoderConfig, frozen=True, kw_only=True):
    """Options of the adaptation, besides those of the frozen encoder."""

    rank: Annotated[int, Meta(ge=1, description="rank of the terms")] = 64
    alpha: Annotated[float, Meta(gt=0, description="terms are multiplied by alpha / rank")] = 8.0
    head: Annotated[
        Literal["attentive", "linear", "norm_linear"],
        Meta(
            description="from the last layer's tokens to the vector that is classified: attentive statistics; the mean "
            "token through a linear layer, or through batch norm and a linear layer"
        ),
    ] = "attentive"
    dims: Annotated[int, Meta(ge=2, description="size of the vector that is classified")] = 256
    scored: Annotated[
        Literal["tokens", "vector"],
        Meta(
            description="what scorers read: pooled tokens of the chosen layer, or the vector that is classified"
        ),
    ] = "tokens"
    loss: Annotated[
        Literal["scadacos", "arcface"],
        Meta(description="scadacos: sub-cluster AdaCos; arcface: with a margin"),
    ] = "scadacos"
    sub_clusters: Annotated[int, Meta(ge=1, description="centres per class; 1: AdaCos, or ArcFace")] = 16
    dynamic: Annotated[bool, Meta(description="scadacos: adapt the scale during training")] = False
    margin: Annotated[float, Meta(ge=0, description="arcface: angle added to that of the true class")] = 0.5
    scale: Annotated[float, Meta(gt=0, description="arcface: factor of the cosines")] = 30.0
    cluster_share: Annotated[
        float, Meta(ge=0, le=1, description="clusters per item of a machine without attributes")
    ] = 0.008
    mixup: Annotated[float, Meta(ge=0, le=1, description="probability that a wave is mixed with another")] = (
        0.5
    )
    mixup_alpha: Annotated[
        float, Meta(gt=0, description="shares are drawn from Beta(alpha, alpha); 1: all are as likely")
    ] = 1.0
    crop_s: Annotated[
        float, Meta(gt=0, description="seconds of a clip in a training step, at a random place")
    ] = 10.0
    lr: Annotated[float, Meta(gt=0, description="learning rate of AdamW")] = 1e-4
    weight_decay: Annotated[float, Meta(ge=0, description="of AdamW")] = 0.01
    warmup: Annotated[int, Meta(ge=0, description="steps in which the learning rate rises from 0")] = 5000
    halve_every: Annotated[int, Meta(ge=0, description="epochs after which the rate halves; 0: never")] = 0
    clip_norm: Annotated[float, Meta(ge=0, description="largest norm of the gradient; 0: any")] = 0.0
    epochs: Annotated[int, Meta(ge=0, description="passes over the training items")] = 25
    batch_size: Annotated[int, Meta(ge=2, description="clips per step")] = 8
    checkpoint_every: Annotated[int, Meta(ge=1, description="epochs between checkpoints")] = 25


class Tuned(FrozenTokens):
    """An encoder that is adapted: waves ``[n, samples]`` at 16 kHz -> ``[n, vectors, dims]``, as of the frozen encoder.

    With low-rank terms, a checkpoint holds the terms, the head and the SHA-256 of the file; with ``adapted=all``, where
    every weight is trained, it holds all of them.

    Outputs: ``embedding`` ``[n, segments, dims]``, pooled before the head; with ``scored=vector`` behind it.
    """

    keep_outputs: ClassVar[bool] = False
    """Embeddings depend on the training, and not on the file alone."""
    projections: ClassVar[Mapping[str, tuple[str, ...]]]
    """Value of ``adapted`` -> names of the projections of attention that get a term."""

    def __init__(self, config: Any, info: Info) -> None:
        """Load the network and add what is trained; see ``FrozenTokens`` for errors."""
        super().__init__(config, info)
        if config.adapted == "all":
            self.encoder = self.network.requires_grad_(True)
            self.terms = nn.ModuleDict()
        else:
            chosen = self.projections[config.adapted]
            self.terms = adapt(self.attentions(), projections=chosen, rank=config.rank, alpha=config.alpha)
        self.pool = self._pooling()
        self.head: SoftArcFace | SoftSubclusterAdaCos
        if config.loss == "arcface":
            self.head = SoftArcFace(
                config.dims, margin=config.margin, scale=config.scale, sub_clusters=config.sub_clusters
            )
        else:
            self.head = SoftSubclusterAdaCos(
                config.dims, sub_clusters=config.sub_clusters, dynamic=config.dynamic
            )

    @property
    @abstractmethod
    def width(self) -> int:
        """Size of a token."""
        raise NotImplementedError(f"{type(self).__name__} must define width")

    @abstractmethod
    def attentions(self) -> Iterable[nn.Module]:
        """Return the attention of every layer, which has the projections."""
        raise NotImplementedError(f"{type(self).__name__} must define attentions")

    def fit(self, train: Items, held: Items, trainer: Trainer) -> None:
        """Label the items, then train encoder and head to classify them.

        Raises:
            DataError: There are fewer than two training items or classes.
        """
        super().fit(train, held, trainer)
        labels = self._labels(train, trainer)
        self.head.resize(labels.shape[1])
        config, size = self.config, self.config.batch_size

        def losses(batch: Tensor, step: int) -> Iterator[tuple[str, Tensor]]:
            drawn = Mixup.draw(len(batch), probability=config.mixup, alpha=config.mixup_alpha)
            mixup = drawn.sent(lambda tensor: to_device(tensor, labels.device))
            soft = mixup.of(labels[to_device(batch, labels.device)])
            vectors = self._vectors(mixup.of(self._crops(train[batch])))
            yield config.loss, soft_cross_entropy(self.head(vectors, soft), soft)

        def factor(epoch: int, step: int) -> float:
            risen = min(1.0, (step + 1) / max(1, config.warmup))
            halvings = epoch // config.halve_every if config.halve_every else 0
            return float(risen * 0.5**halvings)

        trainer.run(
            Stage(
                name="adapt",
                module=self,
                optimizers={config.loss: self._optimizer()},
                epochs=config.epochs,
                batches=lambda generator: _batches(len(train), size, generator=generator),
                losses=losses,
                factor=factor,
                every=config.checkpoint_every,
                steps=len(train) // size + (len(train) % size > 1),
            )
        )

    @torch.no_grad()
    def published_means(self, items: Items) -> NDArray[np.float32]:
        """Return the time means of all bands in one vector, ``[n, bands * d]``, of the encoder as published."""
        adapted = self._network
        # Read anew, because the network of a fit that resumes is no longer as published.
        self._network = (self.loaded(self.path).network.eval().to(self.digest.device),)
        try:
            pieces = [
                self._last_tokens(batch.raw()).float().flatten(2).mean(dim=1).cpu()
                for batch in items.batches(CLIPS)
            ]
        finally:
            self._network = adapted
        return torch.cat(pieces).numpy()

    def _pooling(self) -> nn.Module:
        width, dims = self.width, self.config.dims
        if self.config.head == "attentive":
            return AttentiveStatistics(width, dims=dims)
        return MeanToken(width, dims=dims, norm=self.config.head == "norm_linear")

    def _embedded(self, waves: Tensor) -> Tensor:
        if self.config.scored == "tokens":
            return super()._embedded(waves)
        return self._vectors(waves).float().unsqueeze(1)

    def _vectors(self, waves: Tensor) -> Tensor:
        """Return what is classified, ``[B, dims]``."""
        vectors: Tensor = self.pool(self._last_tokens(waves).flatten(1, 2))
        return vectors

    def _last_tokens(self, waves: Tensor) -> Tensor:
        """Return the last layer's tokens on their grid, ``[B, T, bands, d]``."""
        with torch.autocast(waves.device.type, enabled=False):
            spectrogram = self.spectrogram(waves)
        return self.grid(spectrogram, layer=self.last)

    def _labels(self, train: Items, trainer: Trainer) -> Tensor:
        """Return one-hot labels of the items, ``[n, classes]``."""
        names, codes, clusters = classes_of(
            train.claim.cpu().numpy(),
            train.columns,
            share=self.config.cluster_share,
            features=lambda members: self.published_means(train[members]),
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

    def _optimizer(self) -> torch.optim.Optimizer:
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=self.config.lr, weight_decay=self.config.weight_decay)
        if limit := self.config.clip_norm:
            optimizer.register_step_pre_hook(lambda *_: _clip(trained, limit))
        return optimizer

    def _crops(self, items: Items) -> Tensor:
        """Return waves of at most ``crop_s`` seconds, each from a random place; drawn from torch's global generator."""
        length, whole = int(self.config.crop_s * RATE), self.info.item_shape[0]
        if whole <= length:
            return items.raw()
        return items.raw(offset=torch.randint(whole - length + 1, (len(items),)), length=length)


class TunedBeatsConfig(TuningConfig, frozen=True, kw_only=True):
    """Options of BEATs, adapted."""

    hint = HINT
    adapted: Annotated[
        Literal["qv", "qkv", "all"],
        Meta(
            description="projections of attention with a low-rank term; all: no terms, every weight is trained"
        ),
    ] = "qv"


class TunedBeats(Tuned, FrozenBeats):
    """BEATs, adapted."""

    Config = TunedBeatsConfig
    projections: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "qv": ("q_proj", "v_proj"),
        "qkv": ("q_proj", "k_proj", "v_proj"),
    }

    @property
    def width(self) -> int:
        """Size of a token."""
        return cast(Beats, self.network).shape.encoder_embed_dim

    def attentions(self) -> Iterable[nn.Module]:
        """Return the attention of every layer."""
        return (cast(nn.Module, layer.self_attn) for layer in cast(Beats, self.network).encoder.layers)


class TunedEatConfig(TuningConfig, frozen=True, kw_only=True):
    """Options of EAT and SSLAM, adapted."""

    hint = EAT_HINT
    tokens: Tokens = "clip"
    frames: Frames = None
    layers: Layers = None
    adapted: Annotated[
        Literal["qkv", "all"],
        Meta(
            description="qkv: the projection of attention has a low-rank term; all: every weight is trained"
        ),
    ] = "qkv"


class TunedEat(Tuned, FrozenEat):
    """EAT or SSLAM, adapted."""

    Config = TunedEatConfig
    projections: ClassVar[Mapping[str, tuple[str, ...]]] = {"qkv": ("qkv",)}

    @property
    def width(self) -> int:
        """Size of a token."""
        return cast(Eat, self.network).shape.width

    def attentions(self) -> Iterable[nn.Module]:
        """Return the attention of every layer."""
        return (cast(nn.Module, block.attn) for block in cast(Eat, self.network).blocks)


def _clip(parameters: list[nn.Parameter], limit: float) -> None:
    nn.utils.clip_grad_norm_(parameters, limit)


def _batches(count: int, size: int, *, generator: torch.Generator) -> Iterable[Tensor]:
    """Return the numbers below ``count``, shuffled, in batches; a last batch of one is dropped, as batch norm needs two."""
    order = torch.randperm(count, generator=generator)
    return (batch for batch in torch.split(order, size) if len(batch) > 1)
