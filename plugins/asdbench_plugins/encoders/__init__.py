"""Pre-trained encoders from their published checkpoint files, and training-free methods with them."""

from __future__ import annotations

from collections.abc import Iterable

from asdbench import Entry, Method, hookimpl, lazy
from asdbench_plugins.encoders.genrep import GENREP
from asdbench_plugins.encoders.methods import METHODS
from asdbench_plugins.encoders.tuning import BEATS_LORA


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
            name="tuned_beats",
            build=lazy("asdbench_plugins.encoders.tuned:TunedBeats"),
            summary="the same, adapted by LoRA to classes of training attributes",
            cites="chen2023beats",
        ),
    ]


@hookimpl
def asdbench_methods() -> Iterable[Method]:
    """Offer the training-free methods."""
    return (*METHODS, BEATS_LORA, GENREP)
