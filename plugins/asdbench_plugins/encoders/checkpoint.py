"""BEATs from a checkpoint file: a pickled dict with ``cfg`` and ``model``, read without executing anything."""

from __future__ import annotations

import pickle
import re
import struct
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor

from asdbench import ConfigError
from asdbench.blocks import is_torchscript
from asdbench_plugins.encoders.beats import Beats, BeatsShape

HINT = "give the path of a published BEATs checkpoint, for example weights=BEATs_iter3.pt"
HEAD = "predictor."
"""Tensors of the classifier of a fine-tuned file."""
TABLE = "relative_attention_bias.weight"
ZIP, PICKLE = b"PK\x03\x04", b"\x80\x02"
DAMAGE = (
    pickle.UnpicklingError, OSError, EOFError, RuntimeError, ValueError, KeyError, IndexError, TypeError, AttributeError,
    AssertionError, OverflowError, MemoryError, struct.error,
)  # fmt: skip
"""What reading a damaged file may raise: the unpickler follows whatever instructions the bytes happen to be."""
CODE = re.compile(r"unsupported (global|class)|unrecognized function|can only build", re.IGNORECASE)
"""What torch says of a pickle that names a function or a class, other than those of tensors."""
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
    content = _read(path)
    cfg, tensors = content.get("cfg"), content.get("model")
    if not isinstance(cfg, dict) or not isinstance(tensors, dict):
        found = ", ".join(sorted(map(str, content))[:3]) or "nothing"
        raise ConfigError(
            f"weights={path} is not a BEATs checkpoint, which has cfg and model: it has {found}; {HINT}"
        )
    network = _network(_shape(cfg, path))
    body = {name: tensor for name, tensor in tensors.items() if not name.startswith(HEAD)}
    _check(body, network.state_dict(), path=path)
    # Assigned, not copied: the network was built without memory of its own.
    network.load_state_dict({name: tensor.float() for name, tensor in body.items()}, assign=True)
    head = tensors.get(f"{HEAD}weight")
    return Checkpoint(network=network.eval().requires_grad_(False), classes=0 if head is None else len(head))


def _read(path: Path) -> Mapping[str, Any]:
    _check_kind(path)
    try:
        with warnings.catch_warnings():
            # Of a pickle in another protocol, which is read where it can be; the warning asks to file an issue with torch.
            warnings.simplefilter("ignore", UserWarning)
            content = torch.load(path, map_location="cpu", weights_only=True)
    except DAMAGE as error:
        if isinstance(error, pickle.UnpicklingError) and CODE.search(str(error)):
            raise ConfigError(
                f"weights={path} needs code to be read, and none of it was executed: a checkpoint holds tensors, numbers "
                f"and text; {HINT}"
            ) from error
        raise ConfigError(
            f"weights={path} ({path.stat().st_size} bytes) is damaged, for example truncated: download it again, or {HINT}"
        ) from error
    if not isinstance(content, dict):
        raise ConfigError(f"weights={path} holds a {type(content).__name__}, not a dict; {HINT}")
    return content


def _check_kind(path: Path) -> None:
    """Check that a file starts like one of ``torch.save``, because the unpickler takes any bytes for instructions."""
    with path.open("rb") as file:
        start = file.read(len(ZIP))
    # Before 2020, torch.save wrote pickles one after another and no zip archive.
    if not start.startswith((ZIP, PICKLE)):
        found = f"starts with {start!r}" if start else "is empty"
        raise ConfigError(f"weights={path} {found}, so it is not a file of torch.save; {HINT}")
    if is_torchscript(path):
        raise ConfigError(
            f"weights={path} is a TorchScript archive, which encoder_knn[encoder=...] reads; for BEATs, {HINT}"
        )


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
    return shape


def _network(shape: BeatsShape) -> Beats:
    with torch.device("meta"):  # shapes alone, without memory and without random numbers
        return Beats(shape)


def _check(tensors: Mapping[str, Any], ours: Mapping[str, Tensor], *, path: Path) -> None:
    missing, extra = sorted(ours.keys() - tensors.keys()), sorted(tensors.keys() - ours.keys())
    if missing or extra:
        raise ConfigError(
            f"weights={path} are not those of the BEATs that its cfg describes: {_first('lacks', missing)}"
            f"{'; ' if missing and extra else ''}{_first('has unknown', extra)}; {HINT}"
        )
    for name, tensor in tensors.items():
        found = list(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
        if found != list(ours[name].shape):
            raise ConfigError(
                f"weights={path}: {name} is {found}, its cfg describes {list(ours[name].shape)}: the file is of another "
                f"size than it says; {HINT}"
            )
        if not bool(torch.isfinite(tensor).all()):
            raise ConfigError(
                f"weights={path}: {name} has values that are not finite (NaN or infinite); {HINT}"
            )
    tables = [name for name in sorted(tensors) if name.endswith(TABLE)]
    other = [name for name in tables if not torch.equal(tensors[name], tensors[tables[0]])]
    if other:
        raise ConfigError(
            f"weights={path}: {other[0]} differs from {tables[0]}, but in BEATs all layers share one table; {HINT}"
        )


def _first(what: str, names: list[str]) -> str:
    if not names:
        return ""
    return f"{what} {len(names)} tensor{'s' if len(names) > 1 else ''} (first: {names[0]})"
