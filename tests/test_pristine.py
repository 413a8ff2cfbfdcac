"""The process that evaluates: what a plugin replaces in the command does not exist there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import patching
import pristine_answers
import pytest
import tiny

from asdbench import Selector
from asdbench.core.files import write_bytes
from asdbench.errors import ConfigError, RunError
from asdbench.jobs.pristine import Pristine

HERE = pristine_answers.__name__


@pytest.fixture(scope="module")
def pristine() -> Iterator[Pristine]:
    process = Pristine(*(f"{HERE}:{name}" for name in ("double", "die", "imports", "loaded_plugins", "size")))
    yield process
    process.stop()


def test_it_answers_with_what_a_function_returns(pristine: Pristine) -> None:
    assert [pristine.ask(f"{HERE}:double", value) for value in (1, 21)] == [2, 42]


def test_it_raises_our_errors_as_they_are(pristine: Pristine) -> None:
    with pytest.raises(ConfigError, match=r"^-1 is negative; give a value from 0$"):
        pristine.ask(f"{HERE}:double", -1)


def test_another_error_is_reported_with_its_traceback_elsewhere(pristine: Pristine) -> None:
    with pytest.raises(RunError, match="pristine_answers:double failed; see its traceback above"):
        pristine.ask(f"{HERE}:double", 0)


def test_after_a_death_the_next_question_is_answered(pristine: Pristine) -> None:
    with pytest.raises(RunError, match="the process that runs pristine_answers:die died"):
        pristine.ask(f"{HERE}:die", int(signal.SIGKILL))
    assert pristine.ask(f"{HERE}:double", 2) == 4


def test_an_answer_does_not_see_what_another_one_imported(pristine: Pristine) -> None:
    assert [pristine.ask(f"{HERE}:imports", "this") for _ in range(2)] == [False, False]


def test_it_has_imported_no_plugin_although_this_process_has(pristine: Pristine) -> None:
    tiny.registry()
    assert pristine_answers.loaded_plugins(None)
    assert pristine.ask(f"{HERE}:loaded_plugins", None) == []


def test_no_other_function_is_called(pristine: Pristine, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RunError, match="the process that runs pristine_answers:wait died"):
        pristine.ask(f"{HERE}:wait", 0.0)
    assert pristine.ask(f"{HERE}:double", 2) == 4


def test_an_argument_cannot_name_the_code_of_a_plugin(pristine: Pristine) -> None:
    assert (
        pristine.ask(f"{HERE}:size", [PurePosixPath("a"), Selector("toy", {"a": "1"}), {1, 2}, range(3)]) == 4
    )
    with pytest.raises(
        RunError, match=r"names pristine_answers\.Chosen, which is neither a plain value nor of the harn"
    ):
        pristine.ask(f"{HERE}:size", [pristine_answers.Chosen()])
    with pytest.raises(RunError, match=r"names asdbench\.core\.files\.write_bytes, which is neither"):
        pristine.ask(f"{HERE}:size", [write_bytes])


def test_paths_are_relative_to_the_folder_of_who_asks(
    pristine: Pristine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").write_text("x")
    monkeypatch.chdir(tmp_path)
    assert pristine.ask(f"{HERE}:size", Path("here")) == 1


def test_it_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    name = f"{HERE}:wait"
    code = (
        f"import os, sys; from asdbench.jobs.pristine import Pristine; p = Pristine({name!r}); "
        f"p.fork() if sys.argv[1] == 'fork' else None; p.load({name!r}); "
        f"print(p._process, flush=True); p.ask({name!r}, 600.0)"
    )
    for how in ("fork", "fresh"):
        with subprocess.Popen(
            [sys.executable, "-c", code, how], env=tiny.environment(), text=True,
            stdout=subprocess.PIPE,
        ) as process:  # fmt: skip
            assert process.stdout is not None
            served = int(process.stdout.readline())
            os.kill(served, 0)
            process.kill()
        deadline = time.monotonic() + 30
        while _lives(served):
            assert time.monotonic() < deadline, f"{how}: it outlives its command"
            time.sleep(0.02)


def _lives(process: int) -> bool:
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def test_a_plugin_that_replaces_the_metrics_on_import_changes_no_result(tmp_path: Path) -> None:
    """It is installed like any other, and its module is imported by the command."""
    honest = tiny.run_json(
        "-p", "toy", "-d", str(tiny.DATASET), "--out", str(tmp_path / "out"), cache=tmp_path
    )
    with pytest.MonkeyPatch.context() as patch:
        environment = patching.environment(tmp_path)
        patch.setattr(tiny, "environment", lambda: environment)
        patched = tiny.run_json(
            "-p", "toy", "-d", str(tiny.DATASET), "--out", str(tmp_path / "out"), cache=tmp_path
        )
    assert patched.results == honest.results
    assert set(patched.run.code) == {"runs", "results", "metrics"}
