"""The two losses of serial outlier exposure, on logits; mixup may have softened the labels.

The paper's equations omit the sigmoid; like the author's recipes, these are cross-entropies with logits.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from asdbench import to_device

ProductLoss = Literal["bce", "softmax"]
ProductWeight = Literal["equal", "soft"]


def machine_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return L_machine, the paper's eq. 2: target type or not. ``logits`` and ``target`` are ``[B]``."""
    return F.binary_cross_entropy_with_logits(logits, to_device(target, logits.device))


def product_loss(
    logits: Tensor,
    product: Tensor,
    *,
    target: Tensor,
    kind: ProductLoss = "bce",
    weight: ProductWeight = "equal",
) -> Tensor | None:
    """Return L_product, eq. 1: product IDs, over the samples that are at least partly of the target type.

    Args:
        logits: ``[B, K]``.
        product: y, ``[B, K]``, on the CPU.
        target: t, ``[B]``, on the CPU.
        kind: ``bce`` decides each ID separately, ``softmax`` chooses one of them.
        weight: ``equal`` averages over the samples with t > 0, ``soft`` weighs them by t.

    Returns:
        A scalar, or None if no sample is of the target type.
    """
    # Chosen by position: a mask on a GPU would wait for it.
    some = (target > 0).nonzero().flatten()
    if not len(some):
        return None
    device = logits.device
    # Eq. 1 divides by sum t_i; with weight="equal" every sample with t > 0 counts as one, as in the recipes.
    each = _each(logits[to_device(some, device)], to_device(product[some], device), kind=kind)
    if weight == "equal":
        return each.mean()
    share = to_device(target[some], device)
    return (each * share).sum() / share.sum()


def _each(logits: Tensor, product: Tensor, *, kind: ProductLoss) -> Tensor:
    if kind == "softmax":
        return -(product * logits.log_softmax(dim=1)).sum(dim=1)
    # The mean over the IDs is eq. 1's division by K.
    return F.binary_cross_entropy_with_logits(logits, product, reduction="none").mean(dim=1)
