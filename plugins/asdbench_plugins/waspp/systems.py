"""The paper's systems as values: network, multi-scale module and training settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["spp", "aspp"]
Wiring = Literal["direct", "waterfall"]
Network = Literal["base", "vggm", "alexnet", "dualinception", "ststnet", "offapexnet"]
NUMERALS = ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii")


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """Training settings of a system."""

    lr: float = 1e-4
    """Learning rate of Adam."""
    batch_size: int = 32
    epochs: int = 500  # Table 12: seconds x frames per second is about 500 passes over the training clips


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """One row of the paper's tables."""

    printed: str
    """Name in the paper's tables."""
    network: Network = "base"
    kind: Kind | None = None
    branches: int = 1
    after: int = 2
    wiring: Wiring = "direct"
    size: int = 75
    """Height and width of its input images."""
    channels: int = 2
    """Channels of its input images: horizontal and vertical flow, then optical strain."""
    dropout: float = 0.0
    training: Training = field(default_factory=Training)


def _systems() -> Iterator[tuple[str, System]]:
    yield "base", System(printed="base CNN")
    kinds: tuple[Kind, Kind] = ("spp", "aspp")
    for kind in kinds:
        for number, numeral in enumerate(NUMERALS):
            yield (
                f"{kind}_{numeral}",
                System(
                    printed=f"{kind.upper()} {numeral.upper()}",
                    kind=kind,
                    # I to IV have 2 to 5 branches after convolution 1, V to VIII the same after convolution 2.
                    branches=2 + number % 4,
                    after=1 + number // 4,
                ),
            )
    yield "dsppnet", System(printed="DSPP-Net", kind="spp", branches=2)
    yield "wsppnet", System(printed="WSPP-Net", kind="spp", branches=2, wiring="waterfall")
    yield "dasppnet", System(printed="DASPP-Net", kind="aspp", branches=3)
    yield "wasppnet", System(printed="WASPP-Net", kind="aspp", branches=3, wiring="waterfall")
    yield "vggm", System(printed="VGG-M", network="vggm", dropout=0.5)
    yield "alexnet", System(printed="AlexNet", network="alexnet", dropout=0.5)
    yield "dualinception", System(printed="DualInception", network="dualinception", size=28)
    yield (
        "ststnet",
        System(
            printed="STSTNet",
            network="ststnet",
            size=28,
            channels=3,
            dropout=0.5,
            training=Training(lr=5e-5, batch_size=256),
        ),
    )
    yield "offapexnet", System(printed="OffApexNet", network="offapexnet", size=28, dropout=0.5)


SYSTEMS: Mapping[str, System] = dict(_systems())
"""Systems by ``variant`` name. DSPP-Net equals SPP V, and DASPP-Net equals ASPP VI."""
