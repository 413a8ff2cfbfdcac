"""The report of a run in a real browser: hostile text, keyboard, contrast, phone."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import board_pages
import pytest
from report_pages import hostile_run, small_run

from asdbench_leaderboards.report.page import report_page
from asdbench_leaderboards.report.pictures import Pictures

if TYPE_CHECKING:
    from browsing import Watched
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a small run with a wide picture."""
    _, pictures = hostile_run()
    picture = next(iter(pictures.drawn))
    wide = type(picture)(name="roc", summary="curves", data=picture.data, width=1500, height=50)
    file = tmp_path_factory.mktemp("report") / "report.html"
    page = report_page(small_run(), Pictures(drawn=[wide], left_out=[], broken={}))
    file.write_text(page, "utf-8")
    return file


def test_hostile_text_in_any_field_stays_text(watched: Watched, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(report_page(*hostile_run()), "utf-8")
    page = watched.page
    page.goto(file.as_uri())
    for summary in page.locator("summary").all():
        summary.click()
    assert page.evaluate("typeof window.hit") == "undefined"
    assert page.locator("script, iframe, [onerror], [onload]").count() == 0
    assert page.locator("img").count() == 1
    assert page.inner_text("body").count(board_pages.MARK) > 30
    links = page.eval_on_selector_all("a", "links => links.map(link => link.protocol)")
    assert set(links) == {"file:"}


def test_the_page_needs_no_script_and_the_keyboard_reaches_everything(watched: Watched, small: Path) -> None:
    page = watched.page
    page.goto(small.as_uri())
    assert page.locator("script").count() == 0
    for table in page.locator("table").all():
        assert table.locator("caption").count() == 1
        assert table.locator("thead th").count() == table.locator("thead th[scope=col]").count() > 0
        assert table.locator("tbody tr").count() == table.locator("tbody th[scope=row]").count()
    assert page.locator("img:not([alt])").count() == 0
    headings = page.eval_on_selector_all("h1, h2, h3", "all => all.map(one => Number(one.tagName[1]))")
    assert headings[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(headings))
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.textContent.trim()"))
    for wanted in ("Skip to content", "Failures", "Every option"):
        assert wanted in reached
    page.get_by_role("link", name="How to repeat it").click()
    assert page.url.endswith("#repeat")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_contrasts_with_its_background(browser: Browser, small: Path, scheme: Any) -> None:
    context = browser.new_context(color_scheme=scheme)
    page = context.new_page()
    page.goto(small.as_uri())
    ratios = page.evaluate(board_pages.CONTRAST)
    context.close()
    assert len(ratios) > 50
    assert min(ratios) >= 4.5, "WCAG 2, level AA"


def test_a_phone_scrolls_tables_and_figures_but_not_the_page(browser: Browser, small: Path) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 740})
    page = context.new_page()
    page.goto(small.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.locator(".scroll:has(img)").evaluate("region => region.scrollWidth > region.clientWidth")
    context.close()
