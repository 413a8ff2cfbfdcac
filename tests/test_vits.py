"""EAT, CED and Dasheng against their known answers, with weights filled by a rule."""

from __future__ import annotations

from typing import Any

import filled
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import erf
from torch import Tensor, nn

from asdbench_plugins.encoders.decibels import MelDecibels, MelShape, MelTransformer
from asdbench_plugins.encoders.eat import Eat, EatShape, EatSpectrogram, sines
from asdbench_plugins.encoders.vits import FrozenCed, FrozenDasheng

Array = NDArray[np.float64]
WAVE = torch.from_numpy(filled.wave()).float().unsqueeze(0)
STATES = {  # the token of the clip, token 1 and token 64: dimensions 0..2
    0: ([-0.211346, 0.330371, -0.782817], [-0.337895, -0.710755, -1.748649], [-0.280970, -0.196926, 0.608723]),
    1: ([0.651037, -0.161682, 0.022174], [0.792498, -0.418828, -0.782287], [0.468554, -0.639975, 0.495555]),
    12: ([0.227083, -0.572834, -1.576758], [0.270354, -0.590111, -1.526051], [0.226981, -0.587027, -1.563232]),
}  # fmt: skip
WIDTHS = {"tiny": 192, "mini": 256, "small": 384, "base": 768}


def ced(width: int) -> MelTransformer:
    return MelTransformer(MelShape(width=width, patch=FrozenCed.patch, frames=FrozenCed.frames))


def dasheng(width: int, depth: int) -> MelTransformer:
    shape = MelShape(width=width, depth=depth, patch=FrozenDasheng.patch, frames=FrozenDasheng.frames)
    return MelTransformer(shape)


def parameters(network: nn.Module) -> int:
    return sum(tensor.numel() for tensor in network.parameters())


def near(values: Tensor, expected: Any, *, within: float = 1e-4) -> None:
    np.testing.assert_allclose(values.numpy(), expected, rtol=0, atol=within)


@pytest.fixture(scope="module")
def states() -> list[Tensor]:
    network = filled.fill(filled.empty(lambda: Eat(EatShape()))).eval()
    with torch.no_grad():
        return list(network.states(EatSpectrogram()(WAVE)))


@pytest.mark.parametrize("layer", STATES)
def test_hidden_states_of_eat_are_the_known_answers(states: list[Tensor], layer: int) -> None:
    assert states[layer].shape == (1, 65, 768)
    near(states[layer][0, [0, 1, 64], :3], STATES[layer])
    if layer == 12:
        near(states[12].std(correction=0), 1.014434)


def test_eat_has_the_tensors_of_the_published_files() -> None:
    with torch.device("meta"):
        base, large = Eat(EatShape()), Eat(EatShape(width=1024, depth=24))
    assert (len(dict(base.named_parameters())), len(base.state_dict())) == (149, 150)
    assert (parameters(base), parameters(large)) == (85_254_144, 302_575_616)
    tables = [net.fixed_positional_encoder.positions.numel() for net in (base, large)]
    assert tables == [89_972_736 - 85_254_144, 308_867_072 - 302_575_616]
    assert large.shape.heads == 16
    shapes = {name: list(tensor.shape) for name, tensor in base.state_dict().items()}
    assert shapes["local_encoder.proj.weight"] == [768, 1, 16, 16]
    assert shapes["extra_tokens"] == [1, 1, 768]
    assert shapes["fixed_positional_encoder.positions"] == [1, 6144, 768]
    for name, shape in {
        "norm1.weight": [768], "norm2.bias": [768], "attn.qkv.weight": [2304, 768], "attn.qkv.bias": [2304],
        "attn.proj.weight": [768, 768], "mlp.fc1.weight": [3072, 768], "mlp.fc2.bias": [768],
    }.items():  # fmt: skip
        assert shapes[f"blocks.11.{name}"] == shape


def test_positions_are_sines_of_the_band_and_then_of_the_time() -> None:
    table = sines(768)
    expected = [0.841471, 0.815251, 0.540302]
    np.testing.assert_allclose(table[9, [0, 1, 192]], expected, atol=1e-6)
    np.testing.assert_allclose(table[9, [384, 385, 576]], expected, atol=1e-6)
    np.testing.assert_array_equal(table[1, 384:], table[0, 384:])  # the same time, the next band
    np.testing.assert_array_equal(table[8, :384], table[0, :384])  # the next time, the same band


