"""What a worker process does not do again, because the server that it is forked from has done it for all of them."""

from __future__ import annotations

import msgspec
import pytest
from worker_threads import Found

from asdbench.jobs.processes import ask


def asked(threads: int) -> Found:
    return msgspec.msgpack.decode(ask("worker_threads:found", str(threads).encode()), type=Found)


def test_a_worker_with_one_thread_starts_no_other() -> None:
    found = asked(1)
    assert found.tasks == 2  # the second one waits for the end of the command
    assert set(found.libraries.values()) == {1}


@pytest.mark.parametrize("threads", [1, 2])
def test_every_library_has_the_threads_of_the_job(threads: int) -> None:
    found = asked(threads)
    assert any("openblas" in file for file in found.libraries)
    assert any("libgomp" in file for file in found.libraries)
    assert set(found.libraries.values()) == {threads}


def test_a_worker_inherits_versions_and_libraries_and_leaves_the_objects_of_the_server_alone() -> None:
    pools, software, frozen = asked(1).prepared
    assert (pools, software) == (1, 1)  # looked up once, by the server
    assert frozen > 100_000
