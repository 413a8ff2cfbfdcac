"""The commands of docs/researcher.md work in their order; here on tiny data."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pages
import pytest
import tiny

from asdbench import RunDocument
from asdbench.cli import status_of
from asdbench.results.record import decode

PAGE = "docs/researcher.md"
TINY = tiny.DATASET.options | {"machines": "fan"}
Run = Callable[[Sequence[str]], str]


def options(dataset: str) -> str:
    """Return the dataset of the page on tiny data."""
    name, _, given = dataset.partition("[")
    words = [*(f"{key}={value}" for key, value in TINY.items()), *filter(None, [given.removesuffix("]")])]
    return f"{name}[{','.join(words)}]" if name == "synthetic" else dataset


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """A function that runs a command of the page, which must succeed, and returns its standard output."""
    pages.write_files(pages.read(PAGE), tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("ASDBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ASDBENCH_DEVICE", "cpu")

    def run(words: Sequence[str]) -> str:
        assert words[0] == "asdbench"
        small = [options(word) if before == "-d" else word for before, word in itertools.pairwise(words)]
        if small[0] == "run":
            small += ["--threads", "1"]
        status = status_of(small)
        found = capsys.readouterr()
        assert status == 0, found.err
        return found.out

    return run


def test_the_commands_of_the_page_work_in_their_order(run: Run, tmp_path: Path) -> None:
    answers = [run(words) for words in pages.commands(pages.read(PAGE))]
    (
        _, about, _, plan, first, more, again, against, chosen, held_out, drawn, finished, both, graded, grades, final,
    ) = answers  # fmt: skip
    assert "IDNN" in about
    assert "6 of 6 cases have jobs to run" in plan
    assert all(name in first for name in ("idnn (reduced)", "autoencoder (reduced)", "logmel_knn"))
    assert "logmel_knn[k=4]" in more
    assert "no jobs are left to run" in again
    assert "logmel_knn / logmel_knn[k=4]" in against
    assert "test labels" in chosen
    assert "logmel_knn[per=pool,scorer=knn]" in held_out
    assert "roc.png" in drawn
    assert (tmp_path / "figures" / "roc.png").exists()
    assert (tmp_path / "auc.png").exists()
    assert "pair" not in finished
    assert "pair (reduced)" in both
    assert "PARTIAL" in graded
    assert json.loads(grades)["complete"] is False
    assert set(decode(final.encode(), RunDocument).summary) == {"idnn", "logmel_knn"}


def test_the_page_gives_the_metrics_of_its_score_file(run: Run) -> None:
    [words] = [
        words
        for words in pages.commands(pages.section(PAGE, "8. Scores of a system that is not a plugin"))
        if "--json" in words
    ]
    rows = json.loads(run(words))["results"]
    found = {
        row["groups"]["domain"]: row["value"]
        for row in rows
        if row["metric"] == "auc" and row["groups"]["domain"]
    }
    assert found == {"source": 1.0, "target": 0.5}
