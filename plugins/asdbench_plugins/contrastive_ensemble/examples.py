"""What the method makes of clips, for the paper's Figs. 1, 3 and 6; nothing is drawn at random."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from asdbench_plugins.contrastive_ensemble.config import EnsembleConfig
from asdbench_plugins.contrastive_ensemble.spectra import (
    REACH,
    checkerboard,
    flip_frequencies,
    frequency_weights,
    weighted_means,
)


def examples_of(planes: Tensor, config: EnsembleConfig) -> Mapping[str, Tensor]:
    """Return what the options make of spectrograms ``[n, 3, mels, frames]``.

    Each clip is mixed with the next, the last with the first, and cut at the mean corner of eq. 1, at 3/8 of both sides.

    Returns:
        ``spectrum`` and ``other``, the log-mels of a clip and of the one that it is mixed with, and what is made of them,
        all ``[n, mels, frames]``: ``checkerboard`` and ``complement`` (Fig. 1) and ``mixed`` (eq. 2), unless ``mix``
        turns them off; ``flipped`` (SF) and ``stacked`` (SP) (Fig. 3), unless ``pseudo`` turns one off. Of GWAP (Fig. 6)
        ``means`` y, ``weights`` lambda and ``gwap`` o, all ``[n, mels]``.
    """
    spectrum, energies = planes[:, :1], planes[:, 2]
    other = spectrum.roll(-1, 0)
    found = {"spectrum": spectrum, "other": other}
    if config.mix != "none":
        rows, columns = (torch.full((len(planes),), _corner(size)) for size in spectrum.shape[2:])
        first, second = checkerboard(spectrum, other, rows=rows, columns=columns)
        if config.mix == "checkerboard":
            found |= {"checkerboard": first, "complement": second}
        else:
            first, second = spectrum, other
        found["mixed"] = torch.lerp(first, second, config.mix_lambda)
    if config.pseudo in ("both", "sf"):
        found["flipped"] = flip_frequencies(spectrum)
    if config.pseudo in ("both", "sp"):
        # In the mode ``self`` a clip is stacked on itself; else on those that follow.
        step = 0 if config.sp_mode == "self" else 1
        found["stacked"] = torch.stack([spectrum.roll(-step * k, 0) for k in range(config.n_stack)]).sum(
            dim=0
        )
    means = energies.mean(dim=2)  # eq. 7
    return {name: picture.squeeze(1) for name, picture in found.items()} | {
        "means": means,
        "weights": frequency_weights(means),
        "gwap": weighted_means(energies),
    }


def _corner(size: int) -> int:
    return max(1, round(REACH * size / 2))