def test_eat_pads_log_energies_before_they_are_standardised() -> None:
    padded = EatSpectrogram()(WAVE)
    assert padded.shape == (1, 128, 128)
    near(padded[0, 98:], np.full((30, 128), 4.268 / (2 * 4.569)), within=1e-6)
    near(padded[0, 0, 0], (-11.183062 + 4.268) / (2 * 4.569), within=2e-4)
    cut = EatSpectrogram(frames=64)(WAVE)
    torch.testing.assert_close(cut, padded[:, :64])
    assert EatSpectrogram()(torch.zeros(1, 160000)).shape == (1, 1024, 128)


def test_eat_does_not_hear_an_offset_of_the_wave() -> None:
    torch.testing.assert_close(EatSpectrogram()(WAVE + 0.25), EatSpectrogram()(WAVE), rtol=0, atol=1e-2)


def decibels() -> Tensor:
    bands, frames = torch.arange(64.0).unsqueeze(1), torch.arange(101.0)
    return (20 * torch.sin(0.37 * (101 * bands + frames).double()) - 30).float().unsqueeze(0)


def tokens(network: MelTransformer) -> Tensor:
    with torch.no_grad():
        [(piece, _)] = network.eval().pieces(decibels())
        last: Tensor = list(network.states(piece))[-1][0]
    return last


def test_tokens_of_ced_are_the_known_answers() -> None:
    network = ced(192)
    # The rule numbers the tensors of the published file, which has a head.
    network.outputlayer = nn.Sequential(nn.LayerNorm(192), nn.Linear(192, 527))
    assert (len(dict(network.named_parameters())), parameters(network)) == (156, 5_503_183)
    found = tokens(filled.fill(network))
    assert found.shape == (24, 192)
    near(found[[0, -1], :3], [[0.610590, 0.025790, 0.855598], [1.060044, -0.019898, 1.013616]])
    near(found.std(correction=0), 1.002897)


@pytest.mark.slow
def test_tokens_of_dasheng_are_the_known_answers() -> None:
    found = tokens(filled.fill(filled.empty(lambda: dasheng(768, 12))))
    assert found.shape == (25, 768)
    near(found[[0, -1], :3], [[0.656373, -0.335660, 1.204076], [0.417612, -0.223284, 1.900926]])
    near(found.std(correction=0), 1.006722)


def layer_norm(values: Array, tensors: dict[str, Array], name: str) -> Array:
    centred = values - values.mean(axis=-1, keepdims=True)
    spread = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-6)
    return centred / spread * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]


def attention(values: Array, tensors: dict[str, Array], name: str) -> Array:
    """One head, as of a width of 64."""
    query, key, value = np.split(dense(values, tensors, f"{name}.qkv"), 3, axis=-1)
    weights = np.exp(query @ key.T / np.sqrt(query.shape[-1]))
    return dense(weights / weights.sum(axis=1, keepdims=True) @ value, tensors, f"{name}.proj")


def dense(values: Array, tensors: dict[str, Array], name: str) -> Array:
    return values @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]


def test_tokens_of_a_small_dasheng_are_those_of_its_description_in_numpy() -> None:
    """The known answers take an encoder of full size, and run with ``-m slow``."""
    network = filled.fill(dasheng(64, 2))
    tensors = {name: value.double().numpy() for name, value in network.state_dict().items()}
    mels = decibels()[0].double().numpy()
    mels = (
        mels / np.sqrt(1 + 1e-5) * tensors["init_bn.1.weight"][:, None] + tensors["init_bn.1.bias"][:, None]
    )
    patches = (
        mels[:, :100].reshape(64, 25, 4).transpose(1, 0, 2).reshape(25, 256)
    )  # one band, four frames each
    states = (
        patches @ tensors["patch_embed.proj.weight"].reshape(64, 256).T + tensors["patch_embed.proj.bias"]
    )
    states = states + tensors["time_pos_embed"][0, :, 0, :25].T + tensors["freq_pos_embed"][0, :, 0, 0]
    for block in ("blocks.0", "blocks.1"):
        states = states + attention(layer_norm(states, tensors, f"{block}.norm1"), tensors, f"{block}.attn")
        hidden = dense(layer_norm(states, tensors, f"{block}.norm2"), tensors, f"{block}.mlp.fc1")
        hidden = hidden * (1 + erf(hidden / np.sqrt(2))) / 2
        states = states + dense(hidden, tensors, f"{block}.mlp.fc2")
    near(tokens(network), layer_norm(states, tensors, "norm"))


