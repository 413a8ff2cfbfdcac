"""False alarms on real normal recordings that nothing was fitted on, over 200 random splits."""

from __future__ import annotations

from math import comb
from pathlib import Path

import numpy as np
import pytest

from asdbench import Info, ItemContext, Selector, load_registry, read_wave
from asdbench.detector.detector import Detector
from asdbench.machine.conformal import promise, threshold
from asdbench.machine.file import recipe_of
from asdbench.machine.segments import items_of

SPLITS = 200
HELD, NEW = 20, 20


@pytest.mark.data
def test_new_recordings_of_a_fan_raise_as_few_false_alarms_as_promised(shared_data: Path) -> None:
    fan = shared_data / "dcase2020/dev_data/fan"
    files = sorted([*fan.glob("train/*.wav"), *fan.glob("test/normal_*.wav")])
    info = Info(item_shape=(160_000,), sample_rate=16_000, device="cpu", classes=("fan",))
    # Without standardisation the embeddings depend on no training, so that they serve all splits.
    detector = Detector(recipe_of(load_registry(), Selector.parse("logmel_knn[standardise=none]")), info)
    found = [
        detector.outputs(items_of(read_wave(file), detector, claim=0, columns={}))["embedding"]
        for file in files
    ]
    embedding = np.concatenate(found)
    assert len(embedding) >= HELD + NEW + 10
    made = promise(HELD, rate=0.14, confidence=0.95)
    assert (made.kept, made.above) == (True, 0)
    generator = np.random.default_rng(0)
    counts = []
    for _ in range(SPLITS):
        order = generator.permutation(len(embedding))
        train, held, new = np.split(order, [len(order) - HELD - NEW, len(order) - NEW])
        state = detector.state_of({"embedding": embedding[train]}, of_one_class(len(train)))
        scores = detector.scores_of({"embedding": embedding}, of_one_class(len(order)), state=state)
        counts.append(int((scores[new] > threshold(scores[held], above=made.above)).sum()))
    shares = np.array(counts) / NEW
    # Exchangeable recordings: the highest of 21 is the new one with a probability of 1/21.
    assert shares.mean() == pytest.approx(1 / (HELD + 1), abs=4 * shares.std() / np.sqrt(SPLITS))
    assert shares.mean() < made.rate
    # Three or more of 20 new ones exceed all 20 held-out ones if the three highest of all 40 are new.
    expected = comb(NEW, 3) / comb(HELD + NEW, 3)
    assert np.mean(shares > made.rate) <= expected + 3 * np.sqrt(expected * (1 - expected) / SPLITS)


def of_one_class(items: int) -> ItemContext:
    """Return the context of items of the only class."""
    return ItemContext(claim=np.zeros(items, dtype=np.int64), columns={})
