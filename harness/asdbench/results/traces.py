"""Where in a method's plugins a job failed, read from its traceback."""

from __future__ import annotations

import re

from asdbench.plugin.causes import innermost, shown
from asdbench.recipes.recipe import PARTS, Recipe

FRAME = re.compile(r'^ *File "(?P<file>[^"]+)", line (?P<line>\d+)', flags=re.MULTILINE)


def place_of(traceback: str, recipe: Recipe | None) -> tuple[str, int] | None:
    """Return the file and line where the code of a method's plugins last was; None if it never was."""
    frames = [(frame["file"], int(frame["line"])) for frame in FRAME.finditer(traceback)]
    return innermost(frames, _packages(recipe)) if recipe is not None else None


def shown_place(traceback: str, recipe: Recipe | None) -> str:
    """Return that place for people, for example ``hum/model.py, line 12``; empty if there is none."""
    place = place_of(traceback, recipe)
    return shown(place, _packages(recipe)) if place is not None and recipe is not None else ""


def _packages(recipe: Recipe) -> set[str]:
    return {
        getattr(one, part).path.partition(":")[0].partition(".")[0]
        for one in (recipe, *recipe.units.values())
        for part in PARTS
    }
