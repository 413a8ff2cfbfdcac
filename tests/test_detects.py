"""What a method detects it has learned: its AUC is above that of its untrained self, by its interval."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import tiny

from asdbench import ResultRow, RunDocument, Selector
from asdbench.runs.run import run

SPECTRAL = {
    "first": "spectral", "first_weight": "1", "second_weight": "0", "time_epochs": "0", "fusion_epochs": "0",
}  # fmt: skip
"""The spectral network of the contrastive ensemble alone: its statistics detect without any training."""


def area(document: RunDocument, method: Selector, *place: str) -> ResultRow:
    """Return the AUC of a method in a machine or section, given by its names; without names the average."""
    machine, section = (*place, None, None)[:2]
    [found] = [
        row
        for row in document.results_of(str(method))
        if row.metric == "auc" and (row.groups["machine"], row.groups["section"]) == (machine, section)
    ]
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trained", "untrained", "machines"),
    [
        (Selector("stgram_afpa"), {"epochs": "0"}, ""),
        (Selector("serial_oe"), {"epochs": "0"}, "fan+valve"),
        (Selector("contrastive_ensemble", SPECTRAL), {"pretrain_epochs": "0", "finetune_epochs": "0"}, ""),
    ],
    ids=lambda value: value.name if isinstance(value, Selector) else "",
)
def test_a_trained_method_detects_more_than_its_untrained_self(
    trained: Selector, untrained: Mapping[str, str], machines: str, tmp_path: Path
) -> None:
    dataset = Selector("synthetic", {"machines": machines} if machines else {})
    before = Selector(trained.name, {**trained.options, **untrained})
    document = tiny.go(tmp_path, trained, before, cache=tmp_path / "cache", dataset=dataset)
    assert document.failed == []
    found, chance = area(document, trained), area(document, before)
    assert found.low is not None
    assert chance.value is not None
    assert found.low > chance.value
    assert found.low > 0.5


@pytest.mark.data
def test_the_real_sample_is_detected_no_better_than_chance_because_it_is_too_small(
    shared_data: Path, tmp_path: Path
) -> None:
    """Nine training clips of the fan with the most test clips teach the two methods nothing, and their intervals say so."""
    methods = (
        Selector(
            "serial_oe",
            {
                "segment_s": "1", "segments": "2", "n_mels": "64", "n_fft": "1024", "width": "0.5", "depth": "0.3",
                "epochs": "2", "batch_size": "32", "lr": "0.002", "held": "0.2", "scorer": "gmm",
                "scorer.components": "1", "scorer.reg": "0.1",
            },
        ),
        Selector("contrastive_ensemble", {"preset": "small", **SPECTRAL, "pretrain_epochs": "1"}),
    )  # fmt: skip
    request = tiny.request(
        tmp_path, *methods, cache=tmp_path / "cache", allow_partial=True,
        dataset=Selector("dcase2020", {"machines": "fan+slider", "train": "dev"}),
    )  # fmt: skip
    document = run(tiny.replaced(request, data_root=shared_data), tiny.registry(), observer=tiny.Silent())
    assert document.failed == []
    for method in methods:
        fan = area(document, method, "fan", "02")
        assert fan.items == 28
        assert fan.low is not None
        assert fan.high is not None
        assert fan.low < 0.5 < fan.high
        assert 0.4 < fan.high - fan.low < 0.7
