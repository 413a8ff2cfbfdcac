"""The rules of the house, checked on the source: what may import what, and how large things may be.

``WINGS`` is the map: one row for each wing of ``asdbench``, from the ground up, with the wings that it may import.
``violations`` reads every file of the four roots; ``tests/test_architecture.py`` plants what each rule forbids.
"""

from __future__ import annotations

import ast
import functools
import graphlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HOUSE = Path(__file__).parents[2]
ROOTS = ("harness", "plugins", "datasets", "leaderboards")
FACE = "asdbench"
"""States the public names; no module of the harness imports from it."""
WINGS: Mapping[str, tuple[str, ...]] = {
    "errors": (),
    "core": ("errors",),
    "blocks": ("errors",),
    "dsp": ("core", "errors"),
    "metrics": ("core", "errors"),
    "plugin": ("core", "errors"),
    "recipes": ("core", "errors", "plugin"),
    "messages": ("core", "recipes"),
    "data": ("core", "errors", "messages"),
    "detector": ("core", "data", "dsp", "errors", "messages", "plugin", "recipes"),
    "results": ("core", "data", "errors", "messages", "metrics", "plugin", "recipes"),
    "jobs": ("core", "data", "detector", "errors", "messages", "plugin", "recipes", "results"),
    "runs": (
        "core", "data", "detector", "errors", "jobs", "messages", "metrics", "plugin", "recipes", "results",
    ),
    "machine": (
        "core", "data", "detector", "dsp", "errors", "jobs", "messages", "metrics", "plugin", "recipes",
    ),
    "tuning": (
        "core", "data", "errors", "jobs", "messages", "plugin", "recipes", "results", "runs",
    ),
    "conformance": ("core", "data", "detector", "errors", "jobs", "messages", "plugin", "recipes", "results", "runs"),
    "testing": (
        "conformance", "core", "data", "detector", "errors", "jobs", "messages", "plugin", "recipes", "results", "runs",
    ),
    "cli": ("conformance", "core", "data", "errors", "jobs", "machine", "messages", "plugin", "results", "runs", "tuning"),
    "__main__": ("cli",),
}  # fmt: skip
"""A row names only wings of rows above it, so no import can run up."""
PUBLIC = ("asdbench", "asdbench.blocks", "asdbench.dsp", "asdbench.metrics", "asdbench.testing")
"""Where plugins, datasets and leaderboards import from: the face and four libraries."""
LEVELS = 12
"""Longest chain of imports in the harness, those in functions and for types alone included."""
FILE_LINES = 500
FUNCTION_LINES = 60
CLASS_LINES = 150
POSITIONAL = 2
CALLED_BY_FRAMEWORKS = {
    "__exit__",  # Python
    "convert",  # click
    "forward", "backward", "setup_context", "__call__",  # torch, and losses in its manner
    "fit", "score",  # our contracts: Model.fit(train, held, trainer), Scorer.score(state, outputs, context)
}  # fmt: skip
"""Functions whose positional parameters others decide."""


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

    def nodes(self, *kinds: type[ast.AST]) -> Sequence[Any]:
        """Return all nodes of these kinds; copies of the house share those of equal files."""
        return of_kinds(self.text, kinds)

    @property
    def package(self) -> str:
        return self.module if self.place.endswith("__init__.py") else self.module.rpartition(".")[0]

    @property
    def owner(self) -> str:
        """What must stand alone: the harness, one plugin, the datasets, the leaderboards."""
        return owner_of(self.module)


@functools.cache
def parsed(text: str) -> Sequence[ast.AST]:
    return list(ast.walk(ast.parse(text)))


@functools.cache
def of_kinds(text: str, kinds: tuple[type[ast.AST], ...]) -> Sequence[Any]:
    return [node for node in parsed(text) if isinstance(node, kinds)]


class Sources(dict[str, Source]):
    """All files by the name of their module."""

    @functools.cached_property
    def imports(self) -> Sequence[tuple[Source, Import]]:
        """What each file imports of ours."""
        return [(source, item) for source in self.values() for item in imports(source, self)]


