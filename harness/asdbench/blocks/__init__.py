"""Layers and losses that two methods share."""

from asdbench.blocks.arcface import ArcFace

__all__ = ["ArcFace"]
