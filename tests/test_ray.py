"""The executor ``ray`` on a real cluster of two nodes on this machine: the contract, and workers and nodes that die."""

from __future__ import annotations

import errno
import importlib
import importlib.util
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import pytest
import tiny

from asdbench import ConfigError, RunDocument, Selector, read_method
from asdbench.cli import status_of
from asdbench.conformance.jobs import ToyJobs
from asdbench.jobs.executors import carried
from asdbench.jobs.executors.ray import Ray, RayExecutor, share_of
from asdbench.messages.capacity import Capacity, Needs
from asdbench.results.store import Store
from asdbench.testing import ExecutorContract
from asdbench.testing.executors import statuses

pytest.register_assert_rewrite("drill")

from drill import FaultDrill  # noqa: E402

MISSING = importlib.util.find_spec("ray") is None and not os.environ.get("ASDBENCH_REQUIRE_CLUSTER")
needs_ray = [
    pytest.mark.cluster,
    pytest.mark.skipif(MISSING, reason="needs Ray (ASDBENCH_REQUIRE_CLUSTER=1 makes its absence a failure)"),
    pytest.mark.filterwarnings(
        "ignore"
    ),  # of Ray itself, and of sockets and processes that it leaves to the end
]


LOOPBACK = "127.0.0.2"
"""Ray takes 127.0.0.1 for the address of the network."""
TOY = Selector("toy_by_machine", {"epochs": "10", "pause_s": "0.1"})


@pytest.fixture(scope="module")
def cluster_tmp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where jobs on the cluster have their temporary files."""
    return tmp_path_factory.mktemp("tmp")


@pytest.fixture(scope="module")
def cluster(cluster_tmp: Path) -> Iterator[Any]:
    """A cluster on this machine: a head that runs nothing, and two nodes of a core."""
    before = dict(os.environ)
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": tiny.environment()["PYTHONPATH"]}
    # Ray's own files are elsewhere, because the path of a socket has at most 107 characters. Its workers
    # would starve beside other tests at their own niceness of 15.
    os.environ |= {
        "TMPDIR": str(cluster_tmp),
        "RAY_TMPDIR": tempfile.gettempdir(),
        "RAY_worker_niceness": "0",
    }
    cluster_utils = (
        pytest.importorskip("ray.cluster_utils") if MISSING else importlib.import_module("ray.cluster_utils")
    )
    node = {"node_ip_address": LOOPBACK, "include_dashboard": False}
    found = cluster_utils.Cluster(initialize_head=True, head_node_args={**node, "num_cpus": 0})
    for _ in range(2):
        found.add_node(num_cpus=1, node_ip_address=LOOPBACK)
    yield found
    found.shutdown()
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def undisturbed(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The scores of a run on the local executor."""
    out = tmp_path_factory.mktemp("local")
    return items_of(out, tiny.go(out, TOY, cache=cache, slots=2))


def items_of(out: Path, document: RunDocument) -> pd.DataFrame:
    assert {job.status for job in document.jobs} == {"ok"}
    return read_method(out, document, label=str(TOY)).items


def selector(cluster: Any, **options: str) -> Selector:
    return Selector("ray", {"address": cluster.address, **options})


class TestRay(ExecutorContract):
    pytestmark = needs_ray

    @pytest.fixture
    def options(self, cluster: Any) -> Ray:
        return Ray(address=cluster.address)


class TestDrill(FaultDrill):
    pytestmark = [*needs_ray, pytest.mark.faults]

    @pytest.fixture(scope="class")
    @classmethod
    def temporary(cls, cluster_tmp: Path) -> Path:
        """The folder that the cluster uses."""
        return cluster_tmp

    @pytest.fixture(scope="class")
    @classmethod
    def commands(cls, cluster: Any) -> list[list[str]]:
        return [["--executor", str(selector(cluster)), "-j", "2"]]


