"""Contract tests for scorers; ``asdbench conformance`` makes the same checks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from numpy.typing import NDArray

from asdbench.conformance import scorers as checks
from asdbench.conformance.findings import NotApplicable
from asdbench.detector.contracts import Scorer


class ScorerContract:
    """Inherit this class and define the fixture ``scorer``. Override ``outputs`` if the scorer reads other shapes.

    Example:
        ``class TestMyScorer(ScorerContract)`` with a fixture ``scorer`` that returns ``MyScorer(neighbours=2)``.
    """

    @pytest.fixture
    def scorer(self) -> Scorer:
        """The scorer to test."""
        raise NotImplementedError("define a fixture `scorer`")

    def outputs(self, scorer: Any, items: int, *, seed: int) -> Mapping[str, NDArray[Any]]:
        """Return random model outputs under every name that the scorer may read: all text among its options.

        Embeddings ``[items, segments, dims]`` if the scorer learns or classifies, otherwise scores ``[items, segments]``.
        """
        return checks.random_outputs(scorer, items, seed=seed)

    def test_its_state_is_arrays_under_flat_names(self, scorer: Scorer) -> None:
        """Nothing else can be saved without pickle."""
        checks.state_is_arrays(scorer, self.outputs)

    def test_it_gives_a_finite_score_for_every_segment_of_every_item(self, scorer: Scorer) -> None:
        """The result is ``[items, segments]``, or ``[items, segments, classes]`` for a classifier."""
        checks.shapes_of_scores(scorer, self.outputs)
        checks.scores_are_finite(scorer, self.outputs)

    def test_a_score_depends_on_its_item_alone(self, scorer: Scorer) -> None:
        """Other test items must not change it, unless ``uses_test_set`` says that they do."""
        try:
            checks.score_depends_on_its_item_alone(scorer, self.outputs)
        except NotApplicable as reason:
            pytest.skip(str(reason))

    def test_fitting_again_gives_the_same_scores(self, scorer: Scorer) -> None:
        """Random numbers must come from a fixed seed."""
        checks.fitting_again_gives_the_same(scorer, self.outputs)

    def test_classes_of_one_item_are_scored(self, scorer: Scorer) -> None:
        """Small data must not break it, and what they force is stated in words."""
        checks.classes_of_one_item_are_scored(scorer, self.outputs)

    def test_it_scores_items_of_unknown_classes_unless_it_needs_claims(self, scorer: Scorer) -> None:
        """Planning relies on ``needs_claims`` when a protocol leaves whole classes out."""
        checks.unknown_classes_are_scored_or_refused(scorer, self.outputs)
