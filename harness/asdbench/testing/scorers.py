"""Contract tests for scorers."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from asdbench.detector.contracts import ItemContext, Outputs, Scorer, State
from asdbench.errors import AsdbenchError

CLASSES = 3
DIMS = 6
SEGMENTS = 2


class ScorerContract:
    """Inherit this class and define the fixture ``scorer``. Override ``outputs`` if the scorer reads other shapes.

    Example:
        ``class TestMyScorer(ScorerContract)`` with a fixture ``scorer`` that returns ``MyScorer(neighbours=2)``.
    """

    @pytest.fixture
    def scorer(self) -> Scorer:
        """The scorer to test."""
        raise NotImplementedError("define a fixture `scorer`")

    def outputs(self, scorer: Any, items: int, *, seed: int) -> dict[str, NDArray[Any]]:
        """Return random model outputs under every name that the scorer may read: all text among its options.

        Embeddings ``[items, segments, dims]`` if the scorer learns or classifies, otherwise scores ``[items, segments]``.
        """
        vectors = scorer.learns or scorer.classifies
        shape = (items, SEGMENTS, DIMS) if vectors else (items, SEGMENTS)
        options = [value for value in msgspec.structs.asdict(scorer).values() if isinstance(value, str)]
        names = {scorer.on, *options}
        generator = np.random.default_rng(seed)
        return {name: generator.normal(size=shape) for name in sorted(names)}

    def test_its_state_is_arrays_under_flat_names(self, scorer: Scorer) -> None:
        """Nothing else can be saved without pickle."""
        state = self._fitted(scorer, 24)
        assert all(isinstance(name, str) for name in state)
        assert all(isinstance(value, np.ndarray) and value.dtype.kind in "fiub" for value in state.values())

    def test_it_gives_a_finite_score_for_every_segment_of_every_item(self, scorer: Scorer) -> None:
        """The result is ``[items, segments]``, or ``[items, segments, classes]`` for a classifier."""
        scores = scorer.score(self._fitted(scorer, 24), self.outputs(scorer, 9, seed=1), _context(9))
        assert np.asarray(scores).ndim == (3 if scorer.classifies else 2)
        assert len(scores) == 9
        assert np.isfinite(scores).all()

    def test_a_score_depends_on_its_item_alone(self, scorer: Scorer) -> None:
        """Other test items must not change it."""
        state, outputs, context = self._fitted(scorer, 24), self.outputs(scorer, 9, seed=1), _context(9)
        every = scorer.score(state, outputs, context)
        order = np.array([4, 0, 8])
        some = scorer.score(
            state,
            {name: values[order] for name, values in outputs.items()},
            ItemContext(claim=context.claim[order], columns={}),
        )
        np.testing.assert_allclose(some, every[order], rtol=1e-9, atol=1e-12)

    def test_fitting_again_gives_the_same_scores(self, scorer: Scorer) -> None:
        """Random numbers must come from a fixed seed."""
        outputs, context = self.outputs(scorer, 9, seed=1), _context(9)
        once, again = (scorer.score(self._fitted(scorer, 24), outputs, context) for _ in range(2))
        np.testing.assert_array_equal(once, again)

    def test_classes_of_one_item_are_scored(self, scorer: Scorer) -> None:
        """Small data must not break it."""
        scores = scorer.score(self._fitted(scorer, CLASSES), self.outputs(scorer, 9, seed=1), _context(9))
        assert np.isfinite(scores).all()

    def test_it_scores_items_of_unknown_classes_unless_it_needs_claims(self, scorer: Scorer) -> None:
        """Planning relies on ``needs_claims`` when a protocol leaves whole classes out."""
        state, outputs = self._fitted(scorer, 24), self.outputs(scorer, 9, seed=1)
        unknown = ItemContext(claim=np.full(9, -1, dtype=np.int64), columns={})
        if scorer.needs_claims:
            with pytest.raises(AsdbenchError):
                scorer.score(state, outputs, unknown)
        else:
            assert np.isfinite(scorer.score(state, outputs, unknown)).all()

    def test_a_small_set_gives_rules_in_words(self, scorer: Scorer) -> None:
        """The record lists concessions to small data, each a sentence."""
        rules = scorer.rules(self._fitted(scorer, CLASSES))
        assert all(isinstance(rule, str) and rule for rule in rules)

    def _fitted(self, scorer: Scorer, items: int) -> State:
        if not scorer.learns:
            return {}
        outputs: Outputs = self.outputs(scorer, items, seed=0)
        return scorer.fit(outputs, _context(items))


def _context(items: int) -> ItemContext:
    return ItemContext(claim=np.arange(items, dtype=np.int64) % CLASSES, columns={})
