"""An asdbench plugin: the method third_party."""

from __future__ import annotations

from collections.abc import Iterable

from asdbench import Entry, Method, hookimpl, lazy


@hookimpl
def asdbench_models() -> Iterable[Entry]:
    """Offer the model."""
    return [
        Entry(
            name="third_party",
            build=lazy("third_party.model:ThirdParty"),
            summary="autoencoder of the mean log-mel spectrum",
        )
    ]


@hookimpl
def asdbench_methods() -> Iterable[Method]:
    """Offer the method: a featurizer, the model and a scorer, by their names."""
    return [
        Method(
            name="third_party",
            title="Third party",
            paper="none",
            featurizer="logmel",
            model="third_party",
            scorer="reconstruction_error",
        )
    ]
