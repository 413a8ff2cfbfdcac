"""What the process that checks a plugin is sent, and what it answers; both cross as msgpack."""

from __future__ import annotations

from asdbench.conformance.findings import Finding
from asdbench.core.config import Config
from asdbench.core.info import Info
from asdbench.messages.isolation import Isolation
from asdbench.recipes.recipe import Recipe


class MethodTask(Config, frozen=True, kw_only=True, tag="method"):
    """A method to check."""

    recipe: Recipe
    info: Info
    deterministic: bool
    """The method says that its scores do not depend on the seed."""


class ScorerTask(Config, frozen=True, kw_only=True, tag="scorer"):
    """A scorer to check."""

    path: str
    options: dict[str, str]


class FeaturizerTask(Config, frozen=True, kw_only=True, tag="featurizer"):
    """A featurizer to check."""

    path: str
    options: dict[str, str]
    infos: list[Info]
    """Shapes of items; the first that fits its options is taken."""


class DatasetTask(Config, frozen=True, kw_only=True, tag="dataset"):
    """A dataset to check."""

    path: str
    options: dict[str, str]
    metrics: list[str]
    """Names of all metric sets."""


Task = MethodTask | ScorerTask | FeaturizerTask | DatasetTask


class Message(Config, frozen=True, kw_only=True):
    """What the process is sent."""

    task: Task
    folder: str
    """Where it may write."""
    readable: list[str]
    """Files that the user named in options."""
    isolation: Isolation


class Answer(Config, frozen=True, kw_only=True):
    """What it answers."""

    findings: list[Finding]
    isolated: str
    fit_seconds: float | None
    ms_per_item: float | None
    peak_memory_bytes: int
