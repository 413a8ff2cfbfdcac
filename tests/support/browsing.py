"""A headless browser for tests of pages, and a page that remembers what it did."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Headless Chromium; the test is skipped where there is none, or fails where CI demands it."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        program = None
    if program is None:
        missing = "no Chromium, or no playwright: apt-get install chromium, pip install 'asdbench[test]'"
        if os.environ.get("ASDBENCH_REQUIRE_BROWSER"):
            pytest.fail(missing)
        pytest.skip(missing)
    with sync_playwright() as playwright:
        # Chromium refuses its sandbox to root, which CI is.
        found = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield found
        found.close()


class Watched:
    """A page that remembers every request, console message, dialog and error."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.noise: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self.noise.append(message.text))
        page.on("pageerror", lambda error: self.noise.append(str(error)))
        page.on("dialog", self._dialog)
        page.on("request", lambda request: self.requests.append(request.url))

    def _dialog(self, dialog: Any) -> None:
        self.noise.append(f"dialog: {dialog.message}")
        dialog.dismiss()


@contextlib.contextmanager
def watching(browser: Browser, *, server: str = "file://", **window: Any) -> Iterator[Watched]:
    """A page of a wide window; at its end it must have asked for nothing but files of this machine, and logged nothing.

    Args:
        browser: The browser.
        server: Where pages come from.
        **window: Options of the window, for example its ``color_scheme``.
    """
    context = browser.new_context(**({"viewport": {"width": 1280, "height": 800}} | window))
    seen = Watched(context.new_page())
    yield seen
    assert [url for url in seen.requests if not url.startswith((server, "data:"))] == []
    assert seen.noise == []
    context.close()
