"""BEATs as a model that is not trained: waves to vectors that any scorer reads."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec
import torch
from msgspec import Meta
from torch import Tensor

from asdbench import ConfigError, Info, Items, ItemView, Model, Trainer
from asdbench.blocks import pinned_file
from asdbench.dsp import mono_rate
from asdbench_plugins.encoders.beats import BeatsSpectrogram
from asdbench_plugins.encoders.checkpoint import HINT, load_beats
from asdbench_plugins.encoders.fbank import RATE
from asdbench_plugins.encoders.pooling import PoolingConfig, pooled
from asdbench_plugins.encoders.published import check_claim, described

DIGEST = hashlib.sha256().digest_size
CLIPS = 4
"""Clips that pass the network at a time; the attention of 10 s needs 12 MB per clip and layer."""


class BeatsConfig(PoolingConfig, frozen=True, kw_only=True):
    """Options of BEATs.

    Raises:
        ConfigError: The file does not exist, its SHA-256 differs from ``weights_sha256``, or from that of the published
            file whose name it has.
    """

    weights: Annotated[str, Meta(description="path of a published BEATs checkpoint, BEATs_*.pt")] = ""
    weights_sha256: Annotated[
        str, Meta(description="expected SHA-256 of the file; empty: computed and recorded")
    ] = ""
    layer: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        Meta(description="layer whose tokens are pooled; 0: the input of the first; none: the last"),
    ] = None

    def __post_init__(self) -> None:
        if self.weights or self.weights_sha256:  # pinned, so every job uses the same file
            path, digest = pinned_file(self.weights, self.weights_sha256, option="weights", hint=HINT)
            check_claim(self.weights, digest)
            msgspec.structs.force_setattr(self, "weights", path)
            msgspec.structs.force_setattr(self, "weights_sha256", digest)


class FrozenBeats(Model):
    """Pooled tokens of one layer of BEATs: waves ``[n, samples]`` at 16 kHz -> ``[n, vectors, dims]``.

    The weights stay in the file; a checkpoint holds the file's SHA-256 and refuses any other file.

    Outputs: ``embedding`` ``[n, segments, dims]``; with ``bands=separate`` segment f is band f, the lowest first.
    """

    Config = BeatsConfig
    digest: Tensor

    def __init__(self, config: BeatsConfig, info: Info) -> None:
        """Load the network.

        Raises:
            ConfigError: No file is given or it is not a BEATs checkpoint, the layer does not exist, or the items are not
                mono waves at 16 kHz that are long enough for a patch.
        """
        super().__init__(config, info)
        rate = mono_rate(info, reader="BEATs")
        if rate != RATE:
            raise ConfigError(f"BEATs reads waves at {RATE} Hz, but items have {rate} Hz: resample them")
        if not config.weights:
            raise ConfigError(f"weights='' is not a file; {HINT}")
        self.path = Path(config.weights)
        loaded = load_beats(self.path)
        self.classes, shape = loaded.classes, loaded.network.shape
        if config.layer is not None and config.layer > shape.encoder_layers:
            raise ConfigError(
                f"layer={config.layer} does not exist in {self.path.name}: its last is {shape.encoder_layers}"
            )
        if info.item_shape[0] < shape.least_samples:
            raise ConfigError(
                f"items have {info.item_shape[0]} samples, fewer than the {shape.least_samples} "
                f"({shape.least_samples / RATE:g} s) of one patch of BEATs: use longer items"
            )
        self.spectrogram = BeatsSpectrogram()
        # In a tuple, so that its weights are not part of this module and not copied into every checkpoint.
        self._network = (loaded.network.to(info.device),)
        self.register_buffer("digest", torch.zeros(DIGEST, dtype=torch.uint8))

    def fit(self, train: Items, held: Items, trainer: Trainer) -> None:
        """Record which file was used."""
        trainer.rule(described(self.config.weights, self.config.weights_sha256))
        if self.classes:
            trainer.rule(
                f"the weights were fine-tuned; their classifier of {self.classes} classes is not used"
            )
        self.digest.copy_(self._given_digest())

    @torch.no_grad()
    def outputs(self, items: ItemView) -> Mapping[str, Tensor]:
        """Return ``embedding`` ``[n, segments, dims]``.

        Raises:
            ConfigError: The file differs from the one used in the fit.
        """
        if self.digest.any() and not torch.equal(self.digest, self._given_digest()):
            raise ConfigError(
                f"{self.path} is not the file that this model was fitted with: restore it, or fit again"
            )
        return {"embedding": torch.cat([self._embedded(waves) for waves in torch.split(items.raw(), CLIPS)])}

    def _embedded(self, waves: Tensor) -> Tensor:
        network, full = self._network[0], torch.autocast(waves.device.type, enabled=False)
        with (
            full
        ):  # precision=bf16 is for the network: energies and deviations differ by less than it resolves
            spectrogram = self.spectrogram(waves)
        tokens: Tensor = network(spectrogram, layer=self.config.layer)
        with full:
            grid = tokens.float().reshape(len(waves), -1, network.shape.bands, tokens.shape[-1])
            return pooled(grid, self.config)

    def _given_digest(self) -> Tensor:
        digest = bytearray.fromhex(self.config.weights_sha256)
        return torch.frombuffer(digest, dtype=torch.uint8).to(self.digest.device)
