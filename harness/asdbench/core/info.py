"""What a featurizer or a model is built for."""

from __future__ import annotations

import msgspec


class Info(msgspec.Struct, frozen=True, kw_only=True):
    """Shape and classes of the items; from the index, or from ``card.expected`` if there is no data."""

    item_shape: tuple[int, ...]
    sample_rate: int | None
    """In Hz; None if the items have no time axis in seconds."""
    device: str = "cpu"
    classes: tuple[str, ...] = ()
    """Names of the claims, for example ``fan/00``; ``Items.claim`` indexes into them."""
    targets: tuple[str, ...] = ()
    """Names of the classes of a classification task."""
    feature_shape: tuple[int, ...] = ()
    """Shape of one item after the featurizer; empty while the featurizer itself is being built."""
    scaled: bool = False
    """Whether the dataset itself scales its items (``Card.scaled``)."""
