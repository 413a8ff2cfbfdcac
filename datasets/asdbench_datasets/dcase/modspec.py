"""``dcase2020_modspec``: modulation spectra of the DCASE 2020 development data, stored as features without audio.

    dcase2020_modspec/<machine>_id_00.npz    train [clips, 60, 8], test [clips, 60, 8], test_is_anomaly [clips]

An item is one clip, ``[60, 8]``. The values are tiny (1e-11 to 1e-3) and keep the float32 numbers of the file. The
clips have no names: rows are numbered in the order of the file, training clips first. There are 20 machine IDs, all
of the development data except those of ToyConveyor; the numbers of clips equal those of ``dcase2020``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from msgspec.structs import force_setattr

from asdbench import ANOMALY, NORMAL, Card, Config, DataError, Fold, Row, by_part
from asdbench_datasets import citations
from asdbench_datasets.machine_recordings import (
    CLAIMS,
    COLUMNS,
    GROUPS,
    NO_VALIDATION,
    SCOPES,
    Machines,
    ordered_machines,
    visible_names,
)
from asdbench_datasets.official_tables import count_of, table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

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
        force_setattr(self, "machines", ordered_machines(self.machines, MACHINES))

    @property
    def card(self) -> Card:
        """Describe the features under the current options."""
        return Card(
            name="dcase2020_modspec",
            title="Modulation spectra of DCASE 2020 Challenge Task 2, development data",
            task="detection",
            modality="features",
            licence="MIT (features) over CC BY-NC-SA 4.0 (recordings)",
            citation=f"Features: L-A-Sandhu. Recordings: {citations.DCASE2020}",
            expected=tuple(
                count_of(line)
                for line in table("dcase", "dcase2020_counts.csv")
                if line["part"] in {"train", "test"} and line["machine"] in self._selected()
            ),
            columns=COLUMNS,
            claims=CLAIMS,
            scopes=SCOPES,
            groups=GROUPS,
            metrics="dcase2020",
            item_shape=SHAPE,
            known_leaks=(NO_VALIDATION,),
        )

    def index(self, root: Path) -> Iterator[Row]:
        """List the clips of the selected machine types.

        Raises:
            DataError: There are no files, or a file has another name or content than expected.
        """
        rows = [row for name in visible_names(root / FOLDER) for row in self._rows(root, name)]
        if not rows:
            raise DataError(
                f"no features of {', '.join(self._selected())} under {root / FOLDER}; put <machine>_id_<NN>.npz there"
            )
        yield from rows

    def read(self, root: Path, source: PurePosixPath) -> NDArray[Any]:
        """Return the items of one file one after the other, float32 ``[clips * 60, 8]``, training clips first.

        Raises:
            DataError: The file is damaged; the message names it.
        """
        import numpy as np

        train, test, _ = _arrays(root / source)
        return np.concatenate([train, test]).reshape(-1, SHAPE[1])

    def folds(self, rows: Sequence[Row]) -> Sequence[Fold]:
        """Return the one official fold."""
        return by_part(rows, name="dev")

    def _selected(self) -> tuple[str, ...]:
        return tuple(self.machines) or MACHINES

    def _rows(self, root: Path, name: str) -> Iterator[Row]:
        match = _NAME.fullmatch(name)
        if match is None or match["machine"] not in MACHINES:
            raise DataError(
                f"{root / FOLDER / name} does not have a name of these features (for example fan_id_00.npz; machine "
                f"types {', '.join(MACHINES)}); move it elsewhere"
            )
        if match["machine"] not in self._selected():
            return
        train, _, is_anomaly = _arrays(root / FOLDER / name)
        # None marks training clips, which the file gives no label; `read` uses the same order.
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
    import zipfile

    import numpy as np

    try:
        # Opened here because numpy leaves the file of a damaged archive open.
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            missing = [name for name in ARRAYS if name not in file.files]
            if missing:
                raise DataError(f"{path} has no array {', '.join(missing)}")
            train, test, is_anomaly = (file[name] for name in ARRAYS)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} cannot be read as a file of features: {error}") from error
    for name, array in (("train", train), ("test", test)):
        if array.shape[1:] != SHAPE or array.ndim != 3:
            raise DataError(f"{path}: expected {name} of shape [clips, 60, 8], found {list(array.shape)}")
        if array.dtype != np.float32:
            raise DataError(f"{path}: expected float32 numbers in {name}, found {array.dtype}")
        if not np.isfinite(array).all():
            raise DataError(f"{path}: {name} holds numbers that are not finite")
    if is_anomaly.shape != test.shape[:1] or not np.isin(is_anomaly, (0, 1)).all():
        raise DataError(f"{path}: test_is_anomaly should hold 0 or 1 for each of {len(test)} test clips")
    return train, test, is_anomaly
