"""Contract tests that plugins inherit: they check that what a plugin offers keeps the promises of its base class.

    from asdbench.testing import ScorerContract

    class TestMyScorer(ScorerContract):
        @pytest.fixture
        def scorer(self) -> MyScorer:
            return MyScorer(neighbours=2)

pytest collects the inherited tests. They need the extra ``test``: ``pip install 'asdbench[test]'``.
"""

from asdbench.testing.datasets import DatasetContract
from asdbench.testing.items import make_items
from asdbench.testing.methods import MethodContract
from asdbench.testing.scorers import ScorerContract

__all__ = ["DatasetContract", "MethodContract", "ScorerContract", "make_items"]
