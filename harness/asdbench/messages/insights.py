"""Questions that figures ask trained models, and the answers: arrays that a process with torch computes for some items."""

from __future__ import annotations

from typing import Literal

from asdbench.core.config import Config
from asdbench.messages.jobs import JobSpec

Asked = Literal["samples", "outputs", "explain"]
"""What is asked: the samples of items, the outputs of a model, or what its ``explain`` returns."""


class Question(Config, frozen=True, kw_only=True):
    """A question to one trained model about some items."""

    asked: Asked
    spec: JobSpec
    """Its score job, with the items in ``test``."""
    weights: str
    """File of the trained model."""


class Array(Config, frozen=True, kw_only=True):
    """An array in a message."""

    dtype: str
    shape: list[int]
    data: bytes


class Insight(Config, frozen=True, kw_only=True):
    """The answer to a question."""

    arrays: dict[str, Array] = {}
    """One row per item, in the order of the question."""
    why: str = ""
    """Why there is no answer; empty: there is one."""
    broken: bool = False
    """True: ``why`` is a mistake of the plugin."""
