"""Light commands load nothing heavy, and the wings that plan, record and rank need no torch."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from house import HOUSE, ROOTS, read

HEAVY = ("torch", "librosa", "sklearn", "optuna", "pandas")
LIGHT = {
    "asdbench --help": "from asdbench.cli import status_of; status_of(['--help'])",
    "asdbench plugins": "from asdbench.cli import status_of; status_of(['plugins'])",
    "asdbench datasets list": "from asdbench.cli import status_of; status_of(['datasets', 'list'])",
    "asdbench run --help": "from asdbench.cli import status_of; status_of(['run', '--help'])",
    "asdbench tune --help": "from asdbench.cli import status_of; status_of(['tune', '--help'])",
    "asdbench figures --help": "from asdbench.cli import status_of; status_of(['figures', '--help'])",
    "asdbench runs list --help": "from asdbench.cli import status_of; status_of(['runs', 'list', '--help'])",
    "asdbench status": (
        "import contextlib, io; contextlib.redirect_stderr(io.StringIO()).__enter__(); "
        "from asdbench.cli import status_of; assert status_of(['status', '--out', 'none']) == 2"
    ),
    "asdbench leaderboard build --help": (
        "from asdbench.cli import status_of; status_of(['leaderboard', 'build', '--help'])"
    ),
    "asdbench compare --help": "from asdbench.cli import status_of; status_of(['compare', '--help'])",
    "asdbench check --help": "from asdbench.cli import status_of; status_of(['check', '--help'])",
    "asdbench report --help": "from asdbench.cli import status_of; status_of(['report', '--help'])",
    "asdbench report without a run": (
        "import contextlib, io; contextlib.redirect_stderr(io.StringIO()).__enter__(); "
        "from asdbench.cli import status_of; assert status_of(['report', '--out', 'none']) == 2"
    ),
    "asdbench check without a run": (
        "import contextlib, io; contextlib.redirect_stderr(io.StringIO()).__enter__(); "
        "from asdbench.cli import status_of; assert status_of(['check', '--baseline', 'x', '--out', 'none']) == 2"
    ),
    "asdbench cache info": "from asdbench.cli import status_of; status_of(['cache', 'info', '--cache', 'none'])",
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


TORCH_FREE = (
    "errors",
    "core",
    "metrics",
    "plugin",
    "recipes",
    "messages",
    "data",
    "results",
    "runs",
    "tuning",
    "cli",
)
"""Wings that a process without torch can import whole."""
WITHOUT_TORCH = {
    f"asdbench.{wing}": [
        source.module for source in read(HOUSE) if (source.module + ".").startswith(f"asdbench.{wing}.")
    ]
    for wing in TORCH_FREE
} | {
    package: [source.module for source in read(HOUSE) if source.owner == package]
    for package in ("asdbench_datasets", "asdbench_leaderboards")
}


@pytest.mark.parametrize("modules", WITHOUT_TORCH.values(), ids=WITHOUT_TORCH.keys())
def test_a_wing_that_plans_or_records_imports_without_torch(modules: list[str]) -> None:
    assert modules
    code = f"import sys, importlib; sys.modules['torch'] = None; [importlib.import_module(each) for each in {modules!r}]"
    done = python(HOUSE, code)
    assert done.returncode == 0, done.stderr


def test_a_wing_that_needs_torch_is_noticed() -> None:
    done = python(HOUSE, "import sys; sys.modules['torch'] = None; import asdbench.detector.contracts")
    assert "torch" in done.stderr
    assert done.returncode == 1


@pytest.mark.parametrize("code", LIGHT.values(), ids=LIGHT.keys())
def test_nothing_heavy_is_loaded_by(code: str) -> None:
    assert heavy_loaded(HOUSE, code) == []


def test_a_log_mel_loads_no_compiler() -> None:
    """Each job would load it again: its process is forked from one that needs none."""
    code = "from asdbench.dsp import LogMelConfig, LogMelSpectrogram; import torch; "
    code += "LogMelSpectrogram(LogMelConfig(), sample_rate=16000)(torch.randn(2, 16000))"
    found = heavy_loaded(HOUSE, code)
    assert "torch" in found
    assert "librosa" not in found


def test_a_heavy_import_in_a_plugin_is_noticed(tmp_path: Path) -> None:
    copy = tmp_path
    for root in ROOTS:
        shutil.copytree(HOUSE / root, copy / root, ignore=shutil.ignore_patterns("__pycache__"))
    with (copy / "plugins/asdbench_plugins/scorers/__init__.py").open("a", encoding="utf-8") as file:
        file.write("\nimport sklearn\n")
    assert "sklearn" in heavy_loaded(copy, LIGHT["asdbench --help"])
    assert "sklearn" in heavy_loaded(copy, "import asdbench_plugins.scorers")


def heavy_loaded(house: Path, code: str) -> list[str]:
    """Return which heavy libraries a fresh Python has loaded after ``code``."""
    report = f"import sys; sys.__stderr__.write(' '.join(name for name in {HEAVY!r} if name in sys.modules))"
    done = python(house, f"{code}; {report}")
    assert done.returncode == 0, done.stderr
    return done.stderr.split()


def python(house: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh Python that imports from ``house``."""
    path = os.pathsep.join(str(house / root) for root in ROOTS)
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
