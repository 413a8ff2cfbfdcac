"""Embeddings from a pre-trained encoder supplied as a file.

The file is a TorchScript archive (``torch.jit.save``), read without Python's pickle. Its program runs in torch's own
interpreter: use only files that you trust.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import torch
from msgspec import Meta
from scipy.signal import resample_poly
from torch import Tensor

from asdbench import Config, ConfigError, DataError, Info, Items, ItemView, Model, Trainer
from asdbench.blocks import is_torchscript, pinned_file
from asdbench.dsp import mono_rate

DIGEST = hashlib.sha256().digest_size
HINT = "give the path of a TorchScript encoder, for example encoder=encoder.pt"


class EncoderConfig(Config, frozen=True, kw_only=True):
    """Options of the encoder and its input.

    Raises:
        ConfigError: The file does not exist, or its SHA-256 differs from ``encoder_sha256``.
    """

    encoder: Annotated[
        str, Meta(description="path of a TorchScript file that you trust; waves in, embedding out")
    ] = ""
    encoder_sha256: Annotated[
        str, Meta(description="expected SHA-256 of the file; empty: computed and recorded")
    ] = ""
    input_rate: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="sample rate it was trained at, Hz; none: the dataset's"),
    ] = None
    window_s: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="seconds per segment; none: the whole clip"),
    ] = None
    window_hop_s: Annotated[
        Annotated[float, Meta(gt=0)] | None, Meta(description="seconds between segments; none: no overlap")
    ] = None
    frames: Annotated[
        Literal["mean", "segments"],
        Meta(description="for an output [B, frames, dims]: average the frames, or make each a segment"),
    ] = "mean"

    def __post_init__(self) -> None:
        if self.encoder or self.encoder_sha256:  # pinned, so every job uses the same file
            path, digest = pinned_file(self.encoder, self.encoder_sha256, option="encoder", hint=HINT)
            msgspec.structs.force_setattr(self, "encoder", path)
            msgspec.structs.force_setattr(self, "encoder_sha256", digest)


class FrozenEncoder(Model):
    """An encoder that is not trained: waves ``[B, samples]`` -> ``[B, dims]`` or ``[B, frames, dims]``.

    Its weights stay in the file; a checkpoint holds the file's SHA-256 and refuses any other file.

    Outputs: ``embedding`` ``[n, segments, dims]``.
    """

    Config = EncoderConfig
    keep_outputs = True
    digest: Tensor

    def __init__(self, config: EncoderConfig, info: Info) -> None:
        """Load the encoder.

        Raises:
            ConfigError: No file is given, it is not a TorchScript archive, or the items are not mono waves.
        """
        super().__init__(config, info)
        mono_rate(info, reader="an encoder")
        if not config.encoder:
            raise ConfigError(f"encoder='' is not a file; {HINT}")
        self.path = Path(config.encoder)
        # In a tuple, so that its weights are not part of this module and not copied into every checkpoint.
        self._loaded = (_load(self.path, info.device),)
        self.register_buffer("digest", torch.zeros(DIGEST, dtype=torch.uint8))

    def fit(self, train: Items, held: Items, trainer: Trainer) -> None:
        """Record which file was used."""
        trainer.rule(f"encoder {self.path.name}, SHA-256 {self.config.encoder_sha256}")
        self.digest.copy_(self._given_digest())

    @torch.no_grad()
    def outputs(self, items: ItemView) -> Mapping[str, Tensor]:
        """Return ``embedding`` ``[n, segments, dims]``.

        Raises:
            ConfigError: The file differs from the one used in the fit.
            DataError: The encoder's output is not vectors.
        """
        self._check_digest()
        waves = self._windows(self._resampled(items.raw()))  # [n, segments, samples]
        given = self._loaded[0](waves.flatten(0, 1))
        if (
            not isinstance(given, Tensor)
            or given.ndim not in (2, 3)
            or len(given) != waves.shape[0] * waves.shape[1]
        ):
            shape = list(given.shape) if isinstance(given, Tensor) else type(given).__name__
            raise DataError(
                f"{self.path.name} gave {shape} for waves {list(waves.flatten(0, 1).shape)}; "
                "the output must be [B, dims] or [B, frames, dims]"
            )
        if given.ndim == 3 and self.config.frames == "mean":
            given = given.mean(dim=1)
        return {"embedding": given.float().reshape(len(items), -1, given.shape[-1])}

    def _check_digest(self) -> None:
        if self.digest.any() and not torch.equal(self.digest, self._given_digest()):
            raise ConfigError(
                f"{self.path} is not the file that this model was fitted with: restore it, or fit again"
            )

    def _given_digest(self) -> Tensor:
        digest = bytearray.fromhex(self.config.encoder_sha256)
        return torch.frombuffer(digest, dtype=torch.uint8).to(self.digest.device)

    def _resampled(self, waves: Tensor) -> Tensor:
        rate, wanted = int(self.info.sample_rate or 0), self.config.input_rate
        if wanted is None or wanted == rate:
            return waves
        # The smallest integer factors keep the polyphase filter short.
        common = math.gcd(wanted, rate)
        made = resample_poly(waves.cpu().numpy(), wanted // common, rate // common, axis=1)
        return torch.from_numpy(made).float().to(waves.device)

    def _windows(self, waves: Tensor) -> Tensor:
        if self.config.window_s is None:
            return waves.unsqueeze(1)
        rate = self.config.input_rate or int(self.info.sample_rate or 0)
        size = min(round(self.config.window_s * rate), waves.shape[1])
        hop = size if self.config.window_hop_s is None else max(round(self.config.window_hop_s * rate), 1)
        return waves.unfold(1, max(size, 1), max(hop, 1))


def _load(path: Path, device: str) -> torch.jit.ScriptModule:
    if not is_torchscript(path):
        raise ConfigError(
            f"{path} is not a TorchScript archive; write one with torch.jit.save(torch.jit.trace(...))"
        )
    try:
        with warnings.catch_warnings():
            # Deprecated in favour of torch.export, whose loader falls back to unpickling anything.
            warnings.simplefilter("ignore", DeprecationWarning)
            loaded = torch.jit.load(str(path), map_location=device)  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        raise ConfigError(f"{path} cannot be read as TorchScript: {str(error).splitlines()[0]}") from error
    encoder: torch.jit.ScriptModule = loaded.eval()
    return encoder
