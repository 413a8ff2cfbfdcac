"""Executors: how one is chosen, the contract of each, and that a run gives the same results on all."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import stranger_executor
import tiny

from asdbench import ConfigError, Registry, Selector
from asdbench.cli import status_of
from asdbench.conformance.jobs import ToyJobs, Trouble
from asdbench.jobs.alone import read_end, write_job
from asdbench.jobs.executors.base import ExecutorOptions, executor_options
from asdbench.plugin.registry import Plugin
from asdbench.runs.run import run
from asdbench.testing import ExecutorContract

Capture = pytest.CaptureFixture[str]


class TestLocal(ExecutorContract):
    timeout_s = 3.0

    @pytest.fixture
    def options(self, impatient: None) -> ExecutorOptions:
        return executor_options(registry(), Selector("local"))


class TestStranger(ExecutorContract):
    timeout_s = 3.0

    @pytest.fixture
    def options(self) -> ExecutorOptions:
        return executor_options(registry(), Selector("stranger", {"poll_s": "0.05"}))


def registry() -> Registry:
    """Return the registry of the toy and the stranger's executor."""
    loaded = tiny.registry()
    loaded.add(Plugin(name="stranger"), stranger_executor)
    return loaded


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("locl", "unknown executor 'locl'; did you mean 'local'? (known: local"),
        ("local[gpuss=2]", "executor local: unknown option 'gpuss'"),
        ("local[", "'local[' is not of the form NAME or NAME[key=value,...]"),
    ],
)
def test_an_unknown_executor_or_option_is_refused_before_anything_is_read(
    words: str, message: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_words = ["run", "-p", "idnn", "-d", "synthetic", "--cache", "cache", "--executor", words]
    assert status_of(run_words) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_executor_is_taken_from_the_environment(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASDBENCH_EXECUTOR", "locale")
    assert status_of(["run", "-p", "idnn", "-d", "synthetic", "--cache", "cache"]) == 2
    assert "unknown executor 'locale'; did you mean 'local'?" in capsys.readouterr().err


def test_executors_are_listed_with_the_plugins(capsys: Capture) -> None:
    assert status_of(["plugins", "--json"]) == 0
    offers = {row["plugin"]: row["offers"] for row in json.loads(capsys.readouterr().out)}
    assert "executor local" in offers["executors"]


def test_an_option_of_a_strangers_executor_is_checked() -> None:
    with pytest.raises(ConfigError, match="executor stranger: poll_s=0 is not a number > 0"):
        executor_options(registry(), Selector("stranger", {"poll_s": "0"}))


def test_what_an_executor_lacks_is_reported_before_data_are_prepared(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking(self: object, capacity: object) -> None:
        raise ConfigError("no such cluster here; use --executor local")

    monkeypatch.setattr(stranger_executor.StrangerOptions, "open", lacking)
    silent = tiny.Silent()
    request = tiny.request(tmp_path, cache=cache, executor=Selector("stranger"))
    with pytest.raises(ConfigError, match="no such cluster here; use --executor local"):
        run(request, registry(), observer=silent)
    assert silent.seen == []


def test_a_strangers_executor_gives_the_results_of_the_local_one(cache: Path, tmp_path: Path) -> None:
    methods = [Selector("toy", {"epochs": "1"}), Selector("toy", {"trouble": "raise"})]
    documents = [
        run(
            tiny.request(tmp_path / name, *methods, cache=cache, slots=2, executor=Selector(name)),
            registry(),
            observer=tiny.Silent(),
        )
        for name in ("local", "stranger")
    ]
    assert [job.status for job in documents[0].jobs] == ["ok", "ok", "error", "blocked"]
    assert documents[1].results == documents[0].results
    assert [(job.id, job.status, job.message) for job in documents[1].jobs] == [
        (job.id, job.status, job.message) for job in documents[0].jobs
    ]


@pytest.mark.parametrize(("trouble", "status", "code"), [("print", "ok", 0), ("raise", "error", 1)])
def test_a_program_runs_one_job_from_a_file_and_writes_how_it_ended(
    trouble: Trouble, status: str, code: int, tmp_path: Path
) -> None:
    job, end = tmp_path / "job", tmp_path / "end"
    write_job(job, ToyJobs(tmp_path).fit(trouble))
    assert read_end(end) is None
    words = [sys.executable, "-m", "asdbench.jobs.alone", str(job), str(end)]
    done = subprocess.run(words, env=tiny.environment(), capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (code, b""), done.stderr
    event = read_end(end)
    assert event is not None
    assert (event.status, "the job broke" in event.message) == (status, code == 1)
