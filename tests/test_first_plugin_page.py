"""docs/first-plugin.md: its session works as shown, from a new plugin to a row for a leaderboard."""

from __future__ import annotations

from pathlib import Path

import markdown_text
import pages
import pytest
import transcript

from asdbench.plugin.scaffold import BLUEPRINTS, distribution_of

PAGE = "docs/first-plugin.md"
FOLDER = "asdbench-spectrum-spread"
ELSEWHERE = (" cuda ", "isolated by")
"""Lines that another machine prints otherwise."""


def comparable(text: str) -> list[str]:
    """Return the stable lines of an output; methods whose values are close may change places."""
    return sorted(line for line in transcript.stable(text) if not any(word in line for word in ELSEWHERE))


@pytest.mark.slow
def test_the_session_of_the_page_works_as_shown(tmp_path: Path) -> None:
    done = list(transcript.replay(PAGE, folder=tmp_path, source=f"{FOLDER}/src"))
    assert [(step.command, comparable(step.printed)) for step in done] == [
        (step.command, comparable(step.shown)) for step in done
    ]
    assert len(done) == 11
    [record] = (tmp_path / "submission" / "records").iterdir()
    assert (tmp_path / "submission" / "SUBMISSION.md").is_file()
    assert (tmp_path / "mine" / "records" / record.name / "record.json").is_file()


def test_the_changes_of_the_page_fit_a_new_plugin(tmp_path: Path) -> None:
    for name, text in distribution_of(BLUEPRINTS["method"], "spectrum_spread").items():
        (tmp_path / FOLDER / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / FOLDER / name).write_text(text)
    [diff] = [text for language, text, _ in markdown_text.blocks(pages.read(PAGE)) if language == "diff"]
    transcript.change(diff, folder=tmp_path)
    changed = (tmp_path / FOLDER / "src/spectrum_spread/model.py").read_text()
    assert "mels = 2 * info.feature_shape[0]" in changed
    assert "features.std(dim=2)" in changed
    with pytest.raises(AssertionError, match="has these lines 0 times"):
        transcript.change(diff, folder=tmp_path)  # it is changed already


def test_numbers_and_hashes_are_not_compared() -> None:
    shown = "average    94.93 [91.7, 97.2]  1,024\n---  -----\nruns/0544fa5518a63fa6.json\n"
    printed = "average    4.93 [0.7, 100.0]  8\n-----  --\nruns/7755fa57db4f65fb.json\n"
    assert transcript.stable(shown) == transcript.stable(printed)
    assert transcript.stable(shown) != transcript.stable(printed.replace("average", "mean"))
