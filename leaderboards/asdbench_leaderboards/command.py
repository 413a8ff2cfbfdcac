"""``asdbench systems``."""

from __future__ import annotations

import json

import click


@click.command(epilog="Example: asdbench systems serial_oe --json")
@click.argument("papers", nargs=-1, metavar="[PAPER]...")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
def systems(papers: tuple[str, ...], as_json: bool) -> None:
    """Show every system of the papers' tables, what runs it, and what is printed of it; of all papers or of some."""
    from asdbench_leaderboards.page import page, records

    click.echo(json.dumps(records(papers), indent=2) if as_json else page(papers), nl=as_json)
