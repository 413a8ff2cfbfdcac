"""What ``test_pristine.py`` asks a process without plugins."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from asdbench.errors import ConfigError


def double(value: int) -> int:
    """Return twice a value; a refusal and a mistake for two others."""
    if value < 0:
        raise ConfigError(f"{value} is negative; give a value from 0")
    if value == 0:
        raise ZeroDivisionError("a mistake of ours")
    return 2 * value


def die(value: int) -> int:
    """Die of a signal."""
    os.kill(os.getpid(), value)
    return value


def imports(module: str) -> bool:
    """Import a module, and return whether it was imported before."""
    known = module in sys.modules
    __import__(module)
    return known


def loaded_plugins(_: None) -> list[str]:
    """Return the modules of plugins that this process has imported."""
    tops = {"asdbench_plugins", "asdbench_leaderboards", "toy_plugin", "toy_model"}
    return sorted(name for name in sys.modules if name.partition(".")[0] in tops)


def wait(seconds: float) -> float:
    """Take some time."""
    time.sleep(seconds)
    return seconds


class Chosen:
    """Stands for a class of a plugin."""


def size(values: Any) -> int:
    """Return the number of values, or of bytes in a file."""
    return values.stat().st_size if isinstance(values, Path) else len(values)
