"""Training in less memory: what is cheap to compute is computed again in the backward pass instead of kept.

Batch norm, PReLU and convolution each keep their input until the backward pass: three maps a layer, which is most
of the memory that training a network like MobileFaceNet takes. The latter two follow from the first, elementwise.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


class FrugalSequential(nn.Sequential):
    """An ``nn.Sequential``, with the same parameters, names and results, that keeps less while it trains.

    ``BatchNorm2d, PReLU`` and ``BatchNorm2d, PReLU, Conv2d`` in a row are one step of autograd, which keeps its
    input only and norms and activates once more on the way back. There are no gradients of its gradients. In
    evaluation, where nothing is kept, and under ``torch.compile``, which chooses by itself what to compute again,
    the layers run one by one.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return maps ``[B, channels, height, width]`` of such maps, as ``nn.Sequential`` does."""
        if torch.compiler.is_compiling() or not torch.is_grad_enabled():
            plain: Tensor = super().forward(input)
            return plain
        layers: list[nn.Module] = list(self)
        while layers:
            match layers:
                case [
                    nn.BatchNorm2d() as norm,
                    nn.PReLU() as activation,
                    nn.Conv2d() as convolution,
                    *rest,
                ] if _can_join(norm, activation) and _is_plain(convolution):
                    input, layers = _joined(input, norm, activation, convolution), rest
                case [nn.BatchNorm2d() as norm, nn.PReLU() as activation, *rest] if _can_join(
                    norm, activation
                ):
                    input, layers = _joined(input, norm, activation), rest
                case [layer, *rest]:
                    input, layers = layer(input), rest
        return input


def _can_join(norm: nn.BatchNorm2d, activation: nn.PReLU) -> bool:
    usual = norm.affine and norm.track_running_stats and norm.momentum is not None
    return norm.training and usual and activation.num_parameters == norm.num_features


def _is_plain(convolution: nn.Conv2d) -> bool:
    return convolution.bias is None and convolution.padding_mode == "zeros"


def _joined(
    maps: Tensor, norm: nn.BatchNorm2d, activation: nn.PReLU, convolution: nn.Conv2d | None = None
) -> Tensor:
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
    kernel = None if convolution is None else convolution.weight
    result: Tensor = _Joined.apply(maps, norm.weight, norm.bias, activation.weight, kernel, norm, convolution)
    return result


class _Joined(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        maps: Tensor,
        gamma: Tensor,
        beta: Tensor,
        slope: Tensor,
        kernel: Tensor | None,
        norm: nn.BatchNorm2d,
        convolution: nn.Conv2d | None,
    ) -> Tensor:
        normed, mean, scale = torch.native_batch_norm(
            maps, gamma, beta, norm.running_mean, norm.running_var, True, norm.momentum, norm.eps
        )
        ctx.save_for_backward(maps, mean, scale, gamma, beta, slope, kernel)
        ctx.eps, ctx.convolution = norm.eps, convolution
        activated = F.prelu(normed, slope.to(normed.dtype))
        return activated if convolution is None else convolution(activated)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        maps, mean, scale, gamma, beta, slope, kernel = ctx.saved_tensors
        normed = F.batch_norm(maps, mean, scale.pow(-2), gamma, beta, eps=0.0)
        of_kernel = None
        if kernel is not None:
            activated = F.prelu(normed, slope.to(normed.dtype))
            gradient, of_kernel = _convolution_backward(gradient, activated, kernel, ctx.convolution)
            gradient = gradient.to(normed.dtype)
            del activated
        gradient, of_slope = _prelu_backward(gradient, normed, slope)
        del normed
        of_maps, of_gamma, of_beta = torch.ops.aten.native_batch_norm_backward(
            gradient, maps, gamma, None, None, mean, scale, True, ctx.eps, [True, True, True]
        )
        return of_maps, of_gamma, of_beta, of_slope, of_kernel, None, None


def _convolution_backward(
    gradient: Tensor, activated: Tensor, kernel: Tensor, convolution: nn.Conv2d
) -> tuple[Tensor, Tensor]:
    of_activated, of_kernel, _ = torch.ops.aten.convolution_backward(
        gradient,
        activated.to(gradient.dtype),  # autocast convolves in a narrower type
        kernel.to(gradient.dtype),
        None,
        convolution.stride,
        convolution.padding,
        convolution.dilation,
        False,
        (0, 0),
        convolution.groups,
        [True, True, False],
    )
    return of_activated, of_kernel.to(kernel.dtype)


def _prelu_backward(gradient: Tensor, normed: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    above = torch.ops.aten.threshold_backward(gradient, normed, 0)
    below = gradient - above
    of_slope = normed.mul_(below).sum((0, 2, 3), dtype=slope.dtype)
    return above.addcmul_(below, slope.to(above.dtype).view(-1, 1, 1)), of_slope
