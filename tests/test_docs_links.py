"""Links of all pages lead somewhere, in the repository and on the site."""

from __future__ import annotations

from pathlib import Path

import markdown_text
import pages
import places
import pytest
import yaml

DOCS = pages.ROOT / "docs"
PAGES = [
    *sorted(DOCS.rglob("*.md")),
    *(pages.ROOT / name for name in ("README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted(pages.ROOT.glob("*/README.md")),
    *sorted(pages.ROOT.glob("plugins/*/*/README.md")),
]


def broken(page: Path, root: Path = pages.ROOT) -> list[str]:
    """Return the links of a page that lead to no file, or to no heading of one."""
    found = []
    for link in markdown_text.links(page.read_text("utf-8")):
        if markdown_text.is_elsewhere(link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or not target.resolve().is_relative_to(root.resolve()):
            found.append(f"{link}: no such file")
        elif anchor and anchor not in markdown_text.anchors(target.read_text("utf-8")):
            found.append(f"{link}: no such heading")
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(pages.ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    assert broken(page) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# A title\n\n## It's `code`, twice\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](other.md#its-code-twice) [b](other.md#its-code) [c](gone.md) [d](https://example.org/x)\n"
        "[`e`](gone.png), but not `[f](code.md)`\n\n```\n[g](block.md)\n```\n[h](#here)\n\n# Here\n"
    )
    assert broken(page, tmp_path) == [
        "other.md#its-code: no such heading",
        "gone.md: no such file",
        "gone.png: no such file",
    ]


def test_equal_headings_are_numbered_as_github_does() -> None:
    assert markdown_text.anchors("# One\n## One\n## [Two](x.md), `a_b`\n```\n# no heading\n```\n") == [
        "one",
        "one-1",
        "two-a_b",
    ]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A small repository with a page that links to all sorts of files."""
    files = {
        "docs/page.md": "[s](../SECURITY.md#x) [c](../src/code.py) [t](../src/table.csv) [d](../src) [o](other.md) `[x]`",
        "docs/other.md": "",
        "docs/deep/page.md": "[b](../../leaderboards/boards/one/board.md) [a](../page.md) [w](../../.ci/run.yml)",
        "SECURITY.md": "[back](docs/page.md) [on](src/README.md)",
        "src/README.md": "",
        "src/code.py": "x = 1\n",
        "src/table.csv": "a,b\n",
        ".ci/run.yml": "on: push\n",
        "leaderboards/boards/one/board.md": "",
        "leaderboards/boards/one/index.html": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_the_site_holds_what_its_pages_link_to(repository: Path) -> None:
    found = places.linked(repository)
    assert found == {
        ".ci/run.yml": "repository/ci/run.yml.md",
        "SECURITY.md": "repository/SECURITY.md",
        "leaderboards/boards/one/board.md": "boards/one/index.html",
        "src": "repository/src/folder.md",
        "src/README.md": "repository/src/about.md",  # linked from SECURITY.md alone
        "src/code.py": "repository/src/code.py.md",
        "src/table.csv": "repository/src/table.csv",
    }
    texts = {path: places.text_of(path, places=found, root=repository) for path in found}
    assert texts["src/code.py"] == "# src/code.py\n\n````python\nx = 1\n````\n"
    assert "- `code.py`" in (texts["src"] or "")
    assert texts["src/table.csv"] is None
    assert texts["SECURITY.md"] == "[back](../page.md) [on](src/about.md)"
    assert [place for _, place in places.board_files(repository)] == ["boards/one/index.html"]


@pytest.mark.parametrize(
    ("page", "text"),
    [
        (
            "docs/page.md",
            "[s](repository/SECURITY.md#x) [c](repository/src/code.py.md) [t](repository/src/table.csv) "
            "[d](repository/src/folder.md) [o](other.md) `[x]`",
        ),
        (
            "docs/deep/page.md",
            "[b](../boards/one/index.html) [a](../page.md) [w](../repository/ci/run.yml.md)",
        ),
    ],
)
def test_links_of_a_page_work_on_the_site(page: str, text: str, repository: Path) -> None:
    shown = (repository / page).read_text()
    assert places.on_site(shown, page, places=places.linked(repository), root=repository) == text


def test_a_link_called_by_a_file_name_gets_the_title_of_its_page(repository: Path) -> None:
    (repository / "docs/other.md").write_text("# The other page\n")
    text = "[other.md](other.md#a) [docs/other.md](other.md) [another](other.md) [page.md](other.md) [x.md](https://a.b/x.md)"
    shown = places.on_site(text, "docs/page.md", places={}, root=repository)
    assert shown == (
        "[The other page](other.md#a) [The other page](other.md) [another](other.md) [page.md](other.md) [x.md](https://a.b/x.md)"
    )


def test_every_page_is_in_the_navigation() -> None:
    """Without the generated pages, which `mkdocs build --strict` finds."""
    settings = yaml.safe_load((pages.ROOT / "mkdocs.yml").read_text("utf-8"))
    listed = [file for part in settings["nav"] for file in files_of(part)]
    assert len(listed) == len(set(listed))
    written = {file.relative_to(DOCS).as_posix() for file in DOCS.rglob("*.md")}
    assert {file for file in listed if not file.startswith("reference/")} == written


def files_of(part: object) -> list[str]:
    """Return the files of a part of the navigation."""
    if isinstance(part, str):
        return [part]
    inner = part.values() if isinstance(part, dict) else part
    assert isinstance(inner, list) or isinstance(part, dict)
    return [file for each in inner for file in files_of(each)]  # type: ignore[union-attr]
