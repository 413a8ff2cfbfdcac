"""BEATs against its known answers: the filter bank, the network and what is pooled, with weights filled by a rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import filled
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from asdbench.errors import DataError
from asdbench_plugins.encoders.beats import Beats, BeatsShape, BeatsSpectrogram, buckets, padded_tokens
from asdbench_plugins.encoders.fbank import KaldiFilterBank, Window, frames_of
from asdbench_plugins.encoders.pooling import PoolingConfig, pooled

WAVE = torch.from_numpy(filled.wave())
PADDED = torch.arange(48).unsqueeze(0) >= 40

ENERGIES: Mapping[Window, tuple[float, Mapping[tuple[int, int], float]]] = {
    "povey": (18.911267, {
        (0, 0): 9.474256, (0, 1): 8.772505, (0, 3): -15.942385, (0, 64): 17.968408, (0, 127): 22.386804,
        (50, 0): 9.100028, (50, 20): 17.164524, (50, 64): 20.296982, (50, 127): 24.136687, (97, 127): 22.954402,
    }),
    "hanning": (-1.786333, {
        (0, 0): -11.183062, (0, 1): -12.077839, (0, 2): -8.634458,
        (50, 20): -3.103282, (50, 64): -0.591667, (50, 127): 3.291115,
    }),
}  # fmt: skip
STATES = {  # token 0, 24, 47: dimensions 0..2; mean and standard deviation of all
    0: ([-1.780104, 1.247095, -0.238630], [-1.781481, 0.821011, -0.297403], [-0.458660, 0.806117, 0.916913]),
    1: ([-1.350328, 1.307581, -0.670765], [-1.412600, 0.969593, -0.793649], [-0.361291, 1.404219, 1.023184]),
    6: ([-1.165733, 1.826557, -0.289714], [-1.243699, 1.640108, -0.375664], [-0.455777, 0.609903, 0.212204]),
    12: ([-0.626008, -0.007432, -0.509081], [-0.693350, -0.082242, -0.616468], [0.420647, -0.481074, -0.429634]),
}  # fmt: skip
MOMENTS = {
    0: (0.000030, 1.010064), 1: (0.003042, 1.004450), 6: (0.003757, 1.000713), 12: (-0.001822, 1.007230),
}  # fmt: skip


class Watched:
    """The outputs of named modules in one forward pass."""

    def __init__(self, network: nn.Module, *names: str) -> None:
        self.seen: dict[str, Tensor] = {}
        self.hooks = [
            network.get_submodule(name).register_forward_hook(
                lambda module, given, out, name=name: self.seen.update({name: out})  # type: ignore[misc]
            )
            for name in names
        ]

    def stop(self) -> None:
        for hook in self.hooks:
            hook.remove()


@pytest.fixture(scope="module")
def network() -> Beats:
    with torch.device("meta"):
        empty = Beats(BeatsShape())
    made = filled.fill(empty.to_empty(device="cpu")).eval()
    assert isinstance(made, Beats)
    return made


@pytest.fixture(scope="module")
def stages(network: Beats) -> dict[Any, Tensor]:
    """Return what comes out of the parts for the test wave: hidden states by number, other parts by name."""
    watched = Watched(
        network,
        "patch_embedding", "layer_norm", "post_extract_proj", "encoder.pos_conv", "encoder.layers.0.self_attn.q_proj",
    )  # fmt: skip
    with torch.no_grad():
        states = list(network.states(BeatsSpectrogram()(WAVE.float().unsqueeze(0))))
    watched.stop()
    return dict(enumerate(states)) | watched.seen


def near(values: Tensor, expected: Any, *, within: float = 1e-4) -> None:
    np.testing.assert_allclose(values.numpy(), expected, rtol=0, atol=within)


def test_the_fill_rule_is_that_of_the_known_answers() -> None:
    np.testing.assert_allclose(filled.uniform(1000, 3), [-0.33958247, -0.33732066, -0.45694962], atol=1e-8)
    near(WAVE[:4], [-0.085726, 0.015757, 0.125783, 0.014443], within=1e-6)


@pytest.mark.parametrize("window", ["povey", "hanning"])
def test_the_filter_bank_is_kaldis(window: Window) -> None:
    waves = WAVE * 32768 if window == "povey" else WAVE - WAVE.mean()
    energies = KaldiFilterBank(window=window)(waves.float().unsqueeze(0))[0]
    mean, values = ENERGIES[window]
    assert energies.shape == (98, 128)
    for place, expected in values.items():
        near(energies[place], expected, within=1e-3)
    near(energies.mean(), mean, within=1e-3)
    if window == "povey":
        near(energies.std(correction=0), 4.439834, within=1e-3)
    # No bin of the spectrum is in the fourth triangle.
    near(energies[:, 3], np.full(98, np.log(2.0**-23)), within=1e-5)


def test_frames_are_whole_and_a_wave_shorter_than_one_is_refused() -> None:
    bank = KaldiFilterBank()
    for samples in (400, 559, 560, 16000):
        assert bank(torch.zeros(2, samples)).shape == (2, frames_of(samples), 128)
    assert [frames_of(samples) for samples in (0, 399, 400, 160000)] == [0, 0, 1, 998]
    with pytest.raises(DataError, match=r"at least 400 samples, got \[1, 399\]"):
        bank(torch.zeros(1, 399))


def test_the_network_has_the_tensors_of_the_published_files(network: Beats) -> None:
    shapes = {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
    distinct = dict(network.named_parameters())
    assert (len(shapes), len(distinct)) == (250, 239)
    assert sum(tensor.numel() for tensor in distinct.values()) == 90_311_792
    assert shapes["patch_embedding.weight"] == [512, 1, 16, 16]
    assert shapes["layer_norm.bias"] == [512]
    assert shapes["post_extract_proj.weight"] == [768, 512]
    assert shapes["encoder.pos_conv.0.weight_g"] == [1, 1, 128]
    assert shapes["encoder.pos_conv.0.weight_v"] == [768, 48, 128]
    assert shapes["encoder.pos_conv.0.bias"] == shapes["encoder.layer_norm.weight"] == [768]
    for layer in range(12):
        inside = f"encoder.layers.{layer}."
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            assert shapes[f"{inside}self_attn.{name}.weight"] == [768, 768]
            assert shapes[f"{inside}self_attn.{name}.bias"] == [768]
        assert shapes[f"{inside}self_attn.grep_linear.weight"] == [8, 64]
        assert shapes[f"{inside}self_attn.grep_linear.bias"] == [8]
        assert shapes[f"{inside}self_attn.grep_a"] == [1, 12, 1, 1]
        assert shapes[f"{inside}self_attn.relative_attention_bias.weight"] == [320, 12]
        for name in ("self_attn_layer_norm", "final_layer_norm"):
            assert shapes[f"{inside}{name}.weight"] == shapes[f"{inside}{name}.bias"] == [768]
        assert (shapes[f"{inside}fc1.weight"], shapes[f"{inside}fc1.bias"]) == ([3072, 768], [3072])
        assert (shapes[f"{inside}fc2.weight"], shapes[f"{inside}fc2.bias"]) == ([768, 3072], [768])
    places = filled.places(network)
    assert places["patch_embedding.weight"] == 236
    assert places["encoder.pos_conv.0.weight_g"] == 232
    assert places["encoder.layers.10.fc1.bias"] == 41


def test_the_parts_before_the_layers_give_the_known_answers(stages: Mapping[Any, Tensor]) -> None:
    patches = stages["patch_embedding"][0].flatten(1).T
    near(patches[0, :3], [0.085271, -0.916394, -1.607480])
    near(patches[47, :3], [-0.966659, 0.383890, 0.682808])
    near(stages["layer_norm"][0, 0, :3], [0.174871, -1.282204, -2.572771])
    near(stages["post_extract_proj"][0, 0, :3], [-1.726439, 1.262754, -0.293463])
    positions = stages["encoder.pos_conv"][0].T
    near(positions[0, :3], [0.029874, 0.188967, -0.028783])
    near(positions[47, :3], [0.154905, -0.149908, -0.052334])


@pytest.mark.parametrize("layer", STATES)
def test_hidden_states_are_the_known_answers(stages: Mapping[Any, Tensor], layer: int) -> None:
    state = stages[layer][0]
    assert state.shape == (48, 768)
    near(state[[0, 24, 47], :3], STATES[layer])
    near(torch.stack([state.mean(), state.std(correction=0)]), MOMENTS[layer])


def test_padded_tokens_do_not_count(network: Beats) -> None:
    spectrogram = BeatsSpectrogram()(WAVE.float().unsqueeze(0))
    with torch.no_grad():
        state = network(spectrogram, padded=PADDED)[0]
    near(state[[0, 39], :3], [[-0.630153, 0.000566, -0.578546], [0.367835, -0.357913, -0.407031]])
    near(state[:40].mean(), -0.001822)


def test_gates_and_position_biases_are_the_known_answers(
    network: Beats, stages: Mapping[Any, Tensor]
) -> None:
    attention: Any = network.encoder.layers[0].self_attn
    query = stages["encoder.layers.0.self_attn.q_proj"].unflatten(-1, (12, 64)).transpose(1, 2)
    with torch.no_grad():
        gates, bias = attention.gate(query)[0, :, :, 0], attention.position_bias(48)
    near(gates[0, :3], [2.032233, 1.502607, 1.456125])
    near(gates[11, 47], 1.959381)
    near(bias[0, 0, :3], [-0.164065, 0.073296, 0.220613])
    near(bias[11, 47, 0], -0.065650)


def test_buckets_of_distances() -> None:
    known = {
        0: 0, 1: 161, -1: 1, 79: 239, 80: 240, -80: 80, 100: 247, -100: 87, 200: 271, 495: 303, -495: 143, 799: 319,
        2000: 319,
    }  # fmt: skip
    assert buckets(torch.tensor(list(known))).tolist() == list(known.values())


def test_pooled_tokens_are_the_known_answers(stages: Mapping[Any, Tensor]) -> None:
    tokens = stages[12].unflatten(1, (6, 8))
    mean = pooled(tokens, PoolingConfig(pooling="mean"))[0]
    near(mean[[0, 7], :3], [[-0.609255, -0.068720, -0.644889], [0.385361, -0.441008, -0.363048]])
    weighted = pooled(tokens, PoolingConfig(pooling="rdp", gamma=4))[0]
    near(weighted[[0, 7], :3], [[-0.599341, -0.059246, -0.624549], [0.385160, -0.441842, -0.367351]])


@pytest.mark.parametrize(("seconds", "tokens"), [(10, 62 * 8), (12, 74 * 8), (1, 48), (2800 / 16000, 8)])
def test_a_wave_of_given_length_has_so_many_tokens(seconds: float, tokens: int) -> None:
    frames = frames_of(round(16000 * seconds))
    with torch.device("meta"):
        patches = Beats(BeatsShape(encoder_layers=0)).patch_embedding(torch.zeros(1, 1, frames, 128))
    assert patches.shape[2] * patches.shape[3] == tokens
    assert BeatsShape().least_samples == 2800


def test_a_token_is_padding_if_all_its_frames_are() -> None:
    samples = torch.arange(16000) >= 8000
    # 98 groups of 163 samples, of which 49.1 are not padding; 48 groups of two frames.
    found = padded_tokens(samples.unsqueeze(0), frames=98, shape=BeatsShape())
    assert found.tolist() == [[False] * 25 + [True] * 23]


X = torch.tensor([[1.0, 0.0]] * 3 + [[0.0, 2.0]]).reshape(1, 4, 1, 2)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"pooling": "mean"}, (0.75, 0.5)),
        ({"gamma": 0.0}, (0.75, 0.5)),
        ({"gamma": 1.0}, (0.666667, 0.666667)),
        ({"gamma": 4.0}, (0.372093, 1.255814)),
        ({"gamma": 8.0}, (0.104789, 1.790422)),
        ({"gamma": 1.0, "deviation": "minmax"}, (0.6, 0.8)),
        ({"gamma": 4.0, "deviation": "minmax"}, (0.157895, 1.684211)),
        ({"pooling": "gem", "power": 3.0}, (0.908560, 1.259921)),
        ({"pooling": "gem", "power": 6.0}, (0.953184, 1.587401)),
        ({"pooling": "rdp_gem", "gamma": 4.0, "power": 3.0}, (0.719257, 1.712623)),
        ({"pooling": "gwrp", "decay": 0.5}, (0.933333, 1.066667)),
    ],
)
def test_poolings_give_the_known_answers(options: dict[str, Any], expected: tuple[float, float]) -> None:
    near(pooled(X, PoolingConfig(**options))[0, 0], expected, within=1e-6)


def test_bands_are_pooled_apart_side_by_side_or_all_at_once() -> None:
    tokens = torch.cat([X, 3 * X + 1], dim=2)  # [1, 4, 2, 2]
    apart = pooled(tokens, PoolingConfig())
    assert apart.shape == (1, 2, 2)
    torch.testing.assert_close(apart[:, 1], 3 * apart[:, 0] + 1)
    side_by_side = pooled(tokens, PoolingConfig(bands="concatenated", pooling="mean"))
    torch.testing.assert_close(side_by_side, tokens.mean(dim=1).flatten().reshape(1, 1, 4))
    at_once = pooled(tokens, PoolingConfig(bands="joint", pooling="mean"))
    torch.testing.assert_close(at_once, tokens.mean(dim=(1, 2)).reshape(1, 1, 2))


@pytest.mark.parametrize("deviation", ["max", "minmax"])
def test_tokens_that_are_all_equal_pool_to_themselves(deviation: Any) -> None:
    tokens = torch.full((1, 5, 1, 3), 0.25)
    torch.testing.assert_close(pooled(tokens, PoolingConfig(deviation=deviation)), tokens[:, 0])
