"""The vault: labels and official names of a pack's items. The parent writes it, the evaluator alone reads it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from asdbench.atomic import writing
from asdbench.values import Row

FILE = "vault.parquet"
RESERVED = ("item_id", "source", "start", "length", "sha256", "label")
"""What the harness tells of items under these names, in the vault and beside scores; no dataset may."""
SCORES = "score_"
"""How the columns of scores begin."""


def reserved(columns: Iterable[str]) -> list[str]:
    """Return those of a dataset's public columns whose names the harness keeps for itself."""
    return sorted({name for name in columns if name in RESERVED or name.startswith(SCORES)})


def write_vault(rows: Sequence[Row], ids: NDArray[np.int64], folder: Path) -> None:
    """Keep what only the evaluator may know, in the order of ``rows``."""
    table = pd.DataFrame(
        {
            "item_id": ids,
            "source": [str(row.source) for row in rows],
            "start": [row.start for row in rows],
            "sha256": [row.sha256 for row in rows],
            "label": pd.array([row.label for row in rows], dtype="string"),
        }
    )
    with writing(folder / FILE) as temporary:
        table.to_parquet(temporary, index=False)


def read_ids(folder: Path) -> NDArray[np.int64]:
    """Return the item id of each row, in the order of the rows that the vault was written from."""
    return pd.read_parquet(folder / FILE, columns=["item_id"])["item_id"].to_numpy(dtype=np.int64)


def open_vault(folder: Path) -> pd.DataFrame:
    """Return ``source``, ``start``, ``sha256`` and ``label`` (missing where secret) by ``item_id``."""
    return pd.read_parquet(folder / FILE).set_index("item_id")
