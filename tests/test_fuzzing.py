"""Damaged files are read or refused with a clear error: 500 by default, 10,000 with ``-m slow``."""

from __future__ import annotations

import contextlib
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random

import click
import pytest
from fuzzed import KINDS, made, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asdbench import AsdbenchError

QUICK, LONG = 50, 1000
"""Damaged files of each of ten kinds."""
SPARE = 1 << 30
"""Bytes that reading may take beyond what this process has."""


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("good")


@contextlib.contextmanager
def little_memory() -> Iterator[None]:
    """Refuse memory beyond ``SPARE``, so that a length that a file merely claims cannot be taken for true."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + SPARE, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def tried(name: str, work: Path, place: Path, *, random: Random) -> None:
    """Read good files of a kind, one of them damaged; they are ``place / inside``, and nothing else may appear."""
    kind, folder = made(name, work), place / "inside"
    shutil.rmtree(place, ignore_errors=True)
    hit = random.choice(sorted(kind.good))
    write(folder, {**({} if kind.alone else kind.good), hit: kind.damage(hit, kind.good[hit], random)})
    with contextlib.suppress(AsdbenchError, click.ClickException):
        kind.read(folder)
    assert [each.name for each in place.iterdir()] == ["inside"]


def survives(name: str, work: Path, place: Path, *, examples: int, derandomize: bool) -> None:
    made(name, work)  # before memory is short

    @settings(
        max_examples=examples, derandomize=derandomize, database=None, deadline=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(random=st.randoms(use_true_random=False))
    def damaged_files_are_read_or_refused(random: Random) -> None:
        tried(name, work, place, random=random)

    with little_memory():
        damaged_files_are_read_or_refused()


@pytest.mark.parametrize("name", KINDS)
def test_good_files_are_read(name: str, work: Path, tmp_path: Path) -> None:
    kind = made(name, work)
    write(tmp_path, kind.good)
    kind.read(tmp_path)


@pytest.mark.parametrize("name", KINDS)
def test_a_damaged_file_is_read_or_refused(name: str, work: Path, tmp_path: Path) -> None:
    survives(name, work, tmp_path / "place", examples=QUICK, derandomize=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_many_damaged_files_are_read_or_refused(name: str, work: Path, tmp_path: Path) -> None:
    survives(name, work, tmp_path / "place", examples=LONG, derandomize=False)
