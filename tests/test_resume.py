"""What a kill, an interrupt or a full disk leaves: always something that the same command completes."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tiny

from asdbench import RunDocument, Selector
from asdbench.results.record import decode

SLOW_TOY = "toy[epochs=8,pause_s=0.05]"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> dict[str, Any]:
    """Results and scores of a run that nothing disturbed."""
    return outcome_of(tmp_path_factory.mktemp("undisturbed"), cache)


def words(folder: Path, method: str = SLOW_TOY) -> list[str]:
    return ["-p", method, "-d", str(tiny.DATASET), "--out", str(folder), "--checkpoint-every", "0"]


def outcome_of(folder: Path, cache: Path, method: str = SLOW_TOY) -> dict[str, Any]:
    """Run to the end in this process, which is several times as fast as a command."""
    document = tiny.go(folder, Selector.parse(method), cache=cache)
    [file] = folder.glob("scores/*/scores.parquet")
    return {"results": document.results, "scores": pd.read_parquet(file).to_dict("list")}


def start(folder: Path, cache: Path, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        tiny.command("run", *words(folder), cache=cache), env=tiny.environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
    )  # fmt: skip


def wait_for(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not there():
        assert time.monotonic() < deadline, "the run did not get that far"
        time.sleep(0.02)


def workers_of(folder: Path) -> list[int]:
    """Process ids of a run's forked processes, which its environment marks."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            line = (place / "cmdline").read_bytes()
            environment = (place / "environ").read_bytes()
        except OSError:
            continue
        if b"forkserver" in line and f"ASDBENCH_TEST_MARK={folder}".encode() in environment:
            found.append(int(place.name))
    return found


def test_five_kills_of_the_parent_at_random_leave_the_same_results(
    undisturbed: dict[str, Any], cache: Path, tmp_path: Path
) -> None:
    moments = random.Random(5)
    for _ in range(5):
        process = start(tmp_path, cache)
        wait_for(lambda: any(tmp_path.glob("work/*/resume.safetensors")) or any(tmp_path.glob("runs/*.json")))
        time.sleep(moments.uniform(0.0, 0.6))
        process.kill()
        process.communicate()
    assert outcome_of(tmp_path, cache) == undisturbed


def test_a_killed_worker_is_a_crash_and_the_next_run_resumes(
    undisturbed: dict[str, Any], cache: Path, tmp_path: Path
) -> None:
    process = subprocess.Popen(
        tiny.command("run", *words(tmp_path), "--json", cache=cache), text=True,
        env=tiny.environment() | {"ASDBENCH_TEST_MARK": str(tmp_path)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    wait_for(lambda: any(tmp_path.glob("work/*/resume.safetensors")))
    # Of the processes that were forked from the server the youngest is the worker.
    os.kill(max(workers_of(tmp_path)), signal.SIGKILL)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 1, errors
    jobs = {job.kind: job for job in decode(output.encode(), RunDocument).jobs}
    assert (jobs["fit"].status, jobs["score"].status) == ("crashed", "blocked")
    assert "signal 9" in jobs["fit"].message
    assert outcome_of(tmp_path, cache) == undisturbed


def test_ctrl_c_keeps_finished_work_and_says_how_to_resume(
    undisturbed: dict[str, Any], cache: Path, tmp_path: Path
) -> None:
    # A shell's background job ignores interrupts, and so would what it starts; a terminal's does not.
    process = start(tmp_path, cache, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    wait_for(lambda: any(tmp_path.glob("work/*/resume.safetensors")))
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "run the same command to resume" in errors
    assert any(tmp_path.glob("work/*/resume.safetensors"))
    assert outcome_of(tmp_path, cache) == undisturbed


def test_a_full_disk_is_reported_and_loses_nothing(cache: Path, tmp_path: Path) -> None:
    method = "toy[n_mels=128]"
    whole = outcome_of(tmp_path / "whole", cache, method)

    def no_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))

    done = subprocess.run(
        tiny.command("run", *words(tmp_path / "full", method), "--json", cache=cache), env=tiny.environment(),
        capture_output=True, text=True, check=False, preexec_fn=no_room,
    )  # fmt: skip
    assert done.returncode in {1, 2}
    assert "no space to write" in done.stderr
    assert not list((tmp_path / "full").glob("models/*/fit.json"))
    assert outcome_of(tmp_path / "full", cache, method) == whole


def test_a_half_written_result_is_swept_away(
    undisturbed: dict[str, Any], cache: Path, tmp_path: Path
) -> None:
    rest = tmp_path / "models" / ".0123456789abcdef.x.part"
    rest.mkdir(parents=True)
    (rest / "model.safetensors").write_bytes(b"half")
    assert outcome_of(tmp_path, cache) == undisturbed
    assert not rest.exists()


@pytest.mark.slow
def test_five_kills_of_asd_afpa_leave_the_same_results(cache: Path, tmp_path: Path) -> None:
    method = "stgram_afpa[epochs=3,checkpoint_every=1,length_s=0.96]"
    whole = outcome_of(tmp_path / "whole", cache, method)
    moments = random.Random(7)
    for _ in range(5):
        process = subprocess.Popen(
            tiny.command("run", *words(tmp_path / "killed", method), cache=cache), env=tiny.environment(),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(moments.uniform(4.0, 12.0))
        process.kill()
        process.communicate()
    assert outcome_of(tmp_path / "killed", cache, method) == whole
