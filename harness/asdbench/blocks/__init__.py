"""Layers and losses that two methods share."""

from asdbench.blocks.arcface import ArcFace
from asdbench.blocks.frugal import FrugalSequential

__all__ = ["ArcFace", "FrugalSequential"]
