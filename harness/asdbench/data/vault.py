"""The vault: labels and official names of a pack's items. The parent writes it; only the evaluator reads the labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from asdbench.core.documents import from_json
from asdbench.core.files import write_bytes, writing
from asdbench.core.tables import reading_parquet
from asdbench.data.dataset import Row
from asdbench.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

FILE = "vault.parquet"
DECODED = "decoded.json"
FAULTS = "faults.json"
RESERVED = ("item_id", "source", "start", "length", "sha256", "label")
"""Names under which the vault and the tables of scores describe items; no dataset may use them."""
SCORES = "score_"
"""Prefix of the columns that hold scores."""
_REMEDY = "delete its folder, and the next run decodes the data again"


def reserved(columns: Iterable[str]) -> list[str]:
    """Return the reserved names among a dataset's public columns, sorted."""
    return sorted({name for name in columns if name in RESERVED or name.startswith(SCORES)})


def write_vault(rows: Sequence[Row], ids: NDArray[np.int64], *, folder: Path) -> None:
    """Write what only the evaluator may know, in the order of ``rows``."""
    import pandas as pd  # planning on a warm cache neither writes a vault nor needs a data frame

    table = pd.DataFrame(
        {
            "item_id": ids,
            "source": [str(row.source) for row in rows],
            "start": [row.start for row in rows],
            "length": pd.array([row.length for row in rows], dtype="Int64"),
            "sha256": [row.sha256 for row in rows],
            "label": pd.array([row.label for row in rows], dtype="string"),
        }
    )
    with writing(folder / FILE) as temporary:
        table.to_parquet(temporary, index=False)


def write_decoded(digests: Sequence[str], *, folder: Path) -> None:
    """Write the SHA-256 of each row's decoded source, in the order of the rows: what a model learned from."""
    write_bytes(folder / DECODED, msgspec.json.encode(digests))


def read_decoded(folder: Path) -> list[str]:
    """Return what ``write_decoded`` wrote."""
    return from_json((folder / DECODED).read_bytes(), list[str])


def write_faults(faults: Mapping[str, Sequence[str]], *, folder: Path) -> None:
    """Write the faults that decoding found, as sentences.

    Args:
        faults: Faults of every examined file by its name.
        folder: The vault: the sentences name files, so no job may see them.
    """
    write_bytes(folder / FAULTS, msgspec.json.encode(fault_sentences(faults)))


def fault_sentences(faults: Mapping[str, Sequence[str]]) -> list[str]:
    """Return each fault with the number of files that have it; ``faults`` has those of every examined file by its name."""
    files: dict[str, list[str]] = {}
    for name in sorted(faults):
        for fault in faults[name]:
            files.setdefault(fault, []).append(name)
    return [
        f"{fault}: {len(names)} of {len(faults)} files (first: {names[0]})"
        for fault, names in sorted(files.items())
    ]


def read_faults(folder: Path) -> list[str]:
    """Return the sentences that ``write_faults`` wrote; none if the dataset does not examine its files."""
    if not (folder / FAULTS).exists():
        return []
    return from_json((folder / FAULTS).read_bytes(), list[str])


def read_ids(folder: Path) -> NDArray[np.int64]:
    """Return the item id of each row, in the order of the rows that the vault was written from.

    Raises:
        DataError: The vault is missing or damaged.
    """
    import pyarrow.parquet as pq

    with reading_parquet(folder / FILE, raising=DataError, remedy=_REMEDY):
        # As a list: pyarrow's own way to numpy imports pandas, which takes as long as the rest of planning.
        ids = pq.ParquetFile(folder / FILE).read(columns=["item_id"])["item_id"].to_pylist()
        return np.array(ids, dtype=np.int64)


def open_vault(folder: Path) -> pd.DataFrame:
    """Return ``source``, ``start``, ``length``, ``sha256`` and ``label`` by ``item_id``.

    ``length`` is missing for an item that reaches to the end of its source, ``label`` where it is secret.

    Raises:
        DataError: The vault is missing or damaged.
    """
    import pandas as pd

    with reading_parquet(folder / FILE, raising=DataError, remedy=_REMEDY):
        return pd.read_parquet(folder / FILE).set_index("item_id")
