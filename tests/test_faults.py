"""The fault drill on the local executor."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("drill")

from drill import FaultDrill  # noqa: E402

pytestmark = pytest.mark.faults


class TestLocal(FaultDrill):
    words = ("--executor", "local", "-j", "2")
