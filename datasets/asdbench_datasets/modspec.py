"""``dcase2020_modspec``: modulation spectra of the DCASE 2020 development data, given as features, not as sound.

    dcase2020_modspec/<machine>_id_00.npz    train [clips, 60, 8], test [clips, 60, 8], test_is_anomaly [clips]

An item is one clip, ``[60, 8]``. The values are tiny (1e-11 to 1e-3) and stay the float32 numbers of the file. The
clips have no names: rows are numbered as the file orders them, training clips first. There are 20 machine IDs, all
of the development data but those of ToyConveyor; numbers of clips are those of ``dcase2020``.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from asdbench.data.folds import by_part
from asdbench.errors import DataError
from asdbench.values import ANOMALY, NORMAL, Card, Config, Count, Fold, Row
from asdbench_datasets import citations
from asdbench_datasets.leaks import NO_VALIDATION
from asdbench_datasets.options import Machines, chosen_machines
from asdbench_datasets.tables import table

MACHINES = ("fan", "pump", "slider", "valve", "ToyCar")
FOLDER = PurePosixPath("dcase2020_modspec")
SHAPE = (60, 8)
ARRAYS = ("train", "test", "test_is_anomaly")
_NAME = re.compile(r"(?P<machine>[A-Za-z]+)_id_(?P<section>\d{2})\.npz")


class Modspec(Config, frozen=True, kw_only=True):
    """Modulation spectra of DCASE 2020.

    Raises:
        ConfigError: A machine type is unknown.
    """

    machines: Machines = ()

    def __post_init__(self) -> None:
        # In one order and form, so that equal selections are equal configurations.
        msgspec.structs.force_setattr(self, "machines", chosen_machines(self.machines, MACHINES))

    @property
    def card(self) -> Card:
        """What can be said of the features under the current options."""
        return Card(
            name="dcase2020_modspec",
            title="Modulation spectra of DCASE 2020 Challenge Task 2, development data",
            task="detection",
            modality="features",
            licence="MIT (features) over CC BY-NC-SA 4.0 (recordings)",
            citation=f"Features: L-A-Sandhu. Recordings: {citations.DCASE2020}",
            expected=tuple(
                Count(
                    columns={name: line[name] for name in ("machine", "section", "part")},
                    label=line["label"] or None,
                    items=int(line["items"]),
                )
                for line in table("dcase2020_counts.csv")
                if line["part"] in {"train", "test"} and line["machine"] in self._selected()
            ),
            columns={"machine": "machine type", "section": "machine ID", "part": "train or test"},
            claims=("machine", "section"),
            scopes={"all": (), "machine": ("machine",), "section": ("machine", "section")},
            groups=("machine", "section", "domain"),
            metrics="dcase2020",
            item_shape=SHAPE,
            sample_rate=None,
            known_leaks=(NO_VALIDATION,),
        )

    def index(self, root: Path) -> Iterator[Row]:
        """List the clips of the selected machine types.

        Raises:
            DataError: Nothing is there, or a file is not named or built as it should be.
        """
        folder = root / FOLDER
        names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        rows = [row for name in names if not name.startswith(".") for row in self._rows(root, name)]
        if not rows:
            raise DataError(f"no features of {', '.join(self._selected())} under {folder}")
        yield from rows

    def read(self, root: Path, source: PurePosixPath) -> NDArray[Any]:
        """Return the items of one file one after the other, float32 ``[clips * 60, 8]``, training clips first.

        Raises:
            DataError: The file is damaged; the message names it.
        """
        train, test, _ = _arrays(root / source)
        return np.concatenate([train, test]).reshape(-1, SHAPE[1])

    def folds(self, rows: Sequence[Row]) -> Sequence[Fold]:
        """Return the one official division."""
        return by_part(rows, name="dev")

    def _selected(self) -> tuple[str, ...]:
        return tuple(self.machines) or MACHINES

    def _rows(self, root: Path, name: str) -> Iterator[Row]:
        match = _NAME.fullmatch(name)
        if match is None or match["machine"] not in MACHINES:
            raise DataError(
                f"{root / FOLDER / name} is not named as the features are (fan_id_00.npz, machine types "
                f"{', '.join(MACHINES)}); move it elsewhere"
            )
        if match["machine"] not in self._selected():
            return
        train, _, is_anomaly = _arrays(root / FOLDER / name)
        labels = [None] * len(train) + [ANOMALY if value else NORMAL for value in is_anomaly]
        for k, label in enumerate(labels):
            part = "train" if label is None else "test"
            yield Row(
                source=FOLDER / name,
                columns={"machine": match["machine"], "section": match["section"], "part": part},
                label=label or NORMAL,
                start=k * SHAPE[0],
                length=SHAPE[0],
            )


def _arrays(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int8]]:
    """Return training items, test items and labels of one file."""
    try:
        # Opened here, as numpy leaves the file of a damaged archive open.
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            missing = [name for name in ARRAYS if name not in file.files]
            if missing:
                raise DataError(f"{path} has no array {', '.join(missing)}")
            train, test, is_anomaly = (file[name] for name in ARRAYS)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} cannot be read as a file of features: {error}") from error
    for name, array in (("train", train), ("test", test)):
        if array.shape[1:] != SHAPE or array.ndim != 3:
            raise DataError(f"{path}: {name} has the shape {list(array.shape)}, not [clips, 60, 8]")
        if array.dtype != np.float32 or not np.isfinite(array).all():
            raise DataError(f"{path}: {name} should hold finite float32 numbers, not {array.dtype}")
    if is_anomaly.shape != test.shape[:1] or not np.isin(is_anomaly, (0, 1)).all():
        raise DataError(f"{path}: test_is_anomaly should hold 0 or 1 for each of {len(test)} test clips")
    return train, test, is_anomaly
