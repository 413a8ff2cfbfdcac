"""Why a plugin could not be loaded, in one line, and whether what is missing would have come from it."""

from __future__ import annotations

import importlib.util
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path


def cause_of(error: BaseException, *, package: str) -> str:
    """Return the type and message of an error, with the innermost line of a package that led to it, if there is one.

    Args:
        error: What loading the plugin raised.
        package: Top-level package or module of the plugin.
    """
    place = innermost(_frames(error), {package})
    # A syntax error states its place itself, and no line of the plugin has run.
    where = f" ({shown(place, {package})})" if place and not isinstance(error, SyntaxError) else ""
    return f"{type(error).__name__}: {error}{where}"


def innermost(frames: Iterable[tuple[str, int]], packages: Collection[str]) -> tuple[str, int] | None:
    """Return file and line of the innermost frame in one of some packages; None: there is none.

    Args:
        frames: File and line of each frame, the innermost last.
        packages: Names of top-level packages or modules. Files are recognised by name and not by what is installed: a
            run may be read where its plugins are not.
    """
    ours = [(file, line) for file, line in frames if {*Path(file).parts, Path(file).stem} & set(packages)]
    return ours[-1] if ours else None


def shown(place: tuple[str, int], packages: Collection[str]) -> str:
    """Return file and line in a package for people, for example ``hum/model.py, line 12``."""
    file, line = place
    parts = Path(file).parts
    first = next((k for k in reversed(range(len(parts) - 1)) if parts[k] in packages), len(parts) - 1)
    return f"{'/'.join(parts[first:])}, line {line}"


def mentions(package: str, name: str) -> bool:
    """Return whether the source of a package has a name in quotes, as where it offers it; imports nothing."""
    return any(f'"{name}"' in text or f"'{name}'" in text for text in _sources(package))


def _frames(error: BaseException) -> Iterator[tuple[str, int]]:
    step = error.__traceback__
    while step is not None:
        yield step.tb_frame.f_code.co_filename, step.tb_lineno
        step = step.tb_next


def _sources(package: str) -> Iterator[str]:
    try:
        spec = importlib.util.find_spec(package) if package else None
    except (ImportError, ValueError):  # a module without a specification
        return
    if spec is None:
        return
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    files = [file for folder in folders for file in folder.rglob("*.py")] or [Path(spec.origin or "")]
    for file in files:
        if file.suffix == ".py" and file.is_file():
            yield file.read_text("utf-8", errors="replace")
