"""The house holds: what may import what, how long things may be, what a light command must not load.

``FLOORS`` and ``PUBLIC`` are the documentation of the floors. ``violations`` reads every file of the four
roots, and each of its rules is proved by planting what it forbids in a copy.
"""

from __future__ import annotations

import ast
import functools
import graphlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[1]
ROOTS = ("harness", "plugins", "datasets", "leaderboards")
FACE = "asdbench"
"""Says the public names; no module of the harness imports from it."""
FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors", "values"),
    ("hookspecs", "seeding", "sources", "atomic", "weights", "environment", "metrics", "dsp", "blocks"),
    ("registry", "store", "data", "resume", "training", "contracts"),
    ("recipe", "detector", "job", "plan", "evaluate", "ensemble"),
    (
        "executors",
        "execute",
        "runner",
        "report",
        "records",
        "figures",
        "printed",
        "describe",
        "estimate",
        "releases",
        "tuning",
        "testing",
    ),
    ("cli", "__main__"),
)
"""Modules and packages of ``asdbench`` from the ground up; imports run down or stay on a floor."""
PUBLIC = (
    "asdbench",
    "asdbench.values",
    "asdbench.errors",
    "asdbench.contracts",
    "asdbench.hookspecs",
    "asdbench.seeding",
    "asdbench.training",
    "asdbench.dsp",
    "asdbench.blocks",
    "asdbench.metrics",
    "asdbench.data.items",
    "asdbench.data.audio",
    "asdbench.data.folds",
    "asdbench.data.completeness",
    "asdbench.atomic",
    "asdbench.recipe",
    "asdbench.records",
    "asdbench.registry",
    "asdbench.cli.settings",
)
"""Where plugins, datasets and leaderboards may import from; ``public_names`` says which names."""
HEAVY = ("torch", "librosa", "sklearn", "optuna", "pandas")
FILE_LINES = 500
FUNCTION_LINES = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """One name that a module takes from another; ``name`` is None where it takes the module itself."""

    line: int
    module: str
    name: str | None
    lazy: bool = False
    """Only pointed at, by ``lazy("module:name")``."""


@dataclass(frozen=True)
class Source:
    """One Python file."""

    place: str
    """Relative to the house, as a report shows it."""
    module: str
    text: str

    @property
    def nodes(self) -> Sequence[ast.AST]:
        return parsed(self.text)

    @property
    def package(self) -> str:
        return self.module if self.place.endswith("__init__.py") else self.module.rpartition(".")[0]

    @property
    def owner(self) -> str:
        """What must stand alone: the harness, one plugin, the datasets, the leaderboards."""
        return owner_of(self.module)


@functools.cache
def parsed(text: str) -> Sequence[ast.AST]:
    """Return all nodes, the module first; copies of the house share those of files that are alike."""
    return list(ast.walk(ast.parse(text)))


Sources = Mapping[str, Source]


def violations(house: Path) -> list[str]:
    """Return every broken rule as ``file:line: what is wrong``."""
    sources = {source.module: source for source in read(house)}
    rules = (floors, ring, plugins_in_harness, neighbours, not_public, long_files, long_functions, prints)
    return [f"{where}: {what}" for rule in rules for where, what in rule(sources)]


def read(house: Path) -> Iterator[Source]:
    for root in ROOTS:
        for file in sorted((house / root).rglob("*.py")):
            parts = file.relative_to(house / root).with_suffix("").parts
            module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            yield Source(file.relative_to(house).as_posix(), module, file.read_text("utf-8"))


