"""Ground truth of the evaluation clips of DCASE 2020: one list of all machine types.

    fan                                                        a line with a machine type, then its clips:
    id_01_00000000.wav,anomaly_id_01_00000003.wav,1            clip, name with its label, label (1 = anomaly)

The list is ``eval_data_list_2020.csv``, or ``eval_data_list.csv`` as the evaluator of 2020 names it, in
``<root>/dcase2020`` or ``<root>/ground_truth/dcase2020``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from asdbench import DataError
from asdbench_datasets.dcase.truth import LABELS, read_listing

NAMES = ("eval_data_list_2020.csv", "eval_data_list.csv")
_CLIP = re.compile(r"id_(?P<section>\d{2})_\d{8}\.wav", re.ASCII)
_FULL_NAME = re.compile(r"(?P<label>normal|anomaly)_id_\d{2}_\d{8}\.wav", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """What the list gives for one clip."""

    name: str
    section: str
    full_name: str
    """The name with its label, to which a baseline renames the clip."""
    label: str


def listed_clips(root: Path) -> Mapping[str, Mapping[str, Clip]]:
    """Return the listed clips by machine type and name; none: there is no list.

    Raises:
        DataError: The list cannot be read, or a line has another form.
    """
    for folder in (root / "dcase2020", root / "ground_truth" / "dcase2020"):
        for name in NAMES:
            if (folder / name).is_file():
                return _read(folder / name)
    return {}


def _read(place: Path) -> dict[str, dict[str, Clip]]:
    found: dict[str, dict[str, Clip]] = {}
    for machine, lines in read_listing(place).items():
        clips = found.setdefault(machine, {})
        for number, row in lines:
            clip = _clip(row)
            if clip is None:
                raise DataError(
                    f"{place}, line {number}: expected a clip, its name with the label, and 0 or 1, found "
                    f"{','.join(row)!r}"
                )
            if clip.name in clips:
                raise DataError(f"{place}, line {number}: {clip.name} is listed twice")
            clips[clip.name] = clip
    return found


def _clip(row: list[str]) -> Clip | None:
    """Return the clip of a line; None: the line has another form, or its two labels differ."""
    if len(row) != 3:
        return None
    name, full_name = PurePosixPath(row[0]).name, PurePosixPath(row[1]).name
    match, full, label = _CLIP.fullmatch(name), _FULL_NAME.fullmatch(full_name), LABELS.get(row[2])
    if match is None or label is None or (full is not None and full["label"] != label):
        return None
    return Clip(name=name, section=match["section"], full_name=full_name, label=label)
