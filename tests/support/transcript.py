"""Replays a page of the documentation that shows a session: commands with their output, and changes of files.

    python tests/support/transcript.py docs/first-plugin.md     # runs it, and writes the output of today into the page

A ``console`` block is a command after ``$`` and what it prints; a ``diff`` block is a change of one file.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pages
import tiny

_BLOCK = re.compile(r"```(?P<kind>console|diff)\n(?P<text>.*?)```\n", re.DOTALL)
_PIP = """\
# What `pip install -e FOLDER` writes, for a folder of `asdbench new`: asdbench looks for the entry point alone.
import pathlib, sys, tomllib
project = tomllib.loads(pathlib.Path(sys.argv[-1], "pyproject.toml").read_text("utf-8"))["project"]
[(name, module)] = project["entry-points"]["asdbench.plugins"].items()
about = pathlib.Path(sys.argv[-1], "src", f"{project['name'].replace('-', '_')}-{project['version']}.dist-info")
about.mkdir()
(about / "METADATA").write_text(f"Metadata-Version: 2.1\\nName: {project['name']}\\nVersion: {project['version']}\\n")
(about / "entry_points.txt").write_text(f"[asdbench.plugins]\\n{name} = {module}\\n")
"""


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """A command of the page with what the page shows, and what it printed just now."""

    command: str
    shown: str
    printed: str


def replay(page: str, *, folder: Path, source: str) -> Iterator[Replayed]:
    """Do what a page does, step by step, and yield each command.

    Args:
        page: The page, relative to the repository.
        folder: An empty folder to stand in.
        source: The folder below it where the page's plugin keeps its packages.

    Raises:
        AssertionError: A command failed, or a file is not as the page says before its change.
    """
    environment = _environment(folder, source)
    for match in _BLOCK.finditer(pages.read(page)):
        if match["kind"] == "diff":
            change(match["text"], folder=folder)
            continue
        command, _, shown = match["text"].removeprefix("$ ").partition("\n")
        done = subprocess.run(
            ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        yield Replayed(command=command, shown=shown, printed=done.stdout)


def change(diff: str, *, folder: Path) -> None:
    """Change a file as a diff of one hunk says, wherever its lines are."""
    [_, name, *lines] = diff.splitlines()
    file = folder / name.removeprefix("+++ ")
    text = file.read_text("utf-8")
    hunks = re.split(r"^@@.*\n", "\n".join(lines) + "\n", flags=re.MULTILINE)
    for hunk in filter(None, hunks):
        kept = hunk.splitlines()
        old = "\n".join(line[1:] for line in kept if line[:1] != "+")
        assert text.count(old) == 1, f"{name} has these lines {text.count(old)} times:\n{old}"
        text = text.replace(old, "\n".join(line[1:] for line in kept if line[:1] != "-"))
    file.write_text(text, "utf-8")


def stable(text: str) -> list[str]:
    """Return the lines of an output without what another machine or another day changes: numbers, hashes, widths."""
    found = []
    for line in text.strip().splitlines():
        line = re.sub(r"\b[0-9a-f]{16}\b", "#", line)
        line = re.sub(r"-?\d+(?:[.,]\d+)*(?:e-\d+)?", "#", line)
        found.append(re.sub(r"-{2,}", "--", " ".join(line.split())))
    return found


def _environment(folder: Path, source: str) -> dict[str, str]:
    programs = folder / ".programs"
    programs.mkdir()
    (programs / "pip.py").write_text(_PIP)
    for name, words in {"asdbench": "-m asdbench", "pip": str(programs / "pip.py")}.items():
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        (programs / name).chmod(0o755)
    environment = tiny.environment()
    return environment | {
        "PATH": os.pathsep.join([str(programs), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join([str(folder / source), environment["PYTHONPATH"]]),
        "ASDBENCH_CACHE": str(folder / "cache"),
        "ASDBENCH_DEVICE": "cpu",
    }


def main(page: str, source: str) -> None:
    """Write what the commands of a page print today into it."""
    text = pages.read(page)
    with tempfile.TemporaryDirectory() as folder:
        for step in replay(page, folder=Path(folder), source=source):
            print(f"$ {step.command}\n{step.printed}", flush=True)
            text = text.replace(f"$ {step.command}\n{step.shown}```", f"$ {step.command}\n{step.printed}```")
    (pages.ROOT / page).write_text(text, "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
