"""Weights of EfficientNet from a file in timm's layout, for example ``tf_efficientnet_b0_ns``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from asdbench import ConfigError
from asdbench_plugins.serial_oe.efficientnet import EfficientNet

CLASSIFIER = "classifier."
STEM = "conv_stem.weight"
PLAIN = {"stem.0": "conv_stem", "stem.1": "bn1", "head.0": "conv_head", "head.1": "bn2"}
"""Our layers outside the blocks -> timm's."""
IN_BLOCK = {
    "expand.0": "conv_pw", "expand.1": "bn1", "depthwise.0": "conv_dw", "depthwise.1": "bn2",
    "excite.reduce": "se.conv_reduce", "excite.expand": "se.conv_expand", "project.0": "conv_pwl", "project.1": "bn3",
}  # fmt: skip
IN_FIRST_BLOCK = IN_BLOCK | {"depthwise.1": "bn1", "project.0": "conv_pw", "project.1": "bn2"}
"""The first stage does not expand, so timm numbers its layers from one lower."""
COUNTER = "num_batches_tracked"
WEIGHTS_HINT = "give the model.safetensors of timm's tf_efficientnet_b0_ns"


def load_weights(network: EfficientNet, path: Path) -> None:
    """Load ``network`` from a safetensors file with timm's names; a classifier in it is ignored.

    A network with one channel sums the first kernels over colours, which gives the same result as the image copied
    to three channels.

    Raises:
        ConfigError: The file cannot be read, lacks a tensor, has an unknown one, or one of a different shape.
    """
    tensors = _read(path)
    ours = network.state_dict()
    names = {timm_name(name): name for name in ours}
    missing = sorted(name for name in names if name not in tensors and not name.endswith(COUNTER))
    extra = sorted(name for name in tensors if name not in names)
    if missing or extra:
        raise ConfigError(
            f"weights={path} are not EfficientNet-B0's as timm names them: {_first('lacks', missing)}"
            f"{'; ' if missing and extra else ''}{_first('has unknown', extra)}"
        )
    if STEM in tensors and network.stem[0].in_channels == 1:
        # conv(x, k_red) + conv(x, k_green) + conv(x, k_blue) = conv(x, sum of the kernels).
        tensors[STEM] = tensors[STEM].sum(dim=1, keepdim=True)
    loaded = {names[name]: tensor for name, tensor in tensors.items()}
    for name, tensor in loaded.items():
        if tensor.shape != ours[name].shape:
            raise ConfigError(
                f"weights={path}: {timm_name(name)} has shape {list(tensor.shape)}, the network's is "
                f"{list(ours[name].shape)}; weights fit width=1, depth=1 and channels=3 or 1"
            )
    network.load_state_dict({**ours, **loaded})


def timm_name(name: str) -> str:
    """Return timm's name for a tensor of our ``EfficientNet``."""
    layer, _, kind = name.rpartition(".")
    if layer in PLAIN:
        return f"{PLAIN[layer]}.{kind}"
    _, stage, block, inside = layer.split(".", 3)
    layers: Mapping[str, str] = IN_FIRST_BLOCK if stage == "0" else IN_BLOCK
    return f"blocks.{stage}.{block}.{layers[inside]}.{kind}"


def _read(path: Path) -> dict[str, Tensor]:
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"weights={path} cannot be read: {error}; {WEIGHTS_HINT}") from error
    return {
        name: tensor if name.endswith(COUNTER) else tensor.to(torch.float32)
        for name, tensor in tensors.items()
        if not name.startswith(CLASSIFIER)
    }


def _first(what: str, names: list[str]) -> str:
    if not names:
        return ""
    return f"{what} {len(names)} tensor{'s' if len(names) > 1 else ''} (first: {names[0]})"
