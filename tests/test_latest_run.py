"""Finding the latest run in a folder with files of other versions, or damaged ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from asdbench import RunError, find_run


def test_the_latest_run_is_found_beside_files_that_cannot_be_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = tmp_path / "runs"
    place.mkdir()
    for name, text in (
        ("empty", "{}"),
        ("torn", '{"run": {"ti'),
        ("later", '{"schema_version": 3, "run": {"time": "1"}}'),
    ):
        (place / f"{name}.json").write_text(text)
    with pytest.raises(RunError, match=r"later\.json cannot be read: schema version 3 is not supported"):
        find_run(tmp_path)
    assert "empty.json is skipped" in caplog.text
    assert "torn.json is skipped" in caplog.text
    (place / "later.json").unlink()
    with pytest.raises(RunError, match=r"none of the 2 runs in .* can be read"):
        find_run(tmp_path)
    with pytest.raises(
        RunError, match=r"empty\.json cannot be read: it is not a RunDocument of schema version 1"
    ):
        find_run(tmp_path, "empty")
