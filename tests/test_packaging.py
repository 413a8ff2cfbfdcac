"""What is installed is what ``pyproject.toml`` says, and the packages say that they are typed."""

from __future__ import annotations

import importlib.metadata
import tomllib
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[1]
PROJECT = tomllib.loads((HOUSE / "pyproject.toml").read_text("utf-8"))
PACKAGES = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]


def test_the_installed_entry_points_are_those_of_pyproject() -> None:
    said = PROJECT["project"]["entry-points"]["asdbench.plugins"]
    points = importlib.metadata.distribution("asdbench").entry_points.select(group="asdbench.plugins")
    assert {point.name: point.value for point in points} == said, "install asdbench anew: pip install -e ."


def test_the_script_and_the_version_are_those_of_pyproject() -> None:
    distribution = importlib.metadata.distribution("asdbench")
    [script] = distribution.entry_points.select(group="console_scripts")
    assert {script.name: script.value} == PROJECT["project"]["scripts"]
    assert distribution.version == PROJECT["project"]["version"]


def test_one_wheel_ships_the_four_packages() -> None:
    found = {
        package.relative_to(HOUSE).as_posix()
        for root in ("harness", "plugins", "datasets", "leaderboards")
        for package in (HOUSE / root).glob("asdbench*")
    }
    assert set(PACKAGES) == found


def test_every_plugin_of_the_tree_has_an_entry_point() -> None:
    plugins = {
        f"asdbench_plugins.{place.parent.name}"
        for place in (HOUSE / "plugins/asdbench_plugins").glob("*/__init__.py")
    }
    said = PROJECT["project"]["entry-points"]["asdbench.plugins"].values()
    assert plugins | {"asdbench_datasets", "asdbench_leaderboards"} == set(said)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_says_that_it_is_typed(package: str) -> None:
    assert (HOUSE / package / "py.typed").is_file()


@pytest.mark.parametrize("root", ["harness", "plugins", "datasets", "leaderboards"])
def test_an_import_root_is_no_package_itself(root: str) -> None:
    assert not (HOUSE / root / "__init__.py").exists()
