"""Takes the screenshots of the documentation: a measured board in light and dark and on a phone, and a printed one.

python tests/support/board_screens.py
"""

from __future__ import annotations

import shutil
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

HOUSE = Path(__file__).parents[2]
SITE = HOUSE / "leaderboards" / "boards"
FIGURES = HOUSE / "docs" / "figures"
WIDE, PHONE = (1200, 760), (390, 760)
SHOTS = (
    ("board_light", "synthetic/index.html", WIDE, "light"),
    ("board_dark", "synthetic/index.html", WIDE, "dark"),
    ("board_phone", "synthetic/index.html", PHONE, "light"),
    ("board_printed", "printed/asd_afpa-dcase2020-dev/index.html", WIDE, "light"),
)


def shoot(browser: Browser) -> None:
    FIGURES.mkdir(exist_ok=True)
    for name, page, (width, height), scheme in SHOTS:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if scheme == "dark" else "light",
        )
        opened = context.new_page()
        opened.goto((SITE / page).as_uri())
        opened.screenshot(path=FIGURES / f"{name}.png")
        context.close()


if __name__ == "__main__":
    with sync_playwright() as playwright:
        # Chromium refuses its sandbox to root.
        started = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        shoot(started)
        started.close()
