"""Where the site shows the files of the repository that its pages link to.

Pages of ``docs/`` link to files as they lie in the repository, so that the links work on GitHub. The site has no other
host to send readers to. It holds what is linked: Markdown outside of ``docs/`` becomes a page, so does source code, a
folder becomes a list of its files, and the published leaderboards are shown as they are.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from markdown_text import is_elsewhere, links, with_links

ROOT = Path(__file__).parents[2]
DOCS = "docs"
BOARDS = "leaderboards/boards"
LANGUAGES: Mapping[str, str] = {".py": "python", ".toml": "toml", ".yml": "yaml", ".yaml": "yaml"}
"""Kinds of files that are shown as a page with their text; others are copied."""
LISTED = 60
"""Most files that the page of a folder names."""


def linked(root: Path = ROOT) -> dict[str, str]:
    """Return every file and folder outside of the pages that a page links to, with its place on the site.

    Pages that are reached only from such files are followed too.
    """
    found: dict[str, str] = {}
    todo = [
        f"{DOCS}/{file.relative_to(root / DOCS).as_posix()}" for file in sorted((root / DOCS).rglob("*.md"))
    ]
    while todo:
        page = todo.pop()
        for target in links((root / page).read_text("utf-8")):
            path = path_of(target, page)
            if path is None or path in found or is_page(path) or not (root / path).exists():
                continue
            found[path] = place_of(path, root)
            if path.endswith(".md") and not path.startswith(BOARDS):
                todo.append(path)
    return found


def path_of(target: str, page: str) -> str | None:
    """Return the path in the repository to which a link of a page leads; None: to another host, or in the page."""
    target = target.partition("#")[0]
    if not target or is_elsewhere(target):
        return None
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), target))


def is_page(path: str) -> bool:
    """Return whether the site shows a file without our help: what has a suffix and lies in ``docs/``."""
    return path.startswith(f"{DOCS}/") and PurePosixPath(path).suffix != ""


def place_of(path: str, root: Path = ROOT) -> str:
    """Return where the site shows a file or folder of the repository, as a path from its pages."""
    if is_page(path):
        return path.removeprefix(f"{DOCS}/")
    if path.startswith(BOARDS):
        folder = path if (root / path).is_dir() else posixpath.dirname(path)
        if not (root / folder / "index.html").exists():
            folder = BOARDS  # the index of all boards lists what is in it
        return f"{folder.removeprefix('leaderboards/')}/index.html"
    if (root / path).is_dir():
        inner = path.removeprefix(f"{DOCS}/") if path.startswith(f"{DOCS}/") else f"repository/{path}"
        return f"{inner}/folder.md"
    shown = f"repository/{path.lstrip('.')}"  # a site leaves out files that begin with a dot
    if path.endswith("README.md"):
        return f"{shown.removesuffix('README.md')}about.md"  # README.md would be the index of its folder
    return f"{shown}.md" if PurePosixPath(path).suffix in LANGUAGES else shown


def on_site(text: str, page: str, *, places: Mapping[str, str], root: Path = ROOT) -> str:
    """Return a page with links that work on the site.

    Args:
        text: What the page says.
        page: Its path in the repository.
        places: What ``linked`` has found.
        root: The repository.
    """
    here = posixpath.dirname(place_of(page, root))

    def changed(target: str) -> str:
        path = path_of(target, page)
        if path is None or (path not in places and not is_page(path)):
            return target
        anchor = "#" + target.partition("#")[2] if "#" in target else ""
        place = places.get(path) or place_of(path, root)
        return posixpath.relpath(place, here or ".") + anchor

    return with_links(_with_titles(text, page, root), changed)


def _with_titles(text: str, page: str, root: Path) -> str:
    """Return a page whose links are called by the title of what they lead to, where they are called by its file name."""

    def titled(match: re.Match[str]) -> str:
        path = path_of(match["target"], page)
        target = root / path if path else None
        if target is None or not target.is_file() or target.name != PurePosixPath(match["name"]).name:
            return match[0]
        title = re.match(r"# (.+)\n", target.read_text("utf-8"))
        return f"[{title[1]}]({match['target']})" if title else match[0]

    return re.sub(r"\[(?P<name>[\w./-]+\.md)\]\((?P<target>[^()\s]+)\)", titled, text)


def text_of(path: str, *, places: Mapping[str, str], root: Path = ROOT) -> str | None:
    """Return the page for a linked file or folder; None: it is copied as it is."""
    file = root / path
    if file.is_dir():
        return _folder(path, root)
    if path.endswith(".md"):
        return on_site(file.read_text("utf-8"), path, places=places, root=root)
    if language := LANGUAGES.get(file.suffix):
        return f"# {path}\n\n````{language}\n{file.read_text('utf-8')}````\n"
    return None


def _folder(path: str, root: Path) -> str:
    files = sorted(
        file for file in (root / path).rglob("*") if file.is_file() and "__pycache__" not in file.parts
    )
    inside = path.startswith(f"{DOCS}/")
    names = [file.relative_to(root / path).as_posix() for file in files]
    rows = [f"- [{name}]({name})" if inside else f"- `{name}`" for name in names[:LISTED]]
    more = [f"- and {len(names) - LISTED} more"] if len(names) > LISTED else []
    return "\n".join([f"# {path}", "", "Files of this folder of the repository:", "", *rows, *more, ""])


def board_files(root: Path = ROOT) -> Iterator[tuple[Path, str]]:
    """Yield the files of the published leaderboards, with their place on the site."""
    for file in sorted((root / BOARDS).rglob("*")):
        if file.is_file() and file.suffix != ".md":
            yield file, file.relative_to(root / "leaderboards").as_posix()
