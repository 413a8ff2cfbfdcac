"""Contract tests for datasets."""

from __future__ import annotations

import re
import typing
from typing import Any

import msgspec
import pytest

from asdbench.data.dataset import Card, Dataset
from asdbench.data.declared import check_card
from asdbench.data.vault import reserved
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
        assert isinstance(dataset, Dataset)

    def test_its_card_names_licence_and_source(self, card: Card) -> None:
        """Users of the results must be able to cite the data."""
        assert card.title
        assert card.licence
        assert card.citation

    def test_claims_scopes_and_counts_are_of_its_columns(self, card: Card) -> None:
        """A column that the card does not declare is invisible to methods and results."""
        check_card(card)
        assert card.scopes["all"] == ()

    def test_its_columns_have_names_of_their_own(self, card: Card) -> None:
        """Item tables have columns of their own, which a dataset must not use again."""
        assert not reserved(card.columns)

    def test_its_metric_set_exists(self, card: Card) -> None:
        """Otherwise a run would only fail at its end."""
        assert callable(load_registry().build("metrics", card.metrics))

    def test_its_remotes_have_an_address_and_a_checksum_or_none(self, card: Card) -> None:
        """An invented checksum is worse than none, so an unknown one is left empty."""
        for remote in card.remotes:
            assert remote.url.startswith("https://")
            assert re.fullmatch(r"[0-9a-f]{32}|", remote.md5), remote
            assert remote.file

    def test_every_option_says_what_it_means(self, dataset: Any) -> None:
        """Every option has a ``Meta(description=...)``."""
        hints = typing.get_type_hints(type(dataset), include_extras=True)
        for name in type(dataset).__struct_fields__:
            hint = hints[name]
            metas = [meta for meta in getattr(hint, "__metadata__", ()) if isinstance(meta, msgspec.Meta)]
            assert any(meta.description for meta in metas), f"option {name} has no description"
