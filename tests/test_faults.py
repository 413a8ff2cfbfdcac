"""The fault drill on one machine: the local executor, and two shards at once. Those of clusters are beside their tests."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("drill")

from drill import LOCAL, FaultDrill  # noqa: E402

pytestmark = pytest.mark.faults


class TestLocal(FaultDrill):
    words = (LOCAL,)


class TestShards(FaultDrill):
    words = (("--shard", "1/2"), ("--shard", "2/2"))
