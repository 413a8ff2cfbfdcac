"""A distribution whose plugin replaces the metrics when it is imported, installed like any other."""

from __future__ import annotations

import os
from pathlib import Path

import tiny

PATCH = """
import asdbench.metrics.bootstrap, asdbench.metrics.roc, asdbench.results.evaluator
from asdbench.core import files

def perfect(*arguments, **options):
    raise AssertionError("the patch was called")

for module, name in (
    (asdbench.metrics.bootstrap, "bootstrap_views"),
    (asdbench.metrics.roc, "auc"),
    (asdbench.results.evaluator, "evaluate"),
):
    assert callable(getattr(module, name))
    setattr(module, name, perfect)
"""


def environment(folder: Path) -> dict[str, str]:
    """Install it into a folder, and return the environment of a command that finds it."""
    about = folder / "site" / "cheat_on_import-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: cheat_on_import\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[asdbench.plugins]\ncheat_on_import = cheat_on_import\n")
    (about.parent / "cheat_on_import.py").write_text(PATCH)
    known = tiny.environment()
    return known | {"PYTHONPATH": os.pathsep.join([str(about.parent), known["PYTHONPATH"]])}