def test_ced_and_dasheng_have_the_tensors_of_the_published_files() -> None:
    with torch.device("meta"):
        sizes = {name: parameters(ced(width)) for name, width in WIDTHS.items()}
        heads = {name: ced(width).shape.heads for name, width in WIDTHS.items()}
        bases = [dasheng(768, 12), dasheng(1280, 32), dasheng(1536, 40)]
    assert sizes == {"tiny": 5_401_088, "mini": 9_560_704, "small": 21_418_880, "base": 85_304_960}
    assert heads == {"tiny": 3, "mini": 4, "small": 6, "base": 12}
    headed = {name: count + 2 * WIDTHS[name] + 527 * (WIDTHS[name] + 1) for name, count in sizes.items()}
    assert headed == {"tiny": 5_503_183, "mini": 9_696_655, "small": 21_622_543, "base": 85_711_759}
    assert [parameters(net) for net in bases] == [85_447_808, 630_333_568, 1_134_047_360]
    assert [net.shape.heads for net in bases] == [12, 16, 24]
    shapes = {name: list(tensor.shape) for name, tensor in bases[0].state_dict().items()}
    assert len(dict(bases[0].named_parameters())) == 152
    assert shapes["patch_embed.proj.weight"] == [768, 1, 64, 4]
    assert shapes["time_pos_embed"] == [1, 768, 1, 252]
    assert shapes["freq_pos_embed"] == [1, 768, 1, 1]
    assert shapes["init_bn.1.running_mean"] == [64]


def test_tokens_of_ced_are_band_by_band() -> None:
    network = filled.fill(MelTransformer(MelShape(width=64, depth=0, patch=(16, 16), frames=1012))).eval()
    with torch.no_grad():
        before = next(iter(network.states(decibels())))[0]
        louder = decibels()
        louder[:, 16:32] += 10  # the second of four bands
        after = next(iter(network.states(louder)))[0]
    changed = (before != after).any(dim=1).nonzero().flatten().tolist()
    assert changed == list(range(6, 12))


def test_decibels_are_limited_below_the_loudest_of_each_clip() -> None:
    quiet, loud = 1e-4 * WAVE, WAVE.clone()
    loud[:, :8000] = 0
    alone = [MelDecibels()(wave) for wave in (quiet, loud)]
    torch.testing.assert_close(MelDecibels()(torch.cat([quiet, loud])), torch.cat(alone))
    assert alone[1].shape == (1, 64, 101)
    near(alone[1].amax() - alone[1].amin(), 120, within=1e-3)
    tone = torch.sin(2 * np.pi * 1000 * torch.arange(16000) / 16000).unsqueeze(0)
    # The window sums to 256, half of which a tone has in its own bin, and half of that in the next: 1000 Hz is bin 32.
    powers = torch.tensor([64.0**2, 128.0**2, 64.0**2])
    expected = 10 * (MelDecibels().filters[:, 31:34] @ powers).max().log10()
    assert MelDecibels()(tone)[0, :, 50].max() == pytest.approx(float(expected), abs=1e-3)


def test_a_long_spectrogram_is_cut_into_pieces_and_the_surplus_is_left_out() -> None:
    network = filled.fill(MelTransformer(MelShape(width=64, depth=1, patch=(16, 16), frames=1012))).eval()
    long = decibels().repeat(1, 1, 12)[..., :1201]  # 12 s
    pieces = network.pieces(long)
    assert [(piece.shape[2], steps) for piece, steps in pieces] == [(1012, 63), (1012, 11)]
    torch.testing.assert_close(pieces[1][0][..., 189:], torch.zeros(1, 64, 823))
    assert [steps for _, steps in network.pieces(long[..., :1020])] == [63]  # 8 frames fill no patch
