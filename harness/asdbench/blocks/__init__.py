"""Building blocks of methods: layers and losses, the rounding of channels, and files given as options."""

from asdbench.blocks.adacos import AdaCos, SubclusterAdaCos
from asdbench.blocks.arcface import ArcFace, SoftArcFace
from asdbench.blocks.attributes import attribute_classes
from asdbench.blocks.channels import rounded_channels
from asdbench.blocks.claims import claim_nll, of_claim
from asdbench.blocks.frugal import FrugalSequential
from asdbench.blocks.halving import halving_convolutions
from asdbench.blocks.mixup import Mixup
from asdbench.blocks.pinned import pinned_file
from asdbench.blocks.scadacos import SoftSubclusterAdaCos, soft_cross_entropy
from asdbench.blocks.torchscript import is_torchscript

__all__ = [
    "AdaCos",
    "ArcFace",
    "FrugalSequential",
    "Mixup",
    "SoftArcFace",
    "SoftSubclusterAdaCos",
    "SubclusterAdaCos",
    "attribute_classes",
    "claim_nll",
    "halving_convolutions",
    "is_torchscript",
    "of_claim",
    "pinned_file",
    "rounded_channels",
    "soft_cross_entropy",
]
