"""The two labels of a detection task, and the name of the unit that is all of a fold."""

from __future__ import annotations

NORMAL = "normal"
ANOMALY = "anomaly"
WHOLE = "all"
"""Name of the unit that comprises a whole fold."""