Findings = Iterator[tuple[str, str]]


def violations(house: Path) -> list[str]:
    """Return every broken rule as ``file:line: what is wrong``."""
    sources = Sources((source.module, source) for source in read(house))
    rules = (
        wings, ring, depth, plugins_in_harness, neighbours, not_public, long_files, long_functions, long_classes,
        positional, prints,
    )  # fmt: skip
    found = [f"{where}: {what}" for rule in rules for where, what in rule(sources)]
    return found + [f"{where}: {what}" for where, what in long_tests(house)]


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


def wing_of(module: str) -> str:
    """Return the wing of a module of the harness; empty for its face."""
    return module.split(".")[1] if "." in module else ""


def imports(source: Source, sources: Sources) -> Iterator[Import]:
    """Yield imports of our own packages, also those in functions and under TYPE_CHECKING."""
    for node in source.nodes(ast.Import, ast.ImportFrom, ast.Call):
        if isinstance(node, ast.Import):
            yield from (
                Import(line=node.lineno, module=name.name, name=None)
                for name in node.names
                if ours(name.name)
            )
        elif isinstance(node, ast.ImportFrom):
            if ours(base := absolute(source, node)):
                yield from (
                    imported(node.lineno, base, name=name.name, sources=sources) for name in node.names
                )
        elif (path := pointed_at(node)) and ours(path):
            module, _, name = path.partition(":")
            yield Import(line=node.lineno, module=module, name=name or None, lazy=True)


def ours(module: str) -> bool:
    return module.split(".")[0].partition("_")[0] == FACE


