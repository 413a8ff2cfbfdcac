"""STgram-MFN with and without AFPA: a classifier of machine IDs; a low probability of the claim is anomalous."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated

import torch
from msgspec import Meta
from torch import Tensor, nn
from torch.nn import functional as F

from asdbench import Config, ConfigError, DataError, Info, Items, ItemView, Model, Stage, Trainer
from asdbench.blocks import ArcFace, claim_nll
from asdbench_plugins.stgram_afpa.afpa import FrequencyAttention, ScaleBy
from asdbench_plugins.stgram_afpa.mobilefacenet import MfnSetting, MobileFaceNet
from asdbench_plugins.stgram_afpa.schedule import Schedule, factor_of
from asdbench_plugins.stgram_afpa.tgram import TgramNet

EMBEDDING_DIMS = 128


class StgramConfig(Config, frozen=True, kw_only=True):
    """Options of the network and its training; the defaults are ASD-AFPA's."""

    afpa: Annotated[bool, Meta(description="attention over frequency before the fusion")] = True
    heads: Annotated[
        int, Meta(ge=1, description="segments of the time axis in AFPA; must divide the frames")
    ] = 6
    bias: Annotated[bool, Meta(description="biases in AFPA's projections")] = False
    out_proj: Annotated[bool, Meta(description="one more projection after AFPA's heads")] = False
    scale_by: Annotated[
        ScaleBy, Meta(description="AFPA divides by the square root of a head's or of all frames")
    ] = "head"
    mfn_setting: Annotated[MfnSetting, Meta(description="bottlenecks of MobileFaceNet")] = "original"
    wave_kernel: Annotated[int, Meta(ge=1, description="kernel of TgramNet's first convolution, samples")] = (
        1024
    )
    wave_hop: Annotated[int, Meta(ge=1, description="its stride; must equal the hop of the features")] = 512
    margin: Annotated[float, Meta(ge=0, lt=3.1415926, description="ArcFace margin, radians")] = 1.0
    scale: Annotated[float, Meta(gt=0, description="ArcFace scale")] = 30.0
    sub_centers: Annotated[int, Meta(ge=1, description="ArcFace sub-centres per class")] = 1
    easy_margin: Annotated[bool, Meta(description="ArcFace margin only below 90 degrees")] = False
    lr: Annotated[float, Meta(gt=0, description="learning rate of Adam")] = 1e-4
    weight_decay: Annotated[float, Meta(ge=0, description="L2 penalty of Adam")] = 0.0
    epochs: Annotated[int, Meta(ge=0, description="passes over the training items")] = 200
    batch_size: Annotated[int, Meta(ge=2, description="clips per step")] = 128
    drop_last: Annotated[bool, Meta(description="drop an epoch's last, smaller batch")] = True
    schedule: Annotated[Schedule, Meta(description="learning rate over the epochs")] = "cosine"
    start_epoch: Annotated[int, Meta(ge=0, description="epochs at the full learning rate")] = 20
    eta_min_factor: Annotated[
        float, Meta(ge=0, le=1, description="smallest multiple of the learning rate")
    ] = 0.1
    checkpoint_every: Annotated[int, Meta(ge=1, description="epochs between checkpoints")] = 10
    channels_last: Annotated[
        bool, Meta(description="memory layout of MobileFaceNet; faster, same result")
    ] = True


