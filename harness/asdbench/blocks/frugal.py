"""Training in less memory: cheap intermediate results are recomputed in the backward pass instead of stored.

Batch norm, PReLU and convolution each store their input until the backward pass: three maps per layer, which is most of
the memory for training a network like MobileFaceNet. The other two follow from the first, elementwise. On a CPU the first,
where it is large, is convolved again from what the layer before it stores anyway.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

LARGE = 64 << 20
"""Maps of so many bytes are convolved again instead of stored, on a CPU. Smaller ones add up to little memory, and storing
them is faster."""


class FrugalSequential(nn.Sequential):
    """An ``nn.Sequential`` with the same parameters, names and results that stores less during training.

    Consecutive ``BatchNorm2d, PReLU`` or ``BatchNorm2d, PReLU, Conv2d`` become one step of autograd that stores only its
    input, and repeats norm and activation in the backward pass. Its gradients have no gradients. The layers run one
    by one in evaluation, where little is stored, and under ``torch.compile``, which decides itself what to recompute.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the output of all layers for maps ``[B, channels, height, width]``."""
        if torch.compiler.is_compiling() or not torch.is_grad_enabled():
            plain: Tensor = super().forward(input)  # type: ignore[no-untyped-call]
            return plain
        layers: list[nn.Module] = list(self)
        while layers:
            match layers:
                case [nn.Conv2d() as first, nn.BatchNorm2d() as norm, nn.PReLU() as prelu, *_] if (
                    _can_join(norm, prelu) and _is_plain(first) and _gives_large_maps(first, input)
                ):
                    maps = first(input)
                    with _convolved_again(maps, first, input=input):
                        input, layers = _joined(maps, layers[1:])
                case [nn.BatchNorm2d() as norm, nn.PReLU() as prelu, *_] if _can_join(norm, prelu):
                    input, layers = _joined(input, layers)
                case [layer, *rest]:
                    input, layers = layer(input), rest
        return input


def _can_join(norm: nn.BatchNorm2d, prelu: nn.PReLU) -> bool:
    # The backward pass below covers this form only: batch statistics, a fixed momentum, a slope per channel.
    usual = norm.affine and norm.track_running_stats and norm.momentum is not None
    return norm.training and usual and prelu.num_parameters == norm.num_features


def _is_plain(convolution: nn.Conv2d) -> bool:
    numeric = not isinstance(convolution.padding, str)
    return numeric and convolution.padding_mode == "zeros" and convolution.bias is None


def _gives_large_maps(convolution: nn.Conv2d, input: Tensor) -> bool:
    values = (
        input.numel() * convolution.out_channels // (convolution.in_channels * math.prod(convolution.stride))
    )
    return input.device.type == "cpu" and values * input.element_size() >= LARGE


@contextlib.contextmanager
def _convolved_again(maps: Tensor, convolution: nn.Conv2d, *, input: Tensor) -> Iterator[None]:
    """Store, of what the block stores for the backward pass, everything but ``maps``, the output of the convolution."""
    place, dtype, kernel = (
        maps.data_ptr(),
        maps.dtype,
        convolution.weight,
    )  # and not the maps, which would keep them

    def again() -> Tensor:
        return F.conv2d(
            input.detach().to(dtype),  # autocast, if there was any, is over
            kernel.detach().to(dtype),
            None,
            convolution.stride,
            convolution.padding,
            convolution.dilation,
            convolution.groups,
        )

    def pack(stored: Tensor) -> Tensor | Callable[[], Tensor]:
        return again if stored.data_ptr() == place else stored

    def unpack(packed: Tensor | Callable[[], Tensor]) -> Tensor:
        return packed if isinstance(packed, Tensor) else packed()

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        yield


def _joined(maps: Tensor, layers: list[nn.Module]) -> tuple[Tensor, list[nn.Module]]:
    """Return the output of the norm and the activation that ``layers`` begin with, and what is left of the layers."""
    match layers:
        case [nn.BatchNorm2d() as norm, nn.PReLU() as prelu, nn.Conv2d() as convolution, *rest] if _is_plain(
            convolution
        ):
            return _join(maps, norm, prelu=prelu, convolution=convolution), rest
        case [nn.BatchNorm2d() as norm, nn.PReLU() as prelu, *rest]:
            return _join(maps, norm, prelu=prelu), rest
    raise AssertionError("called with other layers than norm and activation")


def _join(
    maps: Tensor, norm: nn.BatchNorm2d, *, prelu: nn.PReLU, convolution: nn.Conv2d | None = None
) -> Tensor:
    if norm.num_batches_tracked is not None:  # as nn.BatchNorm2d counts them
        norm.num_batches_tracked.add_(1)
    kernel = None if convolution is None else convolution.weight
    joined: Tensor = _Joined.apply(maps, norm.weight, norm.bias, prelu.weight, kernel, norm, convolution)  # type: ignore[no-untyped-call]
    return joined


class _Joined(torch.autograd.Function):
    """Batch norm in training, PReLU and an optional convolution; stores no maps except its input."""

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
        normed, mean, inverse_deviation = torch.native_batch_norm(
            maps, gamma, beta, norm.running_mean, norm.running_var, True, norm.momentum or 0.0, norm.eps
        )
        ctx.save_for_backward(maps, mean, inverse_deviation, gamma, beta, slope, kernel)
        ctx.eps, ctx.convolution = norm.eps, convolution
        activated = _prelu(normed, slope)
        return activated if convolution is None else convolution(activated)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        maps, mean, inverse_deviation, gamma, beta, slope, kernel = ctx.saved_tensors
        variance = inverse_deviation.pow(-2) - ctx.eps  # native_batch_norm returns 1 / sqrt(variance + eps)
        normed = F.batch_norm(maps, mean, variance, gamma, beta, eps=ctx.eps)
        # Maps allocated by this step are overwritten after their last use, so fewer exist at a time; the incoming
        # gradient is not ours and stays as it is.
        if kernel is None:
            gradient, spare, of_kernel = gradient.clone(), torch.empty_like(normed), None
        else:
            spare = _prelu(normed, slope)
            gradient, of_kernel = _convolution_backward(
                gradient, spare, kernel=kernel, convolution=ctx.convolution
            )
        gradient, of_slope = _prelu_backward(gradient.to(normed.dtype), normed, slope=slope, spare=spare)
        del normed, spare
        of_maps, of_gamma, of_beta = torch.ops.aten.native_batch_norm_backward(
            gradient, maps, gamma, None, None, mean, inverse_deviation, True, ctx.eps, [True, True, True]
        )
        return of_maps, of_gamma, of_beta, of_slope, of_kernel, None, None


def _prelu(normed: Tensor, slope: Tensor) -> Tensor:
    return F.prelu(normed, slope.to(normed.dtype))


def _convolution_backward(
    gradient: Tensor, activated: Tensor, *, kernel: Tensor, convolution: nn.Conv2d
) -> tuple[Tensor, Tensor]:
    """Return the gradients of the convolution's input and kernel."""
    of_activated, of_kernel, _ = torch.ops.aten.convolution_backward(
        gradient,
        activated.to(gradient.dtype),  # autocast convolves in a narrower type than the kernel's
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
    return of_activated, of_kernel  # autograd converts it to the type of the kernel


def _prelu_backward(
    gradient: Tensor, normed: Tensor, *, slope: Tensor, spare: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the gradients of PReLU's input, in ``spare``, and of its slope; overwrite the other two maps.

    torch's own version (2.13) branches at every element, which on CPU takes six times as long as these vectorised passes.
    """
    # d/dx PReLU is 1 above 0 and the slope elsewhere: split the gradient there.
    above = torch.ops.aten.threshold_backward.grad_input(gradient, normed, 0, grad_input=spare)
    below = gradient.sub_(above)
    of_slope = normed.mul_(below).sum((0, 2, 3), dtype=slope.dtype)
    return above.addcmul_(below, slope.to(above.dtype).view(-1, 1, 1)), of_slope
