"""What ``asdbench tune`` searches of ASD-AFPA and its backbone."""

from __future__ import annotations

from asdbench import Between, OneOf, Space

SPACE: Space = {
    "lr": Between(low=2e-5, high=2e-3, log=True),
    "margin": Between(low=0.2, high=1.2),
    "scale": Between(low=10.0, high=60.0, log=True),
    "sub_centers": OneOf(values=(1, 2, 4)),
}
MARGINS: Space = {"margin": OneOf(values=(0.7, 1.0))}
"""The margins of the backbone and of the proposed method."""
