"""The method keeps the contract of asdbench."""

from __future__ import annotations

import pytest
from asdbench.testing import MethodContract


class TestMethod(MethodContract):
    @pytest.fixture
    def method(self) -> str:
        return "third_party"
