"""Tells the two kinds of files that torch writes apart, without reading either."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path


def is_torchscript(path: Path) -> bool:
    """Return whether a file is a whole archive of ``torch.jit.save``: code marks it, which one of ``torch.save`` lacks."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any("/code/" in name for name in archive.namelist())
    # Names that are not UTF-8 raise a ValueError, and lengths that do not fit the file a struct.error.
    except (zipfile.BadZipFile, ValueError, struct.error, NotImplementedError, OSError):
        return False
