"""Breaks one setting of a paper at a time, and reports which breaks no test notices.

Each ``*.toml`` beside this file lists mutants of one paper. A mutant replaces ``old``, which occurs exactly once in
``file``, by ``new`` in a copy of the sources; the test that it names must then fail. ``make mutants`` runs all of them,
``make mutants ONLY='serial_oe'`` those whose title contains the text. The exit status is 1 if a mutant survives.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
import tomllib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
COPIED = ("harness", "plugins", "datasets", "leaderboards", "tests", "pyproject.toml", "README.md")
LIMIT_S = 900
"""A test that takes longer counts as failed: the mutant may train for ever."""
FAILED = 1
"""pytest's exit status if a test fails; other errors do not show that a test noticed anything."""


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One break of one file."""

    title: str
    """Paper and setting, for example ``waspp: learning rate``."""
    file: str
    """Relative to the repository."""
    old: str
    new: str
    test: str
    """What must fail, as pytest names it."""

    def applied(self, root: Path) -> str:
        """Return the file's text with the break.

        Raises:
            ValueError: ``old`` does not occur exactly once.
        """
        text = (root / self.file).read_text("utf-8")
        if (count := text.count(self.old)) != 1:
            raise ValueError(
                f"{self.title}: expected its text once in {self.file}, found it {count} times: {self.old}"
            )
        return text.replace(self.old, self.new)


def mutants(only: str = "") -> Iterator[Mutant]:
    """Yield the mutants of all papers whose title contains a text."""
    for file in sorted(HERE.glob("*.toml")):
        paper = tomllib.loads(file.read_text("utf-8"))
        for values in paper["mutant"]:
            test = f"{paper['tests']}::{values.pop('test')}"
            title = f"{file.stem}: {values.pop('what')}"
            if only in title:
                yield Mutant(title=title, test=test, **values)


def main(only: str = "") -> int:
    """Run the mutants, print one line for each, and return the exit status."""
    chosen = list(mutants(only))
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        _copy_sources(copy)
        _preload()
        tests = sorted({mutant.test for mutant in chosen})
        if _outcome(copy, tests) != 0:
            print("the tests fail without any mutant; mend them first")
            return 1
        survivors = [
            mutant for number, mutant in enumerate(chosen) if not _is_killed(mutant, copy, number=number)
        ]
    print(f"{len(chosen)} mutants, {len(chosen) - len(survivors)} killed, {len(survivors)} survived")
    return 1 if survivors or not chosen else 0


def _is_killed(mutant: Mutant, copy: Path, *, number: int) -> bool:
    started = time.monotonic()
    file = copy / mutant.file
    before = file.read_text("utf-8")
    _write(file, mutant.applied(copy), version=2 * number + 1)
    status = _outcome(copy, [mutant.test])
    _write(file, before, version=2 * number + 2)
    word = {0: "SURVIVED", FAILED: "killed", -signal.SIGALRM: "killed (time)"}.get(status, f"ERROR {status}")
    print(f"{word:13} {time.monotonic() - started:6.1f} s  {mutant.title}", flush=True)
    return status in (FAILED, -signal.SIGALRM)


def _write(file: Path, text: str, *, version: int) -> None:
    """Write a file with a time of its own, so that no byte code of another version of equal length is taken for it."""
    file.write_text(text, "utf-8")
    os.utime(file, (1_000_000_000 + version,) * 2)


def _outcome(copy: Path, tests: Sequence[str]) -> int:
    """Return pytest's exit status, from a fork of this process, which has already imported the large libraries."""
    with warnings.catch_warnings():
        # Newer Pythons warn of forks beside threads; none of ours holds a lock.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        signal.alarm(LIMIT_S)
        _run_tests(copy, tests)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _run_tests(copy: Path, tests: Sequence[str]) -> None:
    """Run pytest in the copy, and end the process."""
    import pytest

    os.chdir(copy)
    os.environ["XDG_CACHE_HOME"] = str(copy / "cache")
    with (copy / "log").open("w") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    os._exit(pytest.main(["-x", "-q", "-n0", "-p", "no:cacheprovider", *tests]))


def _copy_sources(copy: Path) -> None:
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, copy / name)


def _preload() -> None:
    """Import what every test needs and no mutant changes; each fork then starts in a moment."""
    import librosa.feature  # noqa: F401
    import msgspec  # noqa: F401
    import pytest  # noqa: F401
    import scipy.stats  # noqa: F401
    import sklearn.mixture
    import sklearn.neighbors  # noqa: F401
    import torch

    torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])  # its first use imports more
    torch.set_num_threads(1)
    # The forks must import our own packages from the copy.
    assert not any(name.partition(".")[0].partition("_")[0] == "asdbench" for name in sys.modules)
    sys.path[:] = [path for path in sys.path if Path(path).parent != ROOT]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
