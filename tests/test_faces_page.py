"""The way from public flow images to a table, as docs/faces.md shows it, with generated images."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pages
import pytest

from asdbench.cli import status_of

SUBJECTS = {"sub01": "casme2", "sub02": "casme2", "006": "samm", "007": "samm", "s01": "smic", "s02": "smic"}
SECTION = pages.section("docs/faces.md", "From public flow images to a table")
Run = Callable[[Sequence[str]], str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder where the commands are run: the script of the page, and an image of each class of six people."""
    opencv = pytest.importorskip("cv2")
    pages.write_files(SECTION, tmp_path)
    generator = np.random.default_rng(0)
    for subject in SUBJECTS:
        for label in range(3):
            for part in ("u_train", "u_test"):
                place = tmp_path / f"data/micro_expression/three_norm_u_v_os/{subject}/{part}/{label}"
                place.mkdir(parents=True)
                image = generator.integers(0, 256, size=(28, 28, 3), dtype=np.uint8)
                opencv.imwrite(str(place / f"{subject}_{label}.png"), image)
    return tmp_path


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """A function that runs a command of the page, with one epoch, and returns its standard output."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("ASDBENCH_CACHE", str(folder / "cache"))
    monkeypatch.setenv("ASDBENCH_DEVICE", "cpu")

    def run(words: Sequence[str]) -> str:
        if words[0] == "python":
            subprocess.run([sys.executable, *words[1:]], check=True)
            return ""
        small = [word.replace("epochs=60", "epochs=1") for word in words[1:]]
        if words[1] == "run":
            small += ["--threads", "1", "--allow-partial"]
        status = status_of(small)
        found = capsys.readouterr()
        # 18 clips are not the composite, which is what verify is for.
        assert status == (1 if words[1] == "datasets" else 0), found.err
        return found.out

    return run


def test_the_commands_of_the_page_lead_to_a_table(run: Run, folder: Path) -> None:
    listed, verify, dry_run, training = pages.commands(SECTION)
    counted, plan, table = [run(words) for words in (listed, verify, dry_run, training)][1:]
    lines = (folder / "data/micro_expression/clips.csv").read_text("utf-8").splitlines()
    assert len(lines) == 1 + 3 * len(SUBJECTS)
    assert "006_006_2,samm,006,surprise,three_norm_u_v_os/006/u_test/2/006_2.png" in lines
    assert {line.split(",")[2]: line.split(",")[1] for line in lines[1:]} == SUBJECTS
    assert "442" in counted
    assert "6 of 6 cases have jobs to run" in plan
    assert all(name in table for name in ("casme2", "samm", "smic", "macro-F1 %", "mean recall %"))
    # What is finished is not run again.
    assert "no jobs are left to run" in run(dry_run)
