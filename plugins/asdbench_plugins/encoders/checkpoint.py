"""BEATs from a checkpoint file: a pickled dict with ``cfg`` and ``model``, read without executing anything."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor

from asdbench import ConfigError
from asdbench_plugins.encoders.beats import Beats, BeatsShape
from asdbench_plugins.encoders.reading import check_tensors, read_checkpoint

HINT = "give the path of a published BEATs checkpoint, for example weights=BEATs_iter3.pt"
HEAD = "predictor."
"""Tensors of the classifier of a fine-tuned file."""
TABLE = "relative_attention_bias.weight"
BUILT: Mapping[str, Any] = {
    "conv_bias": False,
    "activation_fn": "gelu",
    "layer_norm_first": False,
    "deep_norm": True,
    "relative_position_embedding": True,
    "gru_rel_pos": True,
}
"""Settings of ``cfg`` that all published files share; a network with others is not built here."""


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A network with its weights, and what its file held besides."""

    network: Beats
    classes: int
    """Classes of the classifier in a fine-tuned file, which is not used; 0: there is none."""


def load_beats(path: Path) -> Checkpoint:
    """Return the network of a checkpoint file, with the sizes that its ``cfg`` gives.

    Raises:
        ConfigError: The file is truncated or no checkpoint, needs code to be read, is of another network, or its tensors
            are not those that its ``cfg`` describes.
    """
    content = read_checkpoint(path, hint=HINT)
    cfg, tensors = content.get("cfg"), content.get("model")
    if not isinstance(cfg, dict) or not isinstance(tensors, dict):
        found = ", ".join(sorted(map(str, content))[:3]) or "nothing"
        raise ConfigError(
            f"weights={path} is not a BEATs checkpoint, which has cfg and model: it has {found}; {HINT}"
        )
    network = _network(_shape(cfg, path))
    body = {name: tensor for name, tensor in tensors.items() if not name.startswith(HEAD)}
    of = "the BEATs that its cfg describes"
    check_tensors(body, network.state_dict(), path=path, of=of, says="its cfg describes", hint=HINT)
    _check_tables(body, path=path)
    # Assigned, not copied: the network was built without memory of its own.
    network.load_state_dict({name: tensor.float() for name, tensor in body.items()}, assign=True)
    head = tensors.get(f"{HEAD}weight")
    return Checkpoint(network=network.eval().requires_grad_(False), classes=0 if head is None else len(head))


def _shape(cfg: Mapping[str, Any], path: Path) -> BeatsShape:
    for name, built in BUILT.items():
        if cfg.get(name, built) != built:
            raise ConfigError(
                f"weights={path}: its cfg has {name}={cfg[name]!r}; BEATs has {name}={built!r}; {HINT}"
            )
    try:
        shape = msgspec.convert({str(name): value for name, value in cfg.items()}, BeatsShape)
    except msgspec.ValidationError as error:
        raise ConfigError(f"weights={path}: its cfg is not that of BEATs: {error}; {HINT}") from error
    divided = {
        "encoder_embed_dim by encoder_attention_heads": (
            shape.encoder_embed_dim,
            shape.encoder_attention_heads,
        ),
        "encoder_embed_dim by conv_pos_groups": (shape.encoder_embed_dim, shape.conv_pos_groups),
        "the 128 mel bands by input_patch_size": (128, shape.input_patch_size),
    }
    for what, (whole, part) in divided.items():
        if part < 1 or whole < 1 or whole % part:
            raise ConfigError(f"weights={path}: its cfg does not divide {what}: {whole} by {part}; {HINT}")
    if shape.num_buckets // 4 < 1 or shape.max_distance <= shape.num_buckets // 4:
        raise ConfigError(
            f"weights={path}: its cfg has num_buckets={shape.num_buckets} and max_distance={shape.max_distance}, but the "
            f"distance must be more than a quarter of the buckets, of which there are at least 4; {HINT}"
        )
    return shape


def _network(shape: BeatsShape) -> Beats:
    with torch.device("meta"):  # shapes alone, without memory and without random numbers
        return Beats(shape)


def _check_tables(tensors: Mapping[str, Tensor], *, path: Path) -> None:
    tables = [name for name in sorted(tensors) if name.endswith(TABLE)]
    other = [name for name in tables if not torch.equal(tensors[name], tensors[tables[0]])]
    if other:
        raise ConfigError(
            f"weights={path}: {other[0]} differs from {tables[0]}, but in BEATs all layers share one table; {HINT}"
        )
