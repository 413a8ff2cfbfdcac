"""A plugin for fault drills, which registers its model without loading torch."""

from __future__ import annotations

from asdbench import Entry, Method, hookimpl, lazy

AT = "at "
"""Before the folder: what planning finds of options that are paths it does not remember, and so it would load torch."""


@hookimpl
def asdbench_models() -> list[Entry]:
    """Offer the model."""
    return [Entry(name="drilled", build=lazy("drill_model:Drilled"), summary="a toy with trouble to come")]


@hookimpl
def asdbench_methods() -> list[Method]:
    """Offer the method."""
    return [
        Method(
            name="drilled",
            title="a toy with trouble to come",
            paper="none",
            featurizer="logmel",
            model="drilled",
            scorer="negative_log_probability",
            defaults={"n_mels": 16, "epochs": 2, "pause_s": 0.05},
        )
    ]