def owner_of(module: str) -> str:
    """Return the part of the house that a module belongs to; of ``asdbench_plugins`` each package is one."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "asdbench_plugins" else parts[0]


def imports(source: Source, sources: Sources) -> Iterator[Import]:
    """Yield imports of our own packages, wherever they stand: in functions and under TYPE_CHECKING too."""
    for node in source.nodes:
        if isinstance(node, ast.Import):
            yield from (
                Import(line=node.lineno, module=name.name, name=None)
                for name in node.names
                if ours(name.name)
            )
        elif isinstance(node, ast.ImportFrom) and ours(base := absolute(source, node)):
            yield from (imported(node.lineno, base, name.name, sources) for name in node.names)
        elif isinstance(node, ast.Call) and (path := pointed_at(node)) and ours(path):
            module, _, name = path.partition(":")
            yield Import(line=node.lineno, module=module, name=name or None, lazy=True)


def ours(module: str) -> bool:
    return module.split(".")[0].partition("_")[0] == FACE


def absolute(source: Source, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    parents = source.package.split(".")
    return ".".join([*parents[: len(parents) - node.level + 1], *filter(None, [node.module])])


def imported(line: int, base: str, name: str, sources: Sources) -> Import:
    """``from package import module`` takes a module, ``from module import name`` a name."""
    inner = f"{base}.{name}"
    return (
        Import(line=line, module=inner, name=None)
        if inner in sources
        else Import(line=line, module=base, name=name)
    )


def pointed_at(call: ast.Call) -> str | None:
    """Return the constant path in ``lazy("...")`` and ``import_module("...")``."""
    called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    first = call.args[0] if call.args else None
    known = called in ("lazy", "Lazy", "import_module") and isinstance(first, ast.Constant)
    return first.value if known and isinstance(first.value, str) else None  # type: ignore[union-attr]


def all_imports(sources: Sources) -> Iterator[tuple[Source, Import]]:
    for source in sources.values():
        for item in imports(source, sources):
            yield source, item


Findings = Iterator[tuple[str, str]]


def floors(sources: Sources) -> Findings:
    for source in sources.values():
        if source.owner == FACE and floor_of(source.module) is None:
            yield f"{source.place}:1", f"{source.module} stands on no floor; give it one in FLOORS"
    for source, item in all_imports(sources):
        here, there = floor_of(source.module), floor_of(item.module)
        if here is not None and there is not None and there > here:
            yield (
                f"{source.place}:{item.line}",
                f"runs up: floor {here} imports {item.module} of floor {there}",
            )


def floor_of(module: str) -> int | None:
    """Return the floor of a module of the harness; its face lies above all floors."""
    if module == FACE:
        return len(FLOORS)
    if owner_of(module) != FACE:
        return None
    top = module.split(".")[1]
    return next((number for number, names in enumerate(FLOORS) if top in names), None)


def ring(sources: Sources) -> Findings:
    lines = {
        (source.module, item.module): item.line
        for source, item in all_imports(sources)
        if item.module in sources and not item.lazy
    }
    graph: dict[str, set[str]] = {module: set() for module in sources}
    for importer, target in lines:
        graph[importer].add(target)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        trip = error.args[1][:0:-1]  # told from the imported to the importing, the first once more as last
        for start, importer in enumerate(trip):
            way = [*trip[start:], *trip[:start], importer]
            place = f"{sources[importer].place}:{lines[importer, way[1]]}"
            yield place, f"ring of imports: {' -> '.join(way)}"


def plugins_in_harness(sources: Sources) -> Findings:
    for source, item in all_imports(sources):
        if source.owner == FACE and owner_of(item.module) != FACE:
            yield f"{source.place}:{item.line}", f"the harness imports the plugin {item.module}"


def neighbours(sources: Sources) -> Findings:
    for source, item in all_imports(sources):
        if FACE not in (source.owner, owner_of(item.module)) and source.owner != owner_of(item.module):
            yield f"{source.place}:{item.line}", f"{source.owner} imports its neighbour {item.module}"


def not_public(sources: Sources) -> Findings:
    public = {module: public_names(sources[module]) for module in PUBLIC if module in sources}
    for source, item in all_imports(sources):
        if source.owner == FACE or owner_of(item.module) != FACE:
            continue
        where = f"{source.place}:{item.line}"
        if item.module not in public:
            yield where, f"{item.module} is not public"
        elif item.name is None:
            yield where, f"takes the module {item.module} whole; import the names that are used"
        elif item.name not in public[item.module]:
            yield where, f"{item.name} is no public name of {item.module}"


def public_names(source: Source) -> set[str]:
    """Return what ``__all__`` lists, or else what is defined (not imported) there without an underscore."""
    names: set[str] = set()
    for node in ast.iter_child_nodes(source.nodes[0]):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for target in targets:
            if isinstance(target, ast.Name) and target.id == "__all__":
                return set(ast.literal_eval(node.value))  # type: ignore[attr-defined]
            names |= {target.id} if isinstance(target, ast.Name) else set()
    return {name for name in names if not name.startswith("_")}


def long_files(sources: Sources) -> Findings:
    for source in sources.values():
        count = len(source.text.splitlines())
        if count > FILE_LINES:
            yield f"{source.place}:{FILE_LINES + 1}", f"{count} lines, more than {FILE_LINES}"


def long_functions(sources: Sources) -> Findings:
    for source in sources.values():
        for node in source.nodes:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and length(node) > FUNCTION_LINES:
                what = f"{node.name} has {length(node)} lines, more than {FUNCTION_LINES}"
                yield f"{source.place}:{node.lineno}", what


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the lines from ``def`` to the end, docstring aside."""
    first = function.body[0]
    told = first.end_lineno - first.lineno + 1 if ast.get_docstring(function) and first.end_lineno else 0
    return (function.end_lineno or function.lineno) - function.lineno + 1 - told


