"""The two losses of serial outlier exposure, on logits, with labels that mixup may have softened."""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn import functional as F

ProductLoss = Literal["bce", "softmax"]
ProductWeight = Literal["equal", "soft"]


def machine_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return L_machine, the paper's eq. 2: is it the target type? ``logits`` and t are ``[B]``."""
    return F.binary_cross_entropy_with_logits(logits, target)


def product_loss(
    logits: Tensor,
    product: Tensor,
    target: Tensor,
    *,
    kind: ProductLoss = "bce",
    weight: ProductWeight = "equal",
) -> Tensor | None:
    """Return L_product, eq. 1: which product ID is it? Only samples that are at least partly of the target type count.

    Args:
        logits: ``[B, K]``.
        product: y, ``[B, K]``.
        target: t, ``[B]``.
        kind: ``bce`` asks of every ID by itself, ``softmax`` which one it is.
        weight: ``equal`` takes the mean over samples with t > 0, ``soft`` weighs them by t.

    Returns:
        A scalar, or None where no sample is of the target type.
    """
    some = target > 0
    if not bool(some.any()):
        return None
    each = _each(logits[some], product[some], kind)
    if weight == "equal":
        return each.mean()
    return (each * target[some]).sum() / target[some].sum()


def _each(logits: Tensor, product: Tensor, kind: ProductLoss) -> Tensor:
    if kind == "softmax":
        return -(product * logits.log_softmax(dim=1)).sum(dim=1)
    return F.binary_cross_entropy_with_logits(logits, product, reduction="none").mean(dim=1)
