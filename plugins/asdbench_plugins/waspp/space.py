"""What ``asdbench tune`` searches of WASPP-Net, and the 32 multi-scale modules of the paper's tables."""

from __future__ import annotations

from asdbench import Between, OneOf, Space

SPACE: Space = {
    "lr": Between(low=1e-5, high=1e-2, log=True),
    "batch_size": OneOf(values=(16, 32, 64)),
    "trunk_norm": OneOf(values=("convolutions", "dense")),
    "initialisation": OneOf(values=("glorot", "he", "torch")),
}
MODULES: Space = {
    "variant": OneOf(values=("base",)),
    "kind": OneOf(values=("spp", "aspp")),
    "branches": OneOf(values=(2, 3, 4, 5)),
    "after": OneOf(values=(1, 2)),
    "wiring": OneOf(values=("direct", "waterfall")),
}
