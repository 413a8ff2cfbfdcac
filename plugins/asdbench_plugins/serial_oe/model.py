"""Serial outlier exposure: the embedding's direction encodes the product ID, its length the machine type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from msgspec import Meta
from torch import Tensor, nn

from asdbench import DataError, Info, ItemView
from asdbench.blocks import of_claim
from asdbench_plugins.serial_oe.losses import ProductLoss, ProductWeight, machine_loss, product_loss
from asdbench_plugins.serial_oe.mixing import Labelled
from asdbench_plugins.serial_oe.network import DIMS
from asdbench_plugins.serial_oe.segments import SegmentConfig, SegmentModel


class SerialConfig(SegmentConfig, frozen=True, kw_only=True):
    """Options of the two losses, in addition to those of the encoder."""

    lam: Annotated[float, Meta(ge=0, description="lambda, weight of L_product relative to L_machine")] = 10.0
    machine_loss: Annotated[
        bool, Meta(description="classify machine type against others; false: no negatives either")
    ] = True
    product_loss: Annotated[
        ProductLoss, Meta(description="bce: each product ID separately; softmax: one of them")
    ] = "bce"
    product_weight: Annotated[
        ProductWeight,
        Meta(description="mixed samples in L_product count equally, or by their share of the type"),
    ] = "equal"
    norm_scale: Annotated[
        float, Meta(gt=0, description="factor for the squared norm before its affine map")
    ] = 1 / DIMS


class SerialOutlierExposure(SegmentModel):
    """The encoder with a linear head for product IDs and an affine map of the squared norm for the machine type.

    Outputs, for each of S segments: ``embedding`` ``[n, S, 128]``; ``norm`` ``[n, S]``, ``||f||^2 * norm_scale``;
    ``claim_strangeness`` ``[n, S]``, 1 - probability of the claimed product ID; ``claim_negative_logit``
    ``[n, S]`` (both NaN for a claim outside this unit); ``machine_logit`` ``[n, S]``, high = of the machine type
    (only with ``machine_loss``).
    """

    Config = SerialConfig

    def __init__(self, config: SerialConfig, info: Info) -> None:
        """Build encoder and heads.

        Raises:
            ConfigError: The items are not mono waves with a sample rate.
        """
        super().__init__(config, info)
        # Without bias, so that the product ID depends on the direction of the embedding.
        self.product = nn.Linear(DIMS, max(1, len(info.classes)), bias=False)
        self.affine = nn.Linear(1, 1) if config.machine_loss else None

    @property
    def against_negatives(self) -> bool:
        """Whether half of each batch are items of other machine types."""
        return bool(self.config.machine_loss)

    def loss(self, embedding: Tensor, labels: Labelled) -> Tensor:
        """Return L, eq. 3: L_machine + lambda L_product.

        Raises:
            DataError: Neither term exists: there is no L_machine and no sample of the target type.
        """
        of_product = product_loss(
            self.product(embedding).float(),
            labels.product,
            target=labels.target,
            kind=self.config.product_loss,
            weight=self.config.product_weight,
        )
        # A batch without targets has no L_product: eq. 1 would divide by 0.
        terms = [] if of_product is None else [self.config.lam * of_product]
        if self.affine is not None:
            logits = self.machine_logits(self.norms(embedding))
            terms.append(machine_loss(logits.float(), labels.target))
        if not terms:
            raise DataError("machine_loss=false needs at least 1 item of the unit in every batch, found 0")
        return torch.stack(terms).sum()

    def norms(self, embedding: Tensor) -> Tensor:
        """Return scaled squared norms ``[...]`` of embeddings ``[..., 128]``."""
        norms: Tensor = embedding.square().sum(dim=-1) * self.config.norm_scale
        return norms

    def machine_logits(self, norms: Tensor) -> Tensor:
        """Return the affine map of norms, of any shape."""
        if self.affine is None:
            raise DataError("machine_loss=false has no machine logits: use machine_loss=true")
        logits: Tensor = self.affine(norms.unsqueeze(-1)).squeeze(-1)
        return logits

    def outputs(self, items: ItemView) -> Mapping[str, Tensor]:
        """Return ``embedding``, ``norm``, ``claim_strangeness``, ``claim_negative_logit`` and ``machine_logit``."""
        embedding = self.embeddings(items)
        logits = self.product(embedding).float()  # [n, S, K]
        likely = logits.softmax(dim=-1) if self.config.product_loss == "softmax" else logits.sigmoid()
        norm = self.norms(embedding)
        machine = {} if self.affine is None else {"machine_logit": self.machine_logits(norm)}
        return {
            "embedding": embedding,
            "norm": norm,
            "claim_strangeness": 1 - of_claim(likely, items.claim),
            "claim_negative_logit": -of_claim(logits, items.claim),
            **machine,
        }
