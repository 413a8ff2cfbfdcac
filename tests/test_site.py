"""The documentation site in a browser: readable on a phone and in the dark, searchable, and alone with its own host."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import browsing
import pages
import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser
PHONE = {"viewport": {"width": 390, "height": 844}}
SHOWN = (
    "index.html",
    "first-plugin.html",
    "scoring.html",
    "systems.html",
    "reference/cli.html",
    "reference/methods.html",
    "repository/SECURITY.html",
)


class Quiet(SimpleHTTPRequestHandler):
    """Serves files without a line for each."""

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site: the one that ``ASDBENCH_SITE`` names, else a new one."""
    if built := os.environ.get("ASDBENCH_SITE"):
        return Path(built)
    pytest.importorskip("material", reason="pip install 'asdbench[docs]'")
    folder = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(words, cwd=pages.ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_a_phone_in_light_and_dark(browser: Browser, address: str, scheme: str) -> None:
    with browsing.watching(browser, server=address, color_scheme=scheme, **PHONE) as seen:
        for page in SHOWN:
            seen.page.goto(address + page)
            assert seen.page.evaluate("document.documentElement.scrollWidth") <= 390, page
            colour = seen.page.evaluate("getComputedStyle(document.body).backgroundColor")
            brightness = sum(int(part) for part in colour[4:-1].split(","))
            assert (brightness < 200) == (scheme == "dark"), (page, colour)


def test_the_search_finds_a_command(browser: Browser, address: str) -> None:
    with browsing.watching(browser, server=address) as seen:
        seen.page.goto(address)
        seen.page.locator(".md-search__input").fill("conformance")
        first = seen.page.locator(".md-search-result__link").first
        first.wait_for()
        assert "onformance" in (first.text_content() or "")


def test_a_link_to_the_repository_leads_to_a_page_of_the_site(browser: Browser, address: str) -> None:
    with browsing.watching(browser, server=address) as seen:
        seen.page.goto(address + "fairness.html")
        seen.page.get_by_role("link", name="Security", exact=True).first.click()
        seen.page.wait_for_url("**/repository/SECURITY.html")
        assert seen.page.locator("h1").text_content() is not None


def test_a_published_leaderboard_is_part_of_the_site(browser: Browser, address: str) -> None:
    with browsing.watching(browser, server=address) as seen:
        seen.page.goto(address + "leaderboards.html")
        seen.page.get_by_role("link", name="synthetic", exact=True).first.click()
        seen.page.wait_for_url("**/boards/synthetic/index.html")
        assert seen.page.locator("table").count() > 0
