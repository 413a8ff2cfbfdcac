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
"""Where the logits of the other classes are all small, the formula would turn the softmax over."""
COSINE_LIMIT = 1 - 1e-7
"""Largest cosine whose angle has a finite slope in float32."""


class AdaCos(nn.Module):
    """Cosine head: ``[B, dims]`` embeddings -> ``[B, classes]`` logits, ``scale * cos``.

    The fixed scale is ``sqrt(2) ln(classes - 1)``. A dynamic one starts there and is set anew in each training
    step, before the logits: ``ln B / cos(min(pi/4, median angle to the true class))``, where B is the mean over the
    batch of the sum of ``exp(scale * cos)`` over the other classes.
    """

    scale: Tensor

    def __init__(self, dims: int, classes: int, *, dynamic: bool = False, scale: float | None = None) -> None:
        """Make the head with Xavier-uniform weights.

        Args:
            dims: Of the embedding.
            classes: To tell apart.
            dynamic: Adapt the scale while training.
            scale: Of the logits, or where it starts; None: AdaCos's formula.

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
        self.register_buffer("scale", torch.tensor(fixed_scale(centres) if scale is None else scale))

    def forward(self, embedding: Tensor, target: Tensor | None = None) -> Tensor:
        """Return logits ``[B, classes]``.

        Args:
            embedding: ``[B, dims]``, of any length.
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
        # A copy: the buffer is written to by the next step, which may come before this one's backward pass.
        return self.scale.clone() * cosines

    def _adapt(self, cosines: Tensor, target: Tensor) -> None:
        others = (self.scale * cosines).scatter(1, target.unsqueeze(1), -math.inf)
        self._set_scale(others, cosines.gather(1, target.unsqueeze(1)).squeeze(1))

    def _set_scale(self, logits: Tensor, true_cosines: Tensor) -> None:
        mean_sum = logits.logsumexp(dim=1).logsumexp(dim=0) - math.log(len(logits))  # ln B
        angle = true_cosines.clamp(-COSINE_LIMIT, COSINE_LIMIT).acos().median()
        self.scale.copy_((mean_sum / angle.clamp_max(math.pi / 4).cos()).clamp_min(LEAST_SCALE))


class SubclusterAdaCos(AdaCos):
    """AdaCos with several centres a class: ``[B, dims]`` embeddings -> ``[B, classes]`` logits.

    A class's logit is the logarithm of the sum of ``exp(scale * cos)`` over its centres, so that the softmax over
    classes is the sum of the softmax over all centres. The fixed scale is ``sqrt(2) ln(classes * centres - 1)``; for
    the dynamic one, B sums over all centres, and the angle is the one to the true class's nearest centre.
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
        """Make the head with ``sub_clusters`` centres a class; the rest as in ``AdaCos``.

        Raises:
            ConfigError: There are no classes or centres, or too few for the formula.
        """
        self.sub_clusters = sub_clusters
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
        ConfigError: There are fewer than three centres, for which it is not positive.
    """
    if centres < 3:
        raise ConfigError(
            f"AdaCos has no scale of its own for {centres} classes: its formula takes three or more; give scale="
        )
    return math.sqrt(2) * math.log(centres - 1)
