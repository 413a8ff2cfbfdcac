"""``asdbench systems``."""

from __future__ import annotations

import click

from asdbench import json_option, print_json


@click.command(epilog="Example: asdbench systems serial_oe --json")
@click.argument("papers", nargs=-1, metavar="[PAPER]...")
@json_option
def systems(papers: tuple[str, ...], *, as_json: bool) -> None:
    """Show the systems of the papers' tables, how to run them and their printed values.

    Names of papers restrict the list.
    """
    from asdbench_leaderboards.page import page, records

    if as_json:
        print_json(records(papers))
    else:
        click.echo(page(papers), nl=False)
