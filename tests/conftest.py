"""Fixtures that all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the small real data sets; the test is skipped where there is none, or fails where CI demands it."""
    place = os.environ.get("ASDBENCH_TEST_DATA")
    if not place:
        missing = "ASDBENCH_TEST_DATA does not name the folder of the shared sample data"
        if os.environ.get("ASDBENCH_REQUIRE_DATA"):
            pytest.fail(missing)
        pytest.skip(missing)
    root = Path(place).resolve()
    if not root.is_dir():
        pytest.fail(f"ASDBENCH_TEST_DATA names {root}, which is not a folder")
    return root
