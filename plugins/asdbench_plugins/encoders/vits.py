"""EAT, SSLAM, CED and Dasheng from checkpoint files, as models that are not trained."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, cast

import torch
from msgspec import Meta
from torch import Tensor, nn

from asdbench import ConfigError, Info
from asdbench_plugins.encoders.decibels import MelDecibels, MelShape, MelTransformer
from asdbench_plugins.encoders.eat import (
    BANDS,
    LEAST_SAMPLES,
    MOST_FRAMES,
    Eat,
    EatShape,
    EatSpectrogram,
    padded_frames,
)
from asdbench_plugins.encoders.fbank import frames_of
from asdbench_plugins.encoders.frozen import EncoderConfig, FrozenTokens, Loaded
from asdbench_plugins.encoders.reading import check_tensors, read_checkpoint
from asdbench_plugins.encoders.transformer import HEAD

EAT_HINT = (
    "give the path of a published checkpoint of EAT or SSLAM, for example weights=EAT-base_epoch10_pt.pt"
)
CED_HINT = (
    "give the path of a published checkpoint of CED, for example weights=audiotransformer_mini_mAP_4896.pt"
)
DASHENG_HINT = "give the path of a published checkpoint of Dasheng, for example weights=dasheng_base.pt"

RENAMED = (
    (re.compile(r"^model\."), ""),
    (re.compile(r"^modality_encoders\.IMAGE\."), ""),
    (re.compile(r"^context_encoder\.norm\."), "pre_norm."),
    (re.compile(r"^positional_encoder\.pos_embed$"), "fixed_positional_encoder.positions"),
    (re.compile(r"^fixed_positional_encoder\.pos_embed$"), "fixed_positional_encoder.positions"),
)
"""From the names of fairseq, or of a wrapper around the network, to those of the form for inference."""
BLOCK = re.compile(r"^blocks\.(\d+)\.")


Tokens = Annotated[
    Literal["patches", "clip"],
    Meta(description="pooled patches, or the one token for the whole clip, which nothing pools"),
]
Frames = Annotated[
    Annotated[int, Meta(ge=16, le=MOST_FRAMES)] | None,
    Meta(description="frames that spectrograms are padded or cut to; none: the next multiple of 32"),
]

Layers = Annotated[
    Annotated[str, Meta(pattern=r"^\d+(\+\d+)*$")] | None,
    Meta(
        description="instead of layer: several, for example 8+10+12, whose vectors are segments one after another"
    ),
]


class EatConfig(EncoderConfig, frozen=True, kw_only=True):
    """Options of EAT and SSLAM."""

    hint = EAT_HINT
    tokens: Tokens = "patches"
    frames: Frames = None
    layers: Layers = None


class FrozenEat(FrozenTokens):
    """Pooled tokens of one layer of EAT or SSLAM."""

    Config: ClassVar[type[EncoderConfig]] = EatConfig
    title = "EAT"
    origin = "EAT and SSLAM are published under MIT, trained on AudioSet"

    def __init__(self, config: EatConfig, info: Info) -> None:
        """Load the network.

        Raises:
            ConfigError: As for every encoder; one of several layers does not exist, or one layer is chosen, too; or the
                items are longer than the table of positions.
        """
        super().__init__(config, info)
        self.layers = self._layers(config)
        frames = padded_frames(frames_of(info.item_shape[0])) if config.frames is None else config.frames
        if frames > MOST_FRAMES:
            raise ConfigError(
                f"items have {frames} frames, more than the {MOST_FRAMES} that EAT has positions for: "
                "set frames to cut them"
            )

    def loaded(self, path: Path) -> Loaded:
        """Return the encoder of a file in either form of names."""
        tensors, unused = _named(_tensors(path, hint=EAT_HINT), used=_of_eat)
        width, depth = _width(tensors, "extra_tokens", path=path, of="EAT", hint=EAT_HINT), _depth(tensors)
        with torch.device("meta"):  # shapes alone, without memory and without random numbers
            network = Eat(EatShape(width=width, depth=depth))
        # A file may lack the table, which is computed.
        table = network.fixed_positional_encoder.positions
        tensors.setdefault("fixed_positional_encoder.positions", table)
        _fill(network, tensors, path=path, of=f"an EAT of width {width} and {depth} layers", hint=EAT_HINT)
        return Loaded(
            network=network,
            spectrogram=EatSpectrogram(frames=self.config.frames),
            layers=depth,
            least_samples=LEAST_SAMPLES,
            rules=(self.origin, *_rules(unused)),
        )

    def grid(self, spectrogram: Tensor, *, layer: int) -> Tensor:
        """Return the tokens on their grid, ``[B, T, 8, d]``; with ``tokens=clip`` one, ``[B, 1, 1, d]``."""
        return self._on_grid(_state(cast(Eat, self.network).states(spectrogram), layer))

    def grids(self, spectrogram: Tensor) -> list[Tensor]:
        """Return the tokens of every chosen layer on their grid, the lowest first, from one pass."""
        states = itertools.islice(cast(Eat, self.network).states(spectrogram), self.layers[-1] + 1)
        return [self._on_grid(tokens) for number, tokens in enumerate(states) if number in self.layers]

    def _layers(self, config: EatConfig) -> list[int]:
        if config.layers is None:
            return [self.layer]
        if config.layer is not None:
            raise ConfigError(
                f"layer={config.layer} and layers={config.layers} both choose what is scored: add layer=none or layers=none"
            )
        numbers = sorted({int(number) for number in config.layers.split("+")})
        if numbers[-1] > self.last:
            raise ConfigError(
                f"layers={config.layers}: layer {numbers[-1]} does not exist in {self.path.name}: its last is {self.last}"
            )
        return numbers

    def _on_grid(self, tokens: Tensor) -> Tensor:
        if self.config.tokens == "clip":
            return tokens[:, :1].unsqueeze(2)
        return tokens[:, 1:].reshape(len(tokens), -1, BANDS, tokens.shape[-1])


class FrozenMel(FrozenTokens):
    """Pooled tokens of one layer of a transformer on mel powers in dB."""

    patch: tuple[int, int]
    frames: int

    def loaded(self, path: Path) -> Loaded:
        """Return the encoder of a file."""
        hint = self.config.hint
        tensors, unused = _named(_tensors(path, hint=hint), used=_of_mel)
        width, depth = _width(tensors, "norm.weight", path=path, of=self.title, hint=hint), _depth(tensors)
        shape = MelShape(width=width, depth=depth, patch=self.patch, frames=self.frames)
        with torch.device("meta"):
            network = MelTransformer(shape)
        # How many batches training has seen is not used.
        tensors["init_bn.1.num_batches_tracked"] = torch.tensor(0)
        described = f"a {self.title} of width {width} and {depth} layers"
        _fill(network, tensors, path=path, of=described, hint=hint)
        return Loaded(
            network=network,
            spectrogram=MelDecibels(),
            layers=depth,
            least_samples=shape.least_samples,
            rules=(self.origin, *_rules(unused)),
        )

    def grid(self, spectrogram: Tensor, *, layer: int) -> Tensor:
        """Return the tokens on their grid, ``[B, T, bands, d]``; those of a long item come piece by piece."""
        network = cast(MelTransformer, self.network)
        bands = network.shape.grid[0]
        grids = []
        for piece, steps in network.pieces(spectrogram):
            tokens = _state(network.states(piece), layer)  # [B, bands * T, d]
            by_band = tokens.reshape(len(tokens), bands, -1, tokens.shape[-1])
            grids.append(by_band[:, :, :steps].transpose(1, 2))
        return torch.cat(grids, dim=1)


class CedConfig(EncoderConfig, frozen=True, kw_only=True):
    """Options of CED."""

    hint = CED_HINT


class FrozenCed(FrozenMel):
    """Pooled tokens of one layer of CED."""

    Config = CedConfig
    title, patch, frames = "CED", (16, 16), 1012
    origin = "CED is published with code under GPL-3, which is not used here, and trained on AudioSet and its labels"


class DashengConfig(EncoderConfig, frozen=True, kw_only=True):
    """Options of Dasheng."""

    hint = DASHENG_HINT


class FrozenDasheng(FrozenMel):
    """Pooled tokens of one layer of Dasheng, whose patches have all mel bands: there is one band of tokens."""

    Config = DashengConfig
    title, patch, frames = "Dasheng", (64, 4), 1008
    origin = "Dasheng is published under Apache-2.0, trained on AudioSet, ACAV100M, VGGSound and MTG-Jamendo"


def _state(states: Any, layer: int) -> Tensor:
    """Return one of the hidden states; those after it are not computed."""
    found: Tensor = next(itertools.islice(states, layer, None))
    return found


def _tensors(path: Path, *, hint: str) -> Mapping[str, Any]:
    """Return the tensors of a file: a state dict, or a dict with one under ``model``."""
    content = read_checkpoint(path, hint=hint)
    model = content.get("model", content)
    if not isinstance(model, dict):
        raise ConfigError(f"weights={path}: its model is a {type(model).__name__}, not a dict; {hint}")
    return {str(name): value for name, value in model.items()}


def _named(tensors: Mapping[str, Any], *, used: Callable[[str], bool]) -> tuple[dict[str, Any], list[str]]:
    """Return the tensors of an encoder under its own names, and the names of what a file holds besides."""
    kept, unused = {}, []
    for name, value in tensors.items():
        ours = name
        for pattern, new in RENAMED:
            ours = pattern.sub(new, ours)
        if used(ours):
            kept[ours] = value
        else:
            unused.append(name)
    return kept, unused


def _of_eat(name: str) -> bool:
    parts = ("local_encoder.proj.", "extra_tokens", "fixed_positional_encoder.positions", "pre_norm.")
    return name.startswith(parts) or bool(BLOCK.match(name))


def _of_mel(name: str) -> bool:
    parts = ("patch_embed.proj.", "time_pos_embed", "freq_pos_embed", "norm.", "init_bn.1.")
    return name.startswith(parts) or bool(BLOCK.match(name))


def _width(tensors: Mapping[str, Any], name: str, *, path: Path, of: str, hint: str) -> int:
    found = tensors.get(name)
    if not isinstance(found, Tensor) or not found.ndim:
        raise ConfigError(f"weights={path} is not a checkpoint of {of}: it lacks the tensor {name}; {hint}")
    width = found.shape[-1]
    if width % HEAD or not width:
        raise ConfigError(
            f"weights={path} is not a checkpoint of {of}: its {name} has {width} numbers, no multiple of {HEAD}; {hint}"
        )
    return width


def _depth(tensors: Mapping[str, Any]) -> int:
    # Counted, not the highest number: one strange name would ask for a network of any depth.
    return len({int(found[1]) for name in tensors if (found := BLOCK.match(name))})


def _fill(network: nn.Module, tensors: Mapping[str, Any], *, path: Path, of: str, hint: str) -> None:
    check_tensors(tensors, network.state_dict(), path=path, of=of, says=f"{of} has", hint=hint)
    # Assigned, not copied: the network was built without memory of its own.
    network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, assign=True)


def _rules(unused: list[str]) -> tuple[str, ...]:
    if not unused:
        return ()
    number = f"{len(unused)} entr{'y' if len(unused) == 1 else 'ies'}"
    return (f"{number} of the weights not used (first: {min(unused)}), for example a head or a decoder",)
