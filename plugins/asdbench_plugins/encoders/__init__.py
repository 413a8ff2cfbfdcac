"""Pre-trained encoders from their published checkpoint files, and training-free methods with them."""

from __future__ import annotations

from collections.abc import Iterable

from asdbench import Entry, Lazy, Method, hookimpl, lazy
from asdbench_plugins.encoders.genrep import GENREP
from asdbench_plugins.encoders.methods import METHODS
from asdbench_plugins.encoders.published import WEIGHTS
from asdbench_plugins.encoders.tuning import BEATS_FULL, BEATS_LORA, EAT_FULL, EAT_LORA


@hookimpl
def asdbench_models() -> Iterable[Entry]:
    """Offer frozen encoders."""
    return [
        Entry(
            name="beats",
            build=lazy("asdbench_plugins.encoders.frozen:FrozenBeats"),
            summary="pooled tokens of BEATs, from a published checkpoint file; not trained",
            cites="chen2023beats",
            weights=WEIGHTS,
        ),
        Entry(
            name="beats_residual",
            build=lazy("asdbench_plugins.encoders.residual:ResidualBeats"),
            summary="residual view of BEATs: near channel less half of far, as embeddings; not trained",
            cites="chen2023beats",
            weights=WEIGHTS,
        ),
        Entry(
            name="eat",
            build=lazy("asdbench_plugins.encoders.vits:FrozenEat"),
            summary="pooled tokens of EAT or SSLAM, from a published checkpoint file (MIT); not trained",
            cites="chen2024eat",
        ),
        Entry(
            name="ced",
            build=lazy("asdbench_plugins.encoders.vits:FrozenCed"),
            summary="pooled tokens of CED, from a published checkpoint file; not trained",
            cites="dinkel2024ced",
        ),
        Entry(
            name="dasheng",
            build=lazy("asdbench_plugins.encoders.vits:FrozenDasheng"),
            summary="pooled tokens of Dasheng, from a published checkpoint file (Apache-2.0); not trained",
            cites="dinkel2024dasheng",
        ),
        Entry(
            name="tuned_beats",
            build=lazy("asdbench_plugins.encoders.tuned:TunedBeats"),
            summary="BEATs, adapted to classes of training attributes by LoRA or in every weight",
            cites="chen2023beats",
            weights=WEIGHTS,
        ),
        Entry(
            name="tuned_eat",
            build=lazy("asdbench_plugins.encoders.tuned:TunedEat"),
            summary="EAT or SSLAM, adapted to classes of training attributes by LoRA or in every weight",
            cites="chen2024eat",
        ),
    ]


@hookimpl
def asdbench_methods() -> Iterable[Method]:
    """Offer the training-free methods, and those that adapt their encoder."""
    return (*METHODS, BEATS_LORA, EAT_LORA, BEATS_FULL, EAT_FULL, GENREP)


@hookimpl
def asdbench_printed() -> Iterable[Lazy]:
    """Offer the official scores of the systems that these methods run."""
    return [lazy("asdbench_plugins.encoders.printed:printed")]
