"""Tiny trees of DCASE releases: short clips and ground truth under official names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from asdbench import Row
from asdbench_datasets.dcase.sections import SectionRelease


def clips(root: Path, release: str, *names: str, samples: int = 160, channels: int = 1) -> None:
    """Write clips of noise below the folder of a release."""
    rng = np.random.default_rng(len(release))
    for name in names:
        path = root / release / name
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = rng.integers(-99, 99, (samples, channels)).astype(np.int16)
        soundfile.write(path, noise, 16000, subtype="PCM_16")


def lines(place: Path, *rows: str) -> Path:
    """Write lines of text to a file."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("".join(f"{row}\n" for row in rows))
    return place


def write_2021(root: Path) -> Path:
    """Write training, test and evaluation clips of one machine type of 2021, without ground truth."""
    clips(
        root,
        "dcase2021",
        "dev_data/fan/train/section_00_source_train_normal_0000_strength_1_ambient.wav",
        "dev_data/fan/train/section_00_target_train_normal_0000_strength_2_ambient.wav",
        "dev_data/fan/source_test/section_00_source_test_normal_0000.wav",
        "dev_data/fan/source_test/section_00_source_test_anomaly_0000.wav",
        "dev_data/fan/target_test/section_00_target_test_normal_0000.wav",
        "eval_data/fan/train/section_03_source_train_normal_0000_strength_1_ambient.wav",
        "eval_data/fan/source_test/section_03_source_test_0000.wav",
        "eval_data/fan/source_test/section_03_source_test_0001.wav",
        "eval_data/fan/target_test/section_03_target_test_0000.wav",
    )
    return root


def truth_2021(root: Path, *place: str) -> None:
    """Write the ground truth of the evaluation clips of ``write_2021``."""
    folder = root.joinpath(*(place or ("dcase2021",)), "ground_truth_data")
    source = ("section_03_source_test_0000.wav,1", "section_03_source_test_0001.wav,0")
    lines(folder / "ground_truth_fan_section_03_source_test.csv", *source)
    lines(folder / "ground_truth_fan_section_03_target_test.csv", "section_03_target_test_0000.wav,0")


def write_2022(root: Path) -> Path:
    """Write evaluation clips of one machine type of 2022 with their ground truth and contradicting attributes."""
    clips(
        root,
        "dcase2022",
        "eval_data/ToyCar/train/section_03_source_train_normal_0000_car_A1_spd_28V.wav",
        "eval_data/ToyCar/test/section_03_0000.wav",
        "eval_data/ToyCar/test/section_03_test_0001.wav",
    )
    name, place = "ground_truth_ToyCar_section_03_test.csv", root / "dcase2022"
    lines(place / "ground_truth_data" / name, "section_03_0000.wav,1", "section_03_0001.wav,0")
    lines(place / "ground_truth_domain" / name, "section_03_0000.wav,0", "section_03_0001.wav,1")
    lines(
        place / "ground_truth_attributes/ToyCar/attributes_03.csv",
        "file_name,d1p,d1v,d2p,d2v,file_name_with_attributes",
        "ToyCar/test/section_03_0000.wav,car,G2,spd,7,ToyCar/test/section_03_target_test_normal_0011_car_G2.wav",
        "ToyCar/test/section_03_0001.wav,car,G2,ToyCar/test/section_03_source_test_anomaly_0012_car_G2.wav",
    )
    return root


def write_2026(root: Path, *, machine: str = "ToyCarEmu", samples: int = 16000) -> Path:
    """Write development clips of one machine type of 2026, in both spellings of clips without attributes.

    A tone near the machine that is stronger in anomalous clips, and noise of any loudness in both channels.
    """
    rng = np.random.default_rng(2026)
    tone = np.sin(2 * np.pi * 440 * np.arange(samples) / 16000)
    names = [
        *(f"train/section_00_source_train_normal_{k:04}_car_A1_spd_28V_mic_1_noise_1.wav" for k in range(6)),
        *(f"train/section_00_target_train_normal_{k:04}_noAttribute.wav" for k in range(2)),
        *(
            f"test/section_00_{domain}_test_{label}_{k:04}_noAttributes.wav"
            for domain in ("source", "target")
            for label in ("normal", "anomaly")
            for k in range(2)
        ),
    ]
    for name in names:
        far = rng.uniform(0.2, 2.0) * rng.normal(size=samples)
        near = (800 if "anomaly" in name else 400) * tone + 1500 * far + 300 * np.roll(far, 5)
        path = root / "dcase2026/dev_data" / machine / name
        path.parent.mkdir(parents=True, exist_ok=True)
        both = np.stack([near, 3000 * far], axis=1).round().clip(-32768, 32767)
        soundfile.write(path, both.astype(np.int16), 16000, subtype="PCM_16")
    return root


def rows_of(dataset: SectionRelease, root: Path) -> dict[str, Row]:
    """Return the rows of a dataset by path below the folder of its release."""
    return {row.source.relative_to(dataset.release.name).as_posix(): row for row in dataset.index(root)}


def parts_of(rows: Sequence[Row], numbers: Sequence[int]) -> Counter[str]:
    """Return how many of these rows each section and part has."""
    return Counter(f"{rows[k].columns['section']} {rows[k].columns['part']}" for k in numbers)
