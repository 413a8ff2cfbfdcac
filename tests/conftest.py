"""Fixtures that all tests share."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if "PYTEST_XDIST_WORKER_COUNT" in os.environ:
    # The processes of the tests share the cores. Set before torch is imported, which reads it once.
    share = len(os.sched_getaffinity(0)) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, share)))

# The many processes that tests start would each compile the harness again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

import browsing
import tiny
from slurm import Slurm, missing

from asdbench import RunDocument

if TYPE_CHECKING:
    from playwright.sync_api import Browser

collect_ignore = ["thirdparty"]
"""A distribution of its own, whose tests need it installed; ``.ci/run`` does both."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that wait for clusters and faults, which are the longest; let no test hang.

    A test that hangs fails with what its threads do, instead of taking the whole run with it.
    """
    long = {item.path for item in items if any(map(item.get_closest_marker, ("cluster", "faults")))}
    items.sort(key=lambda item: item.path not in long)
    for item in items:
        if item.get_closest_marker("slow") is None:
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the small real data sets; the test is skipped where there is none, or fails where CI demands it."""
    place = os.environ.get("ASDBENCH_TEST_DATA")
    if not place:
        missing = "ASDBENCH_TEST_DATA does not name the folder of the shared sample data"
        if os.environ.get("ASDBENCH_REQUIRE_DATA"):
            pytest.fail(missing)
        pytest.skip(missing)
    root = Path(place).resolve()
    if not root.is_dir():
        pytest.fail(f"ASDBENCH_TEST_DATA names {root}, which is not a folder")
    return root


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that the tests of a module share."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> tuple[Path, RunDocument]:
    """The folder of a finished small run, which no test may change, and its document."""
    folder = tmp_path_factory.mktemp("finished")
    return folder, tiny.go(folder, cache=cache)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kill a job that ignores a request to end after half a second instead of five."""
    monkeypatch.setattr("asdbench.jobs.executors.process.PATIENCE_S", 0.5)


@pytest.fixture
def copied(finished: tuple[Path, RunDocument], tmp_path: Path) -> Path:
    """A copy of the finished run, to continue from."""
    return Path(shutil.copytree(finished[0], tmp_path / "copied"))


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    """A real SLURM on loopback; the test is skipped where its programs are absent, or fails where CI demands them."""
    if absent := missing():
        reason = f"SLURM is not installed: {', '.join(absent)} (Debian: slurm-wlm and munge)"
        if os.environ.get("ASDBENCH_REQUIRE_CLUSTER"):
            pytest.fail(reason)
        pytest.skip(reason)
    # Not pytest's folder: the path of a socket has at most 107 characters.
    with tempfile.TemporaryDirectory(prefix="slurm-", ignore_cleanup_errors=True) as folder:
        cluster = Slurm(folder=Path(folder))
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.close()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Headless Chromium."""
    with browsing.chromium() as found:
        yield found


@pytest.fixture
def watched(browser: Browser) -> Iterator[browsing.Watched]:
    """A page in it that asks for nothing but files of this machine, and logs nothing."""
    with browsing.watching(browser) as seen:
        yield seen
