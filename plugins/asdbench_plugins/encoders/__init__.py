"""Pre-trained encoders from their published checkpoint files, and training-free methods with them."""

from __future__ import annotations

from collections.abc import Iterable

from asdbench import Entry, hookimpl, lazy


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
    ]