class StgramModel(Model):
    """TgramNet and (attended) log-mel, MobileFaceNet, ArcFace over the claims.

    Outputs: ``claim_nll`` and ``claim_nll_without_margin`` ``[n, 1]``, the negative log-probability of the
    claim with and without ArcFace's margin on it (NaN for a claim outside this unit), and ``embedding``
    ``[n, 1, 128]``.
    """

    Config = StgramConfig

    def __init__(self, config: StgramConfig, info: Info) -> None:
        """Build the network for the shapes in ``info``.

        Raises:
            ConfigError: There are too few classes, the features are not log-mel of the waves, or ``heads``
                does not divide their frames.
        """
        super().__init__(config, info)
        mels, frames = _feature_shape(info)
        self.attention = (
            FrequencyAttention(
                frames,
                heads=config.heads,
                bias=config.bias,
                out_proj=config.out_proj,
                scale_by=config.scale_by,
            )
            if config.afpa
            else nn.Identity()
        )
        self.tgram = TgramNet(
            samples=info.item_shape[0],
            mels=mels,
            frames=frames,
            kernel=config.wave_kernel,
            hop=config.wave_hop,
        )
        self.mobilefacenet = MobileFaceNet(
            channels=2, height=mels, width=frames, dims=EMBEDDING_DIMS, setting=config.mfn_setting
        )
        self.head = ArcFace(
            EMBEDDING_DIMS,
            len(info.classes),
            margin=config.margin,
            scale=config.scale,
            sub_centers=config.sub_centers,
            easy_margin=config.easy_margin,
        )
        self._layout = torch.channels_last if config.channels_last else torch.contiguous_format
        self.mobilefacenet.to(memory_format=self._layout)  # type: ignore[call-overload]

    def forward(self, waves: Tensor, features: Tensor) -> Tensor:
        """Return embeddings ``[B, 128]`` of waves ``[B, samples]`` and their features ``[B, mels, T]``."""
        # Eq. 9: both features are channels of one image.
        fused = torch.stack([self.attention(features), self.tgram(waves)], dim=1)  # [B, 2, mels, T]
        embedding: Tensor = self.mobilefacenet(fused.contiguous(memory_format=self._layout))
        return embedding

    def fit(self, train: Items, held: Items, trainer: Trainer) -> None:
        """Train all parts together to classify the claims.

        A training set smaller than a batch is one batch. A last batch of one item is always dropped, because
        batch norm needs at least two.

        Raises:
            DataError: There are fewer than two training items.
        """
        if len(train) < 2:
            raise DataError(f"batch norm needs at least 2 training items, found {len(train)}")
        size = min(self.config.batch_size, len(train))
        # Without drop_last, a single leftover item would still stop batch norm.
        drop_last = self.config.drop_last or len(train) % size == 1
        steps = len(train) // size if drop_last else -(-len(train) // size)
        forward = trainer.accelerate(self)

        def losses(batch: Items, step: int) -> Iterator[tuple[str, Tensor]]:
            embedding = forward(batch.raw(), batch.features())
            yield "arcface", F.cross_entropy(self.head(embedding, batch.claim), batch.claim)

        trainer.run(
            Stage(
                name="train",
                module=self,
                optimizers={"arcface": self._adam()},
                epochs=self.config.epochs,
                batches=lambda generator: train.batches(size, generator=generator, drop_last=drop_last),
                losses=losses,
                factor=self._factor(steps),
                every=self.config.checkpoint_every,
                steps=steps,
            )
        )

    def outputs(self, items: ItemView) -> Mapping[str, Tensor]:
        """Return ``claim_nll``, ``claim_nll_without_margin`` ``[n, 1]`` and ``embedding`` ``[n, 1, 128]``."""
        embedding = self(items.raw(), items.features())
        cosines = self.head.cosines(embedding)
        known = items.claim.clamp_min(0)  # -1: outside the unit; claim_nll turns those into NaN
        return {
            "claim_nll": claim_nll(self.head.logits(cosines, known), items.claim),
            "claim_nll_without_margin": claim_nll(self.head.logits(cosines), items.claim),
            "embedding": embedding.float().unsqueeze(1),
        }

    def explain(self, items: Items) -> Mapping[str, Tensor]:
        """Return AFPA's attention and attended features, for the paper's Fig. 2.

        Returns:
            ``features`` X_F ``[n, mels, T]`` in dB, ``attention`` D ``[n, heads, mels, mels]`` with rows that
            sum to 1, and ``attended`` X^_F ``[n, mels, T]``.

        Raises:
            ConfigError: The model has no AFPA.
        """
        if not isinstance(self.attention, FrequencyAttention):
            raise ConfigError("afpa=false has no attention to explain: use afpa=true")
        features = items.features()
        attention, attended = self.attention.explain(features)
        return {"features": features, "attention": attention, "attended": attended}

    def _adam(self) -> torch.optim.Adam:
        return torch.optim.Adam(self.parameters(), lr=self.config.lr, weight_decay=self.config.weight_decay)

    def _factor(self, steps: int) -> Callable[[int, int], float]:
        return factor_of(
            self.config.schedule,
            epochs=self.config.epochs,
            steps=steps,
            start_epoch=self.config.start_epoch,
            eta_min_factor=self.config.eta_min_factor,
        )


def _feature_shape(info: Info) -> tuple[int, int]:
    if len(info.feature_shape) != 2 or len(info.item_shape) != 1:
        raise ConfigError(
            "stgram needs mono waves and features [mels, frames], but items have shape "
            f"{list(info.item_shape)} and features {list(info.feature_shape)}: use the featurizer logmel"
        )
    if len(info.classes) < 2:
        raise ConfigError(f"stgram needs at least 2 classes, found {len(info.classes)}: use scope=all")
    mels, frames = info.feature_shape
    return mels, frames
