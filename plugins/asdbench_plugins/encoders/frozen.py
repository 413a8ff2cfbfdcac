"""Encoders as models that are not trained: waves to vectors that any scorer reads."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar

import msgspec
import torch
from msgspec import Meta
from torch import Tensor, nn

from asdbench import ConfigError, Info, Items, ItemView, Model, Trainer
from asdbench.blocks import pinned_file
from asdbench.dsp import mono_rate
from asdbench_plugins.encoders.beats import Beats, BeatsSpectrogram
from asdbench_plugins.encoders.checkpoint import HINT, load_beats
from asdbench_plugins.encoders.fbank import RATE
from asdbench_plugins.encoders.pooling import PoolingConfig, pooled
from asdbench_plugins.encoders.published import check_claim, described

DIGEST = hashlib.sha256().digest_size
CLIPS = 4
"""Clips that pass the network at a time; the attention of 10 s needs 12 MB per clip and layer."""


class EncoderConfig(PoolingConfig, frozen=True, kw_only=True):
    """Options of every encoder.

    Raises:
        ConfigError: The file does not exist, its SHA-256 differs from ``weights_sha256``, or from that of the published
            file whose name it has.
    """

    hint: ClassVar[str]
    """What to give as ``weights``, for messages."""
    weights: Annotated[str, Meta(description="path of a published checkpoint file")] = ""
    weights_sha256: Annotated[
        str, Meta(description="expected SHA-256 of the file; empty: computed and recorded")
    ] = ""
    layer: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        Meta(description="layer whose tokens are pooled; 0: the input of the first; none: the last"),
    ] = None

    def __post_init__(self) -> None:
        if self.weights or self.weights_sha256:  # pinned, so every job uses the same file
            path, digest = pinned_file(self.weights, self.weights_sha256, option="weights", hint=self.hint)
            check_claim(self.weights, digest)
            msgspec.structs.force_setattr(self, "weights", path)
            msgspec.structs.force_setattr(self, "weights_sha256", digest)


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """An encoder from its file."""

    network: nn.Module
    spectrogram: nn.Module
    """Waves ``[B, samples]`` -> what the network reads."""
    layers: int
    least_samples: int
    """Samples of the shortest wave that fills a patch."""
    rules: tuple[str, ...] = ()
    """What the record says about the file, besides its name and digest; one sentence each."""


class FrozenTokens(Model):
    """Pooled tokens of one layer of an encoder: waves ``[n, samples]`` at 16 kHz -> ``[n, vectors, dims]``.

    The weights stay in the file; a checkpoint holds the file's SHA-256 and refuses any other file.

    Outputs: ``embedding`` ``[n, segments, dims]``; with ``bands=separate`` segment f is band f, the lowest first.
    """

    keep_outputs = True
    title: ClassVar[str]
    """Name of the encoder, for messages."""
    origin: ClassVar[str] = ""
    """Licence and pre-training data of the published files, for the record of files whose digests are unknown here."""
    digest: Tensor

    def __init__(self, config: EncoderConfig, info: Info) -> None:
        """Load the network.

        Raises:
            ConfigError: No file is given or it is not one of this encoder, the layer does not exist, or the items are not
                mono waves at 16 kHz that are long enough for a patch.
        """
        super().__init__(config, info)
        rate = mono_rate(info, reader=self.title)
        if rate != RATE:
            raise ConfigError(
                f"{self.title} reads waves at {RATE} Hz, but items have {rate} Hz: resample them"
            )
        if not config.weights:
            raise ConfigError(f"weights='' is not a file; {config.hint}")
        self.path = Path(config.weights)
        loaded = self.loaded(self.path)
        if config.layer is not None and config.layer > loaded.layers:
            raise ConfigError(
                f"layer={config.layer} does not exist in {self.path.name}: its last is {loaded.layers}"
            )
        self.last = loaded.layers
        self.layer = self.last if config.layer is None else config.layer
        if info.item_shape[0] < loaded.least_samples:
            raise ConfigError(
                f"items have {info.item_shape[0]} samples, fewer than the {loaded.least_samples} "
                f"({loaded.least_samples / RATE:g} s) of one patch of {self.title}: use longer items"
            )
        self.spectrogram, self.rules = loaded.spectrogram, loaded.rules
        # In a tuple, so that its weights are not part of this module and not copied into every checkpoint.
        self._network = (loaded.network.eval().requires_grad_(False).to(info.device),)
        self.register_buffer("digest", torch.zeros(DIGEST, dtype=torch.uint8))

    @abstractmethod
    def loaded(self, path: Path) -> Loaded:
        """Return the encoder of a file.

        Raises:
            ConfigError: It is not a file of this encoder.
        """
        raise NotImplementedError(f"{type(self).__name__} must define loaded")

    @abstractmethod
    def grid(self, spectrogram: Tensor, *, layer: int) -> Tensor:
        """Return the tokens of a layer on their grid, ``[B, T, bands, d]``, the lowest band first."""
        raise NotImplementedError(f"{type(self).__name__} must define grid")

    def grids(self, spectrogram: Tensor) -> list[Tensor]:
        """Return the tokens of every chosen layer on their grid; one, unless an encoder takes several."""
        return [self.grid(spectrogram, layer=self.layer)]

    @property
    def network(self) -> nn.Module:
        """The network, which is in no checkpoint."""
        return self._network[0]

    def fit(self, train: Items, held: Items, trainer: Trainer) -> None:
        """Record which file was used."""
        trainer.rule(described(self.config.weights, self.config.weights_sha256))
        for rule in self.rules:
            trainer.rule(rule)
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
        full = torch.autocast(waves.device.type, enabled=False)
        with (
            full
        ):  # precision=bf16 is for the network: energies and deviations differ by less than it resolves
            spectrogram = self.spectrogram(waves)
        grids = self.grids(spectrogram)
        with full:
            return torch.cat([pooled(tokens.float(), self.config) for tokens in grids], dim=1)

    def _given_digest(self) -> Tensor:
        digest = bytearray.fromhex(self.config.weights_sha256)
        return torch.frombuffer(digest, dtype=torch.uint8).to(self.digest.device)


class BeatsConfig(EncoderConfig, frozen=True, kw_only=True):
    """Options of BEATs."""

    hint = HINT


class FrozenBeats(FrozenTokens):
    """Pooled tokens of one layer of BEATs."""

    Config: ClassVar[type[EncoderConfig]] = BeatsConfig
    title = "BEATs"

    def loaded(self, path: Path) -> Loaded:
        """Return the encoder of a file, see ``load_beats``."""
        found = load_beats(path)
        shape = found.network.shape
        rule = f"the weights were fine-tuned; their classifier of {found.classes} classes is not used"
        return Loaded(
            network=found.network,
            spectrogram=BeatsSpectrogram(),
            layers=shape.encoder_layers,
            least_samples=shape.least_samples,
            rules=(rule,) if found.classes else (),
        )

    def grid(self, spectrogram: Tensor, *, layer: int) -> Tensor:
        """Return the tokens on their grid, ``[B, T, bands, d]``."""
        network = self.network
        assert isinstance(network, Beats)
        tokens: Tensor = network(spectrogram, layer=layer)
        return tokens.reshape(len(tokens), -1, network.shape.bands, tokens.shape[-1])
