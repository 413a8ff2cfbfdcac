"""What ``asdbench tune`` searches of the robot autoencoders, and the values of the paper's Tables I and II."""

from __future__ import annotations

from asdbench import Between, OneOf, Space

SPACE: Space = {
    "latent": Between(low=8, high=100, log=True),
    "lr": Between(low=1e-4, high=1e-2, log=True),
    "output": OneOf(values=("tanh", "sigmoid")),
    "bn_first": OneOf(values=(False, True)),
}
ADVERSARIAL: Space = {
    **SPACE,
    "weight": Between(low=1e-5, high=1e-1, log=True),
    "r1": OneOf(values=(True, False)),
    "gamma": Between(low=1.0, high=30.0, log=True, when={"r1": (True,)}),
}
TABLE_1: Space = {"latent": OneOf(values=(30, 50, 70))}
"""The window length W, which the table varies too, is an option of the dataset."""
TABLE_2: Space = {"weight": OneOf(values=(1e-4, 1e-3, 1e-2, 1e-1))}
COMPONENTS: Space = {"components": Between(low=1, high=32, log=True)}
FOREST: Space = {
    "trees": OneOf(values=(50, 100, 200, 400)),
    "samples": Between(low=16, high=512, log=True),
}
