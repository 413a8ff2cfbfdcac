"""BEATs: a transformer on patches of a spectrogram.

Chen et al., "BEATs: audio pre-training with acoustic tokenizers", ICML 2023. The names of modules are those of the
published checkpoints, so that their tensors load as they are. ``d`` is the width (768), ``H`` the number of heads (12),
``N`` the number of tokens: time by frequency bands, the band counting fastest.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated

import msgspec
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asdbench_plugins.encoders.fbank import FRAME, HOP, KaldiFilterBank

MELS = 128
MEAN, SPREAD = 15.41663, 2 * 6.55582
"""What the log energies of the pre-training data are standardised with."""
PCM = 2.0**15
"""BEATs was trained on waves at the scale of 16-bit integers."""
GATES = 8
"""Outputs of the layer that computes the gates: two gates, each the sum of four."""


Size = Annotated[int, msgspec.Meta(ge=1, le=2**16)]
"""Of a file that anyone may have made: a network of any other size is none of BEATs."""


class BeatsShape(msgspec.Struct, frozen=True, kw_only=True):
    """The sizes of a network, with the names of a checkpoint's ``cfg``; the defaults are those of all published files."""

    input_patch_size: Size = 16
    embed_dim: Size = 512
    encoder_layers: Annotated[int, msgspec.Meta(ge=1, le=256)] = 12
    encoder_embed_dim: Size = 768
    encoder_ffn_embed_dim: Size = 3072
    encoder_attention_heads: Size = 12
    conv_pos: Size = 128
    conv_pos_groups: Size = 16
    num_buckets: Size = 320
    max_distance: Size = 800

    @property
    def bands(self) -> int:
        """Patches above each other in the spectrogram."""
        return MELS // self.input_patch_size

    @property
    def least_samples(self) -> int:
        """Samples of the shortest wave that fills a patch."""
        return FRAME + (self.input_patch_size - 1) * HOP


class BeatsSpectrogram(nn.Module):
    """What BEATs reads: waves ``[B, samples]`` in [-1, 1] at 16 kHz -> standardised log energies ``[B, frames, 128]``."""

    def __init__(self) -> None:
        super().__init__()
        self.fbank = KaldiFilterBank(window="povey", mels=MELS)

    def forward(self, waves: Tensor) -> Tensor:
        """Return standardised log energies."""
        energies: Tensor = self.fbank(waves * PCM)
        return (energies - MEAN) / SPREAD


class Beats(nn.Module):
    """The encoder: a spectrogram ``[B, frames, 128]`` -> tokens ``[B, N, d]`` of any layer."""

    def __init__(self, shape: BeatsShape) -> None:
        super().__init__()
        self.shape = shape
        size = shape.input_patch_size
        self.patch_embedding = nn.Conv2d(1, shape.embed_dim, size, stride=size, bias=False)
        self.layer_norm = nn.LayerNorm(shape.embed_dim)
        self.post_extract_proj = nn.Linear(shape.embed_dim, shape.encoder_embed_dim)
        self.encoder = Encoder(shape)

    def forward(
        self, spectrogram: Tensor, *, layer: int | None = None, padded: Tensor | None = None
    ) -> Tensor:
        """Return the tokens ``[B, N, d]`` after a layer; layers above it are not computed.

        Args:
            spectrogram: Standardised log energies ``[B, frames, 128]``; frames that fill no patch are left out.
            layer: 0 (the input of the first layer) to ``encoder_layers``; None: the last.
            padded: True where a token is padding, bool ``[B, N]`` (``padded_tokens``); no other token attends to it.
        """
        last = self.shape.encoder_layers if layer is None else layer
        states = self.states(spectrogram, padded=padded)
        return next(state for number, state in enumerate(states) if number == last)

    def states(self, spectrogram: Tensor, *, padded: Tensor | None = None) -> Iterator[Tensor]:
        """Yield the tokens ``[B, N, d]`` before the first layer and after each."""
        patches = self.patch_embedding(spectrogram.unsqueeze(1))  # [B, E, T, bands]
        tokens = self.layer_norm(patches.flatten(2).transpose(1, 2))  # [B, N, E]
        yield from self.encoder(self.post_extract_proj(tokens), padded)


class Encoder(nn.Module):
    """Positions by convolution, then the layers: ``[B, N, d]`` -> ``[B, N, d]`` of each."""

    def __init__(self, shape: BeatsShape) -> None:
        super().__init__()
        self.pos_conv = nn.Sequential(PositionalConvolution(shape), nn.GELU())
        self.layer_norm = nn.LayerNorm(shape.encoder_embed_dim)
        # One table for all layers, which a checkpoint lists once for each.
        table = nn.Embedding(shape.num_buckets, shape.encoder_attention_heads)
        self.layers = nn.ModuleList(Layer(shape, table) for _ in range(shape.encoder_layers))

    def forward(self, tokens: Tensor, padded: Tensor | None = None) -> Iterator[Tensor]:
        """Yield hidden states, the input of the first layer first."""
        if padded is not None:
            tokens = tokens.masked_fill(padded.unsqueeze(-1), 0.0)
        positions = self.pos_conv(tokens.transpose(1, 2)).transpose(1, 2)
        tokens = self.layer_norm(tokens + positions)
        yield tokens
        if not len(self.layers):
            return
        # The distances are the same in every layer; only the gates differ.
        bias = self.layers[0].self_attn.position_bias(tokens.shape[1])  # type: ignore[union-attr,operator]
        for layer in self.layers:
            tokens = layer(tokens, bias, padded)
            yield tokens


