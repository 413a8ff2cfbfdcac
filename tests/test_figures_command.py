"""``asdbench figures`` on a finished run, the modules that its figures load, and its manual."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tiny
from made_runs import classification, detection
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from asdbench import NothingToDraw, RecordedMethod, RecordedRun
from asdbench.cli import status_of
from asdbench.plugin.registry import Plugin, load_registry
from asdbench.results.plots import draw_one

DOCS = tiny.ROOT / "docs"
DETECTION = {"results", "roc", "error_rates", "scores", "training"}
ALL = DETECTION | {"precision_recall", "confusion", "groups"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two methods on four clips."""
    place = tmp_path_factory.mktemp("figures")
    tiny = "synthetic[machines=fan,ids=1,train_clips=3,test_clips=2,length_s=1]"
    words = [
        "run",
        "-p",
        "logmel_knn",
        "-p",
        "autoencoder[epochs=2]",
        "-d",
        tiny,
        "--threads",
        "1",
        "--device",
        "cpu",
    ]
    folders = [
        "--out",
        str(place / "out"),
        "--cache",
        str(place / "cache"),
        "--data-root",
        str(place / "data"),
    ]
    assert status_of([*words, *folders]) == 0
    return place / "out"


def test_the_command_draws_what_a_run_left(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(["figures", "--out", str(folder)]) == 0
    shown = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert shown.keys() >= ALL
    assert {
        name for name, file in shown.items() if not file.startswith("nothing to draw: ")
    } & ALL == DETECTION
    for name in DETECTION:
        assert Path(shown[name]).read_bytes().startswith(b"\x89PNG")


def test_the_command_draws_the_requested_figures_in_the_requested_format_and_prints_json(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["figures", "--out", str(folder), "--to", str(tmp_path), "--format", "svg", "--json"]
    assert status_of([*words, "--only", "roc"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == {"figures": {"roc": str(tmp_path / "roc.svg")}, "left_out": [], "why": {}}
    assert "<!-- autoencoder[epochs=2] (reduced), AUC " in (tmp_path / "roc.svg").read_text("utf-8")
    assert [file.name for file in tmp_path.iterdir()] == ["roc.svg"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--only", "rok"], "roc"),
        (["--run", "nobody"], "nobody"),
        (["--format", "gif"], "'gif' is not one of 'png', 'svg', 'pdf'"),
    ],
    ids=["unknown figure", "unknown run", "unknown format"],
)
def test_impossible_requests_are_usage_errors(
    folder: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(["figures", "--out", str(folder), *words]) == 2
    assert message in capsys.readouterr().err


def test_the_figures_load_no_pyplot_and_their_plugin_no_matplotlib() -> None:
    listed = load_registry()
    paths = [listed.entry("figure", name).build.path for name in listed.names("figure")]
    modules = {path.partition(":")[0] for path in paths}
    assert {f"asdbench_leaderboards.figures.{name}" for name in ALL} <= modules
    packages, names = (
        ", ".join(sorted(each)) for each in ({name.rpartition(".")[0] for name in modules}, modules)
    )
    code = f"import sys, {packages}; assert 'matplotlib' not in sys.modules; import {names}; "
    code += "assert 'matplotlib.figure' in sys.modules; assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, env=tiny.environment())


# The manual.


def test_the_manual_names_every_figure_and_shows_small_pictures() -> None:
    manual = (DOCS / "figures.md").read_text("utf-8")
    assert [name for name in load_registry().names("figure") if f"| `{name}` |" not in manual] == []
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", manual)
    assert len(pictures) >= 2
    assert [name for name in pictures if (DOCS / name).stat().st_size >= 150_000] == []


class Hidden:
    """Stands for trained models with four hidden units."""

    def ask(self, asked: str, method: RecordedMethod, *, items: pd.DataFrame, unit: str) -> dict[str, Any]:
        """Return hidden units of each item."""
        assert (asked, unit, items["label"].tolist()) == ("explain", "", ["normal"])
        return {"hidden": np.array([[1.0, 2.0, 0.0, 4.0]])}


def test_the_manuals_figure_of_hidden_units_asks_the_model() -> None:
    manual = (DOCS / "figures.md").read_text("utf-8")
    [code] = re.findall(r"```python\n(def hidden_figure.*?)```", manual, re.DOTALL)
    names = {"Figure": Figure, "FigureCanvasAgg": FigureCanvasAgg, "NothingToDraw": NothingToDraw}
    exec(code, names)  # what the manual shows
    run = detection()
    asking = RecordedRun(document=run.document, methods=run.methods, insights=Hidden())
    drawn: Any = names["hidden_figure"]
    assert [bar.get_height() for bar in drawn(asking).axes[0].patches] == [1, 2, 0, 4]
    with pytest.raises(NothingToDraw, match="no method has a normal test item"):
        drawn(RecordedRun(document=run.document))


def test_the_manuals_plugin_draws_its_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manual = (DOCS / "figures.md").read_text("utf-8")
    files = re.findall(r"```python\n# (my_figures/\w+\.py)\n(.*?)```", manual, re.DOTALL)
    assert [name for name, _ in files] == ["my_figures/__init__.py", "my_figures/spread.py"]
    for name, code in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(code, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    mine = load_registry()
    mine.add(Plugin(name="my_figures"), importlib.import_module("my_figures"))
    assert draw_one(mine, detection(), name="spread", path=tmp_path / "spread.pdf")
    assert not draw_one(mine, classification(), name="spread", path=tmp_path / "none.pdf")
    assert (tmp_path / "spread.pdf").read_bytes().startswith(b"%PDF")
