"""``docs/start.md`` shows what ``benchmarks/training_free.py`` measured, and starts with the method that it chose."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from scipy.stats import spearmanr

from asdbench import Selector, load_registry
from asdbench.recipes.resolve import resolve

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("training_free", ROOT / "benchmarks" / "training_free.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def found(script: ModuleType) -> Any:
    return json.loads(script.MEASURED.read_text("utf-8"))


def test_the_page_has_the_measured_table(script: ModuleType, found: Any) -> None:
    assert script.table_of(found) in (ROOT / "docs" / "start.md").read_text("utf-8")


def test_the_page_starts_with_the_method_that_was_chosen_without_labels(found: Any) -> None:
    assert found["chosen"] == max(found["objective"], key=found["objective"].get)
    chosen, registry = Selector.parse(found["chosen"]), load_registry()
    recipes = [resolve(registry, each, dataset="dcase2020") for each in (chosen, Selector(chosen.name))]
    assert recipes[0].model.options == recipes[1].model.options
    assert recipes[0].scorer.options == recipes[1].scorer.options
    page = (ROOT / "docs" / "start.md").read_text("utf-8")
    assert page.index(chosen.name) == page.index("-p ") + 3


def test_the_regret_and_the_rank_correlation_are_those_of_the_page(found: Any) -> None:
    page = (ROOT / "docs" / "start.md").read_text("utf-8")
    labels = list(found["objective"])
    areas = [found["candidates"][label]["auc"] for label in labels]
    assert len(labels) == 24
    assert f"({max(areas):.1f}, standardised per machine type)" in page
    regret = max(areas) - found["candidates"][found["chosen"]]["auc"]
    assert f"{regret:.1f} points better" in page
    correlation = spearmanr([found["objective"][label] for label in labels], areas).statistic
    assert f"(rank correlation {correlation:.2f})" in page


@pytest.mark.parametrize(
    ("right", "count", "expected"), [(1.0, 5, (0.0362, 0.6245)), (4.0, 5, (0.3755, 0.9638))]
)
def test_the_interval_of_pairs_is_wilsons(
    script: ModuleType, right: float, count: int, expected: tuple[float, float]
) -> None:
    assert script._wilson(right, count) == pytest.approx(expected, abs=1e-3)
