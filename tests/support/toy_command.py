"""``python -m toy_command``: the command line of asdbench with the toy plugin beside the installed ones."""

from __future__ import annotations

import os
import sys

from toy_plugin import registry

import asdbench.cli.run
import asdbench.cli.tune
from asdbench import cli


def main() -> None:
    """Run the command line."""
    for command in (asdbench.cli.run, asdbench.cli.tune):
        command.load_registry = registry  # type: ignore[attr-defined]
    if any("file=" in word for word in sys.argv):  # the toy writes a file outside of its folder
        os.environ["ASDBENCH_ISOLATION"] = "none"
    cli.main()


if __name__ == "__main__":
    main()
