"""The rules of the house (``tests/support/house.py``) hold, and each is proved by planting what it forbids in a copy."""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from house import HOUSE, LEVELS, WINGS, Sources, levels, read, violations


def test_no_rule_of_the_house_is_broken() -> None:
    assert violations(HOUSE) == []


def test_the_checker_reads_all_four_roots() -> None:
    owners = {source.owner for source in read(HOUSE)}
    assert {"asdbench", "asdbench_datasets", "asdbench_leaderboards"} < owners
    assert len([owner for owner in owners if owner.startswith("asdbench_plugins.")]) >= 4


@dataclass(frozen=True, kw_only=True)
class Plant:
    """Lines appended to a file (or a new file), and what must be reported of which of them."""

    file: str
    text: str
    expected: str
    line: int = 1
    """Of the planted lines, the one that is reported."""


PLANTS = {
    "an import that runs up": Plant(
        file="harness/asdbench/core/files.py",
        text="from asdbench.results.store import Store\n",
        expected="core may not import asdbench.results.store",
    ),
    "an import that runs up, inside a function": Plant(
        file="harness/asdbench/recipes/recipe.py",
        text="def late():\n    from asdbench.cli import main\n    return main\n",
        expected="recipes may not import asdbench.cli",
        line=2,
    ),
    "an import that runs up, for types alone": Plant(
        file="harness/asdbench/core/seeding.py",
        text="from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import asdbench.jobs.job\n",
        expected="core may not import asdbench.jobs.job",
        line=3,
    ),
    "a relative import that runs up": Plant(
        file="harness/asdbench/data/pack.py",
        text="from ..runs.run import run\n",
        expected="data may not import asdbench.runs.run",
    ),
    "a planner that loads models in its own process": Plant(
        file="harness/asdbench/results/report.py",
        text="from asdbench.detector.detector import Detector\n",
        expected="results may not import asdbench.detector.detector",
    ),
    "a harness module that imports the face": Plant(
        file="harness/asdbench/results/store.py",
        text="from asdbench import Config\n",
        expected="results may not import asdbench",
    ),
    "a module in no wing": Plant(
        file="harness/asdbench/newcomer.py",
        text='"""New."""\n',
        expected="asdbench.newcomer is in no wing",
    ),
    "a ring in one wing": Plant(
        file="harness/asdbench/data/pack.py",
        text="from asdbench.data.prepare import Prepared\n",
        expected="ring of imports: asdbench.data.pack -> asdbench.data.prepare -> asdbench.data.pack",
    ),
    "the harness importing a plugin": Plant(
        file="harness/asdbench/cli/catalogue.py",
        text="from asdbench_plugins.baselines import REDUCED\n",
        expected="the harness imports the plugin asdbench_plugins.baselines",
    ),
    "the harness pointing at a dataset": Plant(
        file="harness/asdbench/runs/run.py",
        text='from asdbench.plugin.entries import lazy\nlazy("asdbench_datasets.synthetic:Synthetic")\n',
        expected="the harness imports the plugin asdbench_datasets.synthetic",
        line=2,
    ),
    "a plugin importing a plugin": Plant(
        file="plugins/asdbench_plugins/stgram_afpa/model.py",
        text="from asdbench_plugins.baselines.models import Autoencoder\n",
        expected="asdbench_plugins.stgram_afpa imports its neighbour asdbench_plugins.baselines.models",
    ),
    "a plugin pointing at a plugin": Plant(
        file="plugins/asdbench_plugins/scorers/__init__.py",
        text='lazy("asdbench_plugins.features.featurizers:Raw")\n',
        expected="asdbench_plugins.scorers imports its neighbour asdbench_plugins.features.featurizers",
    ),
    "a dataset importing a plugin": Plant(
        file="datasets/asdbench_datasets/synthetic.py",
        text="import asdbench_plugins.features\n",
        expected="asdbench_datasets imports its neighbour asdbench_plugins.features",
    ),
    "a leaderboard importing a dataset": Plant(
        file="leaderboards/asdbench_leaderboards/table.py",
        text="from asdbench_datasets.dcase2020 import MACHINES\n",
        expected="asdbench_leaderboards imports its neighbour asdbench_datasets.dcase2020",
    ),
    "a plugin importing a module that is not public": Plant(
        file="plugins/asdbench_plugins/baselines/models.py",
        text="from asdbench.data.vault import open_vault\n",
        expected="asdbench.data.vault is not public",
    ),
    "a plugin importing a whole module": Plant(
        file="plugins/asdbench_plugins/baselines/models.py",
        text="import asdbench.metrics\n",
        expected="takes the module asdbench.metrics whole",
    ),
    "a plugin importing a private name": Plant(
        file="plugins/asdbench_plugins/baselines/models.py",
        text="from asdbench.metrics import _rank\n",
        expected="_rank is no public name of asdbench.metrics",
    ),
    "a dataset importing what a public module only imports": Plant(
        file="datasets/asdbench_datasets/folder.py",
        text="from asdbench.dsp import np\n",
        expected="np is no public name of asdbench.dsp",
    ),
    "a leaderboard importing what the face does not list": Plant(
        file="leaderboards/asdbench_leaderboards/table.py",
        text="from asdbench import importlib\n",
        expected="importlib is no public name of asdbench",
    ),
    "a leaderboard importing everything": Plant(
        file="leaderboards/asdbench_leaderboards/table.py",
        text="from asdbench.metrics import *\n",
        expected="* is no public name of asdbench.metrics",
    ),
    "a long file": Plant(
        file="plugins/asdbench_plugins/features/long.py",
        text="\n" * 501,
        expected="501 lines, more than 500",
        line=501,
    ),
    "a long function": Plant(
        file="plugins/asdbench_plugins/features/long.py",
        text="def long():\n" + '    """Say\n    nothing."""\n' + "    pass\n" * 60,
        expected="long has 61 lines, more than 60",
    ),
    "a long class": Plant(
        file="plugins/asdbench_plugins/features/long.py",
        text="class Long:\n" + '    """Say\n    nothing."""\n' + "    x = 1\n" * 150,
        expected="Long has 151 lines, more than 150",
    ),
    "a long test": Plant(
        file="tests/test_long.py",
        text="\n" * 501,
        expected="501 lines, more than 500",
        line=501,
    ),
    "three positional parameters": Plant(
        file="plugins/asdbench_plugins/features/long.py",
        text="def three(a, b, c):\n    pass\n",
        expected="three has 3 positional parameters, more than 2",
    ),
    "three positional parameters of a method": Plant(
        file="plugins/asdbench_plugins/features/long.py",
        text="class Some:\n    def three(self, a, b, c):\n        pass\n",
        expected="three has 3 positional parameters, more than 2",
        line=2,
    ),
    "a print": Plant(
        file="datasets/asdbench_datasets/folder.py",
        text="def speak():\n    print('hello')\n",
        expected="print belongs into cli/",
        line=2,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code, to break things in and mend them again."""
    folder = tmp_path_factory.mktemp("house")
    for source in read(HOUSE):
        file = folder / source.place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source.text, "utf-8")
    return folder


@contextlib.contextmanager
def planted(file: Path, text: str) -> Iterator[int]:
    """Append lines to a file, or make it, for the time of a test; yields the number of lines before them."""
    file.parent.mkdir(parents=True, exist_ok=True)
    before = file.read_text("utf-8") if file.exists() else None
    file.write_text((before or "") + text, "utf-8")
    try:
        yield len((before or "").splitlines())
    finally:
        file.unlink() if before is None else file.write_text(before, "utf-8")


def test_a_wing_imports_only_wings_of_rows_above_its_own() -> None:
    above: set[str] = set()
    for wing, allowed in WINGS.items():
        assert set(allowed) <= above, f"{wing} may import a wing that is not above it in WINGS"
        above.add(wing)


def test_the_graph_of_imports_is_at_most_twelve_levels_deep(copy: Path) -> None:
    harness = Sources((source.module, source) for source in read(HOUSE) if source.owner == "asdbench")
    deepest = max(levels(harness).values())
    assert deepest <= LEVELS == 12
    # A chain of as many modules as are left, and one more, is reported.
    folder = copy / "harness/asdbench/cli"
    chain = [f"chain{number}" for number in range(LEVELS + 1)]
    with contextlib.ExitStack() as stack:
        for name, inner in zip(chain, [None, *chain], strict=False):
            text = f"import asdbench.cli.{inner}\n" if inner else ""
            stack.enter_context(planted(folder / f"{name}.py", text))
        found = violations(copy)
    assert any("asdbench.cli.chain12 is on level 13 of imports" in each for each in found)


@pytest.mark.parametrize("plant", PLANTS.values(), ids=PLANTS.keys())
def test_a_planted_violation_is_reported_with_file_and_line(copy: Path, plant: Plant) -> None:
    with planted(copy / plant.file, plant.text) as before:
        found = violations(copy)
    place = f"{plant.file}:{before + plant.line}"
    assert any(what.startswith(f"{place}: {plant.expected}") for what in found), found


def test_a_function_of_sixty_lines_a_docstring_and_a_print_in_cli_are_allowed(copy: Path) -> None:
    body = "def full():\n" + '    """Say\n    nothing."""\n' + "    print()\n" * 59
    with planted(copy / "harness/asdbench/cli/full.py", body):
        assert violations(copy) == violations(HOUSE)


SOUND_COLUMNS = {"machine", "section", "clip", "wav", "audio"}
"""What datasets of sound call their columns and files; the harness takes such names from a card."""
MAY_NAME_THEM = ("asdbench.dsp", "asdbench.data.audio", "asdbench.metrics", "asdbench.testing")


def test_the_harness_names_no_column_of_the_sound_datasets() -> None:
    named = [
        f"{source.place}:{node.lineno}: {node.value!r}"
        for source in read(HOUSE)
        if source.owner == "asdbench" and not source.module.startswith(MAY_NAME_THEM)
        for node in source.nodes(ast.Constant)
        if node.value in SOUND_COLUMNS
    ]
    assert named == []
