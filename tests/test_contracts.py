"""Every dataset, method and scorer that is installed keeps its contract."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from asdbench import Scorer, load_registry
from asdbench.testing import (
    DatasetContract,
    MethodContract,
    ScorerContract,
    datasets,
    executors,
    methods,
    scorers,
)

INSTALLED = load_registry()
NEED_A_FILE = {name for name in INSTALLED.names("method") if INSTALLED.method(name).requires}
"""Methods that cannot be built without a file of the user's; their own tests make one."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class TestEveryScorer(ScorerContract):
    @pytest.fixture(params=INSTALLED.names("scorer"))
    def scorer(self, request: pytest.FixtureRequest) -> Scorer:
        built: Scorer = INSTALLED.build("scorer", request.param)()
        return built


class TestEveryDataset(DatasetContract):
    @pytest.fixture(params=INSTALLED.names("dataset"))
    def dataset(self, request: pytest.FixtureRequest) -> Any:
        if request.param == "folder":  # it has no card before it has a place
            return INSTALLED.build("dataset", "folder")(path="recordings")
        return INSTALLED.build("dataset", request.param)()


class TestEveryMethod(MethodContract):
    @pytest.fixture(params=sorted({*INSTALLED.names("method")} - NEED_A_FILE))
    def method(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)


def test_a_contract_that_fails_shows_the_values_it_compared() -> None:
    for module in (datasets, executors, methods, scorers):
        assert "@pytest_ar" in vars(module)  # what pytest adds to a module whose asserts it explains
