"""Tests that every plugin inherits, ours and strangers': what the contracts promise, tried on what a plugin offers.

    from asdbench.testing import ScorerContract

    class TestMyScorer(ScorerContract):
        @pytest.fixture
        def scorer(self) -> MyScorer:
            return MyScorer(neighbours=2)

pytest collects the tests of the base class; they need the extra ``test``.
"""

from asdbench.testing.datasets import DatasetContract
from asdbench.testing.items import make_items
from asdbench.testing.methods import MethodContract
from asdbench.testing.scorers import ScorerContract

__all__ = ["DatasetContract", "MethodContract", "ScorerContract", "make_items"]