class PositionalConvolution(nn.Module):
    """A grouped convolution over tokens, its weight normalised for each tap: ``[B, d, N]`` -> ``[B, d, N]``."""

    def __init__(self, shape: BeatsShape) -> None:
        super().__init__()
        width, taps, self.groups = shape.encoder_embed_dim, shape.conv_pos, shape.conv_pos_groups
        self.weight_g = nn.Parameter(torch.ones(1, 1, taps))
        self.weight_v = nn.Parameter(torch.randn(width, width // self.groups, taps))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the convolution, as long as ``tokens``."""
        weight = self.weight_v * (self.weight_g / self.weight_v.norm(dim=(0, 1), keepdim=True))
        taps = weight.shape[2]
        made = F.conv1d(tokens, weight, self.bias, padding=taps // 2, groups=self.groups)
        # An even number of taps, padded by half of it on both sides, gives one step too many.
        return made[..., : tokens.shape[-1]]


class Layer(nn.Module):
    """Attention and a feed-forward network, each normalised after its residual sum: ``[B, N, d]`` -> ``[B, N, d]``."""

    def __init__(self, shape: BeatsShape, table: nn.Embedding) -> None:
        super().__init__()
        width = shape.encoder_embed_dim
        # DeepNorm: a residual counts (2 layers)^(1/4) times.
        self.residual = (2 * shape.encoder_layers) ** 0.25
        self.self_attn = GatedAttention(shape, table)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, shape.encoder_ffn_embed_dim)
        self.fc2 = nn.Linear(shape.encoder_ffn_embed_dim, width)
        self.final_layer_norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, bias: Tensor, padded: Tensor | None = None) -> Tensor:
        """Return the tokens after this layer."""
        tokens = self.self_attn_layer_norm(self.residual * tokens + self.self_attn(tokens, bias, padded))
        made: Tensor = self.fc2(F.gelu(self.fc1(tokens)))
        normalised: Tensor = self.final_layer_norm(self.residual * tokens + made)
        return normalised


class GatedAttention(nn.Module):
    """Self-attention with a bias for the distance of two tokens, which each query scales by a gate."""

    def __init__(self, shape: BeatsShape, table: nn.Embedding) -> None:
        super().__init__()
        width, self.heads = shape.encoder_embed_dim, shape.encoder_attention_heads
        self.max_distance = shape.max_distance
        self.q_proj, self.k_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.v_proj, self.out_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.grep_linear = nn.Linear(width // self.heads, GATES)
        self.grep_a = nn.Parameter(torch.ones(1, self.heads, 1, 1))
        self.relative_attention_bias = table

    def forward(self, tokens: Tensor, bias: Tensor, padded: Tensor | None = None) -> Tensor:
        """Return the attended values ``[B, N, d]`` of tokens ``[B, N, d]`` with the position bias ``[H, N, N]``."""
        query, key, value = (self._split(layer(tokens)) for layer in (self.q_proj, self.k_proj, self.v_proj))
        added = self.gate(query) * bias  # [B, H, N, N]
        if padded is not None:
            added = added.masked_fill(padded[:, None, None, :], -math.inf)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=added)  # [B, H, N, d / H]
        out: Tensor = self.out_proj(attended.transpose(1, 2).flatten(2))
        return out

    def gate(self, query: Tensor) -> Tensor:
        """Return the factor of the position bias, ``[B, H, N, 1]``, for unscaled queries ``[B, H, N, d / H]``."""
        sums = self.grep_linear(query).reshape(*query.shape[:-1], 2, GATES // 2).sum(dim=-1)  # [B, H, N, 2]
        first, second = sums.sigmoid().chunk(2, dim=-1)
        gate: Tensor = first * (second * self.grep_a - 1.0) + 2.0
        return gate

    def position_bias(self, count: int) -> Tensor:
        """Return the bias ``[H, N, N]`` for query i and key j from the bucket of j - i."""
        table = self.relative_attention_bias
        places = torch.arange(count, device=table.weight.device)
        numbers = buckets(
            places - places.unsqueeze(1), count=table.num_embeddings, max_distance=self.max_distance
        )
        bias: Tensor = table(numbers).permute(2, 0, 1)
        return bias

    def _split(self, tokens: Tensor) -> Tensor:
        return tokens.reshape(*tokens.shape[:2], self.heads, -1).transpose(1, 2)  # [B, H, N, d / H]


def buckets(distances: Tensor, *, count: int = 320, max_distance: int = 800) -> Tensor:
    """Return the bucket of each distance: half of them for keys after the query; short distances have one each.

    From a quarter of ``count`` on they widen with the logarithm of the distance, up to ``max_distance``.
    """
    half, exact = count // 2, count // 4
    size = distances.abs()
    # In float32, as the published code computes it: a rounded logarithm decides the border of a bucket.
    scaled = torch.log(size.clamp_min(1).float() / exact) / math.log(max_distance / exact) * (half - exact)
    wide = (exact + scaled.long()).clamp_max(half - 1)
    return (distances > 0).long() * half + torch.where(size < exact, size, wide)


def padded_tokens(padded: Tensor, *, frames: int, shape: BeatsShape) -> Tensor:
    """Return which tokens are padding, bool ``[B, N]``, from padded samples, bool ``[B, samples]``.

    A frame is padding if all its samples are, a token if all its frames are; both by dividing a wave evenly, as in the
    published code, which cuts what is left over.
    """
    of_frames = _grouped(padded, groups=frames)
    return _grouped(of_frames, groups=frames // shape.input_patch_size * shape.bands)


def _grouped(padded: Tensor, *, groups: int) -> Tensor:
    size = padded.shape[1] // groups * groups
    return padded[:, :size].reshape(len(padded), groups, -1).all(dim=-1)
