"""Micro-expressions as optical flow: the composite of three databases, and generated faces."""
