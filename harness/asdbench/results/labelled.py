"""The items of a run with their labels, joined once for all of its methods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from asdbench.data.dataset import Card
from asdbench.data.prepared import Evaluable
from asdbench.data.vault import open_vault
from asdbench.messages.jobs import Case


@dataclass(frozen=True, kw_only=True)
class LabelledItems:
    """What the evaluator knows about the items that have scores."""

    card: Card
    table: pd.DataFrame
    """Public columns and what the vault holds, by item id, in the order of the rows."""


def labelled_items(data: Evaluable, cases: Sequence[Case]) -> LabelledItems:
    """Join the public columns of all items that the cases score with the vault."""
    # Most items of a release are only trained on: a table of them all would take four times as long.
    sets = {
        rows for case in cases for rows in (case.score.held, case.score.validation, case.score.test)
    }  # seeds share them
    scored = {item for rows in sets for item in rows.ids}
    used = [k for k, item in enumerate(data.ids.tolist()) if item in scored]
    columns = pd.DataFrame(
        [dict(data.rows[k].columns) for k in used], index=data.ids[np.array(used, dtype=np.int64)]
    )
    # In the order of the rows, not of the secret ids.
    return LabelledItems(card=data.card, table=columns.join(open_vault(data.vault)))
