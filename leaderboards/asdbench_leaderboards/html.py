"""Renders self-contained HTML pages: every text is escaped, and nothing is loaded from anywhere."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from importlib.resources import files

import jinja2
import msgspec

PLACES = ("board", "report")
"""Packages with templates; names of templates are unique."""


def environment_of(filters: Mapping[str, Callable[..., object]]) -> jinja2.Environment:
    """Return an environment for templates that use these filters."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_text),
        # Names and messages come from plugins and from strangers' records.
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters
    return environment


def render(
    environment: jinja2.Environment,
    template: str,
    *,
    values: Mapping[str, object],
    style: str = "",
    script: str = "",
) -> str:
    """Return a page whose template extends ``base.html``.

    Args:
        environment: See ``environment_of``.
        template: Name of the template.
        values: What the template shows.
        style: Name of a style sheet in addition to the common one; empty: none.
        script: Name of the only script that the page may run; empty: it runs none.
    """
    code = _text(script) if script else ""
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    allowed = f"'sha256-{digest}'" if code else "'none'"
    return environment.get_template(template).render(
        **values,
        style=_text("board.css") + (_text(style) if style else ""),
        script=code,
        # The page may load nothing and run this script alone, whatever text a record brings.
        policy=f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {allowed}; "
        "base-uri 'none'; form-action 'none'",
    )


def as_json(value: object) -> str:
    """Return a typed value as indented JSON, its keys sorted."""
    return msgspec.json.format(msgspec.json.encode(value, order="sorted"), indent=2).decode()


def _text(name: str) -> str:
    """Return a template, a style sheet or a script by its name."""
    folders = [files(f"asdbench_leaderboards.{place}") / "templates" for place in PLACES]
    return next(folder / name for folder in folders if (folder / name).is_file()).read_text("utf-8")
