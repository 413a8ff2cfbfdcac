"""What made a pack or generated data, so that ``asdbench cache`` knows whether a run can still use it.

That of a pack is in its vault, which jobs do not know: options may hold paths.
"""

from __future__ import annotations

from typing import Any

import msgspec

from asdbench.core.fingerprints import source_hash_of
from asdbench.data.dataset import Dataset

ORIGIN = "origin.json"
"""In a vault."""
GENERATED = ".generated"
"""In a folder of generated data; written last, so that it marks whole data as well."""


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """The dataset behind a pack or generated data."""

    module: str
    """Module of the dataset's class."""
    code: str
    """Hash of that module with its imports."""
    version: int
    """Version of the format of packs."""
    options: Any
    """Every option of the dataset."""
    pack: str = ""
    """Name of the pack; empty for generated data."""
    ids: str = ""
    """Hash of the secret item ids that the pack and its vault share; empty for generated data."""


def origin_of(dataset: Dataset, *, version: int, pack: str = "", ids: str = "") -> Origin:
    """Return the origin of what a dataset makes."""
    module = type(dataset).__module__
    return Origin(
        module=module,
        code=source_hash_of(module),
        version=version,
        options=msgspec.to_builtins(dataset),
        pack=pack,
        ids=ids,
    )
