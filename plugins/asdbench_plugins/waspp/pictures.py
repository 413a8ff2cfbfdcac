"""The networks' input: optical-flow images of the network's own size, with optical strain if it needs that."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from asdbench import ConfigError, Info


def check_shape(info: Info) -> None:
    """Check that the items are optical flow with classes.

    Raises:
        ConfigError: They are not ``[height, width, 2 or 3]``, or the task is not classification.
    """
    shape = info.item_shape
    if len(shape) != 3 or shape[2] not in (2, 3):
        raise ConfigError(
            f"waspp needs optical flow [height, width, 2 or 3 channels], but items have shape {list(shape)}: "
            "use a dataset of flow images, for example micro_expression or synthetic_faces"
        )
    if len(info.targets) < 2:
        raise ConfigError(
            f"waspp needs at least 2 classes, found {len(info.targets)}: use a dataset whose task is classification"
        )


def pictures(features: Tensor, *, size: int, channels: int) -> Tensor:
    """Return images ``[n, channels, size, size]`` of items ``[n, height, width, 2 or 3]``.

    A missing third channel is computed as the optical strain of the other two; a surplus one is dropped. Images are
    reduced by area averaging and enlarged by bilinear interpolation.
    """
    maps = features.permute(0, 3, 1, 2)  # [n, 2 or 3, height, width]
    if channels == 3 and maps.shape[1] == 2:
        maps = torch.cat([maps, optical_strain(maps)], dim=1)
    maps = maps[:, :channels]
    height, width = maps.shape[2:]
    if (height, width) == (size, size):
        return maps.contiguous()
    # Area means keep all of a larger flow image; sampling it would drop pixels.
    if min(height, width) >= size:
        return F.adaptive_avg_pool2d(maps, size)
    return F.interpolate(maps, size=(size, size), mode="bilinear", align_corners=False)


def optical_strain(flow: Tensor) -> Tensor:
    """Return the strain magnitude of flow ``[n, 2, H, W]`` (u, v), scaled to a maximum of 1: ``[n, 1, H, W]``.

    ``sqrt(e_xx^2 + e_yy^2 + 2 e_xy^2)`` with ``e_xy = (du/dy + dv/dx) / 2``.
    """
    down, right = torch.gradient(flow, dim=(2, 3))  # gradients of u and v along y and along x
    shear = (down[:, 0] + right[:, 1]) / 2
    strain = (right[:, 0].square() + down[:, 1].square() + 2 * shear.square()).sqrt()
    peak = strain.amax(dim=(1, 2), keepdim=True)
    # A flow without strain has a peak of 0 and stays 0.
    return (strain / peak.clamp_min(torch.finfo(strain.dtype).tiny)).unsqueeze(1)
