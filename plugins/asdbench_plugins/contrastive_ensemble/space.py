"""What ``asdbench tune`` searches of the contrastive ensemble, and the choices of the paper's ablations."""

from __future__ import annotations

from asdbench import Between, OneOf, Space

SPACE: Space = {
    "arcface_margin": Between(low=0.1, high=0.9),
    "mix": OneOf(values=("checkerboard", "mixup", "none")),
    "mix_lambda": Between(low=0.1, high=0.9, when={"mix": ("checkerboard", "mixup")}),
    "pseudo": OneOf(values=("both", "sf", "sp")),
    "loss_margin": Between(low=0.01, high=0.5, log=True),
    "second_weight": Between(low=0.01, high=1.0, log=True),
}
ABLATIONS: Space = {
    "mix": OneOf(values=("checkerboard", "mixup")),
    "pseudo": OneOf(values=("both", "sf", "sp")),
    "simsiam": OneOf(values=(True, False)),
}
