"""Layers and losses that two methods share."""

from asdbench.blocks.adacos import AdaCos, SubclusterAdaCos
from asdbench.blocks.arcface import ArcFace
from asdbench.blocks.frugal import FrugalSequential

__all__ = ["AdaCos", "ArcFace", "FrugalSequential", "SubclusterAdaCos"]