class TestOnTheCluster:
    pytestmark = needs_ray

    def test_without_a_shared_folder_results_come_back_as_bytes(
        self, cluster: Any, cache: Path, tmp_path: Path, undisturbed: pd.DataFrame
    ) -> None:
        executor = selector(cluster, shared="false")
        document = tiny.go(tmp_path, TOY, cache=cache, slots=2, executor=executor)
        assert items_of(tmp_path, document).equals(undisturbed)

    def test_a_job_is_reported_when_it_starts_and_one_whose_result_cannot_be_stored_fails_alone(
        self, cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        jobs = ToyJobs(tmp_path)
        first, second = jobs.fit(), jobs.fit()
        write = carried._write

        def full(folder: Path, files: carried.Files) -> None:  # in this process, not in Ray's workers
            if first.job_id in folder.name:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            write(folder, files)

        monkeypatch.setattr(carried, "_write", full)
        executor = Ray(address=cluster.address, shared=False).open(Capacity(folder=str(tmp_path)))
        try:
            executor.submit(first)
            executor.submit(second)
            events = list(executor.events())
        finally:
            executor.close()
        started = [event.job_id for event in events if event.progress and "Ray node" in event.progress.stage]
        assert sorted(started) == [first.job_id, second.job_id]
        ended = {event.job_id: event for event in events if event.status is not None}
        assert (ended[first.job_id].status, ended[second.job_id].status) == ("error", "ok")
        assert ended[first.job_id].message.startswith(f"no space to write {jobs.store}/models/")
        assert Store(jobs.store).models() == {second.job_id}

    def test_a_job_that_kills_its_worker_again_and_again_has_crashed(
        self, cluster: Any, tmp_path: Path
    ) -> None:
        jobs = ToyJobs(tmp_path)
        job = jobs.fit()
        model = msgspec.structs.replace(job.recipe.model, path="worker_killer:Killer")
        killer = msgspec.structs.replace(job, recipe=msgspec.structs.replace(job.recipe, model=model))
        executor = Ray(address=cluster.address, retries=1).open(Capacity(folder=str(tmp_path)))
        try:
            executor.submit(killer)
            executor.submit(jobs.fit())
            ended = [(event.status, event.message) for event in statuses(executor)]
        finally:
            executor.close()
        assert [status for status, _ in ended] == ["crashed", "ok"]
        assert ended[0][1].startswith("its worker died 2 times: ")

    def test_jobs_of_a_node_that_is_killed_run_on_another_one(
        self, cluster: Any, cache: Path, tmp_path: Path, undisturbed: pd.DataFrame
    ) -> None:
        node = cluster.add_node(num_cpus=1, node_ip_address=LOOPBACK)
        for other in [each for each in cluster.worker_nodes if each != node]:
            cluster.remove_node(other)

        def kill() -> None:
            deadline = time.monotonic() + 60
            while not list((tmp_path / "work").glob("*/")) and time.monotonic() < deadline:
                time.sleep(0.05)
            cluster.add_node(num_cpus=1, node_ip_address=LOOPBACK)
            cluster.remove_node(node, allow_graceful=False)

        killer = threading.Thread(target=kill)
        killer.start()
        document = tiny.go(tmp_path, TOY, cache=cache, slots=1, executor=selector(cluster))
        killer.join()
        assert items_of(tmp_path, document).equals(undisturbed)

    @pytest.mark.parametrize("lost", ["marker", "pack"])
    def test_a_folder_that_a_node_does_not_see_is_refused(
        self, lost: str, cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        jobs = ToyJobs(tmp_path)
        executor = Ray(address=cluster.address).open(Capacity(folder=str(tmp_path / "out")))
        executor.submit(jobs.fit())
        if lost == "pack":
            (tmp_path / "pack").rename(tmp_path / "elsewhere")
        else:
            monkeypatch.setattr("asdbench.jobs.executors.ray.write_bytes", lambda *_: None)
        place = tmp_path / ("pack" if lost == "pack" else "out/work")
        with pytest.raises(
            ConfigError, match=rf"does not see {place}.*share the folders.*ray\[shared=false\]"
        ):
            list(executor.events())
        executor.close()
        assert not list(tmp_path.glob("out/work/.ray*"))

    def test_threads_that_no_node_has_are_refused(self, cluster: Any, tmp_path: Path) -> None:
        executor = Ray(address=cluster.address).open(Capacity(threads=64, folder=str(tmp_path)))
        executor.submit(ToyJobs(tmp_path).fit())
        with pytest.raises(
            ConfigError, match="a job has 64 threads, but no node of the cluster has more than 1"
        ):
            list(executor.events())
        executor.close()


def test_without_ray_the_command_says_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    words = ["run", "-p", "logmel_knn", "-d", "synthetic", "--out", str(tmp_path / "out"), "--device", "cpu"]
    assert status_of([*words, "--executor", "ray"]) == 2
    assert (
        "which is not installed: pip install 'asdbench[ray]', or use --executor local"
        in capsys.readouterr().err
    )


def test_a_job_takes_the_share_of_a_gpu_that_its_memory_needs() -> None:
    assert share_of(10 * 10**9, 80 * 10**9) == 0.16  # with CUDA's own 0.6 GB, a margin, and rounded up
    assert share_of(100 * 10**9, 80 * 10**9) == 1.0
    on_gpu = Capacity(device="cuda", folder="none")
    assert RayExecutor(Ray(gpu_share=0.25), on_gpu)._share_of_gpu(Needs()) == 0.25
    assert RayExecutor(Ray(), on_gpu)._share_of_gpu(Needs()) == 1.0  # unknown
    assert RayExecutor(Ray(gpu_share=0.25), Capacity(folder="none"))._share_of_gpu(Needs()) == 0.0
