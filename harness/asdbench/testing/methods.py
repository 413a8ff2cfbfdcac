"""Contract tests for methods: featurizer, model and scorer together, as built for a dataset."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
import torch

from asdbench.conformance import outputs as checks
from asdbench.conformance.items import make_items
from asdbench.conformance.options import options_are_described
from asdbench.core.config import config_of
from asdbench.detector.detector import Detector
from asdbench.detector.items import Items
from asdbench.plugin.entries import Selector
from asdbench.plugin.registry import Registry, load_registry
from asdbench.plugin.space import check_space, text_of
from asdbench.recipes.recipe import PARTS, Recipe
from asdbench.recipes.resolve import resolve
from asdbench.runs.describe import expected_info
from asdbench.runs.request import open_dataset

ITEMS = 3
_registry = functools.cache(load_registry)


class MethodContract:
    """Inherit this class and define the fixture ``method``, its name. The tests run it untrained, on noise.

    Override the fixture ``dataset`` to choose the dataset that it is built for.
    """

    @pytest.fixture
    def method(self) -> str:
        """Name of the method to test."""
        raise NotImplementedError("define a fixture `method`")

    @pytest.fixture
    def registry(self) -> Registry:
        """Everything the installed plugins offer."""
        return _registry()

    @pytest.fixture
    def dataset(self, registry: Registry, method: str) -> str:
        """Name of a dataset: the first generated one that the method has settings for, or ``synthetic``."""
        names = registry.method(method).on
        made = (name for name in names if open_dataset(registry, Selector(name)).card.generated)
        return next(made, "synthetic")

    @pytest.fixture
    def recipe(self, registry: Registry, method: str, dataset: str) -> Recipe:
        """The method with all its options on the dataset."""
        return resolve(registry, Selector(method), dataset=dataset)

    @pytest.fixture
    def detector(self, registry: Registry, recipe: Recipe, dataset: str) -> Detector:
        """The untrained detector."""
        torch.manual_seed(0)
        detector = Detector(recipe, expected_info(recipe, open_dataset(registry, Selector(dataset))))
        detector.root.eval()
        return detector

    @pytest.fixture
    def items(self, detector: Detector, tmp_path: Path) -> Items:
        """A few items of noise in the dataset's shape."""
        noise = np.random.default_rng(0).normal(size=(ITEMS, *detector.info.item_shape))
        classes = len(detector.info.classes)
        return make_items(
            (0.1 * noise).astype(np.float32),
            detector.info,
            folder=tmp_path / "pack",
            claim=[k % classes for k in range(ITEMS)],
            featurizer=detector.featurizer,
        )

    def test_its_scorer_reads_an_output_that_its_model_gives(self, detector: Detector, items: Items) -> None:
        """Otherwise nothing could be scored."""
        assert detector.scorer.on in detector.outputs(items)

    def test_an_output_depends_on_its_item_alone(self, detector: Detector, items: Items) -> None:
        """Other items of a batch must not change it."""
        checks.single_items_as_in_a_batch(detector, items)

    def test_computing_outputs_changes_nothing(self, detector: Detector, items: Items) -> None:
        """Scoring must not train anything, batch-norm statistics included."""
        checks.scoring_changes_nothing(detector, items)

    def test_a_saved_detector_gives_the_same_outputs(
        self, detector: Detector, items: Items, tmp_path: Path
    ) -> None:
        """Everything the outputs depend on must be a parameter or a buffer."""

        def again(loaded: Detector) -> Items:
            return make_items(
                items.raw().numpy(),
                loaded.info,
                folder=tmp_path / f"again{id(loaded)}",
                claim=items.claim.tolist(),
                featurizer=loaded.featurizer,
            )

        checks.saved_and_loaded(detector, again, folder=tmp_path, scored=False)

    def test_every_option_says_what_it_means(self, registry: Registry, recipe: Recipe) -> None:
        """Every option has a ``Meta(description=...)``, which ``asdbench describe`` shows."""
        options_are_described(
            {part: config_of(registry.build(part, getattr(recipe, part).name)) for part in PARTS}
        )

    def test_every_preset_is_understood(self, registry: Registry, method: str, dataset: str) -> None:
        """Every option in a preset exists and has a valid value."""
        for preset in registry.method(method).presets:
            chosen = resolve(registry, Selector(method, {"preset": preset}), dataset=dataset)
            assert chosen.label == f"{method}[preset={preset}]"

    def test_every_search_space_is_understood(self, registry: Registry, method: str, dataset: str) -> None:
        """Every option that tuning searches exists, and takes the ends of its range or each of its choices."""
        declared = registry.method(method)
        for name, space in {"": declared.space, **declared.grids}.items():
            check_space(space, of=f"{method} {name}")
            for option, span in space.items():
                needed = {other: text_of(values[0]) for other, values in span.when.items()}
                for value in span.ends:
                    options = {**needed, option: text_of(value)}
                    assert resolve(registry, Selector(method, options), dataset=dataset).changed == options
