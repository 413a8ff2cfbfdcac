"""What the documentation shows is run: Python as it stands, commands as written or planned; tables name the exceptions.

``test_docs_blocks.py`` checks the form of every block.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import markdown_text
import pages
import pytest
import torch

from asdbench.cli import status_of


class Batch(list[int]):
    """As much of a batch as the pages read."""

    claim = torch.zeros(3)


REPLAYED: Mapping[str, str] = {
    "docs/add-dataset.md": "test_plugins_page.py",
    "docs/add-method.md": "test_plugins_page.py",
    "docs/add-metric-set.md": "test_plugins_page.py",
    "docs/add-scorer.md": "test_plugins_page.py",
    "docs/faces.md": "test_faces_page.py",
    "docs/figures.md": "test_figures_command.py",
    "docs/first-plugin.md": "test_first_plugin_page.py",
    "docs/own-machine.md": "test_own_machine_page.py",
    "docs/own-recordings.md": "test_own_recordings_page.py",
    "docs/plugins.md": "test_plugins_page.py",
    "docs/regression.md": "test_regression_page.py",
    "docs/researcher.md": "test_researcher_page.py",
}
"""Pages whose blocks a test of their own runs."""
PYTHON: Mapping[str, Mapping[str, Any] | str] = {
    "README.md": "run by test_plugins_page.py",
    "docs/devices.md": {"torch": torch, "batch": Batch(range(3))},
    "docs/executors.md": {"pytest": pytest},
    "docs/reproduce.md": "run by test_reproduce_page.py",
    "docs/tuning.md": "leaves out what does not matter there, as `...`",
}
"""Names that the blocks of a page do not define, or why they are not run here."""
READING = re.compile(r"plugins|describe|datasets (list|info)|systems|cache info|runs list")
"""Commands that only read; they are run as written."""
NOT_RUN: Mapping[str, str] = {
    r"hum|my_method|median_distance": "needs the plugin of another page, whose test runs it",
    r"datasets (fetch|verify)": "needs the network, or a release",
    r"-d (dcase|mimii|micro|ur3|kuka)|--preset|DATA": "needs a release",
    r"\[weights=|@|mine\.csv|path=press|press|my-scores": "needs a file of the reader's; tests of the command make one",
    r"slurm|ray\[": "needs a cluster; test_slurm.py and test_ray.py have one",
    r"^(tune|fit|conformance)": "trains; tests of each run it",
    r"^(figures|report|compare|check|status|runs show|submission|leaderboard)": "needs a run; tests of each have one",
}
"""Commands that are not run here, and why; the others are runs, which are planned."""


def python_blocks(page: str) -> list[str]:
    return [block for language, block, _ in markdown_text.blocks(pages.read(page)) if language == "python"]


def shown() -> Iterator[list[str]]:
    """Yield the commands that no test of their page runs."""
    for page in pages.ALL:
        if page not in REPLAYED:
            for language, block, _ in markdown_text.blocks(pages.read(page)):
                if language in ("", "sh", "console", "text"):
                    yield from pages.of_asdbench(block)


def reason(words: list[str]) -> str | None:
    return next((why for pattern, why in NOT_RUN.items() if re.search(pattern, " ".join(words))), None)


COMMANDS = {" ".join(words): words for words in shown() if not reason(words)}
READ = [words for line, words in COMMANDS.items() if READING.match(line)]
RUNS = [words for line, words in COMMANDS.items() if not READING.match(line)]


def test_python_that_no_other_test_runs_is_run() -> None:
    with_python = {page for page in pages.ALL if python_blocks(page)}
    assert with_python - set(REPLAYED) == set(PYTHON)
    for page, names in PYTHON.items():
        if not isinstance(names, str):
            known = {"__name__": page} | names
            for block in python_blocks(page):
                exec(compile(block, page, "exec"), known)


def test_every_test_that_runs_a_page_is_there() -> None:
    folder = Path(__file__).parent
    named = {*REPLAYED.values(), *re.findall(r"test_\w+\.py", f"{PYTHON} {NOT_RUN}")}
    assert {name for name in named if not (folder / name).is_file()} == set()


@pytest.mark.parametrize("words", READ, ids=" ".join)
def test_a_command_that_reads_works_as_written(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASDBENCH_CACHE", str(tmp_path))
    assert status_of(words) == 0


@pytest.mark.slow  # planning asks a process with torch what a step takes
@pytest.mark.parametrize("words", RUNS, ids=" ".join)
def test_a_run_can_be_planned(
    words: list[str], tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert words[0] == "run"
    assert status_of([*words, "--dry-run", "--cache", str(cache), "--device", "cpu"]) == 0
