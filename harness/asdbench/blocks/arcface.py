"""ArcFace: a classifier on angles with a margin around the true class.

Deng et al., "ArcFace: Additive angular margin loss for deep face recognition", CVPR 2019; sub-centres from
Deng et al., "Sub-center ArcFace", ECCV 2020.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asdbench.blocks.counted import CountedCentres
from asdbench.errors import ConfigError

SINE_FLOOR = 1e-14
"""Smallest squared sine: without a limit float32 gives NaN at an angle of 0, with a limit of 0 an infinite gradient."""


class ArcFace(nn.Module):
    """Angular margin head: ``[B, dims]`` embeddings -> ``[B, classes]`` logits.

    If theta_y is the angle between the embedding and the weight of the true class y, its logit is
    ``scale * cos(theta_y + margin)`` as long as that falls with the angle, and
    ``scale * (cos(theta_y) - margin * sin(pi - margin))`` beyond; the other logits are ``scale * cos(theta)``. Computes
    in float32 even under autocast.
    """

    def __init__(
        self,
        dims: int,
        classes: int,
        *,
        margin: float = 1.0,
        scale: float = 30.0,
        sub_centers: int = 1,
        easy_margin: bool = False,
    ) -> None:
        """Build the head with Xavier-uniform weights.

        Args:
            dims: Size of the embedding.
            classes: Number of classes.
            margin: Angle added to that of the true class, in radians, within 0..pi.
            scale: Factor of all logits.
            sub_centers: Weights per class; the nearest one counts.
            easy_margin: Apply the margin only within a right angle, and leave the logit unchanged beyond.

        Raises:
            ConfigError: The margin is out of range, or there are no classes or sub-centres.
        """
        super().__init__()
        _check(margin)
        if classes < 1 or sub_centers < 1:
            raise ConfigError(f"classes={classes} and sub_centers={sub_centers} must be at least 1")
        self.classes = classes
        self.margin = margin
        self.scale = scale
        self.easy_margin = easy_margin
        self.weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(classes * sub_centers, dims)))

    def forward(self, embedding: Tensor, target: Tensor | None = None) -> Tensor:
        """Return logits ``[B, classes]``.

        Args:
            embedding: ``[B, dims]``, not necessarily normalised.
            target: True class of each row, int64 ``[B]``; None: no margin.
        """
        return self.logits(self.cosines(embedding), target)

    def cosines(self, embedding: Tensor) -> Tensor:
        """Return the cosine of each embedding and each class's nearest weight, float32 ``[B, classes]``."""
        # The margin acts near cosines of 1, where bfloat16 has steps of 0.004.
        with torch.autocast(embedding.device.type, enabled=False):
            cosines = F.linear(F.normalize(embedding.float()), F.normalize(self.weight.float()))
        return cosines.view(len(cosines), self.classes, -1).amax(dim=-1)

    def logits(self, cosines: Tensor, target: Tensor | None = None) -> Tensor:
        """Return logits of ``cosines`` ``[B, classes]``, with the margin on ``target`` ``[B]`` if given."""
        if target is None:
            return self.scale * cosines
        column = target.unsqueeze(1)  # [B, 1]
        cosine = cosines.gather(1, column)
        if self.easy_margin:
            shifted = torch.where(cosine > 0, _shifted(cosine, self.margin), cosine)
        else:
            shifted = with_margin(cosine, self.margin)
        return self.scale * cosines.scatter(1, column, shifted)


class SoftArcFace(CountedCentres):
    """ArcFace for soft labels: ``[B, dims]`` embeddings -> ``[B, classes]`` logits.

    The logit of a class with the share y is ``scale * (y * with_margin(cos) + (1 - y) * cos)``, where cos is that of the
    nearest of its centres: of a label that names one class, ArcFace's.
    """

    def __init__(self, dims: int, *, margin: float = 0.5, scale: float = 30.0, sub_clusters: int = 1) -> None:
        """Build a head without classes; the rest as in ``ArcFace``.

        Raises:
            ConfigError: The margin is out of range.
        """
        super().__init__(dims, sub_clusters=sub_clusters)
        _check(margin)
        self.margin, self.scale = margin, scale

    def forward(self, embedding: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return logits ``[B, classes]``.

        Args:
            embedding: ``[B, dims]``, not necessarily normalised.
            labels: Shares of the classes, ``[B, classes]``; None: no margin.
        """
        cosines = self.cosines(embedding)
        cosines = cosines.view(len(cosines), -1, self.sub_clusters).amax(dim=2)
        if labels is not None:
            cosines = torch.lerp(cosines, with_margin(cosines, self.margin), labels)
        return self.scale * cosines


def with_margin(cosine: Tensor, margin: float) -> Tensor:
    """Return ``cos(theta + margin)`` where it falls with the angle, and ``cos(theta) - margin sin(pi - margin)`` beyond."""
    # Beyond pi - margin, cos(theta + margin) would rise again; the shifted cosine keeps falling.
    beyond = cosine - margin * math.sin(math.pi - margin)
    return torch.where(cosine > math.cos(math.pi - margin), _shifted(cosine, margin), beyond)


def _shifted(cosine: Tensor, margin: float) -> Tensor:
    # cos(theta + margin) by the addition theorem: without acos, whose gradient is infinite at 0.
    sine = (1 - cosine.square()).clamp_min(SINE_FLOOR).sqrt()
    return cosine * math.cos(margin) - sine * math.sin(margin)


def _check(margin: float) -> None:
    if not 0 <= margin < math.pi:
        raise ConfigError(f"margin={margin:g} is not an angle within 0..pi (3.14) radians")
