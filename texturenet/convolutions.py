"""Convolution, padding and enlargement as torch computes them, but for what torch is slow at on a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Convolution(nn.Conv2d):
    """nn.Conv2d; on a CPU with AVX2 and no more, the gradient of its weights is taken in NCHW.

    oneDNN has no good kernel for it in channels_last there: 48 channels of 192x192 and 3x3 weights take 142 ms on one
    core of an EPYC, and 28 ms in NCHW, where forward and the gradient of the input (channels_last: 18 and 20 ms, NCHW:
    39) are the slower ones. It was half of the pyramid's backward pass: a step of `--preset laptop` took 0.94 s without
    this, and takes 0.63 with it and with norms before the enlargement, each on one core beside another such run.
    """

    def forward(self, input: Tensor) -> Tensor:
        slow = torch.is_grad_enabled() and self.weight.requires_grad and _slow_for(input, self.kernel_size[0])
        if self.padding_mode == "zeros" and not slow:
            return super().forward(input)
        mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
        padded = pad(input, self._reversed_padding_repeated_twice, mode)
        if not slow:
            return F.conv2d(padded, self.weight, self.bias, self.stride)
        result: Tensor = _Convolved.apply(padded, self.weight, self.bias, self.stride)  # type: ignore[no-untyped-call]
        return result


def pad(x: Tensor, around: Sequence[int], mode: str) -> Tensor:
    """torch's F.pad, in the type of `x`.

    A CPU's autocast reflects in float32: to and fro it was a tenth of a training step of `lite` in bfloat16.
    """
    if not any(around):
        return x
    if not torch.is_autocast_enabled(x.device.type):
        return F.pad(x, around, mode)
    with torch.autocast(x.device.type, enabled=False):
        return F.pad(x, around, mode)


def twice_as_large(x: Tensor) -> Tensor:
    """Bilinear, (B, C, H, W) -> (B, C, 2 H, 2 W), as F.interpolate has it."""
    nhwc = x.is_contiguous(memory_format=torch.channels_last)
    if x.device.type != "cpu" or not nhwc or torch.compiler.is_compiling():
        return F.interpolate(x, scale_factor=2.0, mode="bilinear")
    result: Tensor = _TwiceAsLarge.apply(x)  # type: ignore[no-untyped-call]
    return result


class _TwiceAsLarge(torch.autograd.Function):
    """Its gradient is a convolution with a tent, of stride 2, where torch adds up what each pixel gives.

    Four maps of 40 channels to 256 px in bfloat16, one core of an EPYC: 8 ms, torch's 88.
    """

    @staticmethod
    def forward(_ctx: Any, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2.0, mode="bilinear")

    @staticmethod
    def backward(_ctx: Any, *gradients: Tensor) -> Tensor:
        (gradient,) = gradients
        tent = gradient.new_tensor([0.25, 0.75, 0.75, 0.25])
        kernel = (tent[:, None] * tent).expand(gradient.shape[1], 1, 4, 4).contiguous()
        # An edge's values go on beyond it, so what a pixel there gives is the edge's too.
        return F.conv2d(pad(gradient, (1, 1, 1, 1), "replicate"), kernel, stride=2, groups=len(kernel))


def _slow_for(x: Tensor, kernel: int) -> bool:
    return (
        kernel > 1
        and x.device.type == "cpu"
        and x.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and x.is_contiguous(memory_format=torch.channels_last)
        and torch.backends.cpu.get_cpu_capability() == "AVX2"
    )


class _Convolved(torch.autograd.Function):
    """Of padded maps, (B, C, H, W) in channels_last."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return F.conv2d(x, weight, bias, stride)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias, _ = ctx.needs_input_grad
        first = _gradients(gradients[0], x, weight, ctx.stride, (of_x, False, False))
        gradient, x, weight = (tensor.contiguous() for tensor in (gradients[0], x, weight))
        second = _gradients(gradient, x, weight, ctx.stride, (False, of_weight, of_bias))
        return first[0], second[1], second[2], None


def _gradients(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: tuple[int, int], wanted: tuple[bool, bool, bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Of input, weights and bias, as far as they are wanted."""
    bias_sizes = [weight.shape[0]] if wanted[2] else None
    found: tuple[Tensor | None, Tensor | None, Tensor | None] = torch.ops.aten.convolution_backward(
        gradient, x, weight, bias_sizes, stride, (0, 0), (1, 1), False, (0, 0), 1, wanted
    )
    return found
