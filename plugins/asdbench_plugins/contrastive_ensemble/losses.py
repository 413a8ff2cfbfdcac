"""The losses of pre-training and fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from asdbench.blocks import ArcFace


def simsiam_loss(predicted: tuple[Tensor, Tensor], projected: tuple[Tensor, Tensor]) -> Tensor:
    """Return SimSiam's loss, from -1 (predictions match the other view) to 1.

    ``L = D(p1, stop(z2)) / 2 + D(p2, stop(z1)) / 2`` with D the negative cosine; no gradient reaches z.

    Args:
        predicted: p of both views, each ``[n, dims]``.
        projected: z of both views, each ``[n, dims]``.
    """
    cosines = [
        # The detach is SimSiam's stop-gradient; without it the embeddings collapse.
        F.cosine_similarity(p, z.detach(), dim=1).mean()
        for p, z in zip(predicted, reversed(projected), strict=True)
    ]
    return -(cosines[0] + cosines[1]) / 2


def mixed_arcface_loss(
    head: ArcFace, embedding: Tensor, *, claim: Tensor, partner: Tensor, share: Tensor
) -> Tensor:
    """Return the mean of ``(1 - share) L(y1) + share L(y2)``: ArcFace's cross-entropy for clips with two labels.

    Args:
        head: The classifier.
        embedding: Embeddings of the mixed clips, ``[n, dims]``.
        claim: Labels of the first clips, int64 ``[n]``.
        partner: Positions of the second clips, int64 ``[n]``.
        share: Weights of the second labels, ``[n]``.
    """
    cosines = head.cosines(embedding)
    of_first, of_second = (
        F.cross_entropy(head.logits(cosines, label), label, reduction="none")
        for label in (claim, claim[partner])
    )
    return torch.lerp(of_first, of_second, share.to(of_first.dtype)).mean()


def arcface_loss(head: ArcFace, embedding: Tensor, *, claim: Tensor) -> Tensor:
    """Return ArcFace's mean cross-entropy of embeddings ``[n, dims]`` and labels ``claim`` ``[n]``."""
    return F.cross_entropy(head(embedding, claim), claim)


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneLoss:
    """Eq. 6: pull the augmented clip closer and push the pseudo-anomaly away.

    ``L = mean[(L_dis + alpha) exp(scale L_cos + beta)]`` with ``L_cos = -cos(a, p) + cos(a, n)`` and
    ``L_dis = |a - p|^2 - |a - n|^2 + margin``. On vectors of length 1, L_dis = 2 L_cos + margin, so L has its minimum
    at L_cos = -(1 + (margin + alpha) / 2) if scale is 1. Without unit length it is unbounded below.
    """

    margin: float = 0.05
    scale: float = 1.0
    alpha: float = 0.01
    beta: float = 0.005
    hinge: bool = False
    """L_dis counts only where it is positive."""
    unit_length: bool = True
    """Scale the vectors to length 1 first."""

    def __call__(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """Return the loss of embeddings ``[n, dims]``."""
        if self.unit_length:
            anchor, positive, negative = (F.normalize(u.float()) for u in (anchor, positive, negative))
        # Eq. 3 defines D as minus the cosine; in eq. 6 that would push positives away, so D is plus the cosine.
        cosine = F.cosine_similarity(anchor, negative) - F.cosine_similarity(anchor, positive)
        distance = (anchor - positive).square().sum(dim=1) - (anchor - negative).square().sum(dim=1)
        # |u|^2 terms cancel on unit vectors: L_dis = 2 L_cos + m.
        distance = distance + self.margin
        if self.hinge:
            distance = distance.clamp_min(0)
        return ((distance + self.alpha) * torch.exp(self.scale * cosine + self.beta)).mean()
