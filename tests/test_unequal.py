"""Items of unequal length: filled up to one length instead of cut, by the option ``unequal``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import tiny

from asdbench import ConfigError, Selector, load_registry
from asdbench.machine.fitting import applicable
from asdbench.messages.jobs import Case
from asdbench.runs.plan import plan_run

RATE = 4000


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    for part, samples in (("train", 2000), ("train", 4000), ("test", 3000), ("test", 5000)):
        file = folder / "data/fan" / part / f"{samples}.wav"
        file.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(samples).normal(scale=0.1, size=samples)
        soundfile.write(file, noise, RATE, subtype="PCM_16")
    return folder


def case(folder: Path, **options: str) -> Case:
    asked = tiny.request(
        folder / "out", Selector("toy", options), cache=folder / "cache",
        dataset=Selector("folder", {"path": str(folder / "data")}),
    )  # fmt: skip
    [found] = plan_run(asked, tiny.registry(), observer=tiny.Silent()).cases
    return found


@pytest.mark.parametrize(
    ("unequal", "length_s", "length", "fill", "tested"),
    [
        ("repeat", "none", 4000, "repeated from their beginning", 1),
        ("pad", "none", 4000, "filled with zeros", 1),
        ("pad", "2", 8000, "filled with zeros", 2),
        ("pad", "0.25", 1000, "", 0),
    ],
)
def test_unequal_items_are_filled_up_to_the_longest_or_to_the_length_asked_for(
    unequal: str, length_s: str, length: int, fill: str, tested: int, clips: Path
) -> None:
    made, plain = case(clips, unequal=unequal, length_s=length_s), case(clips)
    assert (plain.fit.length, made.fit.length) == (2000, length)
    words = f"{length} samples ({length / RATE:g} s)"
    shortest = f"items shorter than {words} are {fill}; the shortest training item has 2000 samples (0.5 s)"
    assert made.fit.rules == ([shortest] if fill else [])
    short = f"{tested} test items are shorter than {words} and are {fill}"
    assert made.score.rules == ([shortest, short] if fill else [])
    assert made.fit.model_id != plain.fit.model_id


def test_a_detector_of_your_own_has_clips_of_one_length() -> None:
    with pytest.raises(
        ConfigError, match="cut into clips of one length, so unequal has no effect; leave it out"
    ):
        applicable(load_registry(), Selector("logmel_knn", {"unequal": "pad"}))
