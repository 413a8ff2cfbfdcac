"""Reads Markdown as GitHub and the site both understand it: links, headings and their anchors, outside of code."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

_CODE = re.compile(
    r"^(?P<fence>`{3,}).*?^(?P=fence)$|(?P<ticks>`+)(?!`).+?(?<!`)(?P=ticks)(?!`)", re.DOTALL | re.MULTILINE
)
_LINK = re.compile(r"(?P<before>\]\()(?P<target>[^()\s]+)(?P<after>\))")
_HEADING = re.compile(r"^#{1,6} +(?P<text>.+?) *#*$", re.MULTILINE)
_FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)


def is_elsewhere(target: str) -> bool:
    """Return whether a link leads to another host."""
    return re.match(r"[a-z]+:", target) is not None


def links(text: str) -> Iterator[str]:
    """Yield the targets of all links and pictures of a page."""
    for match in _LINK.finditer(without_code(text)):
        yield match["target"]


def with_links(text: str, change: Callable[[str], str]) -> str:
    """Return a page with every target of a link changed; code stays as it is."""
    # A link may have code in its text, so code is not cut out: places in it are left alone.
    code = [match.span() for match in _CODE.finditer(text)]

    def changed(match: re.Match[str]) -> str:
        if any(start < match.start("target") < end for start, end in code):
            return match[0]
        return match["before"] + change(match["target"]) + match["after"]

    return _LINK.sub(changed, text)


def without_code(text: str) -> str:
    """Return a page with as many lines, but without its code."""
    return _CODE.sub(lambda match: "\n" * match[0].count("\n"), text)


def anchors(text: str) -> list[str]:
    """Return the anchor of every heading of a page, as GitHub numbers those that are equal."""
    found: list[str] = []
    for match in _HEADING.finditer(_FENCE.sub("", text)):
        slug = slug_of(re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", match["text"]))
        found.append(slug if slug not in found else f"{slug}-{found.count(slug)}")
    return found


def slug_of(heading: str, separator: str = "-") -> str:
    """Return the anchor that GitHub gives a heading; the signature is that of Python-Markdown."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", separator)


def blocks(text: str) -> Iterator[tuple[str, str, int]]:
    """Yield language, text and line of every fenced block of a page."""
    for match in _FENCE.finditer(text):
        yield match["language"], match["text"], text.count("\n", 0, match.start()) + 1
