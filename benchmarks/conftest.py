"""Fixtures of the benchmarks, and the form of the results files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from asdbench.core.environment import environment

# The programs that are compared are beside the tests and import each other by name.
sys.path.insert(0, str(Path(__file__).parent))

from sides.clips import make_clips
from sides.comparing import Side

CLIPS = 512
StartSide = Callable[..., Side]


def pytest_report_header() -> str:
    """Name the processor: ratios hold for a kind of machine."""
    here = environment()
    return f"on {here.processor}, {here.cores} cores{''.join(f', {gpu}' for gpu in here.gpus)}"


@pytest.fixture
def start_side() -> Iterator[StartSide]:
    """Start programs; they end with the test."""
    started: list[Side] = []

    def start(module: str, *arguments: str, variables: Mapping[str, str]) -> Side:
        started.append(Side(module, *arguments, variables=variables))
        return started[-1]

    yield start
    for side in started:
        side.close()


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with 512 clips of 10 s, as wave files and as a pack: 330 MB."""
    folder = tmp_path_factory.mktemp("clips")
    make_clips(folder, CLIPS)
    return folder


def pytest_benchmark_update_json(config: pytest.Config, benchmarks: Any, output_json: dict[str, Any]) -> None:
    """Keep in a results file only the ratios, a few statistics, the hardware and the versions."""
    here = environment()
    output_json["machine_info"] = {
        name: getattr(here, name) for name in ("processor", "cores", "memory_bytes", "gpus", "python")
    }
    output_json["machine_info"]["libraries"] = here.libraries
    output_json["commit_info"] = {
        name: output_json["commit_info"].get(name) for name in ("id", "dirty", "branch")
    }
    output_json["benchmarks"] = [_shortened(each) for each in output_json["benchmarks"]]


def _shortened(benchmark: dict[str, Any]) -> dict[str, Any]:
    kept = {name: benchmark["stats"][name] for name in ("rounds", "min", "median", "max")}
    return {
        "name": benchmark["name"],
        "extra_info": benchmark["extra_info"],
        "seconds": {name: float(f"{value:.4g}") for name, value in kept.items()},
    }
