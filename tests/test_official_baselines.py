"""The official baselines of 2023 to 2026: their settings, and the official scores shown beside them."""

from __future__ import annotations

import csv
from pathlib import Path

import made_documents as made
import pytest

from asdbench import Registry, Selector, load_registry
from asdbench.recipes.resolve import resolve
from asdbench_datasets.dcase.dcase2025 import Dcase2025
from asdbench_plugins.baselines.official import SCORES, printed


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


@pytest.mark.parametrize("name", ["autoencoder_mse", "autoencoder_mahala"])
def test_the_official_settings_are_the_methods_own_but_for_the_rule_of_the_distance(
    registry: Registry, name: str
) -> None:
    recipes = [
        resolve(registry, Selector(name, options), dataset="dcase2025")
        for options in ({}, {"preset": "official"})
    ]
    own, official = ({**recipe.model.options, **recipe.featurizer.options} for recipe in recipes)
    differing = {option for option in own if own[option] != official[option]}
    assert differing == ({"select"} if name == "autoencoder_mahala" else set())
    assert (official["frames"], official["n_mels"], official["batch_size"]) == (5, 128, 256)
    assert (official["epochs"], official["lr"], recipes[1].common.held) == (100, 1e-3, 0.1)


@pytest.mark.data
def test_official_scores_are_those_of_the_published_tables(shared_data: Path) -> None:
    file = shared_data.parent / "specs" / "targets" / "state_of_the_art_totals.csv"
    with file.open(encoding="utf-8") as lines:
        totals = {
            (line["dataset"], line["method"]): float(line["value"])
            for line in csv.DictReader(lines)
            if line["paper"] in ("challenge", "2603.04605") and line["value"]
        }
    known = {(data, name): value for data, name, value, _ in SCORES}
    for part in ("dev", "eval"):
        assert known[f"dcase2026/{part}", "MAHALA"] == pytest.approx(
            totals[f"dcase2026-{part}", "baseline MAHALA"], abs=0.005
        )
    assert known["dcase2026/dev", "MSE"] == totals["dcase2026-dev", "baseline MSE"]
    for year in (2023, 2024, 2025):
        best = max(known[f"dcase{year}/eval", name] for name in ("MSE", "MAHALA"))
        assert best == pytest.approx(totals[f"dcase{year}-eval", "Harada AE baseline"], abs=0.06)


def test_a_run_of_the_baseline_shows_its_official_score(tmp_path: Path, registry: Registry) -> None:
    card = Dcase2025(test="eval").card
    assert card.published_as == "dcase2025/eval"
    bench = made.Bench(registry=registry, cache=tmp_path)
    [(key, value)] = bench.numbers("autoencoder_mahala[preset=official]", card=card).items()
    assert (key, value.value) == (("omega",), pytest.approx(0.56505582))
    assert bench.numbers("autoencoder_mahala", card=card) == {}
    assert len(bench.numbers("autoencoder_mse", card=card)) == 1
    challenge = [number for number in printed() if number.method.startswith("baseline")]
    assert len(challenge) == len(SCORES)
