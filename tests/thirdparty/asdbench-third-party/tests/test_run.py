"""A small run ends with a result."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

WORDS = [
    "-p",
    "third_party",
    "-d",
    "synthetic[machines=fan,ids=2,train_clips=6,test_clips=4,length_s=1]",
]


def test_a_small_run_gives_a_result(tmp_path: Path) -> None:
    folders = ["--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")]
    command = [sys.executable, "-m", "asdbench", "run", *WORDS, *folders, "--device", "cpu", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    [values] = json.loads(done.stdout)["summary"].values()
    assert 0 <= values["auc"] <= 1