def absolute(source: Source, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    parents = source.package.split(".")
    return ".".join([*parents[: len(parents) - node.level + 1], *filter(None, [node.module])])


def imported(line: int, base: str, *, name: str, sources: Sources) -> Import:
    """``from package import module`` takes a module, ``from module import name`` a name."""
    inner = f"{base}.{name}"
    if inner in sources:
        return Import(line=line, module=inner, name=None)
    return Import(line=line, module=base, name=name)


def pointed_at(call: ast.Call) -> str | None:
    """Return the constant path in ``lazy("...")`` and ``import_module("...")``."""
    called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    first = call.args[0] if call.args else None
    known = called in ("lazy", "Lazy", "import_module") and isinstance(first, ast.Constant)
    return first.value if known and isinstance(first.value, str) else None  # type: ignore[union-attr]


def wings(sources: Sources) -> Findings:
    for source in sources.values():
        if source.owner == FACE and (wing := wing_of(source.module)) and wing not in WINGS:
            yield f"{source.place}:1", f"{source.module} is in no wing; give it a row in WINGS"
    for source, item in sources.imports:
        if {source.owner, owner_of(item.module)} != {FACE}:
            continue
        here, there = wing_of(source.module), wing_of(item.module)
        if here and here != there and there not in WINGS.get(here, ()):
            yield f"{source.place}:{item.line}", f"{here} may not import {item.module}"


def graph_of(sources: Sources) -> dict[str, set[str]]:
    """Return which modules each module imports; a lazy pointer is no import."""
    graph: dict[str, set[str]] = {module: set() for module in sources}
    for source, item in sources.imports:
        if item.module in sources and not item.lazy and item.module != source.module:
            graph[source.module].add(item.module)
    return graph


def ring(sources: Sources) -> Findings:
    graph = graph_of(sources)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        trip = error.args[1][:0:-1]  # from the imported to the importing, the first once more as last
        lines = {(source.module, item.module): item.line for source, item in sources.imports}
        for start, importer in enumerate(trip):
            way = [*trip[start:], *trip[:start], importer]
            place = f"{sources[importer].place}:{lines[importer, way[1]]}"
            yield place, f"ring of imports: {' -> '.join(way)}"


def levels(sources: Sources) -> dict[str, int]:
    """Return the level of every module: 1 for one that imports nothing of ours, else one above all that it imports."""
    graph = graph_of(sources)
    found: dict[str, int] = {}
    for module in graphlib.TopologicalSorter(graph).static_order():
        found[module] = 1 + max((found[inner] for inner in graph[module]), default=0)
    return found


def depth(sources: Sources) -> Findings:
    try:
        found = levels(Sources((name, source) for name, source in sources.items() if source.owner == FACE))
    except graphlib.CycleError:
        return  # the rule on rings reports it
    for module, level in found.items():
        if level > LEVELS:
            yield f"{sources[module].place}:1", f"{module} is on level {level} of imports, more than {LEVELS}"


def plugins_in_harness(sources: Sources) -> Findings:
    for source, item in sources.imports:
        if source.owner == FACE and owner_of(item.module) != FACE:
            yield f"{source.place}:{item.line}", f"the harness imports the plugin {item.module}"


def neighbours(sources: Sources) -> Findings:
    for source, item in sources.imports:
        if FACE not in (source.owner, owner_of(item.module)) and source.owner != owner_of(item.module):
            yield f"{source.place}:{item.line}", f"{source.owner} imports its neighbour {item.module}"


def not_public(sources: Sources) -> Findings:
    public = {module: public_names(sources[module]) for module in PUBLIC if module in sources}
    for source, item in sources.imports:
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
    """Return what ``__all__`` lists."""
    for node in ast.iter_child_nodes(source.nodes(ast.Module)[0]):
        if isinstance(node, ast.Assign) and any(
            getattr(target, "id", "") == "__all__" for target in node.targets
        ):
            return set(ast.literal_eval(node.value))
    return set()


def long_files(sources: Sources) -> Findings:
    for source in sources.values():
        yield from too_long(source.place, source.text)


def long_tests(house: Path) -> Findings:
    for file in sorted((house / "tests").rglob("*.py")):
        yield from too_long(file.relative_to(house).as_posix(), file.read_text("utf-8"))


def too_long(place: str, text: str) -> Findings:
    if (count := len(text.splitlines())) > FILE_LINES:
        yield f"{place}:{FILE_LINES + 1}", f"{count} lines, more than {FILE_LINES}"


def long_functions(sources: Sources) -> Findings:
    yield from long_nodes(sources, ast.FunctionDef, ast.AsyncFunctionDef, limit=FUNCTION_LINES)


def long_classes(sources: Sources) -> Findings:
    yield from long_nodes(sources, ast.ClassDef, limit=CLASS_LINES)


def long_nodes(sources: Sources, *kinds: type[ast.AST], limit: int) -> Findings:
    for source in sources.values():
        for node in source.nodes(*kinds):
            if (lines := length(node)) > limit:
                yield f"{source.place}:{node.lineno}", f"{node.name} has {lines} lines, more than {limit}"


def length(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> int:
    """Return the lines from ``def`` or ``class`` to the end, docstring aside."""
    first = node.body[0]
    docstring = first.end_lineno - first.lineno + 1 if ast.get_docstring(node) and first.end_lineno else 0
    return (node.end_lineno or node.lineno) - node.lineno + 1 - docstring


def positional(sources: Sources) -> Findings:
    for source in sources.values():
        if source.module.startswith("asdbench.testing"):
            continue  # pytest passes fixtures by name
        for node in source.nodes(ast.FunctionDef):
            if node.name in CALLED_BY_FRAMEWORKS:
                continue
            names = [each.arg for each in (*node.args.posonlyargs, *node.args.args)]
            count = len(names) - (names[:1] in (["self"], ["cls"]))
            if count > POSITIONAL:
                what = f"{node.name} has {count} positional parameters, more than {POSITIONAL}"
                yield f"{source.place}:{node.lineno}", what


def prints(sources: Sources) -> Findings:
    for source in sources.values():
        if source.module.startswith("asdbench.cli"):
            continue
        for node in source.nodes(ast.Call):
            if getattr(node.func, "id", "") == "print":
                yield f"{source.place}:{node.lineno}", "print belongs into cli/; log, or return a value"
