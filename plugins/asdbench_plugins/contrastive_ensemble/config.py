"""Options of the ensemble; the defaults are the paper's, or the choices listed in the plugin's README."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from asdbench import Config
from asdbench_plugins.contrastive_ensemble.networks import Stem
from asdbench_plugins.contrastive_ensemble.spectra import Mixing, Pseudo, SpMode

Order = Literal["alternate", "joint", "sequential"]
Pair = Literal["views", "same_id"]
Dims = Literal[512, 256]
Cosine = Literal["pretrain", "all", "none"]

Epochs = Annotated[int, Meta(ge=0, description="epochs; 0: skip the stage")]
Batch = Annotated[int, Meta(ge=2, description="clips per step")]
Rate = Annotated[float, Meta(gt=0, description="learning rate")]
Decay = Annotated[float, Meta(ge=0, description="weight decay")]


class EnsembleConfig(Config, frozen=True, kw_only=True):
    """Options of the four networks and the four stages of their training."""

    width: Annotated[float, Meta(gt=0, description="factor for GhostNetV2's channels; 1: as published")] = 1.0
    arcface_margin: Annotated[
        float, Meta(ge=0, lt=3.1415926, description="ArcFace's margin in all three classifiers, radians")
    ] = 0.5
    arcface_scale: Annotated[float, Meta(gt=0, description="ArcFace's scale in all three classifiers")] = 30.0
    cosine: Annotated[Cosine, Meta(description="stages whose learning rate follows a cosine")] = "pretrain"
    momentum: Annotated[float, Meta(ge=0, lt=1, description="momentum of the stages with SGD")] = 0.9
    checkpoint_every: Annotated[
        int, Meta(ge=1, description="epochs between checkpoints of the last stage")
    ] = 5

    simsiam: Annotated[bool, Meta(description="pre-train with SimSiam too")] = True
    order: Annotated[
        Order,
        Meta(description="SimSiam and ArcFace in turn within a step, as a sum, or one after the other"),
    ] = "alternate"
    pair: Annotated[
        Pair, Meta(description="SimSiam compares two views of a clip, or of two clips of an ID")
    ] = "views"
    projector_dims: Annotated[int, Meta(ge=1, description="size of SimSiam's projections")] = 2048
    predictor_dims: Annotated[int, Meta(ge=1, description="size of SimSiam's bottleneck")] = 512
    mix: Annotated[Mixing, Meta(description="how clips are mixed for ArcFace")] = "checkerboard"
    mix_lambda: Annotated[float, Meta(ge=0, le=1, description="lambda of eq. 2")] = 0.4
    mix_beta: Annotated[
        Annotated[float, Meta(gt=0)] | None, Meta(description="draw lambda from Beta(b, b) instead")
    ] = None
    label_by_area: Annotated[bool, Meta(description="weigh labels by area instead of lambda")] = False
    pretrain_epochs: Epochs = 50
    pretrain_batch: Batch = 128
    pretrain_lr: Rate = 0.05
    pretrain_weight_decay: Decay = 0.005
    auxiliary_lr: Rate = 0.01
    auxiliary_weight_decay: Decay = 0.01

    max_shift: Annotated[int, Meta(ge=0, description="maximum steps of a time shift")] = 56
    shift_hop: Annotated[int, Meta(ge=1, description="samples per step of a time shift")] = 512
    pitch_semitones: Annotated[
        float, Meta(ge=-60, le=60, description="pitch shift in semitones; -0.2: 20 cents")
    ] = -20.0
    pitch_grain: Annotated[
        int, Meta(ge=4, multiple_of=2, description="samples per grain of the pitch shift")
    ] = 2048
    fade_share: Annotated[float, Meta(ge=0, le=1, description="longest fade as a share of the clip")] = 0.5
    snr_low_db: Annotated[float, Meta(description="lowest signal-to-noise ratio, dB")] = -10.0
    snr_high_db: Annotated[float, Meta(description="highest signal-to-noise ratio, dB")] = 10.0

    pseudo: Annotated[Pseudo, Meta(description="negatives: SF, SP, or either at random")] = "both"
    sp_mode: Annotated[SpMode, Meta(description="SP adds the clip itself, or other clips of the batch")] = (
        "self"
    )
    n_stack: Annotated[int, Meta(ge=1, le=4, description="number of spectrograms that SP adds up")] = 2
    loss_margin: Annotated[float, Meta(ge=0, description="m of eq. 6")] = 0.05
    loss_scale: Annotated[float, Meta(ge=0, description="s of eq. 6")] = 1.0
    loss_alpha: Annotated[float, Meta(description="alpha of eq. 6")] = 0.01
    loss_beta: Annotated[float, Meta(description="beta of eq. 6")] = 0.005
    hinge: Annotated[bool, Meta(description="eq. 6's distance counts only where positive")] = False
    unit_length: Annotated[bool, Meta(description="scale vectors to length 1 for eq. 6")] = True
    finetune_epochs: Epochs = 50
    finetune_batch: Batch = 64
    finetune_lr: Rate = 1e-3
    finetune_weight_decay: Decay = 5e-4

    stem: Annotated[Stem, Meta(description="stride 128, or stride 64 and a pooling by 2")] = "stride_128"
    embedding_dims: Annotated[
        Dims, Meta(description="channels of the last block; size of both embeddings")
    ] = 512
    conv_bias: Annotated[bool, Meta(description="biases in the time CNN's convolutions")] = False
    time_epochs: Epochs = 200
    time_batch: Batch = 128
    time_lr: Rate = 0.005
    time_weight_decay: Decay = 5e-4

    fusion_epochs: Epochs = 20
    fusion_batch: Batch = 128
    fusion_lr: Rate = 0.05
    fusion_weight_decay: Decay = 0.005
