"""AdaCos and sub-cluster AdaCos: classifiers on angles whose scale needs no tuning.

Zhang et al., "AdaCos: Adaptively scaling cosine logits for effectively learning deep face representations", CVPR
2019; Wilkinghoff, "Sub-cluster AdaCos: Learning representations for anomalous sound detection", IJCNN 2021.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asdbench.errors import ConfigError

LEAST_SCALE = 1.0
"""Lower limit: if all logits of the other classes are small, the formula gives a negative scale, which inverts softmax."""
COSINE_LIMIT = 1 - 1e-7
"""Largest cosine whose angle has a finite slope in float32."""


class AdaCos(nn.Module):
    """Cosine head: ``[B, dims]`` embeddings -> ``[B, classes]`` logits, ``scale * cos``.

    The fixed scale is ``sqrt(2) ln(classes - 1)``. A dynamic scale starts there and is updated in each training step,
    before the logits: ``ln B / cos(min(pi/4, median angle to the true class))``, where B is the mean over the batch of
    the sum of ``exp(scale * cos)`` over the other classes.
    """

    scale: Tensor

    def __init__(self, dims: int, classes: int, *, dynamic: bool = False, scale: float | None = None) -> None:
        """Build the head with Xavier-uniform weights.

        Args:
            dims: Size of the embedding.
            classes: Number of classes.
            dynamic: Adapt the scale during training.
            scale: Factor of the logits, or its first value if ``dynamic``; None: AdaCos's formula.

        Raises:
            ConfigError: There are no classes, or too few for the formula.
        """
        super().__init__()
        self.classes = classes
        self.dynamic = dynamic
        centres = self._centres()
        if classes < 1:
            raise ConfigError(f"classes={classes} must be at least 1")
        self.weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(centres, dims)))
        # A buffer, so that checkpoints hold a dynamic scale.
        self.register_buffer("scale", torch.tensor(fixed_scale(centres) if scale is None else scale))

    def forward(self, embedding: Tensor, target: Tensor | None = None) -> Tensor:
        """Return logits ``[B, classes]``.

        Args:
            embedding: ``[B, dims]``, not necessarily normalised.
            target: True class of each row, int64 ``[B]``; in training a dynamic scale adapts to it.
        """
        cosines = self.cosines(embedding)
        if self.dynamic and self.training and target is not None:
            self._adapt(cosines.detach(), target)
        return self._logits(cosines)

    def cosines(self, embedding: Tensor) -> Tensor:
        """Return the cosine of each embedding and each centre, float32 ``[B, centres]``."""
        with torch.autocast(embedding.device.type, enabled=False):
            return F.linear(F.normalize(embedding.float()), F.normalize(self.weight.float()))

    def _centres(self) -> int:
        return self.classes

    def _logits(self, cosines: Tensor) -> Tensor:
        # A copy: the next step overwrites the buffer, perhaps before the backward pass of this one.
        return self.scale.clone() * cosines

    def _adapt(self, cosines: Tensor, target: Tensor) -> None:
        # exp(-inf) = 0 leaves the true class out of B.
        others = (self.scale * cosines).scatter(1, target.unsqueeze(1), -math.inf)
        self._set_scale(others, cosines.gather(1, target.unsqueeze(1)).squeeze(1))

    def _set_scale(self, logits: Tensor, true_cosines: Tensor) -> None:
        # B in logarithms, since exp(scale * cos) overflows float32 at a scale of 89.
        mean_sum = logits.logsumexp(dim=1).logsumexp(dim=0) - math.log(len(logits))  # ln B
        angle = true_cosines.clamp(-COSINE_LIMIT, COSINE_LIMIT).acos().median()
        self.scale.copy_((mean_sum / angle.clamp_max(math.pi / 4).cos()).clamp_min(LEAST_SCALE))


class SubclusterAdaCos(AdaCos):
    """AdaCos with several centres per class: ``[B, dims]`` embeddings -> ``[B, classes]`` logits.

    The logit of a class is the logarithm of the sum of ``exp(scale * cos)`` over its centres, so the softmax over
    classes is the softmax over all centres, summed by class. The fixed scale is ``sqrt(2) ln(classes * centres - 1)``.
    For the dynamic scale, B sums over all centres, and the angle is that to the nearest centre of the true class.
    """

    def __init__(
        self,
        dims: int,
        classes: int,
        *,
        sub_clusters: int = 16,
        dynamic: bool = False,
        scale: float | None = None,
    ) -> None:
        """Build the head with ``sub_clusters`` centres per class; the rest as in ``AdaCos``.

        Raises:
            ConfigError: There are no classes or centres, or too few for the formula.
        """
        self.sub_clusters = sub_clusters  # before super().__init__, which asks for the number of centres
        if sub_clusters < 1:
            raise ConfigError(f"sub_clusters={sub_clusters} must be at least 1")
        super().__init__(dims, classes, dynamic=dynamic, scale=scale)

    def _centres(self) -> int:
        return self.classes * self.sub_clusters

    def _logits(self, cosines: Tensor) -> Tensor:
        return self._by_class(super()._logits(cosines)).logsumexp(dim=2)

    def _adapt(self, cosines: Tensor, target: Tensor) -> None:
        nearest = self._by_class(cosines).amax(dim=2).gather(1, target.unsqueeze(1)).squeeze(1)
        self._set_scale(self.scale * cosines, nearest)

    def _by_class(self, values: Tensor) -> Tensor:
        return values.view(len(values), self.classes, self.sub_clusters)


def fixed_scale(centres: int) -> float:
    """Return AdaCos's fixed scale, ``sqrt(2) ln(centres - 1)``.

    Raises:
        ConfigError: There are fewer than three centres, which give no positive scale.
    """
    if centres < 3:
        raise ConfigError(
            f"AdaCos has no formula for the scale of {centres} classes, which needs at least 3; give scale="
        )
    # ln B / cos(pi/4), with the other centres at right angles: B = centres - 1.
    return math.sqrt(2) * math.log(centres - 1)
