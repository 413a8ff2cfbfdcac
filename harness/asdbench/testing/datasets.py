"""What every dataset must say of itself."""

from __future__ import annotations

import re
import typing
from typing import Any

import msgspec
import pytest

from asdbench.contracts import Dataset
from asdbench.data.vault import reserved
from asdbench.registry import load_registry
from asdbench.values import Card


class DatasetContract:
    """Inherit and define the fixture ``dataset``; its card is tried, no data are needed."""

    @pytest.fixture
    def dataset(self) -> Any:
        """The dataset to be tried."""
        raise NotImplementedError("define a fixture `dataset`")

    @pytest.fixture
    def card(self, dataset: Dataset) -> Card:
        """What it says of itself."""
        return dataset.card

    def test_it_is_a_dataset(self, dataset: Any) -> None:
        """With card, index, read and folds."""
        assert isinstance(dataset, Dataset)

    def test_its_card_names_licence_and_source(self, card: Card) -> None:
        """Who uses the numbers must be able to cite the data."""
        assert card.title
        assert card.licence
        assert card.citation

    def test_claims_scopes_and_counts_are_of_its_columns(self, card: Card) -> None:
        """A column that is not declared reaches nobody."""
        named = {
            *card.claims,
            *card.known,
            *(column for columns in card.scopes.values() for column in columns),
        }
        assert named <= set(card.columns)
        assert all(set(count.columns) <= set(card.columns) for count in card.expected)
        assert card.scopes["all"] == ()

    def test_its_columns_have_names_of_their_own(self, card: Card) -> None:
        """What a record tells of every item must not be told twice under one name."""
        assert not reserved(card.columns)

    def test_its_metric_set_exists(self, card: Card) -> None:
        """Or a run would fail at its end."""
        assert callable(load_registry().build("metrics", card.metrics))

    def test_its_remotes_have_an_address_and_a_checksum_or_none(self, card: Card) -> None:
        """An invented checksum is worse than none."""
        for remote in card.remotes:
            assert remote.url.startswith("https://")
            assert re.fullmatch(r"[0-9a-f]{32}|", remote.md5), remote
            assert remote.file

    def test_every_option_says_what_it_means(self, dataset: Any) -> None:
        """``asdbench datasets info`` shows it."""
        hints = typing.get_type_hints(type(dataset), include_extras=True)
        for name in type(dataset).__struct_fields__:
            hint = hints[name]
            metas = [meta for meta in getattr(hint, "__metadata__", ()) if isinstance(meta, msgspec.Meta)]
            assert any(meta.description for meta in metas), f"option {name} has no description"
