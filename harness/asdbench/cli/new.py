"""``asdbench new``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

import click

from asdbench.cli.output import print_json
from asdbench.cli.settings import FOLDER, json_option
from asdbench.core.config import Config
from asdbench.plugin.registry import load_registry

Kind = Literal["method", "dataset", "scorer", "featurizer"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class NewPackage(Config, frozen=True, kw_only=True):
    """What was written: the output of ``asdbench new --json``."""

    folder: str
    kind: Kind
    name: str
    files: list[str]
    """Relative to the folder, sorted."""


@click.command(epilog="Example: asdbench new method my_method --out asdbench-my-method")
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("name")
@click.option("--out", type=FOLDER, default=None, help="New or empty folder [default: asdbench-NAME].")
@json_option
def new(*, kind: Kind, name: str, out: Path | None, as_json: bool) -> None:
    """Write a plugin of your own: an installable package with a small working KIND, tests, CI workflow and README.

    NAME is the name of the package and of what it offers, for example my_method.
    """
    from asdbench.plugin.scaffold import write_distribution

    folder = write_distribution(load_registry(), kind, name=name, to=out)
    if as_json:
        files = sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
        print_json(NewPackage(folder=str(folder), kind=kind, name=name, files=files))
        return
    click.echo(f"{folder}: the {kind} {name}\nnext: cd {folder} && pip install -e '.[test]' && pytest")