def prints(sources: Sources) -> Findings:
    for source in sources.values():
        if source.module.startswith("asdbench.cli"):
            continue
        for node in source.nodes:
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print":
                yield f"{source.place}:{node.lineno}", "print belongs into cli/; log, or return a value"


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
        file="harness/asdbench/values.py",
        text="from asdbench.store import Store\n",
        expected="runs up: floor 0 imports asdbench.store of floor 2",
    ),
    "an import that runs up, inside a function": Plant(
        file="harness/asdbench/recipe.py",
        text="def late():\n    from asdbench.cli import main\n    return main\n",
        expected="runs up: floor 3 imports asdbench.cli of floor 5",
        line=2,
    ),
    "an import that runs up, for types alone": Plant(
        file="harness/asdbench/seeding.py",
        text="from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import asdbench.job\n",
        expected="runs up: floor 1 imports asdbench.job of floor 3",
        line=3,
    ),
    "a relative import that runs up": Plant(
        file="harness/asdbench/data/pack.py",
        text="from ..runner import run\n",
        expected="runs up: floor 2 imports asdbench.runner of floor 4",
    ),
    "a harness module that imports the face": Plant(
        file="harness/asdbench/store.py",
        text="from asdbench import Config\n",
        expected="runs up: floor 2 imports asdbench of floor 6",
    ),
    "a module on no floor": Plant(
        file="harness/asdbench/newcomer.py",
        text='"""New."""\n',
        expected="asdbench.newcomer stands on no floor",
    ),
    "a ring on one floor": Plant(
        file="harness/asdbench/data/pack.py",
        text="from asdbench.data.items import Items\n",
        expected="ring of imports: asdbench.data.pack -> asdbench.data.items -> asdbench.data.pack",
    ),
    "the harness importing a plugin": Plant(
        file="harness/asdbench/cli/catalogue.py",
        text="from asdbench_plugins.baselines import REDUCED\n",
        expected="the harness imports the plugin asdbench_plugins.baselines",
    ),
    "the harness pointing at a dataset": Plant(
        file="harness/asdbench/runner.py",
        text='from asdbench.values import lazy\nlazy("asdbench_datasets.synthetic:Synthetic")\n',
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
        text="import asdbench.values\n",
        expected="takes the module asdbench.values whole",
    ),
    "a plugin importing a private name": Plant(
        file="plugins/asdbench_plugins/baselines/models.py",
        text="from asdbench.training import _Place\n",
        expected="_Place is no public name of asdbench.training",
    ),
    "a dataset importing what a public module only imports": Plant(
        file="datasets/asdbench_datasets/folder.py",
        text="from asdbench.contracts import Items\n",
        expected="Items is no public name of asdbench.contracts",
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
    "a print": Plant(
        file="datasets/asdbench_datasets/folder.py",
        text="def tell():\n    print('hello')\n",
        expected="print belongs into cli/",
        line=2,
    ),
}  # fmt: skip


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the four roots, to break things in."""
    for root in ROOTS:
        shutil.copytree(HOUSE / root, tmp_path / root, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.mark.parametrize("plant", PLANTS.values(), ids=PLANTS.keys())
def test_a_planted_violation_is_reported_with_file_and_line(copy: Path, plant: Plant) -> None:
    file = copy / plant.file
    before = file.read_text("utf-8") if file.exists() else ""
    file.write_text(before + plant.text, "utf-8")
    line = len(before.splitlines()) + plant.line
    found = violations(copy)
    assert any(what.startswith(f"{plant.file}:{line}: {plant.expected}") for what in found), found


def test_a_function_of_sixty_lines_a_docstring_and_a_print_in_cli_are_allowed(copy: Path) -> None:
    body = "def full():\n" + '    """Say\n    nothing."""\n' + "    print()\n" * 59
    (copy / "harness/asdbench/cli/full.py").write_text(body, "utf-8")
    assert violations(copy) == violations(HOUSE)


LIGHT = {
    "asdbench --help": "from asdbench.cli import status_of; status_of(['--help'])",
    "asdbench plugins": "from asdbench.cli import status_of; status_of(['plugins'])",
    "asdbench datasets list": "from asdbench.cli import status_of; status_of(['datasets', 'list'])",
    "asdbench run --help": "from asdbench.cli import status_of; status_of(['run', '--help'])",
    "asdbench figures --help": "from asdbench.cli import status_of; status_of(['figures', '--help'])",
    "asdbench run with a wrong option": (
        "import contextlib, io; contextlib.redirect_stderr(io.StringIO()).__enter__(); "
        "from asdbench.cli import status_of; assert status_of(['run', '--foo']) == 2"
    ),
    "asdbench run with an unknown dataset": (
        "import contextlib, io; contextlib.redirect_stderr(io.StringIO()).__enter__(); "
        "from asdbench.cli import status_of; assert status_of(['run', '-p', 'idnn', '-d', 'synthetik']) == 2"
    ),
    "import asdbench": "import asdbench",
    "import asdbench_datasets": "import asdbench_datasets",
    "import asdbench_leaderboards": "import asdbench_leaderboards",
} | {
    f"import asdbench_plugins.{place.name}": f"import asdbench_plugins.{place.name}"
    for place in sorted((HOUSE / "plugins/asdbench_plugins").iterdir())
    if (place / "__init__.py").exists()
}


@pytest.mark.parametrize("code", LIGHT.values(), ids=LIGHT.keys())
def test_nothing_heavy_is_loaded_by(code: str) -> None:
    assert heavy_loaded(HOUSE, code) == []


def test_a_heavy_import_in_a_plugin_is_noticed(copy: Path) -> None:
    with (copy / "plugins/asdbench_plugins/scorers/__init__.py").open("a", encoding="utf-8") as file:
        file.write("\nimport sklearn\n")
    assert "sklearn" in heavy_loaded(copy, LIGHT["asdbench --help"])
    assert "sklearn" in heavy_loaded(copy, "import asdbench_plugins.scorers")


def heavy_loaded(house: Path, code: str) -> list[str]:
    """Return which heavy libraries a fresh Python has loaded after ``code``."""
    tell = f"import sys; sys.__stderr__.write(' '.join(name for name in {HEAVY!r} if name in sys.modules))"
    path = os.pathsep.join(str(house / root) for root in ROOTS)
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; {tell}"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stderr.split()


SOUND_COLUMNS = {"machine", "section", "clip", "wav", "audio"}
"""What datasets of sound call their columns and files; the harness takes such names from a card."""
MAY_NAME_THEM = ("asdbench.dsp", "asdbench.data.audio", "asdbench.metrics", "asdbench.testing")


def test_the_harness_names_no_column_of_the_sound_datasets() -> None:
    named = [
        f"{source.place}:{node.lineno}: {node.value!r}"
        for source in read(HOUSE)
        if source.owner == "asdbench" and not source.module.startswith(MAY_NAME_THEM)
        for node in source.nodes
        if isinstance(node, ast.Constant) and node.value in SOUND_COLUMNS
    ]
    assert named == []
