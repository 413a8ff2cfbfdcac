"""Reads documentation pages for tests that replay them: the commands, and the files that they show."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
ALL = [
    "README.md",
    "CONTRIBUTING.md",
    *sorted(file.relative_to(ROOT).as_posix() for file in ROOT.glob("docs/*.md")),
    *sorted(file.relative_to(ROOT).as_posix() for file in ROOT.glob("plugins/*/*/README.md")),
]
"""Pages of the documentation."""
_FILE = re.compile(
    r"```(?:python|toml|csv)\n# (?P<name>[\w/.-]+)(?: of your package)?\n(?P<text>.*?)```", re.DOTALL
)
_BLOCK = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
_SHELL = re.compile(r"\s(?:\||>|>>|&&|;)\s.*$")
_SECTION = re.compile(r"^## ", re.MULTILINE)


def section(page: str, title: str) -> str:
    """Return the text of one section of a page, which is named relative to the repository."""
    [found] = [part for part in _SECTION.split(read(page)) if part.startswith(f"{title}\n")]
    return found


def read(page: str) -> str:
    """Return the text of a page."""
    return (ROOT / page).read_text("utf-8")


def commands(text: str) -> list[list[str]]:
    """Return the words of every command in the blocks of a text, in order; comments are left out."""
    # Blocks of a language are matched too: otherwise the end of one would begin the next.
    found = [match["text"] for match in _BLOCK.finditer(text) if not match["language"]]
    blocks = (block.replace("\\\n", " ") for block in found)
    return [
        words
        for block in blocks
        for line in block.splitlines()
        if (words := shlex.split(line, comments=True))
    ]


def of_asdbench(block: str) -> Iterator[list[str]]:
    """Yield the words of each command of asdbench in a block; output beside them is left out."""
    for line in block.replace("\\\n", " ").splitlines():
        for command in line.removeprefix("$ ").split(" && "):
            if command.startswith("asdbench "):
                yield shlex.split(_SHELL.sub("", command), comments=True)[1:]


def write_files(text: str, folder: Path) -> list[Path]:
    """Write the files that a text shows; one with entry points becomes an installed distribution of that folder."""
    written = []
    for match in _FILE.finditer(text):
        path = folder / match["name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(match["text"], "utf-8")
        written.append(path)
    if (project := folder / "pyproject.toml").exists():
        install(tomllib.loads(project.read_text("utf-8")), folder)
    return written


def install(project: dict[str, dict[str, dict[str, dict[str, str]]]], folder: Path) -> None:
    """Declare the plugins of a folder, as pip would."""
    metadata = folder / "shown-0.1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: shown\nVersion: 0.1\n", "utf-8")
    plugins = project["project"]["entry-points"]["asdbench.plugins"]
    lines = [f"{name} = {module}" for name, module in plugins.items()]
    (metadata / "entry_points.txt").write_text("\n".join(["[asdbench.plugins]", *lines, ""]), "utf-8")
