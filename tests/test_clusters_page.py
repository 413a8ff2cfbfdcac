"""docs/clusters.md: every file that it shows is run, or checked against the API that reads it."""

from __future__ import annotations

import copy
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes
import pages
import pytest
import tiny
import yaml
from slurm import Slurm, wait_for

from asdbench import RunDocument
from asdbench.cli.run import run
from asdbench.results.record import find_run

PAGE = "docs/clusters.md"
FILE = re.compile(r"```(?:bash|yaml)\n(?P<text>(?:#!/bin/bash\n)?# (?P<name>[\w.-]+)\n.*?)```", re.DOTALL)


@pytest.fixture
def shown(tmp_path: Path) -> Path:
    """A folder with the files of the page and, on the path of commands, ``asdbench`` with the toy and a pretended ssh."""
    for match in FILE.finditer(pages.read(PAGE)):
        (tmp_path / match["name"]).write_text(match["text"], "utf-8")
    write_command(tmp_path, "asdbench", f'exec {sys.executable} -m toy_command "$@"')
    write_command(
        tmp_path, "ssh", 'shift\ncd /\nexec sh -c "$*"'
    )  # sshd too hands the words to a shell, as one
    return tmp_path


def write_command(folder: Path, name: str, text: str) -> None:
    place = folder / "bin" / name
    place.parent.mkdir(exist_ok=True)
    place.write_text(f"#!/bin/bash\n{text}\n")
    place.chmod(0o755)


def environment(folder: Path) -> dict[str, str]:
    path = os.pathsep.join([str(folder / "bin"), os.environ["PATH"]])
    return tiny.environment() | {"PATH": path, "OMP_NUM_THREADS": "1"}


def request(folder: Path, cache: Path) -> list[str]:
    return [
        "-p", "toy_by_machine", "-d", str(tiny.DATASET), "--device", "cpu", "--out", str(folder / "my runs"),
        "--cache", str(cache),
    ]  # fmt: skip


def manifest(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((folder / "shards.yaml").read_text("utf-8"))
    return found


def check_evaluated(document: RunDocument) -> None:
    assert [(job.status, job.new) for job in document.jobs] == [("ok", False)] * 4
    assert document.summary["toy_by_machine"]["auc"] is not None


def test_the_ssh_loop_runs_all_shards_and_evaluates(shown: Path, cache: Path) -> None:
    words = [*request(shown, cache), "--threads", "1"]
    done = subprocess.run(
        ["bash", "shards.sh", *words], cwd=shown, env=environment(shown), capture_output=True, text=True, check=False
    )  # fmt: skip
    logs = [(shown / f"shard-{number}.log").read_text() for number in (1, 2)]
    assert done.returncode == 0, [done.stderr, *logs]
    for number, log in enumerate(logs):
        assert f"shard {number + 1}/2 of run" in log
        assert "1 of 2 models; jobs: 2 ok" in log
    check_evaluated(find_run(shown / "my runs"))
    assert "toy_by_machine" in done.stdout


def test_the_kubernetes_job_is_one_that_the_api_accepts(shown: Path) -> None:
    job = manifest(shown)
    assert kubernetes.faults(job) == []
    spec = job["spec"]
    assert (spec["completionMode"], spec["podReplacementPolicy"]) == ("Indexed", "Failed")
    assert spec["backoffLimitPerIndex"] > 0
    assert {
        "action": "FailIndex",
        "onExitCodes": {"containerName": "shard", "operator": "In", "values": [2, 4]},
    } in spec["podFailurePolicy"]["rules"]


def test_each_pod_of_the_kubernetes_job_runs_its_own_shard(shown: Path) -> None:
    write_command(shown, "asdbench", 'printf "%s\\n" "${@@Q}"')
    spec = manifest(shown)["spec"]
    [container] = spec["template"]["spec"]["containers"]
    shards = []
    for index in range(spec["completions"]):
        done = subprocess.run(
            [*container["command"], *container["args"]], capture_output=True, text=True, check=True,
            env=environment(shown) | {"JOB_COMPLETION_INDEX": str(index)},
        )  # fmt: skip
        first, *words = shlex.split(done.stdout)
        assert first == "run"
        shards.append(str(run.make_context("run", words).params["shard"]))
    assert shards == [f"{number}/{spec['completions']}" for number in range(1, spec["completions"] + 1)]


def without(*path: str) -> Callable[[dict[str, Any]], None]:
    return lambda job: at(job, *path[:-1]).pop(path[-1])


def having(*path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda job: at(job, *path[:-1]).update({path[-1]: value})


def at(job: Any, *path: str) -> Any:
    for name in path:
        job = job[int(name)] if isinstance(job, list) else job[name]
    return job


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (having("spec", "completionMode", value="indexed"), "'indexed' is not one of"),
        (having("spec", "backoffLimitPerIndx", value=1), "'backoffLimitPerIndx' was unexpected"),
        (without("spec", "template"), "'template' is a required property"),
        (having("spec", "completionMode", value="NonIndexed"), "needs completionMode: Indexed"),
        (without("spec", "backoffLimitPerIndex"), "FailIndex needs backoffLimitPerIndex"),
        (having("spec", "podReplacementPolicy", value="TerminatingOrFailed"), "needs podReplacementPolicy"),
        (having("spec", "template", "spec", "restartPolicy", value="OnFailure"), "needs restartPolicy: Never"),
        (having("spec", "template", "spec", "containers", "0", "name", value="other"), "no container is named"),
        (having("spec", "template", "spec", "volumes", "0", "name", value="other"), "no volume is named shared"),
        (having("spec", "podFailurePolicy", "rules", "0", "onExitCodes", "values", value=[4, 2]), "ascending"),
        (having("metadata", "name", value="Shards_1"), "does not match"),
    ],
)  # fmt: skip
def test_the_check_of_kubernetes_jobs_finds_faults(
    change: Callable[[dict[str, Any]], None], why: str, shown: Path
) -> None:
    job = copy.deepcopy(manifest(shown))
    change(job)
    assert why in "\n".join(kubernetes.faults(job))


@pytest.mark.cluster
def test_the_slurm_array_runs_all_shards_and_evaluates(shown: Path, cache: Path, slurm: Slurm) -> None:
    done = subprocess.run(
        ["bash", "submit.sh", *request(shown, cache)], cwd=shown, env=environment(shown) | slurm.environment,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    evaluation = re.findall(r"Submitted batch job (\d+)", done.stdout)[0]
    wait_for(
        lambda: slurm.run("squeue", "--noheader", "--states=all", f"--jobs={evaluation}", "--format=%T").strip()
        in ("COMPLETED", "FAILED", "CANCELLED"),
        "the evaluation did not end",
        seconds=240,
    )  # fmt: skip
    logs = [(shown / f"shard-{number}.log").read_text() for number in (1, 2, 3, 4)]
    assert ["of 2 models" in log for log in logs] == [True] * 4, logs
    check_evaluated(find_run(shown / "my runs"))
    assert "toy_by_machine" in (shown / "evaluation.log").read_text()
