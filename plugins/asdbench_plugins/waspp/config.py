"""Options of the micro-expression networks; an option of none means the system's own value."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from asdbench import Config
from asdbench_plugins.waspp.base import TrunkNorm
from asdbench_plugins.waspp.systems import Kind, Wiring

Variant = Literal[
    "base",
    "spp_i", "spp_ii", "spp_iii", "spp_iv", "spp_v", "spp_vi", "spp_vii", "spp_viii",
    "aspp_i", "aspp_ii", "aspp_iii", "aspp_iv", "aspp_v", "aspp_vi", "aspp_vii", "aspp_viii",
    "dsppnet", "wsppnet", "dasppnet", "wasppnet",
    "vggm", "alexnet", "dualinception", "ststnet", "offapexnet",
]  # fmt: skip
Initialisation = Literal["glorot", "he", "torch"]


class WasppConfig(Config, frozen=True, kw_only=True):
    """Options of one network and its training."""

    variant: Annotated[Variant, Meta(description="system of the paper's tables")] = "wasppnet"
    kind: Annotated[
        Kind | None, Meta(description="multi-scale module of the base CNN; none: the variant's")
    ] = None
    branches: Annotated[
        Annotated[int, Meta(ge=1, le=16)] | None,
        Meta(description="number of its branches; none: the variant's"),
    ] = None
    after: Annotated[
        Annotated[int, Meta(ge=1, le=2)] | None,
        Meta(description="convolution that it follows, 1 or 2; none: the variant's"),
    ] = None
    wiring: Annotated[
        Wiring | None,
        Meta(description="branches read the module's input or the previous branch; none: the variant's"),
    ] = None
    trunk_norm: Annotated[
        TrunkNorm,
        Meta(description="batch norm after convolutions 1 and 2, or after 1 and the dense layers"),
    ] = "convolutions"
    width: Annotated[
        float,
        Meta(
            gt=0,
            le=4,
            description="factor for all channels of the base CNN, VGG-M and AlexNet; 1: the paper's",
        ),
    ] = 1.0
    input_size: Annotated[
        Annotated[int, Meta(ge=18, le=512)] | None,
        Meta(description="side of the base CNN's images in pixels; none: 75. Other networks keep their own"),
    ] = None
    dropout: Annotated[
        Annotated[float, Meta(ge=0, lt=1)] | None,
        Meta(description="dropout of the compared networks; none: the variant's"),
    ] = None
    initialisation: Annotated[
        Initialisation, Meta(description="uniform Glorot, normal He (both with zero biases) or torch's own")
    ] = "glorot"
    channels_last: Annotated[bool, Meta(description="channels-last memory layout; faster, same result")] = (
        True
    )
    lr: Annotated[
        Annotated[float, Meta(gt=0)] | None, Meta(description="learning rate of Adam; none: the variant's")
    ] = None
    batch_size: Annotated[
        Annotated[int, Meta(ge=2)] | None, Meta(description="items per step; none: the variant's")
    ] = None
    epochs: Annotated[
        Annotated[int, Meta(ge=0)] | None, Meta(description="passes over the training items; none: 500")
    ] = None
    checkpoint_every: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="epochs between checkpoints, for selection=test; none: only the last"),
    ] = None
