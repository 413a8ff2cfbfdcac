"""Pre-trained encoders from their published checkpoint files, and training-free methods with them."""

from __future__ import annotations

from collections.abc import Iterable

from asdbench import Entry, Method, hookimpl, lazy
from asdbench_plugins.encoders.methods import METHODS


@hookimpl
def asdbench_models() -> Iterable[Entry]:
    """Offer frozen encoders."""
    return [
        Entry(
            name="beats",
            build=lazy("asdbench_plugins.encoders.frozen:FrozenBeats"),
            summary="pooled tokens of BEATs, from a published checkpoint file; not trained",
            cites="chen2023beats",
        ),
        Entry(
            name="beats_residual",
            build=lazy("asdbench_plugins.encoders.residual:ResidualBeats"),
            summary="residual view of BEATs: near channel less half of far, as embeddings; not trained",
            cites="chen2023beats",
        ),
    ]


@hookimpl
def asdbench_methods() -> Iterable[Method]:
    """Offer the training-free methods."""
    return METHODS
