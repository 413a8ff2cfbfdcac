"""The lists of ``make mutants`` fit the sources, and its runner reports survivors."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


def load_runner() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mutants_run", ROOT / "tests/mutants/run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


RUNNER = load_runner()


def test_every_mutant_changes_one_place_of_the_sources() -> None:
    for mutant in RUNNER.mutants():
        assert mutant.applied(ROOT) != (ROOT / mutant.file).read_text("utf-8"), mutant.title


def test_every_mutant_names_a_test_that_exists() -> None:
    for mutant in RUNNER.mutants():
        file, _, name = mutant.test.partition("::")
        assert re.search(rf"^def {name}\(", (ROOT / file).read_text("utf-8"), re.MULTILINE), mutant.title


def test_every_paper_has_mutants_with_titles_of_their_own() -> None:
    titles = [mutant.title for mutant in RUNNER.mutants()]
    assert len(set(titles)) == len(titles)
    papers = Counter(title.partition(":")[0] for title in titles)
    assert set(papers) == {"contrastive_ensemble", "robot_aae", "serial_oe", "stgram_afpa", "waspp"}
    assert min(papers.values()) >= 20
    assert {mutant.title for mutant in RUNNER.mutants("waspp: learning rate")} == {
        "waspp: learning rate",
        "waspp: learning rate not wired",
    }


def test_a_text_that_does_not_occur_once_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text("rate = 1\nrate = 1\n", "utf-8")
    values = {"title": "paper: rate", "file": "code.py", "new": "rate = 2", "test": "test_rate.py"}
    with pytest.raises(
        ValueError, match=r"paper: rate: expected its text once in code.py, found it 2 times: rate = 1"
    ):
        RUNNER.Mutant(old="rate = 1", **values).applied(tmp_path)
    with pytest.raises(ValueError, match="found it 0 times: speed"):
        RUNNER.Mutant(old="speed", **values).applied(tmp_path)


def test_a_mutant_that_no_test_notices_survives(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "code.py").write_text("rate = 1\nsize = 1\n", "utf-8")
    (tmp_path / "test_rate.py").write_text(
        "import pathlib\ndef test_rate():\n    assert 'rate = 1' in pathlib.Path('code.py').read_text()\n",
        "utf-8",
    )
    for number, (old, new, killed) in enumerate(
        [("rate = 1", "rate = 2", True), ("size = 1", "size = 2", False)]
    ):
        mutant = RUNNER.Mutant(title=f"paper: {old}", file="code.py", old=old, new=new, test="test_rate.py")
        assert RUNNER._is_killed(mutant, tmp_path, number=number) == killed
    assert (tmp_path / "code.py").read_text("utf-8") == "rate = 1\nsize = 1\n"
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["killed", "SURVIVED"]
