"""What the networks see of an item: flow pictures of their own size, with optical strain where they want it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from asdbench.errors import ConfigError
from asdbench.values import Info


def check_shape(info: Info) -> None:
    """Check that the items are flow pictures.

    Raises:
        ConfigError: They are not ``[height, width, 2 or 3]``, or the task is not classification.
    """
    shape = info.item_shape
    if len(shape) != 3 or shape[2] not in (2, 3):
        raise ConfigError(
            f"waspp reads optical flow [height, width, 2 or 3 channels], but items have shape {list(shape)}: "
            "use a dataset such as micro_expression or synthetic_faces"
        )
    if len(info.targets) < 2:
        raise ConfigError(
            "waspp tells classes apart, but this dataset names no classes (its task is detection)"
        )


def pictures(features: Tensor, *, size: int, channels: int) -> Tensor:
    """Return pictures ``[n, channels, size, size]`` of items ``[n, height, width, 2 or 3]``.

    A third channel that is wanted and not there is the optical strain of the two; one that is there and not wanted is
    left out. Smaller pictures are areas' means, larger ones are interpolated.
    """
    maps = features.permute(0, 3, 1, 2)  # [n, 2 or 3, height, width]
    if channels == 3 and maps.shape[1] == 2:
        maps = torch.cat([maps, optical_strain(maps)], dim=1)
    maps = maps[:, :channels]
    height, width = maps.shape[2:]
    if (height, width) == (size, size):
        return maps.contiguous()
    if min(height, width) >= size:
        return F.adaptive_avg_pool2d(maps, size)
    return F.interpolate(maps, size=(size, size), mode="bilinear", align_corners=False)


def optical_strain(flow: Tensor) -> Tensor:
    """Return the magnitude of the strain tensor of flow ``[n, 2, H, W]`` (u, v), largest 1 in each: ``[n, 1, H, W]``.

    ``sqrt(e_xx^2 + e_yy^2 + 2 e_xy^2)`` with ``e_xy = (du/dy + dv/dx) / 2``.
    """
    down, right = torch.gradient(flow, dim=(2, 3))  # of u and v along y and along x
    shear = (down[:, 0] + right[:, 1]) / 2
    strain = (right[:, 0].square() + down[:, 1].square() + 2 * shear.square()).sqrt()
    peak = strain.amax(dim=(1, 2), keepdim=True)
    return (strain / peak.clamp_min(torch.finfo(strain.dtype).tiny)).unsqueeze(1)
