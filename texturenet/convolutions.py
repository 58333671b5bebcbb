"""A convolution as torch computes it, but for a gradient that torch is slow at."""

from __future__ import annotations

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
        if not (torch.is_grad_enabled() and self.weight.requires_grad and _slow_for(input, self.kernel_size[0])):
            return super().forward(input)
        around = self._reversed_padding_repeated_twice
        mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
        padded = F.pad(input, around, mode) if any(around) else input
        result: Tensor = _Convolved.apply(padded, self.weight, self.bias, self.stride)  # type: ignore[no-untyped-call]
        return result


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
