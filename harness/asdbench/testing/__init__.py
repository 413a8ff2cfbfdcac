"""Contract tests that plugins inherit: they check that what a plugin offers keeps the promises of its base class.

    from asdbench.testing import ScorerContract

    class TestMyScorer(ScorerContract):
        @pytest.fixture
        def scorer(self) -> MyScorer:
            return MyScorer(neighbours=2)

pytest collects the inherited tests. They need the extra ``test``: ``pip install 'asdbench[test]'``.
"""

import pytest

# Before the modules are imported: otherwise a test that fails says no more than "AssertionError".
pytest.register_assert_rewrite(
    *(f"{__name__}.{module}" for module in ("datasets", "executors", "methods", "scorers"))
)

from asdbench.conformance.items import make_items  # noqa: E402
from asdbench.testing.datasets import DatasetContract  # noqa: E402
from asdbench.testing.executors import ExecutorContract  # noqa: E402
from asdbench.testing.methods import MethodContract  # noqa: E402
from asdbench.testing.scorers import ScorerContract  # noqa: E402

__all__ = ["DatasetContract", "ExecutorContract", "MethodContract", "ScorerContract", "make_items"]
