"""Contract tests for datasets; ``asdbench conformance`` makes the same checks."""

from __future__ import annotations

from typing import Any

import pytest

from asdbench.conformance import datasets as checks
from asdbench.conformance.options import options_are_described
from asdbench.core.config import config_of
from asdbench.data.dataset import Card, Dataset
from asdbench.plugin.registry import load_registry


class DatasetContract:
    """Inherit this class and define the fixture ``dataset``. The tests read its card and need no data.

    Example:
        ``class TestHum(DatasetContract)`` with a fixture ``dataset`` that returns ``Hum()``.
    """

    @pytest.fixture
    def dataset(self) -> Any:
        """The dataset to test."""
        raise NotImplementedError("define a fixture `dataset`")

    @pytest.fixture
    def card(self, dataset: Dataset) -> Card:
        """Its card."""
        return dataset.card

    def test_it_is_a_dataset(self, dataset: Any) -> None:
        """It has ``card``, ``index``, ``read`` and ``folds``."""
        checks.keeps_the_protocol(dataset)

    def test_its_card_names_licence_and_source(self, card: Card) -> None:
        """Users of the results must be able to cite the data."""
        checks.names_licence_and_source(card)

    def test_claims_scopes_and_counts_are_of_its_columns(self, card: Card) -> None:
        """A column that the card does not declare is invisible to methods and results, and some names are taken."""
        checks.columns_are_declared(card)

    def test_its_metric_set_exists(self, card: Card) -> None:
        """Otherwise a run would only fail at its end."""
        registry = load_registry()
        checks.metric_set_exists(card, registry.names("metrics"))
        assert callable(registry.build("metrics", card.metrics))

    def test_its_remotes_have_an_address_and_a_checksum_or_none(self, card: Card) -> None:
        """An invented checksum is worse than none, so an unknown one is left empty."""
        checks.remotes_are_checked(card)

    def test_every_option_says_what_it_means(self, dataset: Any) -> None:
        """Every option has a ``Meta(description=...)``."""
        options_are_described({"dataset": config_of(type(dataset))})
