"""The fault drill on one machine: the local executor, and two shards at once. Those of clusters are beside their tests."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.register_assert_rewrite("drill")

from drill import LOCAL, Bits, Drill, FaultDrill  # noqa: E402

pytestmark = pytest.mark.faults


class TestLocal(FaultDrill):
    words = (LOCAL,)

    def test_a_second_run_of_the_same_folder_is_refused_and_the_first_goes_on(
        self, drill: Drill, undisturbed: Bits
    ) -> None:
        """Two writers of one result."""
        drill.disturb("wait")
        first = drill.start("twice", seeds=1)
        drill.wait_for((drill.troubles / "wait.taken").exists, "the first run trains")
        second = drill.run("twice", seeds=1)
        (drill.troubles / "wait.ids").touch()  # what the job waits for
        assert second.code == 2
        assert f"another run is using {drill.folder / 'twice'}" in second.errors
        done = first.finish()
        assert done.code == 0, done.errors
        bits = drill.bits("twice")
        assert {Path(name).parts[0] for name in bits} == {"models", "scores"}
        assert bits.items() <= undisturbed.items()


class TestShards(FaultDrill):
    words = (("--shard", "1/2"), ("--shard", "2/2"))
