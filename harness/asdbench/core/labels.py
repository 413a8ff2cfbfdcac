"""The two labels of a detection task."""

from __future__ import annotations

NORMAL = "normal"
ANOMALY = "anomaly"
